//go:build unix

package aiotest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// patience is how long anything may take that must happen.
const patience = 30 * time.Second

// Opcodes that aio does not name. Source: FreeBSD sys/sys/aio.h.
const (
	opSync     aio.Opcode = 0x08 // the kernel's own, refused in lists
	opDataSync aio.Opcode = 0x18
	opMlock    aio.Opcode = 0x20
	opFoffset  aio.Opcode = 0x40 // bit: use and move the file's own offset
)

// noFd is a descriptor number that is not open.
const noFd = 9999

// rig is one case's kernel, event queue, and everything that it has submitted,
// which is reaped at its end.
type rig struct {
	*testing.T
	k      aio.Kernel
	target Target
	kq     int
	jobs   []*job
	dir    string
	before int // jobs in the system when the case began

	signals <-chan unix.Signal // of jobs, see catch
	written int                // writes of disks, to make each another
}

func newRig(t *testing.T, target Target) *rig {
	t.Helper()
	r := &rig{T: t, k: target.New(t), target: target, dir: target.Dir}
	if r.dir == "" {
		r.dir = t.TempDir()
	}
	r.before = r.limits().QueueCount
	var errno aio.Errno
	if r.kq, errno = r.k.Kqueue(); errno != 0 {
		t.Fatalf("kqueue: %v", errno)
	}
	t.Cleanup(r.close)
	return r
}

// left is what a failed case could not get back from the kernel, which may
// still write there.
var left []*job

// close reaps whatever a case has left, and says so if that is not all there
// was. The case's descriptors are closed by now, so slow reads have ended.
func (r *rig) close() {
	for _, j := range r.jobs {
		deadline := time.Now().Add(patience)
		for j.cb.ErrorWord() == aio.EINPROGRESS {
			if r.k.Error(j.cb) == aio.EINPROGRESS {
				if time.Now().After(deadline) {
					r.Errorf("a job does not end; it is left behind")
					left = append(left, j)
					break
				}
				time.Sleep(time.Millisecond)
				continue
			}
			_, _ = r.k.Return(j.cb)
		}
	}
	if now := r.limits().QueueCount; now != r.before {
		r.Errorf("%d jobs are in the system after the case, %d were before", now, r.before)
	}
	r.want("close of the queue", r.k.CloseKqueue(r.kq), 0)
	runtime.KeepAlive(r.jobs)
}

func (r *rig) limits() aio.Limits {
	r.Helper()
	l, err := r.k.Limits()
	if err != nil {
		r.Fatalf("limits: %v", err)
	}
	return l
}

// setLimits changes the sysctls until the end of the case.
func (r *rig) setLimits(change func(l *aio.Limits)) {
	r.Helper()
	if r.target.SetLimits == nil {
		r.Skip("the limits cannot be changed here")
	}
	before := r.limits()
	after := before
	change(&after)
	if err := r.target.SetLimits(r.k, after); err != nil {
		r.Skipf("the limits cannot be changed here: %v", err)
	}
	r.Cleanup(func() {
		if err := r.target.SetLimits(r.k, before); err != nil {
			r.Errorf("the limits cannot be changed back: %v", err)
		}
	})
}

// notModelled skips a case on models.
func (r *rig) notModelled(what string) {
	r.Helper()
	if r.target.IsModel {
		r.Skipf("%s are not modelled", what)
	}
}

// job is one control block with its memory.
type job struct {
	cb  *aio.ControlBlock
	op  aio.Opcode
	buf []byte
	iov []aio.Iovec

	earlier [][]byte // buffers of earlier uses of the block
}

// ident is the ident of the job's event.
func (j *job) ident() uintptr { return uintptr(unsafe.Pointer(j.cb)) }

func (r *rig) job(op aio.Opcode, fd int, off int64, p unsafe.Pointer, n int) *job {
	j := &job{cb: new(aio.ControlBlock), op: op}
	j.cb.Prepare(op, fd, off, p, n, aio.Sigevent{})
	r.jobs = append(r.jobs, j)
	return j
}

// reread prepares the block of an earlier job as another read. The earlier
// buffer stays: its job may be in flight.
func (r *rig) reread(j *job, fd int, off int64, n int, ev aio.Sigevent) {
	j.earlier = append(j.earlier, j.buf)
	j.op, j.buf = aio.OpRead, make([]byte, n)
	j.cb.Prepare(j.op, fd, off, unsafe.Pointer(unsafe.SliceData(j.buf)), n, ev)
}

func (r *rig) read(fd int, off int64, n int) *job {
	buf := make([]byte, n)
	j := r.job(aio.OpRead, fd, off, unsafe.Pointer(unsafe.SliceData(buf)), n)
	j.buf = buf
	return j
}

func (r *rig) write(fd int, off int64, data string) *job {
	buf := []byte(data)
	j := r.job(aio.OpWrite, fd, off, unsafe.Pointer(unsafe.SliceData(buf)), len(buf))
	j.buf = buf
	return j
}

// readv reads into one buffer, in pieces of these lengths.
func (r *rig) readv(fd int, off int64, lengths ...int) *job {
	total := 0
	for _, n := range lengths {
		total += n
	}
	return r.vector(aio.OpReadv, fd, off, make([]byte, total), lengths)
}

func (r *rig) writev(fd int, off int64, parts ...string) *job {
	var buf []byte
	var lengths []int
	for _, p := range parts {
		buf = append(buf, p...)
		lengths = append(lengths, len(p))
	}
	return r.vector(aio.OpWritev, fd, off, buf, lengths)
}

func (r *rig) vector(op aio.Opcode, fd int, off int64, buf []byte, lengths []int) *job {
	iov := make([]aio.Iovec, len(lengths))
	rest := buf
	for i, n := range lengths {
		iov[i] = aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(rest)), Len: uintptr(n)}
		rest = rest[n:]
	}
	j := r.job(op, fd, off, unsafe.Pointer(unsafe.SliceData(iov)), len(iov))
	j.buf, j.iov = buf, iov
	return j
}

func (r *rig) fsync(fd int) *job { return r.job(opSync, fd, 0, nil, 0) }

func (r *rig) datasync(fd int) *job { return r.job(opDataSync, fd, 0, nil, 0) }

func (r *rig) nop(fd int) *job { return r.job(aio.OpNop, fd, 0, nil, 0) }

// notify asks for an event on the case's queue.
func (r *rig) notify(j *job, flags uint16, udata uintptr) *job {
	j.cb.Sigevent = r.kevent(flags, udata)
	return j
}

func (r *rig) kevent(flags uint16, udata uintptr) aio.Sigevent {
	return aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(r.kq), Value: udata, KeventFlags: flags}
}

// submit makes the call that the job is for.
func (r *rig) submit(j *job) aio.Errno {
	switch j.op {
	case aio.OpRead:
		return r.k.Read(j.cb)
	case aio.OpWrite:
		return r.k.Write(j.cb)
	case aio.OpReadv:
		return r.k.Readv(j.cb)
	case aio.OpWritev:
		return r.k.Writev(j.cb)
	case opMlock:
		return r.k.Mlock(j.cb)
	case opSync:
		return r.k.Fsync(aio.Sync, j.cb)
	case opDataSync:
		return r.k.Fsync(aio.DataSync, j.cb)
	}
	panic("no call submits this opcode")
}

// start submits jobs that must be accepted.
func (r *rig) start(jobs ...*job) {
	r.Helper()
	for _, j := range jobs {
		if errno := r.submit(j); errno != 0 {
			r.Fatalf("submission: %s", errno.String())
		}
		r.wantWords("after submission", j, -1, aio.EINPROGRESS)
	}
}

// refused submits a job that must not be accepted, and looks at everything that
// a refused one leaves: its errno in the block, nothing to reap, no event.
func (r *rig) refused(j *job, errno aio.Errno) {
	r.Helper()
	r.want("submission", r.submit(j), errno)
	r.wantRefused(j, errno)
}

func (r *rig) wantRefused(j *job, errno aio.Errno) {
	r.Helper()
	r.wantWords("after the refusal", j, -1, errno)
	r.want("aio_error after the refusal", r.k.Error(j.cb), errno)
	r.wantReturn(j, -1, aio.EINVAL)
	r.want("delete of its event", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDelete}), aio.ENOENT)
	r.quiet("after the refusal")
}

// list submits jobs as a list and gives the array, whose address the list's
// event has.
func (r *rig) list(mode aio.ListMode, sig *aio.Sigevent, jobs ...*job) ([]*aio.ControlBlock, aio.Errno) {
	array := make([]*aio.ControlBlock, len(jobs))
	for i, j := range jobs {
		if j != nil {
			array[i] = j.cb
		}
	}
	return array, r.k.ListIO(mode, array, sig)
}

func arrayIdent(array []*aio.ControlBlock) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(array)))
}

// wait waits until jobs have finished, and reaps none.
func (r *rig) wait(jobs ...*job) {
	r.Helper()
	deadline := time.Now().Add(patience)
	for _, j := range jobs {
		for r.k.Error(j.cb) == aio.EINPROGRESS {
			if time.Now().After(deadline) {
				r.Fatalf("a job has not finished after %v", patience)
			}
			runtime.Gosched()
		}
	}
}

// reap waits for a job and takes its result.
func (r *rig) reap(j *job, n int, errno aio.Errno) {
	r.Helper()
	r.wait(j)
	r.want("aio_error of the finished job", r.k.Error(j.cb), errno)
	r.wantReturn(j, n, errno)
}

// reapAll reaps jobs that must each have moved n bytes.
func (r *rig) reapAll(n int, jobs ...*job) {
	r.Helper()
	for _, j := range jobs {
		r.reap(j, n, 0)
	}
}

func (r *rig) wantReturn(j *job, n int, errno aio.Errno) {
	r.Helper()
	if got, e := r.k.Return(j.cb); got != n || e != errno {
		r.Errorf("aio_return: %d, %s, want %d, %s", got, e.String(), n, errno.String())
	}
}

func (r *rig) want(what string, got, want aio.Errno) {
	r.Helper()
	if got != want {
		r.Errorf("%s: %s, want %s", what, got.String(), want.String())
	}
}

func (r *rig) wantWords(when string, j *job, status int, errno aio.Errno) {
	r.Helper()
	if j.cb.StatusWord() != status || j.cb.ErrorWord() != errno {
		r.Errorf("%s the words are %d and %s, want %d and %s", when,
			j.cb.StatusWord(), j.cb.ErrorWord().String(), status, errno.String())
	}
}

func (r *rig) wantCancel(fd int, cb *aio.ControlBlock, want aio.CancelStatus) {
	r.Helper()
	if got, errno := r.k.Cancel(fd, cb); got != want || errno != 0 {
		r.Errorf("aio_cancel: %d, %s, want %d", got, errno.String(), want)
	}
}

// change applies one change to the queue.
func (r *rig) change(ev aio.Kevent) aio.Errno {
	_, errno := r.k.Kevent(r.kq, []aio.Kevent{ev}, nil, 0)
	return errno
}

// poll takes what is there now, at most n events.
func (r *rig) poll(n int) []aio.Kevent {
	r.Helper()
	return r.sleep(n, 0)
}

// sleep waits for an event and takes at most n, again after a signal.
func (r *rig) sleep(n int, timeout time.Duration) []aio.Kevent {
	r.Helper()
	events := make([]aio.Kevent, n)
	for {
		got, errno := r.k.Kevent(r.kq, nil, events, timeout)
		if errno == 0 {
			return events[:got]
		}
		if errno != aio.EINTR {
			r.Fatalf("kevent: %s", errno.String())
		}
	}
}

// event waits for one event and takes only that.
func (r *rig) event() aio.Kevent {
	r.Helper()
	events := r.sleep(1, patience)
	if len(events) == 0 {
		r.Fatalf("no event after %v", patience)
	}
	return events[0]
}

// wantEvent waits for the event of a job.
func (r *rig) wantEvent(j *job, flags uint16, errno aio.Errno, udata uintptr) {
	r.Helper()
	ev := r.event()
	want := aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvEOF | flags, Data: int64(errno), Udata: udata}
	if ev != want {
		r.Errorf("event %+v, want %+v", ev, want)
	}
}

// wantListEvent waits for the event of a list.
func (r *rig) wantListEvent(array []*aio.ControlBlock, udata uintptr) {
	r.Helper()
	ev := r.event()
	want := aio.Kevent{Ident: arrayIdent(array), Filter: aio.FilterLIO, Udata: udata}
	if ev != want {
		r.Errorf("event %+v, want %+v", ev, want)
	}
}

// quiet says that no event is there. Nothing need be waited for: a job whose
// end is known has posted what it will ever post.
func (r *rig) quiet(when string) {
	r.Helper()
	if events := r.poll(8); len(events) != 0 {
		r.Errorf("%s there are events: %+v", when, events)
	}
}

// file makes a file of n bytes and opens it for reading and writing.
func (r *rig) file(n int) int {
	r.Helper()
	_, fd := r.named(n)
	return fd
}

// named is file with the name.
func (r *rig) named(n int) (name string, fd int) {
	r.Helper()
	f, err := os.CreateTemp(r.dir, "file")
	if err != nil {
		r.Fatal(err)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = pattern(i)
	}
	if _, err := f.Write(data); err != nil {
		r.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.Remove(f.Name()) })
	return f.Name(), r.open(f.Name(), unix.O_RDWR)
}

// open opens a descriptor that no Go poller knows of.
func (r *rig) open(name string, flags int) int {
	r.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		r.Fatalf("open %s: %v", name, err)
	}
	r.closeLater(fd)
	return fd
}

func (r *rig) closeLater(fds ...int) {
	r.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // many cases have closed it
		}
	})
}

func (r *rig) pipe() (reader, writer int) {
	r.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		r.Fatal(err)
	}
	r.closeLater(p[:]...)
	return p[0], p[1]
}

func (r *rig) sockets() (a, b int) {
	r.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.closeLater(p[:]...)
	return p[0], p[1]
}

func (r *rig) fifo() int {
	r.Helper()
	return r.open(r.fifoName(), unix.O_RDWR)
}

func (r *rig) fifoName() string {
	r.Helper()
	name := filepath.Join(r.TempDir(), "fifo")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		r.Fatal(err)
	}
	return name
}

// pattern is byte i of a file.
func pattern(i int) byte { return byte(i*7 + i>>8*13 + i>>16*29) }

func (r *rig) wantPattern(buf []byte, off int) {
	r.Helper()
	for i, b := range buf {
		if b != pattern(off+i) {
			r.Fatalf("byte %d, read at %d, is %#x, want %#x", off+i, off, b, pattern(off+i))
		}
	}
}

// wantContent says what a file holds at off.
func (r *rig) wantContent(fd int, off int64, want string) {
	r.Helper()
	buf := make([]byte, len(want))
	n, err := unix.Pread(fd, buf, off)
	if err != nil || string(buf[:n]) != want {
		r.Errorf("the file has %q at %d (%v), want %q", buf[:n], off, err, want)
	}
}

// slow is a descriptor on which reads of one byte do not finish before letGo.
type slow struct {
	r       *rig
	fd      int
	peer    int // of a socket
	pending int
	release []func()
}

func (r *rig) slow() *slow {
	r.Helper()
	s := &slow{r: r}
	if r.target.Stall == nil {
		s.fd, s.peer = r.sockets()
	} else {
		s.fd = r.file(64)
		r.Cleanup(s.letGo)
	}
	return s
}

func (s *slow) read() *job {
	j := s.r.read(s.fd, 0, 1)
	s.stall(j)
	return j
}

func (s *slow) stall(j *job) {
	s.pending++
	if s.r.target.Stall != nil {
		s.release = append(s.release, s.r.target.Stall(s.r.k, j.cb))
	}
}

// letGo lets all reads finish, each with one byte.
func (s *slow) letGo() {
	if s.r.target.Stall == nil {
		if _, err := unix.Write(s.peer, make([]byte, s.pending)); err != nil {
			s.r.Errorf("write to the socket: %v", err)
		}
	}
	for _, release := range s.release {
		release()
	}
	s.pending, s.release = 0, nil
}

// notKqueue is the answer for a descriptor that is no kqueue.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_acquire.
func (r *rig) notKqueue() aio.Errno {
	if r.target.Osreldate >= 1500000 {
		return aio.EINVAL
	}
	return aio.EBADF
}
