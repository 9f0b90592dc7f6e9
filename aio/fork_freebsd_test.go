package aio

import (
	"os"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child of fork(2) sees of its parent's jobs. Go has no fork without exec,
// and nothing of its runtime works in a child of one thread: so the child makes
// system calls that were written down before, and no more.

// step is one system call of the child.
type step struct {
	trap uintptr
	args [6]uintptr

	result uintptr
	errno  syscall.Errno
}

// child is a process that goes through steps.
type child struct {
	t     *testing.T
	steps []step
	pid   int
	gates [2]int // a byte lets it through a gate step
	out   [2]int // its steps with their results come back here
}

// gate is a step that waits for open.
func (c *child) gate() step {
	return step{trap: unix.SYS_READ, args: [6]uintptr{uintptr(c.gates[0]), uintptr(unsafe.Pointer(&gateByte)), 1}}
}

var gateByte [8]byte

// send is a step that sends memory of the child to the parent.
func (c *child) send(p unsafe.Pointer, n uintptr) step {
	return step{trap: unix.SYS_WRITE, args: [6]uintptr{uintptr(c.out[1]), uintptr(p), n}}
}

func newChild(t *testing.T) *child {
	t.Helper()
	c := &child{t: t}
	for _, p := range []*[2]int{&c.gates, &c.out} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.close)
	return c
}

// start forks.
func (c *child) start(steps ...step) {
	c.t.Helper()
	c.steps = steps
	pid, errno := forkSteps(c.steps, uintptr(c.out[1]))
	if errno != 0 {
		c.t.Fatalf("fork: %v", errno)
	}
	c.pid = int(pid)
}

// forkSteps is fork(2), and in the child everything until its end. Nothing of it
// may grow the stack or be preempted.
//
//go:nosplit
//go:norace
func forkSteps(steps []step, out uintptr) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall(unix.SYS_FORK, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for i := range steps {
		s := &steps[i]
		s.result, _, s.errno = syscall.RawSyscall6(s.trap, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
	}
	syscall.RawSyscall(unix.SYS_WRITE, out, uintptr(unsafe.Pointer(&steps[0])), uintptr(len(steps))*unsafe.Sizeof(step{}))
	for {
		syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	}
}

// open lets the child through its next gate.
func (c *child) open() {
	c.t.Helper()
	if _, err := unix.Write(c.gates[1], []byte{1}); err != nil {
		c.t.Fatal(err)
	}
}

// receive takes n bytes that the child has sent.
func (c *child) receive(n int) []byte {
	c.t.Helper()
	buf := make([]byte, n)
	for got := 0; got < n; {
		fds := []unix.PollFd{{Fd: int32(c.out[0]), Events: unix.POLLIN}}
		if m, err := unix.Poll(fds, int(patience/time.Millisecond)); err == unix.EINTR {
			continue
		} else if m == 0 {
			_ = unix.Kill(c.pid, unix.SIGKILL)
			c.t.Fatalf("the child has sent %d of %d bytes", got, n)
		}
		m, err := unix.Read(c.out[0], buf[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			c.t.Fatalf("read from the child: %d, %v", m, err)
		}
		got += m
	}
	return buf
}

// end waits for the end of the child, whose steps then have their results.
func (c *child) end() {
	c.t.Helper()
	buf := c.receive(len(c.steps) * int(unsafe.Sizeof(step{})))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&c.steps[0])), len(buf)), buf)
	for {
		if _, err := unix.Wait4(c.pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// close gives the pipes back.
func (c *child) close() {
	for _, p := range []*[2]int{&c.gates, &c.out} {
		for i := range p {
			if p[i] >= 0 {
				_ = unix.Close(p[i])
			}
			p[i] = -1
		}
	}
}

func (c *child) want(i int, what string, result uintptr, errno Errno) {
	c.t.Helper()
	if s := c.steps[i]; s.errno != syscall.Errno(errno) || errno == 0 && s.result != result {
		c.t.Errorf("%s in the child: %d, %v, want %d, %v", what, s.result, s.errno, result, errno)
	}
}

// A child has its parent's blocks and none of its jobs. Before it uses AIO itself it
// is a process that never has; then the words in its copy of a block answer, for ever.
// Source: FreeBSD sys/kern/vfs_aio.c: p_aioinfo is not inherited; kqueue(2).
func TestForkedChildHasNoJobs(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.sockets()
	buf := make([]byte, 8)
	cb := r.prepare(OpRead, a, 0, buf)
	r.want("aio_read", r.Read(cb), 0)
	at := uintptr(unsafe.Pointer(cb))
	list := &[1]uintptr{at} // of addresses, as the child has no others
	c := newChild(t)
	c.start(
		step{trap: sysAioError, args: [6]uintptr{at}},
		step{trap: sysAioReturn, args: [6]uintptr{at}},
		step{trap: sysAioCancel, args: [6]uintptr{uintptr(a), 0}},
		step{trap: sysAioSuspend, args: [6]uintptr{uintptr(unsafe.Pointer(list)), 1}},
		step{trap: unix.SYS_FCNTL, args: [6]uintptr{uintptr(r.kq), unix.F_GETFD}},
		step{trap: sysAioWaitcomplete, args: [6]uintptr{uintptr(unsafe.Pointer(new(uintptr))), uintptr(unsafe.Pointer(new(unix.Timespec)))}},
		step{trap: sysAioError, args: [6]uintptr{at}},
		step{trap: sysAioReturn, args: [6]uintptr{at}},
		step{trap: sysAioSuspend, args: [6]uintptr{uintptr(unsafe.Pointer(list)), 1}},
		step{trap: sysAioCancel, args: [6]uintptr{uintptr(a), at}},
	)
	c.end()
	c.want(0, "aio_error", uintptr(EINVAL), 0)
	c.want(1, "aio_return", 0, EINVAL)
	c.want(2, "aio_cancel", uintptr(AllDone), 0)
	c.want(3, "aio_suspend", 0, EAGAIN)
	c.want(4, "fcntl of the queue", 0, EBADF)
	c.want(5, "aio_waitcomplete", 0, EAGAIN)
	c.want(6, "aio_error, now that it has used AIO", uintptr(EINPROGRESS), 0)
	c.want(7, "aio_return", 0, EINVAL)
	c.want(8, "aio_suspend", 0, 0)
	c.want(9, "aio_cancel", uintptr(AllDone), 0)
	if _, err := unix.Write(b, []byte("parents")); err != nil {
		t.Fatal(err)
	}
	r.wait(1)
	r.reap(cb, 7, 0)
}

// A queue that is copied on fork takes the events of jobs along: the child is told
// of the end of its parent's, until the parent reaps it. Its own event the parent
// gets all the same.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_fork, and filt_aio's f_copy.
func TestQueueCopiedOnForkTellsOfTheParentsJobs(t *testing.T) {
	r := newRig(t, 4)
	kq := r.copiedQueue()
	a, b := r.sockets()
	cb := r.prepare(OpRead, a, 0, make([]byte, 8))
	cb.Sigevent.Kqueue, cb.Sigevent.KeventFlags, cb.Sigevent.Value = int32(kq), 0, 77
	r.want("aio_read", r.Read(cb), 0)

	c := newChild(t)
	events := make([]Kevent, 2)
	fetch := step{trap: sysKevent, args: [6]uintptr{uintptr(kq), 0, 0, uintptr(unsafe.Pointer(&events[0])), 2, uintptr(unsafe.Pointer(new(unix.Timespec)))}}
	send := c.send(unsafe.Pointer(&events[0]), unsafe.Sizeof(events[0]))
	looked := c.send(unsafe.Pointer(&events[0]), 1)
	c.start(fetch, looked, c.gate(), fetch, send, c.gate(), fetch)
	c.receive(1)

	if _, err := unix.Write(b, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	got := make([]Kevent, 2)
	n, e := r.Kevent(kq, nil, got, patience)
	if n != 1 || e != 0 || got[0].Ident != uintptr(unsafe.Pointer(cb)) || got[0].Udata != 77 {
		t.Errorf("the parent's event: %d, %v, %+v", n, e, got[0])
	}
	c.open()
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&events[0])), unsafe.Sizeof(events[0])), c.receive(int(unsafe.Sizeof(events[0]))))
	r.reap(cb, 3, 0)
	c.open()
	c.end()
	c.want(0, "kevent before the end", 0, 0)
	c.want(3, "kevent after the end", 1, 0)
	c.want(6, "kevent after the parent's reap", 0, 0)
	if events[0] != got[0] {
		t.Errorf("the child's event is %+v, the parent's %+v", events[0], got[0])
	}
}

// The copy looks at the queue while jobs end, and an event that comes at that moment
// may be lost to the parent. Seen or not, a job without its event has ended and can be
// reaped.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_fork_copy_list and knote.
func TestForkWhileJobsEnd(t *testing.T) {
	const (
		rounds = 50
		jobs   = 64
	)
	r := newRig(t, rounds*jobs)
	kq := r.copiedQueue()
	fd := int(r.file(4096).Fd())
	lost := 0
	for range rounds {
		blocks := make([]*ControlBlock, jobs)
		for i := range blocks {
			blocks[i] = r.prepare(OpRead, fd, 0, make([]byte, 4096))
			blocks[i].Sigevent.Kqueue = int32(kq)
		}
		c := newChild(t)
		for _, cb := range blocks {
			r.want("aio_read", r.Read(cb), 0)
		}
		c.start(step{trap: unix.SYS_GETPID})
		for _, cb := range blocks {
			for deadline := time.Now().Add(patience); r.Error(cb) == EINPROGRESS; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a job does not end")
				}
			}
		}
		c.end()
		events := make([]Kevent, jobs)
		got := 0
		for {
			n, errno := r.Kevent(kq, nil, events, 0)
			if errno == EINTR {
				continue
			}
			if errno != 0 {
				t.Fatal(errno)
			}
			if n == 0 {
				break
			}
			got += n
		}
		lost += jobs - got
		for _, cb := range blocks {
			r.reap(cb, 4096, 0)
		}
		c.close()
	}
	t.Logf("%d forks with %d jobs each under way: %d events of %d were lost", rounds, jobs, lost, rounds*jobs)
}

// copiedQueue is a queue that a child of fork has a copy of, under the same number.
func (r *rig) copiedQueue() int {
	const (
		sysKqueuex     = 583
		kqueueCponfork = 2
	)
	r.Helper()
	if r.Osreldate() < 1400000 {
		r.Skip("kqueuex(2) came with 14.0, and where it is missing the call kills the process")
	}
	fd, _, errno := unix.Syscall(sysKqueuex, kqueueCponfork, 0, 0)
	if errno == unix.EINVAL {
		r.Skip("this kernel has no KQUEUE_CPONFORK")
	}
	if errno != 0 {
		r.Fatal(errno)
	}
	r.Cleanup(func() { _ = unix.Close(int(fd)) })
	return int(fd)
}

// sockets are two ends of a local stream.
func (r *rig) sockets() (a, b int) {
	r.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = unix.Close(p[0]); _ = unix.Close(p[1]) })
	return p[0], p[1]
}

// rawDisk is the disk that may be overwritten.
func (r *rig) rawDisk() int {
	r.Helper()
	path := os.Getenv("AIORING_RAW_DISK")
	if path == "" {
		path = "/dev/vtbd1"
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Skipf("no raw disk here: %v", err)
	}
	r.Cleanup(func() { _ = unix.Close(fd) })
	if st, errno := r.Fstat(fd); errno != 0 || st.Type != TypeDisk {
		r.Skipf("%s is no disk", path)
	}
	return fd
}
