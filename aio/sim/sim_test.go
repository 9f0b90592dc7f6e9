//go:build unix

package sim

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// rig is one modelled process with a file and an event queue.
type rig struct {
	*Kernel
	t      testing.TB
	f      *os.File
	fd     int
	kq     int
	misuse bool // the test breaks rules on purpose
}

func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Kernel: New(cfg), t: t, f: f, fd: int(f.Fd())}
	var errno aio.Errno
	if r.kq, errno = r.Kqueue(); errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() {
		r.CloseKqueue(r.kq)
		err := r.Shutdown()
		if err != nil && !r.misuse {
			t.Error(err)
		}
		st := r.Stats()
		if st.Unfinished != 0 || st.Done != 0 || st.Active != 0 {
			t.Errorf("left after Shutdown: %+v", st)
		}
		if l, _ := r.Limits(); l.QueueCount != 0 && cfg.System == nil {
			t.Errorf("queue count %d after Shutdown", l.QueueCount)
		}
		for fd, f := range r.files {
			if f != nil {
				t.Errorf("an open file for fd %d is left", fd)
			}
		}
		if r.sys.vnodes.n != 0 && cfg.System == nil {
			t.Errorf("%d vnodes left", r.sys.vnodes.n)
		}
		f.Close()
	})
	return r
}

// op is one job with its memory.
type op struct {
	cb  *aio.ControlBlock
	buf []byte
	iov []aio.Iovec
}

func (r *rig) kevent(flags uint16, udata uintptr) aio.Sigevent {
	return aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(r.kq), Value: udata, KeventFlags: flags}
}

func (r *rig) op(code aio.Opcode, off int64, buf []byte, ev aio.Sigevent) *op {
	o := &op{cb: new(aio.ControlBlock), buf: buf}
	o.cb.Prepare(code, r.fd, off, unsafe.Pointer(unsafe.SliceData(buf)), len(buf), ev)
	return o
}

func (r *rig) opv(code aio.Opcode, off int64, ev aio.Sigevent, bufs ...[]byte) *op {
	o := &op{cb: new(aio.ControlBlock)}
	for _, b := range bufs {
		o.iov = append(o.iov, aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(b)), Len: uintptr(len(b))})
	}
	o.cb.Prepare(code, r.fd, off, unsafe.Pointer(unsafe.SliceData(o.iov)), len(bufs), ev)
	return o
}

func blocks(ops ...*op) []*aio.ControlBlock {
	list := make([]*aio.ControlBlock, len(ops))
	for i, o := range ops {
		if o != nil {
			list[i] = o.cb
		}
	}
	return list
}

// settle waits until everything that may run has finished.
func (r *rig) settle() {
	r.t.Helper()
	if !r.Quiesce(10 * time.Second) {
		r.t.Fatal("the daemons do not come to rest")
	}
}

func (r *rig) wantErrno(what string, got, want aio.Errno) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %d (%v), want %d (%v)", what, got, got, want, want)
	}
}

func (r *rig) wantWords(o *op, status int, errno aio.Errno) {
	r.t.Helper()
	if o.cb.StatusWord() != status || o.cb.ErrorWord() != errno {
		r.t.Errorf("words %d, %d, want %d, %d", o.cb.StatusWord(), o.cb.ErrorWord(), status, errno)
	}
}

func (r *rig) wantReturn(o *op, n int, errno aio.Errno) {
	r.t.Helper()
	got, e := r.Return(o.cb)
	if got != n || e != errno {
		r.t.Errorf("Return: %d, %d (%v), want %d, %d", got, e, e, n, errno)
	}
}

// poll fetches what is there.
func (r *rig) poll(max int) []aio.Kevent {
	r.t.Helper()
	return r.wait(max, 0)
}

func (r *rig) wait(max int, timeout time.Duration) []aio.Kevent {
	r.t.Helper()
	events := make([]aio.Kevent, max)
	n, errno := r.Kevent(r.kq, nil, events, timeout)
	if errno != 0 {
		r.t.Fatalf("Kevent: %v", errno)
	}
	return events[:n]
}

func (r *rig) wantEvents(n int) []aio.Kevent {
	r.t.Helper()
	ev := r.poll(max(16, 2*n))
	if len(ev) != n {
		r.t.Fatalf("%d events %+v, want %d", len(ev), ev, n)
	}
	return ev
}

// change applies one change and returns its errno.
func (r *rig) change(ev aio.Kevent) aio.Errno {
	r.t.Helper()
	_, errno := r.Kevent(r.kq, []aio.Kevent{ev}, nil, 0)
	return errno
}

func (r *rig) write(at int64, data string) {
	r.t.Helper()
	if _, err := r.f.WriteAt([]byte(data), at); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantMisuse(n int) {
	r.t.Helper()
	r.misuse = true
	if got := r.Misuse(); len(got) != n {
		r.t.Errorf("misuse %q, want %d", got, n)
	}
}

func ident(o *op) uintptr { return uintptr(unsafe.Pointer(o.cb)) }

func TestShutdownReportsMisuseAsError(t *testing.T) {
	k := New(Config{})
	kq, _ := k.Kqueue()
	err := k.Shutdown()
	var m *MisuseError
	if !errors.As(err, &m) || len(m.Found) != 1 {
		t.Fatalf("Shutdown with kqueue %d open: %v", kq, err)
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
