package uring

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUp makes a ring that is closed when the test ends.
func setUp(t *testing.T, entries uint32, p Params) *Ring {
	t.Helper()
	r, err := Setup(entries, &p)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no io_uring here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// put writes an entry; its number is its place in the queue.
func put(t *testing.T, r *Ring, s SQE) {
	t.Helper()
	k := r.NextSQE()
	if k == nil {
		t.Fatal("no room")
	}
	*k = s
}

// enter submits n entries, of which the kernel should take want.
func enterWant(t *testing.T, r *Ring, n, want uint32) {
	t.Helper()
	if got, errno := r.Enter(n, false); got != want || errno != 0 {
		t.Fatalf("Enter(%d) = %d, %v; want %d", n, got, errno, want)
	}
}

// next waits for a completion and consumes it.
func next(t *testing.T, r *Ring) (c CQE) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if r.CQEs(1, func(k *CQE) { c = *k }) == 1 {
			return c
		}
		if errno := r.Wait(1, &Timespec{Nsec: 1e8}); errno != 0 && errno != unix.EINTR && errno != unix.ETIME {
			t.Fatal(errno)
		}
		if time.Now().After(deadline) {
			t.Fatal("no completion")
		}
	}
}

func pipe(t *testing.T) (rd, wr int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func addr(b []byte) uint64 { return Address(b) }

// Contract checks 1 to 5.
func TestSetup(t *testing.T) {
	setUp(t, 1, Params{}) // skips where there is nothing to test
	for _, c := range []struct {
		name    string
		entries uint32
		p       Params
		sq, cq  uint32
		want    syscall.Errno
	}{
		{"three", 3, Params{}, 4, 8, 0},
		{"one", 1, Params{}, 1, 2, 0},
		{"none", 0, Params{}, 0, 0, unix.EINVAL},
		{"none, clamped", 0, Params{Flags: SetupClamp}, 0, 0, unix.EINVAL},
		{"too many", 32769, Params{}, 0, 0, unix.EINVAL},
		{"too many, clamped", 32769, Params{Flags: SetupClamp}, 32768, 65536, 0},
		{"queue of five", 4, Params{Flags: SetupCQSize, CQEntries: 5}, 4, 8, 0},
		{"queue of three", 4, Params{Flags: SetupCQSize, CQEntries: 3}, 4, 4, 0},
		{"queue of two", 4, Params{Flags: SetupCQSize, CQEntries: 2}, 0, 0, unix.EINVAL},
		{"queue of none", 4, Params{Flags: SetupCQSize}, 0, 0, unix.EINVAL},
		{"flag that is none", 4, Params{Flags: 1 << 31}, 0, 0, unix.EINVAL},
		{"taskrun flag alone", 4, Params{Flags: SetupTaskrunFlag}, 0, 0, unix.EINVAL},
		{"deferred by many issuers", 4, Params{Flags: SetupDeferTaskrun}, 0, 0, unix.EINVAL},
		{"affinity without thread", 4, Params{Flags: SetupSQAff}, 0, 0, unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Setup(c.entries, &c.p)
			if c.want != 0 {
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if r.SQEntries() != c.sq || r.CQEntries() != c.cq {
				t.Errorf("%d and %d entries, want %d and %d", r.SQEntries(), r.CQEntries(), c.sq, c.cq)
			}
			if r.Features()&needed != needed {
				t.Errorf("features %#x", r.Features())
			}
		})
	}
	if _, err := Setup(4, &Params{Flags: SetupNoMmap}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("memory of the caller's: %v", err)
	}
}

// More rounds than there are places, with every size of entry there is.
func TestQueuesGoRound(t *testing.T) {
	for name, flags := range map[string]uint32{
		"plain": 0, "large SQEs": SetupSQE128, "large CQEs": SetupCQE32, "both": SetupSQE128 | SetupCQE32,
		"mixed CQEs": SetupCQEMixed,
	} {
		t.Run(name, func(t *testing.T) {
			p := Params{Flags: flags}
			r, err := Setup(4, &p)
			if errors.Is(err, unix.EINVAL) && flags != 0 {
				t.Skip("this kernel is older than the flag")
			}
			if err != nil {
				t.Skip("no io_uring here: ", err)
			}
			defer r.Close()
			for round := range uint64(50) {
				for i := range uint64(4) {
					put(t, r, SQE{UserData: round*4 + i})
				}
				if r.NextSQE() != nil || r.Pending() != 4 {
					t.Fatalf("a fifth entry of four, %d pending", r.Pending())
				}
				enterWant(t, r, 4, 4)
				for i := range uint64(4) {
					if c := next(t, r); c.UserData != round*4+i || c.Res != 0 {
						t.Fatalf("%+v, want number %d", c, round*4+i)
					}
				}
				if r.Ready() != 0 || r.Pending() != 0 {
					t.Fatalf("%d ready, %d pending", r.Ready(), r.Pending())
				}
			}
			if r.Lost() != 0 || r.Dropped() != 0 {
				t.Errorf("%d lost, %d dropped", r.Lost(), r.Dropped())
			}
		})
	}
}

// Contract checks 15 and 17: a bad entry is taken and stops the submission; what
// is left can be taken back.
func TestBadEntryStops(t *testing.T) {
	r := setUp(t, 8, Params{})
	for i, op := range []uint8{OpNop, 255, OpNop, OpNop} {
		put(t, r, SQE{Opcode: op, UserData: uint64(i)})
	}
	enterWant(t, r, 4, 2)
	if r.Pending() != 2 {
		t.Fatalf("%d pending", r.Pending())
	}
	r.Retract(1)
	enterWant(t, r, 1, 1)
	want := []CQE{{UserData: 0}, {UserData: 1, Res: -int32(unix.EINVAL)}, {UserData: 2}}
	for _, w := range want {
		if c := next(t, r); c != w {
			t.Errorf("%+v, want %+v", c, w)
		}
	}
	if r.Ready() != 0 {
		t.Error("the entry taken back was submitted")
	}

	all := setUp(t, 8, Params{Flags: SetupSubmitAll})
	for _, op := range []uint8{OpNop, 255, OpNop, OpNop} {
		put(t, all, SQE{Opcode: op})
	}
	enterWant(t, all, 4, 4)
}

// Peek gives what lies in one piece, and consumes nothing.
func TestPeekAndAdvance(t *testing.T) {
	r := setUp(t, 4, Params{})
	if r.Peek() != nil {
		t.Error("something in an empty queue")
	}
	seen := uint64(0)
	for round := range 20 {
		for i := range uint64(3) {
			put(t, r, SQE{UserData: uint64(round)*3 + i})
		}
		enterWant(t, r, 3, 3)
		for left := 3; left > 0; {
			cqes := r.Peek()
			if len(cqes) == 0 || !slices.Equal(cqes, r.Peek()) {
				t.Fatalf("%d in the queue, %d seen", r.Ready(), len(cqes))
			}
			for _, c := range cqes {
				if c.UserData != seen {
					t.Fatalf("%d, want %d", c.UserData, seen)
				}
				seen++
			}
			r.Advance(uint32(len(cqes)))
			left -= len(cqes)
		}
	}
}

// Contract checks 37 to 40: nothing is lost when the queue is full, and what waits
// behind it comes with an Enter.
func TestOverflow(t *testing.T) {
	r := setUp(t, 4, Params{})
	for i := range uint64(21) {
		put(t, r, SQE{UserData: i})
		enterWant(t, r, 1, 1)
	}
	if r.Ready() != 8 || !r.HasOverflow() || !r.NeedsEnter() {
		t.Fatalf("%d ready, overflow %v", r.Ready(), r.HasOverflow())
	}
	for i := range uint64(21) {
		if r.Ready() == 0 {
			if _, errno := r.Enter(0, true); errno != 0 {
				t.Fatal(errno)
			}
		}
		if c := next(t, r); c.UserData != i {
			t.Fatalf("%d, want %d", c.UserData, i)
		}
	}
	if r.HasOverflow() || r.Lost() != 0 {
		t.Errorf("overflow %v, %d lost", r.HasOverflow(), r.Lost())
	}
}

func TestReadsAndWrites(t *testing.T) {
	r := setUp(t, 8, Params{})
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int32(f.Fd())
	out, in := []byte("one entry, one vector"), make([]byte, 21)
	vec := iovecs([][]byte{in[:4], in[4:]})
	for _, s := range []SQE{
		{Opcode: OpWrite, Fd: fd, Addr: addr(out), Len: uint32(len(out))},
		{Opcode: OpFsync, Fd: fd},
		{Opcode: OpReadv, Fd: fd, Addr: uint64(uintptr(unsafe.Pointer(&vec[0]))), Len: 2},
	} {
		put(t, r, s)
		enterWant(t, r, 1, 1)
		if c := next(t, r); c.Res != int32(s.Len) && int(c.Res) != len(out) {
			t.Fatalf("opcode %d: %d", s.Opcode, c.Res)
		}
	}
	if string(in) != string(out) {
		t.Errorf("%q came back as %q", out, in)
	}
}

func TestWaitEndsWithItsTime(t *testing.T) {
	r := setUp(t, 4, Params{})
	began := time.Now()
	for {
		errno := r.Wait(1, &Timespec{Nsec: 20e6})
		if errno == unix.ETIME {
			break
		}
		if errno != unix.EINTR {
			t.Fatal(errno)
		}
	}
	if d := time.Since(began); d < 20*time.Millisecond {
		t.Errorf("after %v", d)
	}
}

// Contract check 26: signals come as fast as the kernel lets them, and none shows.
func TestSignalsNeverShow(t *testing.T) {
	r := setUp(t, 8, Params{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGURG)
	defer signal.Stop(signals)
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Kill(unix.Getpid(), unix.SIGURG)
				runtime.Gosched()
			}
		}
	})
	rd, wr := pipe(t)
	buf := make([]byte, 1)
	for i := range uint64(300) {
		put(t, r, SQE{Opcode: OpRead, Fd: int32(rd), Addr: addr(buf), Len: 1, UserData: 2 * i})
		enterWant(t, r, 1, 1)
		put(t, r, SQE{Opcode: OpWrite, Fd: int32(wr), Addr: addr([]byte("x")), Len: 1, UserData: 2*i + 1})
		enterWant(t, r, 1, 1)
		for range 2 {
			if c := next(t, r); c.Res != 1 || c.UserData/2 != i {
				t.Fatalf("round %d: %+v", i, c)
			}
		}
	}
	close(stop)
	storm.Wait()
}

// A polling kernel thread takes entries without an enter, sleeps when there are
// none, and is woken.
func TestSQPoll(t *testing.T) {
	r := setUp(t, 8, Params{Flags: SetupSQPoll, SQThreadIdle: 1})
	for round := range uint64(20) {
		if round%4 == 3 {
			deadline := time.Now().Add(10 * time.Second)
			for !r.Sleeping() {
				if time.Now().After(deadline) {
					t.Fatal("the thread never sleeps")
				}
				time.Sleep(time.Millisecond)
			}
		}
		for i := range uint64(4) {
			op := uint8(OpNop)
			if i == 1 {
				op = 255 // nothing stops
			}
			put(t, r, SQE{Opcode: op, UserData: round*4 + i})
		}
		if r.Unpublished() != 4 {
			t.Fatalf("%d unpublished", r.Unpublished())
		}
		enterWant(t, r, 4, 4)
		for i := range uint64(4) {
			if c := next(t, r); c.UserData != round*4+i || (c.Res != 0) != (i == 1) {
				t.Fatalf("%+v", c)
			}
		}
	}
	for range 100 { // more than fit
		k := r.NextSQE()
		for k == nil {
			if _, errno := r.Enter(0, false); errno != 0 {
				t.Fatal(errno)
			}
			if errno := r.WaitSQ(); errno != 0 {
				t.Fatal(errno)
			}
			k = r.NextSQE()
		}
		*k = SQE{}
	}
	r.Enter(r.Unpublished(), false)
	for range 100 {
		next(t, r)
	}
}

// Of polled block I/O only direct reads and writes are possible, so here it is the
// refusals that tell whether the flag got through.
func TestIOPollRefusesWhatCannotBePolled(t *testing.T) {
	r := setUp(t, 8, Params{Flags: SetupIOPoll})
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 8)
	for _, s := range []struct {
		SQE
		want syscall.Errno
	}{
		{SQE{Opcode: OpRead, Fd: int32(f.Fd()), Addr: addr(buf), Len: 8}, unix.EOPNOTSUPP},
		{SQE{Opcode: OpFsync, Fd: int32(f.Fd())}, unix.EINVAL},
	} {
		put(t, r, s.SQE)
		enterWant(t, r, 1, 1)
		if c := next(t, r); c.Res != -int32(s.want) {
			t.Errorf("opcode %d: %d, want %v", s.Opcode, c.Res, s.want)
		}
	}
}

// elsewhere runs f on another thread than the caller's, which is locked.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		f()
	}()
	<-done
}

func TestSingleIssuerIsTheThreadThatEnables(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := setUp(t, 8, Params{Flags: SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag | SetupRDisabled})
	put(t, r, SQE{UserData: 1})
	if _, errno := r.Enter(1, false); errno != unix.EBADFD {
		t.Errorf("disabled: %v", errno)
	}
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	if err := r.Enable(); err != unix.EBADFD {
		t.Errorf("enabled twice: %v", err)
	}
	elsewhere(func() {
		if _, errno := r.Enter(1, false); errno != unix.EEXIST {
			t.Errorf("another thread: %v", errno)
		}
	})
	enterWant(t, r, 1, 1)
	if c := next(t, r); c.UserData != 1 {
		t.Errorf("%+v", c)
	}
	// What completes later is deferred until the issuer enters.
	rd, wr := pipe(t)
	buf := make([]byte, 1)
	put(t, r, SQE{Opcode: OpRead, Fd: int32(rd), Addr: addr(buf), Len: 1})
	enterWant(t, r, 1, 1)
	if _, err := unix.Write(wr, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if r.Ready() != 0 || !r.NeedsEnter() {
		t.Errorf("%d ready, needs enter %v", r.Ready(), r.NeedsEnter())
	}
	if _, errno := r.Enter(0, true); errno != 0 || r.Ready() != 1 {
		t.Errorf("%v, %d ready", errno, r.Ready())
	}
}

// Every opcode up to the last is known to a kernel that knows the last; a masked
// probe is an older kernel's. What it says is what submitting does: check 12.
func TestProbe(t *testing.T) {
	r := setUp(t, 4, Params{})
	p, err := r.Probe()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []uint8{OpNop, OpReadv, OpFsync, OpAsyncCancel, OpRead, OpWrite} {
		if !p.Supports(op) {
			t.Errorf("opcode %d is not supported", op)
		}
	}
	if p.Last() >= OpPipe {
		for op := range uint8(OpLast) {
			if !p.Supports(op) {
				t.Errorf("opcode %d is not supported, %d is", op, OpPipe)
			}
		}
	}
	beyond := uint8(p.Last() + 1)
	put(t, r, SQE{Opcode: beyond})
	enterWant(t, r, 1, 1)
	if c := next(t, r); p.Supports(beyond) || c.Res != -int32(unix.EINVAL) {
		t.Errorf("opcode %d: supported %v, %d", beyond, p.Supports(beyond), c.Res)
	}
	masked := p.Without(OpRead, OpPipe)
	if masked.Supports(OpRead) || masked.Supports(OpPipe) || !masked.Supports(OpWrite) || !p.Supports(OpRead) {
		t.Error("the mask does not mask what it should")
	}
}

// Contract checks 42 to 44.
func TestEventfd(t *testing.T) {
	r := setUp(t, 8, Params{})
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := r.UnregisterEventfd(); err != unix.ENXIO {
		t.Errorf("unregistered none: %v", err)
	}
	if err := r.RegisterEventfd(fd); err != nil {
		t.Fatal(err)
	}
	if err := r.RegisterEventfd(fd); err != unix.EBUSY {
		t.Errorf("registered twice: %v", err)
	}
	signalled := func() bool {
		var b [8]byte
		_, err := unix.Read(fd, b[:])
		return err == nil
	}
	for _, off := range []bool{false, true, false} {
		r.EventsOff(off)
		put(t, r, SQE{})
		enterWant(t, r, 1, 1)
		next(t, r)
		if signalled() == off {
			t.Errorf("off %v, signalled %v", off, !off)
		}
	}
	if err := r.UnregisterEventfd(); err != nil {
		t.Error(err)
	}
	if err := r.RegisterEventfdAsync(fd); err != nil {
		t.Error(err)
	}
	rd, _ := pipe(t)
	if err := r.UnregisterEventfd(); err != nil {
		t.Error(err)
	}
	if err := r.RegisterEventfd(rd); err != unix.EINVAL {
		t.Errorf("a pipe as eventfd: %v", err)
	}
}

// Contract checks 101 to 105.
func TestFiles(t *testing.T) {
	r := setUp(t, 8, Params{})
	rd, wr := pipe(t)
	if err := r.UnregisterFiles(); err != unix.ENXIO {
		t.Errorf("unregistered none: %v", err)
	}
	if err := r.RegisterFiles([]int32{int32(rd), int32(wr), -1}); err != nil {
		t.Fatal(err)
	}
	if err := r.RegisterFiles([]int32{int32(rd)}); err != unix.EBUSY {
		t.Errorf("registered twice: %v", err)
	}
	use := func(index int32) int32 {
		put(t, r, SQE{Opcode: OpWrite, Flags: SQEFixedFile, Fd: index, Addr: addr([]byte("x")), Len: 1})
		enterWant(t, r, 1, 1)
		return next(t, r).Res
	}
	if res := use(1); res != 1 {
		t.Errorf("a file of the table: %d", res)
	}
	if res := use(2); res != -int32(unix.EBADF) {
		t.Errorf("an empty place: %d", res)
	}
	if n, err := r.UpdateFiles(1, []int32{int32(rd), int32(wr)}); n != 2 || err != nil {
		t.Errorf("UpdateFiles = %d, %v", n, err)
	}
	if n, err := r.UpdateFiles(1, []int32{int32(wr), 1 << 20}); n != 1 || err != nil {
		t.Errorf("UpdateFiles with a bad one = %d, %v", n, err)
	}
	if res := use(1); res != 1 {
		t.Errorf("an updated place: %d", res)
	}
	if err := r.UnregisterFiles(); err != nil {
		t.Error(err)
	}
	if err := r.RegisterFilesSparse(4); err != nil && err != unix.EINVAL { // before 5.19
		t.Error(err)
	}
}

// Contract checks 108 to 110.
func TestBuffers(t *testing.T) {
	r := setUp(t, 8, Params{})
	rd, wr := pipe(t)
	if err := r.UnregisterBuffers(); err != unix.ENXIO {
		t.Errorf("unregistered none: %v", err)
	}
	buf := make([]byte, 4096)
	if err := r.RegisterBuffers([][]byte{buf}); errors.Is(err, unix.ENOMEM) {
		t.Skip("RLIMIT_MEMLOCK: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := r.RegisterBuffers([][]byte{buf}); err != unix.EBUSY {
		t.Errorf("registered twice: %v", err)
	}
	use := func(op uint8, fd int, index uint16, b []byte) int32 {
		put(t, r, SQE{Opcode: op, Fd: int32(fd), BufIndex: index, Addr: addr(b), Len: uint32(len(b))})
		enterWant(t, r, 1, 1)
		return next(t, r).Res
	}
	copy(buf, "fixed")
	if n := use(OpWriteFixed, wr, 0, buf[:5]); n != 5 {
		t.Errorf("WRITE_FIXED: %d", n)
	}
	if n := use(OpReadFixed, rd, 0, buf[100:105]); n != 5 || string(buf[100:105]) != "fixed" {
		t.Errorf("READ_FIXED: %d", n)
	}
	if n := use(OpWriteFixed, wr, 1, buf[:5]); n != -int32(unix.EFAULT) {
		t.Errorf("an index beyond the table: %d", n)
	}
	if n := use(OpWriteFixed, wr, 0, make([]byte, 5)); n != -int32(unix.EFAULT) {
		t.Errorf("memory outside the buffer: %d", n)
	}
	if err := r.UnregisterBuffers(); err != nil {
		t.Error(err)
	}
	if err := r.RegisterBuffersSparse(2); err == unix.EINVAL {
		return // before 5.19
	} else if err != nil {
		t.Fatal(err)
	}
	if n := use(OpWriteFixed, wr, 1, buf[:5]); n != -int32(unix.EFAULT) {
		t.Errorf("an empty place: %d", n)
	}
	if n, err := r.UpdateBuffers(1, [][]byte{buf}); n != 1 || err != nil {
		t.Errorf("UpdateBuffers = %d, %v", n, err)
	}
	if n := use(OpWriteFixed, wr, 1, buf[:5]); n != 5 {
		t.Errorf("an updated place: %d", n)
	}
}

// Contract checks 76 and 97: past the queue, which a drain blocks.
func TestSyncCancelGoesPastADrain(t *testing.T) {
	r := setUp(t, 8, Params{})
	rd, _ := pipe(t)
	buf := make([]byte, 1)
	put(t, r, SQE{Opcode: OpRead, Fd: int32(rd), Addr: addr(buf), Len: 1, UserData: 7})
	put(t, r, SQE{Flags: SQEDrain, UserData: 8})
	enterWant(t, r, 2, 2)
	err := r.SyncCancel(99, 0)
	if err == unix.EINVAL {
		t.Skip("this kernel is older than 6.0")
	}
	if err != unix.ENOENT {
		t.Errorf("nothing to cancel: %v", err)
	}
	if r.Ready() != 0 {
		t.Error("the drain did not wait")
	}
	if err := r.SyncCancel(7, 0); err != nil {
		t.Error(err)
	}
	if c := next(t, r); c.UserData != 7 || c.Res != -int32(unix.ECANCELED) {
		t.Errorf("%+v", c)
	}
	if c := next(t, r); c.UserData != 8 || c.Res != 0 {
		t.Errorf("%+v", c)
	}
}

func TestMaxWorkers(t *testing.T) {
	r := setUp(t, 4, Params{})
	was, _, err := r.MaxWorkers(3, 0)
	if err == unix.EINVAL {
		t.Skip("this kernel is older than 5.15")
	}
	if err != nil || was == 0 {
		t.Fatal(was, err)
	}
	if now, _, err := r.MaxWorkers(0, 0); now != 3 || err != nil {
		t.Errorf("%d, %v", now, err)
	}
}

func TestResultHidesRestarts(t *testing.T) {
	for res, want := range map[int32]int32{
		5: 5, 0: 0, -1: -1, -511: -511, -517: -517,
		-512: -int32(unix.EINTR), -513: -int32(unix.EINTR), -514: -int32(unix.EINTR), -516: -int32(unix.EINTR),
	} {
		if got := Result(res); got != want {
			t.Errorf("Result(%d) = %d", res, got)
		}
	}
}

// An open of a FIFO that a cancellation interrupts ends with a restart code.
func TestInterruptedOpenIsHidden(t *testing.T) {
	r := setUp(t, 4, Params{})
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	name := append([]byte(path), 0)
	const atFdcwd = -100
	put(t, r, SQE{Opcode: OpOpenat, Flags: SQEAsync, Fd: atFdcwd, Addr: addr(name), OpFlags: unix.O_RDONLY, UserData: 1})
	enterWant(t, r, 1, 1)
	for range 1000 { // until it is in the call, or at least gone
		put(t, r, SQE{Opcode: OpAsyncCancel, Fd: -1, Addr: 1, UserData: 2})
		enterWant(t, r, 1, 1)
		for {
			c := next(t, r)
			if c.UserData == 2 {
				break
			}
			if res := Result(c.Res); res != -int32(unix.EINTR) && res != -int32(unix.ECANCELED) {
				t.Errorf("the open: %d", res)
			}
			runtime.KeepAlive(name)
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the open never ended")
}
