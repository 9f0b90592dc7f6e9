//go:build unix

package sim

import (
	"bytes"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
)

// newStepRig is a process in stepped mode, with a file in memory that holds
// content.
func newStepRig(t testing.TB, cfg Config, content string) *rig {
	t.Helper()
	cfg.Stepped = true
	r := &rig{Kernel: New(cfg), t: t}
	var errno aio.Errno
	if r.fd, errno = r.Open("file", os.O_RDWR|os.O_CREATE); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno = r.Pwrite(r.fd, []byte(content), 0); errno != 0 {
		t.Fatal(errno)
	}
	if r.kq, errno = r.Kqueue(); errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() {
		r.CloseKqueue(r.kq)
		if err := r.Shutdown(); err != nil && !r.misuse {
			t.Error(err)
		}
	})
	return r
}

// content is what a descriptor's file holds.
func (r *rig) content(fd int) string {
	r.t.Helper()
	buf := make([]byte, 1<<12)
	n, errno := r.Pread(fd, buf, 0)
	if errno != 0 {
		r.t.Fatal(errno)
	}
	return string(buf[:n])
}

// Nothing happens but in a step, and no goroutine is started.
func TestStepsAreAllThatHappens(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newStepRig(t, Config{}, "abcdef")
	o := r.start(r.Read, r.op(0, 1, make([]byte, 3), r.kevent(aio.EvOneshot, 1)))
	for range 100 {
		r.wantEvents(0)
		r.wantErrno("aio_error", r.Error(o.cb), aio.EINPROGRESS)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	steps := 0
	for r.Step() {
		steps++
	}
	if steps < 2 || r.System().Steps() != uint64(steps) {
		t.Errorf("%d steps, Steps says %d", steps, r.System().Steps())
	}
	if string(o.buf) != "bcd" {
		t.Errorf("%q", o.buf)
	}
	r.wantEvents(1)
	r.wantReturn(o, 3, 0)
	if r.Step() {
		t.Error("a step with nothing under way")
	}
}

// A call that would sleep makes the steps that wake it.
func TestSleepersMakeSteps(t *testing.T) {
	r := newStepRig(t, Config{}, "abcdef")
	read := func() *op { return r.op(aio.OpRead, 0, make([]byte, 2), r.kevent(aio.EvOneshot, 1)) }
	o := r.start(r.Read, read())
	if ev := r.wait(1, -1); len(ev) != 1 {
		t.Errorf("kevent: %+v", ev)
	}
	r.wantReturn(o, 2, 0)
	o = r.start(r.Read, read())
	r.wantErrno("suspend", r.Suspend(blocks(o), -1), 0)
	r.wantReturn(o, 2, 0)
	o = r.start(r.Read, read())
	if cb, n, errno := r.WaitComplete(-1); cb != o.cb || n != 2 || errno != 0 {
		t.Errorf("waitcomplete: %p, %d, %v", cb, n, errno)
	}
	a, b := read(), read()
	r.wantErrno("lio_listio", r.ListIO(aio.ListWait, blocks(a, b), nil), 0)
	r.wantReturn(a, 2, 0)
	r.wantReturn(b, 2, 0)
}

// A timeout is over when virtual time has come to it, exactly; and where nothing
// could ever wake the caller the answer is EDEADLK, not a hang.
func TestSleepOfNothing(t *testing.T) {
	r := newStepRig(t, Config{}, "")
	start := r.Now()
	if ev := r.wait(1, 3*time.Second); len(ev) != 0 || r.Now() != start+3*time.Second {
		t.Errorf("%+v after %v", ev, r.Now()-start)
	}
	_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), -1)
	r.wantErrno("kevent", errno, aio.EDEADLK)
	_, _, errno = r.WaitComplete(-1)
	r.wantErrno("waitcomplete", errno, aio.EDEADLK)
	_, _, errno = r.WaitComplete(time.Second)
	r.wantErrno("waitcomplete", errno, aio.EAGAIN)
	if r.Now() != start+4*time.Second {
		t.Errorf("after %v", r.Now()-start)
	}
}

// What another thread does comes by After, at its time, also while this one sleeps.
func TestAfterWakesASleeper(t *testing.T) {
	r := newStepRig(t, Config{}, "")
	r.wantErrno("add", r.change(aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear}), 0)
	stopped := r.System().After(time.Second, func() { t.Error("a stopped alarm went off") })
	r.System().After(2*time.Second, func() {
		r.wantErrno("trigger", r.change(aio.Kevent{Ident: 1, Filter: aio.FilterUser, Fflags: aio.NoteTrigger}), 0)
	})
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop")
	}
	if ev := r.wait(1, -1); len(ev) != 1 || r.Now() != 2*time.Second {
		t.Errorf("%+v at %v", ev, r.Now())
	}
	r.System().After(time.Second, r.Signal)
	_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), -1)
	r.wantErrno("kevent under a signal", errno, aio.EINTR)
}

// EVFILT_TIMER goes by the virtual clock.
func TestTimerOnTheVirtualClock(t *testing.T) {
	r := newStepRig(t, Config{}, "")
	r.wantErrno("add", r.change(aio.Kevent{Ident: 1, Filter: aio.FilterTimer, Flags: aio.EvAdd, Data: 1000 * 3600}), 0)
	for i := range 3 {
		if ev := r.wait(1, -1); len(ev) != 1 || ev[0].Data != 1 || r.Now() != time.Duration(i+1)*time.Hour {
			t.Errorf("%+v at %v", ev, r.Now())
		}
	}
}

// The files of a process are what it opened, by the lowest numbers; doubles share
// an open file, as a sync sees.
func TestOwnDescriptors(t *testing.T) {
	r := newStepRig(t, Config{}, "0123456789")
	if r.fd != 3 || r.kq != 4 {
		t.Errorf("descriptors %d and %d", r.fd, r.kq)
	}
	if _, errno := r.Open("none", os.O_RDONLY); errno != aio.ENOENT {
		t.Errorf("open of nothing: %v", errno)
	}
	if _, errno := r.Open("file", os.O_RDWR|os.O_CREATE|os.O_EXCL); errno != aio.EEXIST {
		t.Errorf("exclusive open: %v", errno)
	}
	ro, _ := r.Open("file", os.O_RDONLY)
	if _, errno := r.Pwrite(ro, []byte("x"), 0); errno != aio.EBADF {
		t.Errorf("write: %v", errno)
	}
	o := r.op(0, 0, []byte("x"), aio.Sigevent{})
	o.cb.Fd = int32(ro)
	r.wantErrno("aio_write", r.Write(o.cb), aio.EBADF)
	app, _ := r.Open("file", os.O_WRONLY|os.O_APPEND)
	o.cb.Fd = int32(app)
	r.start(r.Write, o)
	r.settle()
	r.wantReturn(o, 1, 0)
	if got := r.content(r.fd); got != "0123456789x" {
		t.Errorf("%q", got)
	}

	d, _ := r.Dup(r.fd)
	r.Hold()
	w := r.start(r.Write, r.op(0, 0, []byte("y"), aio.Sigevent{}))
	s := r.op(0, 0, nil, aio.Sigevent{})
	s.cb.Fd = int32(d)
	r.wantErrno("fsync", r.Fsync(aio.Sync, s.cb), 0)
	if r.RunJob(s.cb) {
		t.Error("the sync does not wait for a write by another number of the open file")
	}
	r.Release()
	r.settle()
	r.wantReturn(w, 1, 0)
	r.wantReturn(s, 0, 0)

	tr, _ := r.Open("file", os.O_RDWR|os.O_TRUNC)
	if got := r.content(tr); got != "" {
		t.Errorf("%q", got)
	}
	r.wantErrno("truncate", r.Truncate(tr, 2), 0)
	if got := r.content(r.fd); got != "\x00\x00" {
		t.Errorf("%q", got)
	}
	for _, fd := range []int{ro, app, d, tr} {
		r.wantErrno("close", r.Close(fd), 0)
	}
	r.wantErrno("close again", r.Close(d), aio.EBADF)
	if fd, _ := r.Open("file", os.O_RDWR); fd != ro {
		t.Errorf("%d, want the lowest free number %d", fd, ro)
	}
}

// Files in memory serve threaded mode as well.
func TestMemoryInThreadedMode(t *testing.T) {
	m := NewMemory()
	k := New(Config{Volume: m})
	fd, errno := k.Open("f", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		t.Fatal(errno)
	}
	r := &rig{Kernel: k, t: t, fd: fd}
	var ops []*op
	for i := range 50 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte{byte(i)}, aio.Sigevent{})))
	}
	r.settle()
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
	if got := r.content(fd); len(got) != 50 || got[49] != 49 {
		t.Errorf("%q", got)
	}
	if errno := k.SyncFile(fd, aio.Sync); errno != 0 {
		t.Error(errno)
	}
	if errno := m.Remove("f"); errno != 0 {
		t.Error(errno)
	}
	if err := k.Shutdown(); err != nil {
		t.Error(err)
	}
}

// The pool: target daemons from the first use on, more one by one, up to the
// maximum, and fewer again when those have been idle for their lifetime (part 5.1).
func TestDaemonsLiveAsTheKernels(t *testing.T) {
	g := NewGate()
	r := newStepRig(t, Config{Limits: aio.Limits{TargetProcs: 2, MaxProcs: 5}, Faults: []Fault{If(At(Start), HoldActive(g))}}, "")
	var ops []*op
	for i := range 8 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte("x"), aio.Sigevent{})))
	}
	daemons := func() int {
		n, _ := r.System().Sysctl("vfs.aio.num_aio_procs")
		return n
	}
	if n := daemons(); n != 2 {
		t.Errorf("%d daemons at first, want the target of 2", n)
	}
	r.System().Sleep(time.Second)
	o := r.start(r.Write, r.op(0, 9, []byte("x"), aio.Sigevent{}))
	r.System().Sleep(time.Second)
	if n := daemons(); n < 3 || n > 5 {
		t.Errorf("%d daemons with jobs waiting", n)
	}
	if st := r.Stats(); st.Active != daemons() {
		t.Errorf("%d daemons run %d jobs", daemons(), st.Active)
	}
	g.Open()
	r.settle()
	r.System().Sleep(29 * time.Second)
	if n := daemons(); n < 3 {
		t.Errorf("%d daemons before the end of their lifetime", n)
	}
	r.System().Sleep(3 * time.Second)
	if n := daemons(); n != 2 {
		t.Errorf("%d daemons, want the target of 2", n)
	}
	for _, o := range append(ops, o) {
		r.wantReturn(o, 1, 0)
	}
}

// A writer has its file alone, readers share it (part 5.1).
func TestOneWriterPerFileStepped(t *testing.T) {
	r := newStepRig(t, Config{Seed: 5, Limits: aio.Limits{TargetProcs: 16}}, "abc")
	inside, most, readers := 0, 0, 0
	r.Inject(
		If(At(Transfer), Do(func(op Op) {
			if Writes(op) {
				inside++
				most = max(most, inside)
			}
		})),
		If(And(At(Result), Writes), Do(func(Op) { inside-- })),
	)
	var ops []*op
	for i := range 12 {
		if i%2 == 0 {
			ops = append(ops, r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{})))
		} else {
			ops = append(ops, r.start(r.Read, r.op(0, 0, make([]byte, 1), aio.Sigevent{})))
		}
	}
	for r.Step() {
		v := r.opens[r.table.get(r.fd)].vnode
		if v.writer && v.readers > 0 {
			t.Fatal("a reader beside a writer")
		}
		readers = max(readers, v.readers)
	}
	if most != 1 || readers < 2 {
		t.Errorf("at most %d writers and %d readers at once", most, readers)
	}
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
}

// Sysctls at run time (part 4).
func TestSysctls(t *testing.T) {
	r := newStepRig(t, Config{}, "")
	s := r.System()
	get := func(name string, want int) {
		t.Helper()
		if got, errno := s.Sysctl(name); got != want || errno != 0 {
			t.Errorf("%s: %d, %v, want %d", name, got, errno, want)
		}
	}
	for name, want := range map[string]int{
		"vfs.aio.max_aio_queue": 1024, "vfs.aio.max_aio_queue_per_proc": 256, "vfs.aio.max_aio_per_proc": 32,
		"vfs.aio.max_aio_procs": 32, "vfs.aio.target_aio_procs": 4, "vfs.aio.max_buf_aio": 16,
		"vfs.aio.aiod_lifetime": 30_000, "vfs.aio.enable_unsafe": 0, "vfs.aio.unsafe_warningcnt": 1,
		"vfs.aio.num_queue_count": 0, "p1003_1b.aio_listio_max": 256, "p1003_1b.aio_max": 1024,
		"p1003_1b.aio_prio_delta_max": 0, "debug.iosize_max_clamp": 0, "kern.ipc.aio.max_procs": 32,
	} {
		get(name, want)
	}
	r.wantErrno("an unknown one", s.SetSysctl("vfs.aio.none", 1), aio.ENOENT)
	r.wantErrno("a gauge", s.SetSysctl("vfs.aio.num_queue_count", 1), aio.EPERM)
	r.wantErrno("an alias", s.SetSysctl("p1003_1b.aio_listio_max", 1), aio.EPERM)

	o := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	get("vfs.aio.num_queue_count", 1)
	// Lowered below what is in: the jobs stay, no other comes in, no list is as long.
	r.wantErrno("lower", s.SetSysctl("vfs.aio.max_aio_queue_per_proc", 1), 0)
	get("p1003_1b.aio_listio_max", 1)
	p := r.op(aio.OpWrite, 0, []byte("y"), aio.Sigevent{})
	r.wantErrno("one more", r.Write(p.cb), aio.EAGAIN)
	r.wantErrno("a list of two", r.ListIO(aio.ListNoWait, blocks(p, nil), nil), aio.EINVAL)
	r.wantErrno("suspend on two", r.Suspend(blocks(o, nil), 0), aio.EINVAL)
	r.wantErrno("nothing", s.SetSysctl("vfs.aio.max_aio_queue", 0), 0)
	r.settle()
	r.wantReturn(o, 1, 0)
	r.wantErrno("none at all", r.Write(p.cb), aio.EAGAIN)
	r.SetLimits(aio.Limits{})
	get("vfs.aio.max_aio_queue", 1024)
	r.wantErrno("clamp", s.SetSysctl("debug.iosize_max_clamp", 1), 0)
	p.cb.Nbytes = 1 << 31
	r.wantErrno("2 GiB", r.Write(p.cb), aio.EINVAL)
}

// The history says what happened, without an address in it.
func TestTraceHasNoAddresses(t *testing.T) {
	var trace bytes.Buffer
	r := newStepRig(t, Config{Trace: &trace}, "abc")
	sig := r.kevent(0, 9)
	o := r.op(aio.OpRead, 0, make([]byte, 3), r.kevent(aio.EvOneshot, 7))
	r.wantErrno("lio_listio", r.ListIO(aio.ListNoWait, blocks(o), &sig), 0)
	r.settle()
	r.wantEvents(2)
	r.wantReturn(o, 3, 0)
	for _, want := range []string{
		"lio_listio j1 op=2 fd=3 off=0 n=3 list=1 entry=0 = 0\n", "lio_listio list=1 mode=0 n=1 = 0\n",
		"take j1\n", "finish j1 = 3\n", "event [j1 flags=32784 data=0 fflags=0 udata=7]\n", "event [l1 ", "aio_return j1 = 3\n",
	} {
		if !bytes.Contains(trace.Bytes(), []byte(want)) {
			t.Errorf("no %q in\n%s", want, trace.Bytes())
		}
	}
}
