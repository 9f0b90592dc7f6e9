//go:build unix

package sim

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// The errnos of a submission, and what a refused one leaves in user memory:
// status -1 and the errno (observed on 13.2 and 15).
func TestSubmitRefuses(t *testing.T) {
	r := newRig(t, Config{})
	path := r.f.Name()
	open := func(flag int) int {
		fd, err := unix.Open(path, flag|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	rdonly, wronly := open(unix.O_RDONLY), open(unix.O_WRONLY)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	sock, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range append(pipe[:], sock[:]...) {
			unix.Close(fd)
		}
	})
	buf := make([]byte, 8)
	iovs := make([]aio.Iovec, aio.MaxIovecs+1)
	for i := range iovs {
		iovs[i] = aio.Iovec{Base: unsafe.Pointer(&buf[0]), Len: 1}
	}
	big := []aio.Iovec{{Base: unsafe.Pointer(&buf[0]), Len: maxIO}, {Base: unsafe.Pointer(&buf[0]), Len: 1}}

	cases := []struct {
		name string
		edit func(cb *aio.ControlBlock)
		call func(cb *aio.ControlBlock) aio.Errno
		want aio.Errno
	}{
		{"bad descriptor", func(cb *aio.ControlBlock) { cb.Fd = 9999 }, r.Kernel.Read, aio.EBADF},
		{"descriptor -1", func(cb *aio.ControlBlock) { cb.Fd = -1 }, r.Kernel.Write, aio.EBADF},
		{"write on read-only", func(cb *aio.ControlBlock) { cb.Fd = int32(rdonly) }, r.Kernel.Write, aio.EBADF},
		{"read on write-only", func(cb *aio.ControlBlock) { cb.Fd = int32(wronly) }, r.Kernel.Read, aio.EBADF},
		{"negative offset", func(cb *aio.ControlBlock) { cb.Offset = -1 }, r.Kernel.Read, aio.EINVAL},
		{"negative offset, bad descriptor first", func(cb *aio.ControlBlock) { cb.Offset = -1; cb.Fd = 9999 }, r.Kernel.Read, aio.EBADF},
		{"length over SSIZE_MAX", func(cb *aio.ControlBlock) { cb.Nbytes = math.MaxUint }, r.Kernel.Read, aio.EINVAL},
		{"length before descriptor", func(cb *aio.ControlBlock) { cb.Nbytes = math.MaxUint; cb.Fd = 9999 }, r.Kernel.Read, aio.EINVAL},
		{"SIGEV_THREAD", func(cb *aio.ControlBlock) { cb.Sigevent.Notify = 2 }, r.Kernel.Read, aio.EINVAL},
		{"unknown notification", func(cb *aio.ControlBlock) { cb.Sigevent.Notify = 9 }, r.Kernel.Read, aio.EINVAL},
		{"signal 0", func(cb *aio.ControlBlock) { cb.Sigevent.Notify = aio.NotifySignal }, r.Kernel.Read, aio.EINVAL},
		{"signal 129", func(cb *aio.ControlBlock) { cb.Sigevent.Notify = aio.NotifySignal; cb.Sigevent.Kqueue = 129 }, r.Kernel.Read, aio.EINVAL},
		{"EV_ADD in the flags", func(cb *aio.ControlBlock) { cb.Sigevent = r.kevent(aio.EvAdd, 0) }, r.Kernel.Read, aio.EINVAL},
		{"EV_ENABLE in the flags", func(cb *aio.ControlBlock) { cb.Sigevent = r.kevent(aio.EvOneshot|aio.EvEnable, 0) }, r.Kernel.Read, aio.EINVAL},
		{"flags before kqueue", func(cb *aio.ControlBlock) { cb.Sigevent = r.kevent(aio.EvAdd, 0); cb.Sigevent.Kqueue = 9999 }, r.Kernel.Read, aio.EINVAL},
		{"bad kqueue", func(cb *aio.ControlBlock) { cb.Sigevent = r.kevent(0, 0); cb.Sigevent.Kqueue = 9999 }, r.Kernel.Read, aio.EBADF},
		{"a file as kqueue", func(cb *aio.ControlBlock) { cb.Sigevent = r.kevent(0, 0); cb.Sigevent.Kqueue = int32(r.fd) }, r.Kernel.Read, aio.EINVAL},
		{"descriptor before kqueue", func(cb *aio.ControlBlock) {
			cb.Sigevent = r.kevent(0, 0)
			cb.Sigevent.Kqueue = int32(r.fd)
			cb.Fd = 9999
		}, r.Kernel.Read, aio.EBADF},
		{"kqueue before descriptor type", func(cb *aio.ControlBlock) {
			cb.Sigevent = r.kevent(0, 0)
			cb.Sigevent.Kqueue = int32(r.fd)
			cb.Fd = int32(null.Fd())
		}, r.Kernel.Read, aio.EINVAL},
		{"1025 iovecs", func(cb *aio.ControlBlock) { cb.Buf = uintptr(unsafe.Pointer(&iovs[0])); cb.Nbytes = 1025 }, r.Kernel.Readv, aio.EINVAL},
		{"iovecs over SSIZE_MAX", func(cb *aio.ControlBlock) { cb.Buf = uintptr(unsafe.Pointer(&big[0])); cb.Nbytes = 2 }, r.Kernel.Readv, aio.EINVAL},
		{"no iovec array", func(cb *aio.ControlBlock) { cb.Buf = 0; cb.Nbytes = 1 }, r.Kernel.Readv, aio.EFAULT},
		{"iovecs before descriptor", func(cb *aio.ControlBlock) { cb.Buf = 0; cb.Nbytes = 1; cb.Fd = 9999 }, r.Kernel.Writev, aio.EFAULT},
		{"null device", func(cb *aio.ControlBlock) { cb.Fd = int32(null.Fd()) }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"null device, negative offset", func(cb *aio.ControlBlock) { cb.Fd = int32(null.Fd()); cb.Offset = -1 }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"null device, with event", func(cb *aio.ControlBlock) { cb.Fd = int32(null.Fd()); cb.Sigevent = r.kevent(0, 0) }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"pipe", func(cb *aio.ControlBlock) { cb.Fd = int32(pipe[0]) }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"pipe, negative offset", func(cb *aio.ControlBlock) { cb.Fd = int32(pipe[1]); cb.Offset = -1 }, r.Kernel.Write, aio.EINVAL},
		{"pipe, the other end", func(cb *aio.ControlBlock) { cb.Fd = int32(pipe[1]) }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"kqueue", func(cb *aio.ControlBlock) { cb.Fd = int32(r.kq) }, r.Kernel.Read, aio.EOPNOTSUPP},
		{"fsync of a bad descriptor", func(cb *aio.ControlBlock) { cb.Fd = 9999 }, r.sync, aio.EBADF},
		{"fsync of a pipe", func(cb *aio.ControlBlock) { cb.Fd = int32(pipe[1]) }, r.sync, aio.EINVAL},
		{"fsync of a socket", func(cb *aio.ControlBlock) { cb.Fd = int32(sock[1]) }, r.sync, aio.EINVAL},
		{"fsync of a kqueue", func(cb *aio.ControlBlock) { cb.Fd = int32(r.kq) }, r.sync, aio.EINVAL},
		{"fsync of a device", func(cb *aio.ControlBlock) { cb.Fd = int32(null.Fd()) }, r.sync, aio.EOPNOTSUPP},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &rig{Kernel: r.Kernel, t: t, kq: r.kq}
			o := &op{cb: new(aio.ControlBlock), buf: buf}
			o.cb.Prepare(0, r.fd, 0, unsafe.Pointer(&buf[0]), len(buf), aio.Sigevent{})
			o.cb.Fd = int32(fdOf(t, path))
			c.edit(o.cb)
			r.wantErrno("submit", c.call(o.cb), c.want)
			r.wantWords(o, -1, c.want)
			r.wantErrno("Error", r.Error(o.cb), c.want)
			r.wantReturn(o, -1, aio.EINVAL)
			r.wantErrno("delete of its knote", r.change(aioChange(o, aio.EvDelete)), aio.ENOENT)
			r.wantEvents(0)
			if st := r.Stats(); st.Accepted != 0 {
				t.Errorf("accepted %d", st.Accepted)
			}
		})
	}
	runtime.KeepAlive(iovs)
}

func (r *rig) sync(cb *aio.ControlBlock) aio.Errno { return r.Fsync(aio.Sync, cb) }

// fdOf opens the file for one test.
func fdOf(t *testing.T, path string) int {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestFileAsKqueueByProfile(t *testing.T) {
	for _, p := range []Profile{V13, V14, V15} {
		r := newRig(t, Config{Profile: p})
		want := aio.EBADF
		if p == V15 {
			want = aio.EINVAL
		}
		ev := r.kevent(0, 0)
		ev.Kqueue = int32(r.fd)
		r.wantErrno(p.String()+" sigevent", r.Read(r.op(0, 0, make([]byte, 1), ev).cb), want)
		_, errno := r.Kevent(r.fd, nil, nil, 0)
		r.wantErrno(p.String()+" kevent", errno, want)
		_, errno = r.Kevent(9999, nil, nil, 0)
		r.wantErrno(p.String()+" closed", errno, aio.EBADF)
	}
}

func TestFsyncBadOp(t *testing.T) {
	r := newRig(t, Config{})
	o := r.op(0, 0, nil, aio.Sigevent{})
	r.wantErrno("Fsync(7)", r.Fsync(7, o.cb), aio.EINVAL)
	if o.cb.Touched() {
		t.Error("a bad op must not touch the block")
	}
}

// A full queue answers EAGAIN before it looks at anything else.
func TestCapBeforeEverything(t *testing.T) {
	r := newRig(t, Config{Limits: aio.Limits{MaxQueuePerProc: 1}})
	r.Hold()
	o := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})
	r.wantErrno("first", r.Read(o.cb), 0)
	bad := r.op(aio.OpRead, -5, make([]byte, 1), aio.Sigevent{Notify: 99})
	bad.cb.Fd = 9999
	r.wantErrno("second", r.Read(bad.cb), aio.EAGAIN)
	r.wantWords(bad, -1, aio.EAGAIN)
	r.wantErrno("no block", r.Read(nil), aio.EAGAIN)
	r.Release()
	r.settle()
	r.wantReturn(o, 0, 0)
	r.wantErrno("no block, room", r.Read(nil), aio.EFAULT)
}

// The words over time (part 2.2): -1 and EINPROGRESS until the reap, whatever
// became of the job.
func TestWordsChangeAtTheReapOnly(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.op(0, 0, []byte("hello"), aio.Sigevent{})
	o.cb.Prepare(0, r.fd, 0, unsafe.Pointer(&o.buf[0]), 5, aio.Sigevent{})
	if o.cb.Touched() {
		t.Error("touched by Prepare")
	}
	r.wantErrno("Error before any use", r.Error(o.cb), aio.EINVAL)
	r.wantErrno("submit", r.Write(o.cb), 0)
	r.wantWords(o, -1, aio.EINPROGRESS)
	r.wantErrno("Error while queued", r.Error(o.cb), aio.EINPROGRESS)
	r.wantReturn(o, -1, aio.EINVAL)
	r.wantWords(o, -1, aio.EINPROGRESS)
	r.Release()
	r.settle()
	r.wantErrno("Error when finished", r.Error(o.cb), 0)
	r.wantWords(o, -1, aio.EINPROGRESS)
	r.wantReturn(o, 5, 0)
	r.wantWords(o, 5, 0)
	r.wantErrno("Error after the reap", r.Error(o.cb), aio.EINVAL)
	r.wantReturn(o, -1, aio.EINVAL)
	r.wantWords(o, 5, 0)
}

func TestReapedFailureStaysReadable(t *testing.T) {
	r := newRig(t, Config{})
	r.write(0, "x")
	o := r.op(0, 0, nil, r.kevent(aio.EvOneshot, 0))
	o.cb.Buf, o.cb.Nbytes = 16, 1 // no address
	r.wantErrno("submit", r.Read(o.cb), 0)
	r.settle()
	if ev := r.wantEvents(1); ev[0].Data != int64(aio.EFAULT) {
		t.Errorf("event %+v, want EFAULT", ev[0])
	}
	r.wantErrno("Error", r.Error(o.cb), aio.EFAULT)
	r.wantReturn(o, -1, aio.EFAULT)
	r.wantWords(o, -1, aio.EFAULT)
	r.wantErrno("Error after the reap", r.Error(o.cb), aio.EFAULT)
	r.wantReturn(o, -1, aio.EINVAL)
}

// What transfers answer (part 5.4).
func TestResults(t *testing.T) {
	const content = "0123456789"
	cases := []struct {
		name string
		run  func(r *rig) *op
		n    int
		err  aio.Errno
		want string // the buffer, or the file after a write
	}{
		{"read", func(r *rig) *op { return r.start(r.Read, r.op(0, 2, make([]byte, 3), aio.Sigevent{})) }, 3, 0, "234"},
		{"read across the end", func(r *rig) *op { return r.start(r.Read, r.op(0, 8, make([]byte, 5), aio.Sigevent{})) }, 2, 0, "89\x00\x00\x00"},
		{"read past the end", func(r *rig) *op { return r.start(r.Read, r.op(0, 50, make([]byte, 2), aio.Sigevent{})) }, 0, 0, "\x00\x00"},
		{"read of nothing", func(r *rig) *op { return r.start(r.Read, r.op(0, 0, nil, aio.Sigevent{})) }, 0, 0, ""},
		{"write of nothing", func(r *rig) *op { return r.start(r.Write, r.op(0, 0, nil, aio.Sigevent{})) }, 0, 0, content},
		{"write", func(r *rig) *op { return r.start(r.Write, r.op(0, 4, []byte("ab"), aio.Sigevent{})) }, 2, 0, "0123ab6789"},
		{"write past the end", func(r *rig) *op { return r.start(r.Write, r.op(0, 12, []byte("ab"), aio.Sigevent{})) }, 2, 0, content + "\x00\x00ab"},
		{"readv", func(r *rig) *op {
			o := r.opv(0, 1, aio.Sigevent{}, make([]byte, 2), nil, make([]byte, 3))
			return r.start(r.Readv, o)
		}, 5, 0, ""},
		{"readv across the end", func(r *rig) *op {
			return r.start(r.Readv, r.opv(0, 7, aio.Sigevent{}, make([]byte, 2), make([]byte, 3)))
		}, 3, 0, ""},
		{"readv of no iovecs", func(r *rig) *op { return r.start(r.Readv, r.opv(0, 0, aio.Sigevent{})) }, 0, 0, ""},
		{"writev of no iovecs", func(r *rig) *op { return r.start(r.Writev, r.opv(0, 0, aio.Sigevent{})) }, 0, 0, content},
		{"writev", func(r *rig) *op {
			return r.start(r.Writev, r.opv(0, 0, aio.Sigevent{}, []byte("ab"), []byte("c")))
		}, 3, 0, "abc3456789"},
		{"writev with a bad element", func(r *rig) *op {
			o := r.opv(0, 0, aio.Sigevent{}, []byte("ab"))
			o.iov = append(o.iov, aio.Iovec{Len: 3})
			o.cb.Prepare(0, r.fd, 0, unsafe.Pointer(&o.iov[0]), 2, aio.Sigevent{})
			return r.start(r.Writev, o)
		}, -1, aio.EFAULT, content},
		{"no address", func(r *rig) *op {
			o := r.op(0, 0, nil, aio.Sigevent{})
			o.cb.Nbytes = 4
			return r.start(r.Write, o)
		}, -1, aio.EFAULT, content},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.write(0, content)
			if off, err := r.f.Seek(3, 0); off != 3 || err != nil {
				t.Fatal(off, err)
			}
			o := c.run(r)
			r.settle()
			r.wantReturn(o, c.n, c.err)
			if off, _ := r.f.Seek(0, 1); off != 3 {
				t.Errorf("the file's own offset moved to %d", off)
			}
			if c.want == "" {
				return
			}
			got := string(o.buf)
			if !strings.Contains(c.name, "read") {
				b, _ := os.ReadFile(r.f.Name())
				got = string(b)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func (r *rig) start(call func(*aio.ControlBlock) aio.Errno, o *op) *op {
	r.t.Helper()
	r.wantErrno("submit", call(o.cb), 0)
	return o
}

func TestDirectoryReadIsEISDIR(t *testing.T) {
	r := newRig(t, Config{})
	d, err := os.Open(filepath.Dir(r.f.Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o := r.op(0, 0, make([]byte, 8), r.kevent(aio.EvOneshot, 0))
	o.cb.Fd = int32(d.Fd())
	r.start(r.Read, o)
	r.settle()
	if ev := r.wantEvents(1); ev[0].Data != int64(aio.EISDIR) {
		t.Errorf("event %+v", ev[0])
	}
	r.wantReturn(o, -1, aio.EISDIR)
}

func TestAppendIgnoresTheOffset(t *testing.T) {
	r := newRig(t, Config{})
	r.write(0, "0123")
	fd, err := unix.Open(r.f.Name(), unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o := r.op(0, 0, []byte("ab"), aio.Sigevent{})
	o.cb.Fd = int32(fd)
	r.start(r.Write, o)
	r.settle()
	r.wantReturn(o, 2, 0)
	if b, _ := os.ReadFile(r.f.Name()); string(b) != "0123ab" {
		t.Errorf("%q", b)
	}
	o.cb.Offset = -1
	r.wantErrno("negative", r.Write(o.cb), aio.EINVAL)
}

// A length of 2 GiB is accepted; what counts is the file.
func TestLongReadOfShortFile(t *testing.T) {
	length := math.MaxInt32
	length += 1 << 20
	if length < 0 {
		t.Skip("no room for it")
	}
	r := newRig(t, Config{})
	r.write(0, "abc")
	buf, err := unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(buf)
	o := r.start(r.Read, r.op(0, 0, buf, aio.Sigevent{}))
	r.settle()
	r.wantReturn(o, 3, 0)
	if string(buf[:3]) != "abc" {
		t.Errorf("%q", buf[:3])
	}
}

// 1024 iovecs pass; their array may be reused as soon as the call is over.
func TestIovecsAreCopied(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	data := make([]byte, 1024)
	bufs := make([][]byte, 1024)
	for i := range bufs {
		data[i] = byte(i)
		bufs[i] = data[i : i+1]
	}
	o := r.start(r.Writev, r.opv(0, 0, aio.Sigevent{}, bufs...))
	clear(o.iov)
	r.Release()
	r.settle()
	r.wantReturn(o, 1024, 0)
	if b, _ := os.ReadFile(r.f.Name()); string(b) != string(data) {
		t.Error("the file differs")
	}
}

// The block is copied at submission too.
func TestBlockIsCopied(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.start(r.Write, r.op(0, 0, []byte("abc"), r.kevent(0, 5)))
	o.cb.Fd, o.cb.Offset, o.cb.Nbytes, o.cb.Sigevent.Value = -1, 99, 1, 6
	r.Release()
	r.settle()
	if ev := r.wantEvents(1); ev[0].Udata != 5 {
		t.Errorf("event %+v", ev[0])
	}
	r.wantReturn(o, 3, 0)
}

// close(2) with a job in flight: the file stays open for the job, whoever gets
// the number.
func TestCloseWithJobInFlight(t *testing.T) {
	r := newRig(t, Config{})
	r.write(0, "old")
	r.Hold()
	fd := fdUnowned(t, r.f.Name())
	o := r.op(0, 0, make([]byte, 3), aio.Sigevent{})
	o.cb.Fd = int32(fd)
	r.start(r.Read, o)
	w := r.op(0, 3, []byte("!"), aio.Sigevent{})
	w.cb.Fd = int32(fd)
	r.start(r.Write, w)
	r.wantErrno("Close", r.Close(fd), 0)
	_, errno := r.Cancel(fd, o.cb)
	r.wantErrno("Cancel by the closed number", errno, aio.EBADF)

	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := fdUnowned(t, other)
	defer unix.Close(again)
	if again != fd {
		t.Skipf("the number was not reused (%d, %d)", fd, again)
	}
	o2 := r.op(0, 0, make([]byte, 3), aio.Sigevent{})
	o2.cb.Fd = int32(again)
	r.start(r.Read, o2)
	// By number, the new file's descriptor reaches the old file's job.
	st, errno := r.Cancel(again, w.cb)
	if st != aio.Cancelled || errno != 0 {
		t.Errorf("Cancel by the reused number: %v %v", st, errno)
	}
	r.Release()
	r.settle()
	r.wantReturn(o, 3, 0)
	r.wantReturn(o2, 3, 0)
	r.wantReturn(w, -1, aio.ECANCELED)
	if string(o.buf) != "old" || string(o2.buf) != "new" {
		t.Errorf("%q, %q", o.buf, o2.buf)
	}
}

func fdUnowned(t *testing.T, path string) int {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// The same block twice: both accepted, one event, with the later label; the
// reaps come in order of completion (observed).
func TestResubmitInFlight(t *testing.T) {
	r := newRig(t, Config{})
	r.write(0, "abcdef")
	r.Hold()
	o := r.op(0, 0, make([]byte, 2), r.kevent(aio.EvOneshot, 1))
	r.start(r.Read, o)
	o.cb.Nbytes, o.cb.Sigevent.Value = 1, 2
	r.start(r.Read, o)
	if n := len(r.Misuse()); n == 0 {
		t.Error("no misuse noticed")
	}
	r.Run(2) // one after the other: two jobs at once would race for the buffer
	if ev := r.wantEvents(1); ev[0].Udata != 2 {
		t.Errorf("event %+v, want the second's udata", ev[0])
	}
	r.wantReturn(o, 2, 0)
	r.wantReturn(o, 1, 0)
	r.wantReturn(o, -1, aio.EINVAL)
	r.misuse = true
}

// Once its one-shot event was fetched, a second job under the address has an
// event of its own (observed).
func TestResubmitAfterOneshotWasFetched(t *testing.T) {
	r := newRig(t, Config{})
	o := r.start(r.Write, r.op(0, 0, []byte("a"), r.kevent(aio.EvOneshot, 1)))
	r.settle()
	r.wantEvents(1)
	o.cb.Sigevent.Value = 2
	r.start(r.Write, o)
	r.settle()
	if ev := r.wantEvents(1); ev[0].Udata != 2 {
		t.Errorf("event %+v", ev[0])
	}
	r.wantReturn(o, 1, 0)
	r.wantReturn(o, 1, 0)
	r.misuse = true
}

func TestWordsOverwrittenInFlightIsNoticed(t *testing.T) {
	r := newRig(t, Config{})
	o := r.start(r.Write, r.op(0, 0, []byte("a"), aio.Sigevent{}))
	r.settle()
	o.cb.Prepare(0, r.fd, 0, unsafe.Pointer(&o.buf[0]), 1, aio.Sigevent{})
	r.wantReturn(o, 1, 0)
	r.wantMisuse(1)
}

// Fetching events frees no slot, reaping does (observed).
func TestProcessCap(t *testing.T) {
	r := newRig(t, Config{})
	var ops []*op
	for i := range 256 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte("x"), r.kevent(aio.EvOneshot, 0))))
	}
	r.settle()
	extra := r.op(0, 0, []byte("y"), aio.Sigevent{})
	r.wantErrno("the 257th", r.Write(extra.cb), aio.EAGAIN)
	for left := 256; left > 0; {
		left -= len(r.poll(64))
	}
	r.wantErrno("after the events", r.Write(extra.cb), aio.EAGAIN)
	r.wantReturn(ops[7], 1, 0)
	r.wantErrno("after one reap", r.Write(extra.cb), 0)
	r.wantErrno("and another", r.Write(r.op(0, 0, []byte("z"), aio.Sigevent{}).cb), aio.EAGAIN)
	r.settle()
	r.wantReturn(extra, 1, 0)
	for i, o := range ops {
		if i != 7 {
			r.wantReturn(o, 1, 0)
		}
	}
}

func TestSystemCapIsShared(t *testing.T) {
	sys := NewSystem(aio.Limits{MaxQueue: 3})
	a, b := newRig(t, Config{System: sys}), newRig(t, Config{System: sys})
	a.Hold()
	var ops []*op
	for i := range 3 {
		ops = append(ops, a.start(a.Write, a.op(0, int64(i), []byte("x"), aio.Sigevent{})))
	}
	o := b.op(0, 0, []byte("x"), aio.Sigevent{})
	b.wantErrno("the other process", b.Write(o.cb), aio.EAGAIN)
	if l, _ := b.Limits(); l.QueueCount != 3 {
		t.Errorf("queue count %d", l.QueueCount)
	}
	a.Release()
	a.settle()
	for _, o := range ops {
		a.wantReturn(o, 1, 0)
	}
	b.start(b.Write, o)
	b.settle()
	b.wantReturn(o, 1, 0)
	// A block of one process means nothing to another.
	a.wantReturn(o, -1, aio.EINVAL)
}

func TestLimitsChangeAtRunTime(t *testing.T) {
	r := newRig(t, Config{})
	l, err := r.Limits()
	if err != nil || l != (aio.Limits{MaxQueue: 1024, MaxQueuePerProc: 256, MaxPerProc: 32, MaxProcs: 32, TargetProcs: 4, MaxBuf: 16, MaxSocketProcs: 32}) {
		t.Errorf("defaults %+v %v", l, err)
	}
	r.SetLimits(aio.Limits{MaxQueuePerProc: 2})
	list := make([]*aio.ControlBlock, 3)
	r.wantErrno("a list over the new limit", r.ListIO(aio.ListNoWait, list, nil), aio.EINVAL)
	r.SetLimits(aio.Limits{MaxQueuePerProc: 2048, MaxQueue: 2048})
	r.wantErrno("a longer list", r.ListIO(aio.ListNoWait, make([]*aio.ControlBlock, 2048), nil), 0)
}

// With enable_unsafe a pipe goes to the daemons, and cannot be cancelled once
// one has it (observed).
func TestEnableUnsafe(t *testing.T) {
	r := newRig(t, Config{Limits: aio.Limits{EnableUnsafe: true}})
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	o := r.op(0, 0, make([]byte, 8), r.kevent(aio.EvOneshot, 0))
	o.cb.Fd = int32(rd.Fd()) // Fd makes the descriptor blocking
	r.start(r.Read, o)
	for r.Stats().Active == 0 {
		runtime.Gosched()
	}
	if st, _ := r.Cancel(int(o.cb.Fd), o.cb); st != aio.NotCancelled {
		t.Errorf("cancel: %v", st)
	}
	wr.WriteString("hello")
	if ev := r.wait(1, -1); ev[0].Data != 0 {
		t.Errorf("event %+v", ev[0])
	}
	r.wantReturn(o, 5, 0)
}

func TestSubmitAfterShutdownIsMisuse(t *testing.T) {
	r := newRig(t, Config{})
	r.CloseKqueue(r.kq)
	if err := r.Shutdown(); err != nil {
		t.Fatal(err)
	}
	o := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})
	r.wantErrno("Read", r.Read(o.cb), aio.EBADF)
	r.wantErrno("ListIO", r.ListIO(aio.ListNoWait, blocks(o), nil), aio.EBADF)
	if _, errno := r.Kqueue(); errno == 0 {
		t.Error("Kqueue after Shutdown")
	}
	r.wantMisuse(3)
}

func TestShutdownCancelsAndReports(t *testing.T) {
	k := New(Config{})
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kq, _ := k.Kqueue()
	buf := []byte("abc")
	submit := func() *aio.ControlBlock {
		cb := new(aio.ControlBlock)
		cb.Prepare(0, int(f.Fd()), 0, unsafe.Pointer(&buf[0]), 3, aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq)})
		if errno := k.Write(cb); errno != 0 {
			t.Fatal(errno)
		}
		return cb
	}
	submit()
	if n := k.Run(1); n != 1 && k.Stats().Done != 1 {
		for k.Stats().Done != 1 {
			runtime.Gosched()
		}
	}
	k.Hold()
	submit()
	slept := make(chan aio.Errno)
	go func() {
		ev := make([]aio.Kevent, 1)
		kq2, _ := k.Kqueue()
		_, errno := k.Kevent(kq2, nil, ev, -1)
		slept <- errno
	}()
	for k.Stats().Sleeps == 0 {
		runtime.Gosched()
	}
	err = k.Shutdown()
	for _, want := range []string{"never reaped", "in flight", "never closed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Shutdown: %v, want %q in it", err, want)
		}
	}
	if errno := <-slept; errno != aio.EBADF {
		t.Errorf("the sleeper got %v", errno)
	}
	if st := k.Stats(); st.Cancelled != 1 || st.Daemons != 0 || st.Done != 0 {
		t.Errorf("%+v", st)
	}
	if err := k.Shutdown(); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestIdleKernelHasNoDaemons(t *testing.T) {
	r := newRig(t, Config{})
	before := runtime.NumGoroutine()
	for i := range 50 {
		o := r.start(r.Write, r.op(0, int64(i), []byte("x"), aio.Sigevent{}))
		r.settle()
		r.wantReturn(o, 1, 0)
	}
	if st := r.Stats(); st.Daemons != 0 {
		t.Errorf("%d daemons", st.Daemons)
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 1e6 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func TestFstatDupClose(t *testing.T) {
	r := newRig(t, Config{})
	st, errno := r.Fstat(r.fd)
	if errno != 0 || st.Type != aio.TypeRegular || st.Ino == 0 {
		t.Errorf("%+v %v", st, errno)
	}
	d, errno := r.Dup(r.fd)
	r.wantErrno("Dup", errno, 0)
	if st2, _ := r.Fstat(d); st2 != st {
		t.Errorf("%+v of the double of %+v", st2, st)
	}
	r.wantErrno("Close", r.Close(d), 0)
	r.wantErrno("Close again", r.Close(d), aio.EBADF)
	_, errno = r.Fstat(d)
	r.wantErrno("Fstat of a closed one", errno, aio.EBADF)
	_, errno = r.Dup(d)
	r.wantErrno("Dup of a closed one", errno, aio.EBADF)
	types := map[string]aio.FileType{os.DevNull: aio.TypeOther, filepath.Dir(r.f.Name()): aio.TypeDirectory}
	for path, want := range types {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, _ := r.Fstat(int(f.Fd())); st.Type != want {
			t.Errorf("%s: %v, want %v", path, st.Type, want)
		}
		f.Close()
	}
	if fmt.Sprint(r.Name(), r.Profile()) != "sim15.0" {
		t.Error(r.Name(), r.Profile())
	}
}
