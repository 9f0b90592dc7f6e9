package aio

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the sources let one expect of the kernel and no rule can promise: races, and
// what no model over a host's files can show. Each says what was seen.

// The caps are looked at without a lock, so that submitters who race may go over
// them, each by no more than the job it has in hand.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_aqueue.
func TestRacingSubmittersGoOverTheCapByOneEachAtMost(t *testing.T) {
	const (
		threads = 4
		room    = 8
		rounds  = 200
	)
	r := newRig(t, rounds*threads*room)
	before := r.limits().MaxQueuePerProc
	if err := setSysctlInt("vfs.aio.max_aio_queue_per_proc", room); err != nil {
		t.Skipf("the cap cannot be lowered: %v", err)
	}
	defer func() {
		if err := setSysctlInt("vfs.aio.max_aio_queue_per_proc", before); err != nil {
			t.Error(err)
		}
	}()
	a, _ := r.sockets()
	over, most := 0, 0
	for range rounds {
		blocks := make([]*ControlBlock, threads*room)
		for i := range blocks {
			blocks[i] = r.prepare(OpRead, a, 0, make([]byte, 1))
		}
		var accepted atomic.Int32
		var group sync.WaitGroup
		var ready atomic.Int32
		for thread := range threads {
			group.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				ready.Add(1)
				for ready.Load() < threads {
					runtime.Gosched()
				}
				for _, cb := range blocks[thread*room:][:room] {
					switch errno := r.Read(cb); errno {
					case 0:
						accepted.Add(1)
					case EAGAIN:
					default:
						t.Errorf("aio_read: %v", errno)
					}
				}
			})
		}
		group.Wait()
		n := int(accepted.Load())
		if n < room || n > room+threads-1 {
			t.Errorf("%d jobs were accepted, the cap is %d", n, room)
		}
		if n > room {
			over++
		}
		most = max(most, n)
		if status, errno := r.Cancel(a, nil); status != Cancelled || errno != 0 {
			t.Fatalf("aio_cancel: %v, %v", status, errno)
		}
		for _, cb := range blocks {
			if cb.ErrorWord() == EINPROGRESS {
				r.reap(cb, -1, ECANCELED)
			}
		}
	}
	t.Logf("a cap of %d with %d threads: gone over in %d of %d rounds, to %d jobs", room, threads, over, rounds, most)
}

// The event of a list of which nothing was accepted is posted and deleted at once,
// and a thread that asks in between may get it. It never stays.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_lio_listio.
func TestEventOfAnEmptyListNeverStays(t *testing.T) {
	const rounds = 20_000
	r := newRig(t, 1)
	bad := r.prepare(OpRead, -1, 0, make([]byte, 1))
	list := []*ControlBlock{bad}
	sig := &Sigevent{Notify: NotifyKevent, Kqueue: int32(r.kq), Value: 99}
	ident := uintptr(unsafe.Pointer(unsafe.SliceData(list)))
	var stop atomic.Bool
	var seen, looks int
	var group sync.WaitGroup
	group.Go(func() {
		events := make([]Kevent, 4)
		for !stop.Load() {
			looks++
			n, errno := r.Kevent(r.kq, nil, events, 0)
			if errno != 0 && errno != EINTR {
				t.Errorf("kevent: %v", errno)
			}
			for _, ev := range events[:n] {
				seen++
				if ev.Ident != ident || ev.Filter != FilterLIO || ev.Udata != 99 {
					t.Errorf("event %+v", ev)
				}
			}
		}
	})
	for range rounds {
		if errno := r.ListIO(ListNoWait, list, sig); errno != EIO {
			t.Errorf("lio_listio: %v", errno)
			break
		}
	}
	stop.Store(true)
	group.Wait()
	r.noEvent("after the lists")
	t.Logf("%d lists of nothing, %d looks at the queue: %d events were seen", rounds, looks, seen)
}

// A daemon writes with its own limits, not with those of who asked it to.
// Source: FreeBSD sys/kern/vfs_vnops.c, vn_rlimit_fsize.
func TestFileSizeLimitDoesNotBindDaemons(t *testing.T) {
	const limit = 4096
	if os.Getenv(limitedEnv) == "" {
		out, err := inOwnProcess(t, limitedEnv).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGXFSZ)
	f, err := os.CreateTemp(t.TempDir(), "file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 16), limit); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a write of the process's own: %v, want EFBIG", err)
	}
	r := newRig(t, 1)
	cb := r.prepare(OpWrite, int(f.Fd()), limit, make([]byte, 16))
	r.want("aio_write", r.Write(cb), 0)
	r.wait(1)
	r.reap(cb, 16, 0)
}

const limitedEnv = "AIO_TEST_LIMITED"

// Of all that waits on a descriptor aio_cancel leaves nothing waiting, even if some
// of it ends meanwhile. On 13 it does: it goes on from a job that may be on another
// list by then.
// Source: FreeBSD sys/kern/vfs_aio.c, sys_aio_cancel.
func TestCancelOfAllWhileSomeEnd(t *testing.T) {
	const (
		jobs   = 100
		rounds = 100
	)
	r := newRig(t, rounds*jobs)
	left, racy := 0, 0
	for range rounds {
		a, b := r.sockets()
		blocks := make([]*ControlBlock, jobs)
		for i := range blocks {
			blocks[i] = r.prepare(OpRead, a, 0, make([]byte, 1))
			blocks[i].Sigevent = Sigevent{}
			r.want("aio_read", r.Read(blocks[i]), 0)
		}
		var group sync.WaitGroup
		group.Go(func() {
			for range jobs / 2 {
				if _, err := unix.Write(b, []byte{1}); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
		for r.Error(blocks[0]) == EINPROGRESS {
			runtime.Gosched()
		}
		if _, errno := r.Cancel(a, nil); errno != 0 {
			t.Fatalf("aio_cancel: %v", errno)
		}
		group.Wait()
		// What the daemons have in hand ends soon, what was passed over never does:
		// all bytes are in the socket, and whoever still waits had no turn.
		waiting := func() (n int) {
			for _, cb := range blocks {
				if r.Error(cb) == EINPROGRESS {
					n++
				}
			}
			return n
		}
		passed := waiting()
		for deadline := time.Now().Add(500 * time.Millisecond); passed > 0 && time.Now().Before(deadline); passed = waiting() {
			time.Sleep(time.Millisecond)
		}
		if passed > 0 {
			left++
		}
		for ; passed > 0; passed = waiting() {
			r.Cancel(a, nil)
		}
		done, cancelled := 0, 0
		for _, cb := range blocks {
			for r.Error(cb) == EINPROGRESS {
				runtime.Gosched()
			}
			switch n, errno := r.Return(cb); {
			case n == 1 && errno == 0:
				done++
			case errno == ECANCELED:
				cancelled++
			default:
				t.Errorf("aio_return: %d, %v", n, errno)
			}
		}
		if done > 0 && cancelled > 0 {
			racy++
		}
	}
	t.Logf("%d rounds of %d reads, of which some ended while all were cancelled in %d: jobs were passed over in %d", rounds, jobs, racy, left)
	if r.Osreldate() >= 1500000 && left > 0 {
		t.Errorf("jobs were passed over")
	}
}

// A job of no elements on a disk is accepted and never ends: nothing is asked of the
// device. It cannot be cancelled, and the process that has it cannot end. So this
// runs where that may be, and nowhere else.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_qbio.
func TestNoElementsOnADiskNeverEnd(t *testing.T) {
	const wedge, child = "AIORING_WEDGE", "AIO_TEST_WEDGED"
	if os.Getenv(child) != "" {
		r := newRig(t, 2)
		fd := r.rawDisk()
		cb := r.prepareVector(OpReadv, fd, 0)
		after := r.prepare(OpRead, fd, 0, make([]byte, 512))
		first := r.Readv(cb)
		r.want("aio_read", r.Read(after), 0)
		r.wait(1)
		r.reap(after, 512, 0)
		status, errno := r.Cancel(fd, cb)
		fmt.Printf("aio_readv %v, when a later job has ended %v, aio_cancel %v %v, then %v\n",
			int(first), int(r.Error(cb)), status, int(errno), int(r.Error(cb)))
		// The end, by a signal.
		_ = os.Stdout.Close()
		time.Sleep(patience) // until it is killed
		os.Exit(0)
	}
	if os.Getenv(wedge) == "" {
		t.Skipf("it leaves a process that nothing ends until the machine is started again; %s=1 runs it", wedge)
	}
	cmd := inOwnProcess(t, child)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 4096)
	text := ""
	for !strings.Contains(text, "then") {
		n, err := out.Read(said)
		text += string(said[:n])
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	if want := fmt.Sprintf("aio_readv 0, when a later job has ended %d, aio_cancel 2 0, then %d", EINPROGRESS, EINPROGRESS); !strings.Contains(text, want) {
		t.Errorf("%s\nwant %s", text, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	const while = 5 * time.Second
	select {
	case err := <-ended:
		t.Errorf("the process has ended: %v", err)
	case <-time.After(while):
		t.Logf("killed, the process has not ended after %v", while)
	}
}

// Reads from a disk go to the pages that the process had when it asked. If it forks
// meanwhile and writes to such a page, it has another one from then on, and what is
// read is lost.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_qbio, vm_fault_quick_hold_pages.
func TestDiskReadAcrossForkMayBeLost(t *testing.T) {
	const (
		ahead = 400 // jobs that keep the disk busy
		jobs  = 8
		size  = 1 << 20
	)
	r := newRig(t, 2*(ahead+jobs))
	fd := r.memoryDisk(jobs * size)
	limits := r.limits()
	for name, n := range map[string]int{"vfs.aio.max_aio_queue_per_proc": limits.MaxQueuePerProc, "vfs.aio.max_aio_queue": limits.MaxQueue} {
		if err := setSysctlInt(name, 2*(ahead+jobs)); err != nil {
			t.Skipf("the caps cannot be raised: %v", err)
		}
		defer func() {
			if err := setSysctlInt(name, n); err != nil {
				t.Error(err)
			}
		}()
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = 0xd1
	}
	for i := range jobs {
		if _, err := unix.Pwrite(fd, data, int64(i)*size); err != nil {
			t.Fatal(err)
		}
	}
	page := os.Getpagesize()
	for _, forks := range []bool{false, true} {
		bufs := make([][]byte, jobs)
		for i := range bufs {
			mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Munmap(mem) }()
			for at := 0; at < size; at += page {
				mem[at] = 1 // it is there
			}
			bufs[i] = mem
		}
		c := newChild(t)
		var blocks []*ControlBlock
		for range ahead {
			blocks = append(blocks, r.prepare(OpRead, fd, 0, data)) // all into the same
		}
		for i := range bufs {
			blocks = append(blocks, r.prepare(OpRead, fd, int64(i)*size, bufs[i]))
		}
		for _, cb := range blocks {
			r.want("aio_read", r.Read(cb), 0)
		}
		if forks {
			c.start(c.gate())
		}
		// The last byte of each page, and what the first is then.
		early, lost := 0, 0
		for i := range bufs {
			for at := 0; at < size; at += page {
				bufs[i][at+page-1] = 2
				if bufs[i][at] == 0xd1 {
					early++ // it was read before
				}
			}
		}
		r.wait(len(blocks))
		for _, cb := range blocks {
			r.reap(cb, size, 0)
		}
		for i := range bufs {
			for at := 0; at < size; at += page {
				if bufs[i][at] != 0xd1 {
					lost++
				}
			}
		}
		if forks {
			c.open()
			c.end()
		}
		t.Logf("forked %v: of %d pages %d were written to before what they wait for was read, and %d never got it", forks, jobs*size/page, jobs*size/page-early, lost)
		if !forks && lost > 0 {
			t.Error("lost without a fork")
		}
	}
}

// memoryDisk makes a disk in memory, whose requests a thread of the kernel does one
// after the other. Source: md(4); FreeBSD sys/sys/mdioctl.h.
func (r *rig) memoryDisk(size int64) (fd int) {
	r.Helper()
	const autoUnit = 0x04
	type mdIoctl struct {
		version    uint32
		unit       uint32
		kind       int32 // 0: MD_MALLOC
		file       uintptr
		mediaSize  int64
		sectorSize uint32
		options    uint32
		base       uint64
		heads      int32
		sectors    int32
		label      uintptr
		pad        [96]int32
	}
	ctl, err := unix.Open("/dev/mdctl", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Skipf("no memory disks here: %v", err)
	}
	md := &mdIoctl{mediaSize: size, sectorSize: 512, options: autoUnit}
	call := func(n uintptr) error {
		// _IOWR('m', n, struct md_ioctl). The kernel reads and writes it in the call.
		request := 0xc0000000 | unsafe.Sizeof(*md)<<16 | 'm'<<8 | n
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(ctl), request, uintptr(unsafe.Pointer(md)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := call(0); err != nil {
		_ = unix.Close(ctl)
		r.Skipf("no memory disk can be made: %v", err)
	}
	r.Cleanup(func() {
		_ = unix.Close(fd)
		*md = mdIoctl{unit: md.unit}
		if err := call(1); err != nil {
			r.Errorf("the memory disk cannot be removed: %v", err)
		}
		_ = unix.Close(ctl)
	})
	if fd, err = unix.Open(fmt.Sprintf("/dev/md%d", md.unit), unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		r.Fatal(err)
	}
	return fd
}

// inOwnProcess runs this test again, with a variable set.
func inOwnProcess(t *testing.T, env string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1")
	return cmd
}

func setSysctlInt(name string, value int) error {
	if value > math.MaxInt32 {
		return unix.EINVAL
	}
	const sysctlbyname = 570 // 12.2 and later
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	v := int32(value)
	_, _, errno := unix.Syscall6(sysctlbyname, uintptr(unsafe.Pointer(p)), uintptr(len(name)), 0, 0,
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	if errno != 0 {
		return errno
	}
	return nil
}
