//go:build unix

package reactor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// rig is a kernel, a driver on it and a file.
type rig struct {
	testing.TB
	kernel  *counting
	driver  *Driver
	f       *os.File
	fd      int
	slab    *aio.Slab
	used    int
	ctx     context.Context // ends when patience does
	stopped chan error      // what Run returned
}

// counting counts the calls of kevent.
type counting struct {
	aio.Kernel
	kevents atomic.Int64
}

func (k *counting) Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	k.kevents.Add(1)
	return k.Kernel.Kevent(kq, changes, events, timeout)
}

// each runs a test on every kernel that is here.
func each(t *testing.T, test func(t *testing.T, r *rig)) {
	for name, open := range kernels {
		t.Run(name, func(t *testing.T) { test(t, newRig(t, open(t))) })
	}
}

func newRig(t testing.TB, k aio.Kernel) *rig {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	slab, err := aio.NewSlab(1024)
	if err != nil {
		t.Fatal(err)
	}
	for slab.Len() < 1024 {
		if _, err := slab.Grow(); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{TB: t, kernel: &counting{Kernel: k}, f: f, fd: int(f.Fd()), slab: slab}
	if r.driver, err = NewDriver(r.kernel); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.ctx = ctx
	t.Cleanup(func() {
		defer cancel()
		if err := r.driver.Close(); err != nil {
			t.Error(err)
		}
		if r.stopped != nil {
			if err := <-r.stopped; err != ErrShutdown {
				t.Errorf("Run returned %v", err)
			}
		}
		if m, ok := k.(*sim.Kernel); ok {
			if err := m.Shutdown(); err != nil {
				t.Error(err)
			}
		}
		if !t.Failed() { // else a job may still write into it
			slab.Release()
		}
		f.Close()
	})
	return r
}

// run lets a goroutine deliver events until the test ends.
func (r *rig) run() {
	r.stopped = make(chan error, 1)
	go func() { r.stopped <- r.driver.Run(context.Background()) }()
}

// turn fetches and delivers n events.
func (r *rig) turn(n int) {
	r.Helper()
	for n > 0 {
		if r.ctx.Err() != nil {
			r.Fatalf("%d events are missing", n)
		}
		got, err := r.driver.Turn()
		if err != nil {
			r.Fatal(err)
		}
		n -= got
		runtime.Gosched()
	}
	if n < 0 {
		r.Fatalf("%d events too many", -n)
	}
}

// quiet checks that there is no event, which is the end of it only when everything
// submitted has finished.
func (r *rig) quiet() {
	r.Helper()
	for range 3 {
		if n, err := r.driver.Turn(); n != 0 || err != nil {
			r.Fatalf("%d events, %v, where there should be none", n, err)
		}
	}
}

func (r *rig) block() *aio.ControlBlock {
	r.used++
	return r.slab.Block(r.used - 1)
}

// job is a source: one control block.
type job struct {
	r     *rig
	cb    *aio.ControlBlock
	flags uint16
	buf   []byte

	kq            int
	token         uintptr
	registrations int
}

func (r *rig) job() *job { return &job{r: r, cb: r.block(), flags: aio.EvOneshot} }

func (j *job) Register(kq int, token uintptr) {
	j.kq, j.token = kq, token
	j.registrations++
	j.cb.Sigevent = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), Value: token, KeventFlags: j.flags}
}

func (j *job) Deregister() {
	j.registrations--
	j.cb.Sigevent = aio.Sigevent{}
}

func (j *job) write(data string, off int64) {
	j.r.Helper()
	j.buf = []byte(data)
	j.cb.Prepare(aio.OpWrite, j.r.fd, off, unsafe.Pointer(unsafe.SliceData(j.buf)), len(j.buf), j.cb.Sigevent)
	if errno := j.r.kernel.Write(j.cb); errno != 0 {
		j.r.Fatalf("aio_write: %v", errno)
	}
}

func (j *job) fsync() {
	j.r.Helper()
	j.cb.Prepare(aio.OpNop, j.r.fd, 0, nil, 0, j.cb.Sigevent)
	if errno := j.r.kernel.Fsync(aio.Sync, j.cb); errno != 0 {
		j.r.Fatalf("aio_fsync: %v", errno)
	}
}

// finish waits for the job without its event.
func (r *rig) finish(cbs ...*aio.ControlBlock) {
	r.Helper()
	for _, cb := range cbs {
		for r.kernel.Error(cb) == aio.EINPROGRESS {
			if r.ctx.Err() != nil {
				r.Fatal("a job does not finish")
			}
			runtime.Gosched()
		}
	}
}

func (r *rig) reap(cb *aio.ControlBlock, want int) {
	r.Helper()
	if n, errno := r.kernel.Return(cb); n != want || errno != 0 {
		r.Errorf("aio_return: %d, %v, want %d", n, errno, want)
	}
}

// list is a source: an array of control blocks with a list event.
type list struct {
	r      *rig
	blocks []*aio.ControlBlock
	bufs   [][]byte
	sig    aio.Sigevent
}

func (r *rig) list() *list { return &list{r: r} }

func (l *list) Register(kq int, token uintptr) {
	l.sig = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), Value: token}
}

func (l *list) Deregister() { l.sig = aio.Sigevent{} }

// add appends a write by fd, which may be no descriptor.
func (l *list) add(fd int, data string, off int64) {
	buf := []byte(data)
	cb := l.r.block()
	cb.Prepare(aio.OpWrite, fd, off, unsafe.Pointer(unsafe.SliceData(buf)), len(buf), aio.Sigevent{})
	l.blocks, l.bufs = append(l.blocks, cb), append(l.bufs, buf)
}

// submit sends what blocks there are.
func (l *list) submit(want aio.Errno) {
	l.r.Helper()
	if errno := l.r.kernel.ListIO(aio.ListNoWait, l.blocks, &l.sig); errno != want {
		l.r.Fatalf("lio_listio: %v, want %v", errno, want)
	}
}

func (r *rig) wantFile(want string) {
	r.Helper()
	got, err := os.ReadFile(r.f.Name())
	if err != nil || string(got) != want {
		r.Errorf("the file holds %q, %v, want %q", got, err, want)
	}
}

// must unpacks a constructor's answer.
func must[S Source](a *Aio[S], err error) func(r *rig) *Aio[S] {
	return func(r *rig) *Aio[S] {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
		return a
	}
}

func pends[S Source](r *rig, a *Aio[S]) {
	r.Helper()
	if _, ready, err := a.PollReady(nil); ready || err != nil {
		r.Fatalf("%v, %v, want pending", ready, err)
	}
}

func ready[S Source](r *rig, a *Aio[S]) Event {
	r.Helper()
	ev, err := a.Ready(r.ctx)
	if err != nil {
		r.Fatal(err)
	}
	return ev
}
