//go:build unix

package sim

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// cancel answers (part 2.4).
func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name  string
		state func(r *rig, o *op) func() // brings the job there; what it returns lets it go on
		block bool
		fd    int // 0: the job's
		want  aio.CancelStatus
		errno aio.Errno
		end   aio.Errno // the job's own
	}{
		{"queued", queuedJob, true, 0, aio.Cancelled, 0, aio.ECANCELED},
		{"queued, by descriptor", queuedJob, false, 0, aio.Cancelled, 0, aio.ECANCELED},
		{"active", activeJob, true, 0, aio.NotCancelled, 0, 0},
		{"active, by descriptor", activeJob, false, 0, aio.NotCancelled, 0, 0},
		{"finished", finishedState, true, 0, aio.AllDone, 0, 0},
		{"finished, by descriptor", finishedState, false, 0, aio.AllDone, 0, 0},
		{"another descriptor", queuedJob, true, 1, aio.AllDone, 0, 0},
		{"bad descriptor", queuedJob, true, 9999, 0, aio.EBADF, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			o := r.op(0, 0, []byte("x"), r.kevent(aio.EvOneshot, 1))
			goOn := c.state(r, o)
			fd, cb := r.fd, o.cb
			if c.fd != 0 {
				fd = c.fd
			}
			if !c.block {
				cb = nil
			}
			got, errno := r.Cancel(fd, cb)
			if got != c.want || errno != c.errno {
				t.Errorf("%v %v, want %v %v", got, errno, c.want, c.errno)
			}
			if c.want == aio.Cancelled {
				// Finished, and its event posted, before the call returned.
				if e := r.wantEvents(1)[0]; e.Data != int64(aio.ECANCELED) {
					t.Errorf("%+v", e)
				}
				r.wantErrno("Error", r.Error(o.cb), aio.ECANCELED)
				r.wantWords(o, -1, aio.EINPROGRESS)
				if again, _ := r.Cancel(fd, cb); again != aio.AllDone {
					t.Errorf("cancel again: %v", again)
				}
				r.wantReturn(o, -1, aio.ECANCELED)
				r.wantWords(o, -1, aio.ECANCELED)
			}
			if c.want == aio.NotCancelled {
				if again, _ := r.Cancel(fd, cb); again != aio.NotCancelled {
					t.Errorf("cancel again: %v", again)
				}
			}
			goOn()
			r.settle()
			if c.want != aio.Cancelled {
				r.wantReturn(o, 1, c.end)
			}
		})
	}
}

func queuedJob(r *rig, o *op) func() {
	r.Hold()
	r.start(r.Write, o)
	return r.Release
}

func activeJob(r *rig, o *op) func() {
	g := NewGate()
	r.Inject(If(At(Start), HoldActive(g)))
	r.start(r.Write, o)
	g.Await(1)
	return g.Open
}

func finishedState(r *rig, o *op) func() {
	r.start(r.Write, o)
	r.settle()
	return func() {}
}

func TestCancelBeforeAnyUse(t *testing.T) {
	r := newRig(t, Config{})
	if st, errno := r.Cancel(r.fd, nil); st != aio.AllDone || errno != 0 {
		t.Error(st, errno)
	}
}

// Of several, one that cannot be cancelled decides the answer.
func TestCancelAllOfADescriptor(t *testing.T) {
	r := newRig(t, Config{})
	g := NewGate()
	r.Inject(If(And(At(Start), Offset(0, 1)), HoldActive(g)))
	a := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	g.Await(1)
	r.Hold()
	b := r.start(r.Write, r.op(0, 1, []byte("x"), aio.Sigevent{}))
	other := r.op(0, 2, []byte("x"), aio.Sigevent{})
	other.cb.Fd = int32(fdOf(t, r.f.Name()))
	r.start(r.Write, other)
	if st, _ := r.Cancel(r.fd, nil); st != aio.NotCancelled {
		t.Error(st)
	}
	r.wantReturn(b, -1, aio.ECANCELED)
	g.Open()
	r.Release()
	r.settle()
	r.wantReturn(a, 1, 0)
	r.wantReturn(other, 1, 0)
}

// A cancelled job counts as finished for its list.
func TestCancelInAList(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	ops := []*op{r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{}), r.op(aio.OpWrite, 1, []byte("x"), aio.Sigevent{})}
	sig := r.kevent(0, 1)
	list := blocks(ops...)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.RunJob(ops[0].cb)
	r.wantEvents(0)
	if st, _ := r.Cancel(r.fd, nil); st != aio.Cancelled {
		t.Error(st)
	}
	r.wantEvents(1)
	r.wantReturn(ops[0], 1, 0)
	r.wantReturn(ops[1], -1, aio.ECANCELED)
}

// A sync waits for the earlier jobs of its file, not for later ones, not for
// other files, not for earlier syncs (part 5.5).
func TestFsyncWaitsForEarlierJobs(t *testing.T) {
	for _, kind := range []aio.SyncOp{aio.Sync, aio.DataSync} {
		r := newRig(t, Config{})
		r.Hold()
		a := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
		b := r.start(r.Read, r.op(0, 0, make([]byte, 1), aio.Sigevent{}))
		s := r.op(0, 0, nil, r.kevent(aio.EvOneshot, 1))
		r.wantErrno("fsync", r.Fsync(kind, s.cb), 0)
		later := r.start(r.Write, r.op(0, 1, []byte("y"), aio.Sigevent{}))
		r.RunJob(later.cb)
		if r.RunJob(s.cb) {
			t.Error("the sync could run before the earlier jobs")
		}
		r.RunJob(b.cb)
		if r.RunJob(s.cb) {
			t.Error("the sync could run before one earlier job")
		}
		r.wantErrno("Error", r.Error(s.cb), aio.EINPROGRESS)
		r.RunJob(a.cb)
		if !r.RunJob(s.cb) {
			t.Error("the sync cannot run")
		}
		r.wantEvents(1)
		r.wantReturn(s, 0, 0)
		for _, o := range []*op{a, b, later} {
			r.wantReturn(o, 1, 0)
		}
	}
}

func TestFsyncWaitsForNothingElse(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	other := r.op(0, 0, []byte("x"), aio.Sigevent{})
	other.cb.Fd = int32(fdOf(t, r.f.Name())) // the same file, opened again
	r.start(r.Write, other)
	s1, s2 := r.op(0, 0, nil, aio.Sigevent{}), r.op(0, 0, nil, aio.Sigevent{})
	r.wantErrno("fsync", r.Fsync(aio.Sync, s1.cb), 0)
	r.wantErrno("fsync", r.Fsync(aio.Sync, s2.cb), 0)
	if !r.RunJob(s2.cb) || !r.RunJob(s1.cb) {
		t.Error("a sync waits for another open file, or for a sync")
	}
	r.Release()
	r.settle()
	r.wantReturn(other, 1, 0)
	r.wantReturn(s1, 0, 0)
	r.wantReturn(s2, 0, 0)
}

// Finished and not reaped is finished; a failed one counts as well; read-only
// is enough.
func TestFsyncAfterFailedWrite(t *testing.T) {
	r := newRig(t, Config{Faults: []Fault{If(And(At(Start), Writes), Fail(aio.ENOSPC))}})
	a := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	r.settle()
	s := r.op(0, 0, nil, aio.Sigevent{})
	s.cb.Fd = int32(fdReadOnly(t, r.f.Name()))
	r.wantErrno("fsync", r.Fsync(aio.Sync, s.cb), 0)
	r.settle()
	r.wantReturn(s, 0, 0)
	r.wantReturn(a, -1, aio.ENOSPC)
}

func TestCancelWaitingFsync(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	a := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	s := r.op(0, 0, nil, aio.Sigevent{})
	r.wantErrno("fsync", r.Fsync(aio.Sync, s.cb), 0)
	if st, _ := r.Cancel(r.fd, s.cb); st != aio.Cancelled {
		t.Error(st)
	}
	r.wantReturn(s, -1, aio.ECANCELED)
	// Cancelling what it waits for lets a sync go.
	s2 := r.op(0, 0, nil, aio.Sigevent{})
	r.wantErrno("fsync", r.Fsync(aio.Sync, s2.cb), 0)
	if st, _ := r.Cancel(r.fd, a.cb); st != aio.Cancelled {
		t.Error(st)
	}
	if !r.RunJob(s2.cb) {
		t.Error("the sync still waits")
	}
	r.wantReturn(a, -1, aio.ECANCELED)
	r.wantReturn(s2, 0, 0)
}

// No more than MaxPerProc jobs of a process and MaxProcs of the system are
// active at once; held ones occupy their daemons.
func TestActiveJobsAreBounded(t *testing.T) {
	for _, c := range []struct{ perProc, procs, want int }{{3, 8, 3}, {8, 2, 2}, {4, 4, 4}} {
		r := newRig(t, Config{Limits: aio.Limits{MaxPerProc: c.perProc, MaxProcs: c.procs}})
		g := NewGate()
		r.Inject(If(At(Start), HoldActive(g)))
		var ops []*op
		for i := range 10 {
			ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), aio.Sigevent{}))
		}
		r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), 0)
		g.Await(c.want)
		for range 100 {
			runtime.Gosched()
		}
		if st := r.Stats(); st.Active != c.want {
			t.Errorf("%+v: %d active", c, st.Active)
		}
		if r.Quiesce(time.Millisecond) {
			t.Error("Quiesce with jobs held")
		}
		// The started ones are the oldest.
		for i, o := range ops {
			if i < c.want {
				continue
			}
			if st, _ := r.Cancel(r.fd, o.cb); st != aio.Cancelled {
				t.Errorf("entry %d: %v", i, st)
			}
		}
		g.Open()
		r.settle()
		for i, o := range ops {
			if i < c.want {
				r.wantReturn(o, 1, 0)
			} else {
				r.wantReturn(o, -1, aio.ECANCELED)
			}
		}
	}
}

// A greedy process does not keep another out, once it has MaxPerProc running.
func TestGreedyProcessIsSkipped(t *testing.T) {
	sys := NewSystem(aio.Limits{MaxPerProc: 2, MaxProcs: 4})
	g := NewGate()
	a := newRig(t, Config{System: sys, Faults: []Fault{If(At(Start), HoldActive(g))}})
	b := newRig(t, Config{System: sys})
	var ops []*op
	for i := range 4 {
		ops = append(ops, a.start(a.Write, a.op(0, int64(i), []byte("x"), aio.Sigevent{})))
	}
	g.Await(2)
	o := b.start(b.Write, b.op(0, 0, []byte("x"), b.kevent(aio.EvOneshot, 1)))
	if ev := b.wait(1, 5*time.Second); len(ev) != 1 {
		t.Error("the other process starves")
	}
	b.wantReturn(o, 1, 0)
	g.Open()
	a.settle()
	for _, o := range ops {
		a.wantReturn(o, 1, 0)
	}
}

// Jobs start in order of submission; a test may finish them in any.
func TestStartOrderIsFIFO(t *testing.T) {
	var mu sync.Mutex
	var order []int64
	r := newRig(t, Config{Faults: []Fault{func(op Op) Effect {
		if op.Point == Start {
			mu.Lock()
			order = append(order, op.Offset)
			mu.Unlock()
		}
		return Effect{}
	}}})
	r.Hold()
	var ops []*op
	for i := range 6 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte("x"), aio.Sigevent{})))
	}
	r.RunJob(ops[4].cb)
	if n := r.Run(3); n != 3 {
		t.Errorf("ran %d", n)
	}
	if n := r.Run(9); n != 2 {
		t.Errorf("ran %d of the rest", n)
	}
	want := []int64{4, 0, 1, 2, 3, 5}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("%v, want %v", order, want)
		}
	}
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
	r.Release()
}

// One writer of a file at a time, readers together (the vnode lock).
func TestOneWriterPerFile(t *testing.T) {
	r := newRig(t, Config{})
	vn := func() *vnode {
		r.sys.lock()
		defer r.sys.unlock()
		return r.files[r.fd].vnode
	}
	r.Hold()
	w := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	rd := r.start(r.Read, r.op(0, 0, make([]byte, 1), aio.Sigevent{}))
	v := vn()
	v.RLock()
	if !r.RunJob(rd.cb) {
		t.Fatal("no read")
	}
	done := make(chan bool)
	go func() { done <- r.RunJob(w.cb) }()
	for r.Stats().Active == 0 {
		runtime.Gosched()
	}
	select {
	case <-done:
		t.Error("a write passed a reader")
	case <-time.After(10 * time.Millisecond):
	}
	v.RUnlock()
	<-done
	r.wantReturn(w, 1, 0)
	r.wantReturn(rd, 0, 0)
	r.Release()
}

func TestGateHoldsQueued(t *testing.T) {
	g := NewGate()
	r := newRig(t, Config{Faults: []Fault{If(And(At(Submit), Offset(1, 2)), HoldQueued(g))}})
	var ops []*op
	for i := range 3 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte("x"), aio.Sigevent{})))
	}
	r.settle()
	r.wantReturn(ops[0], 1, 0)
	r.wantReturn(ops[2], 1, 0)
	r.wantErrno("the held one", r.Error(ops[1].cb), aio.EINPROGRESS)
	if r.RunJob(ops[1].cb) {
		t.Error("RunJob passes a closed gate")
	}
	g.Open()
	r.settle()
	r.wantReturn(ops[1], 1, 0)
	// An open gate holds nothing.
	o := r.start(r.Write, r.op(0, 1, []byte("x"), aio.Sigevent{}))
	r.settle()
	r.wantReturn(o, 1, 0)
}

func TestFaults(t *testing.T) {
	t.Run("short write and read", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{If(And(At(Start), Or(Reads, Writes)), Short(3))}})
		o := r.start(r.Write, r.op(0, 0, []byte("abcdef"), aio.Sigevent{}))
		v := r.start(r.Writev, r.opv(0, 10, aio.Sigevent{}, []byte("gh"), []byte("ijk")))
		r.settle()
		r.wantReturn(o, 3, 0)
		r.wantReturn(v, 3, 0)
		if b, _ := os.ReadFile(r.f.Name()); string(b) != "abc"+strings.Repeat("\x00", 7)+"ghi" {
			t.Errorf("%q", b)
		}
		rd := r.start(r.Read, r.op(0, 0, make([]byte, 8), aio.Sigevent{}))
		r.settle()
		r.wantReturn(rd, 3, 0)
	})
	t.Run("zero read", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{If(At(Start), Short(0))}})
		r.write(0, "abc")
		o := r.start(r.Read, r.op(0, 0, make([]byte, 3), aio.Sigevent{}))
		r.settle()
		r.wantReturn(o, 0, 0)
	})
	t.Run("an errno as result, with and without the work done", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{
			If(And(At(Start), Offset(0, 1)), Fail(aio.EIO)),
			If(And(At(Result), Offset(1, 2)), Fail(aio.ENOSPC)),
		}})
		a := r.start(r.Write, r.op(0, 0, []byte("a"), r.kevent(aio.EvOneshot, 0)))
		b := r.start(r.Write, r.op(0, 1, []byte("b"), aio.Sigevent{}))
		r.settle()
		if e := r.wantEvents(1)[0]; e.Data != int64(aio.EIO) {
			t.Errorf("%+v", e)
		}
		r.wantReturn(a, -1, aio.EIO)
		r.wantReturn(b, -1, aio.ENOSPC)
		if c, _ := os.ReadFile(r.f.Name()); string(c) != "\x00b" {
			t.Errorf("%q", c)
		}
	})
	t.Run("every third submission", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{If(And(At(Submit), Every(3)), Fail(aio.EAGAIN))}})
		refused := 0
		for i := range 9 {
			o := r.op(0, int64(i), []byte("x"), aio.Sigevent{})
			if errno := r.Write(o.cb); errno == aio.EAGAIN {
				refused++
				continue
			}
			r.settle()
			r.wantReturn(o, 1, 0)
		}
		if refused != 3 {
			t.Errorf("%d refused", refused)
		}
	})
	t.Run("the system cap with no jobs of one's own", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{If(At(Submit), Fail(aio.EAGAIN))}})
		ops := []*op{r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{}), r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})}
		sig := r.kevent(0, 1)
		r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), &sig), aio.EAGAIN)
		r.wantEvents(0)
		r.ClearFaults()
		r.wantErrno("list", r.ListIO(aio.ListWait, blocks(ops...), nil), 0)
		r.wantReturn(ops[0], 0, 0)
		r.wantReturn(ops[1], 0, 0)
	})
	t.Run("EINTR and early expiry of Kevent", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{
			If(And(At(Sleep), Nth(1)), Fail(aio.EINTR)),
			If(And(At(Sleep), Nth(2)), Expire()),
		}})
		ev := make([]aio.Kevent, 1)
		_, errno := r.Kevent(r.kq, nil, ev, -1)
		r.wantErrno("first", errno, aio.EINTR)
		if n, errno := r.Kevent(r.kq, nil, ev, time.Hour); n != 0 || errno != 0 {
			t.Error(n, errno)
		}
		// With an event there is no sleep and no EINTR.
		r.Inject(If(At(Sleep), Fail(aio.EINTR)))
		o := r.finishedJob(aio.EvOneshot, 1)
		if n, errno := r.Kevent(r.kq, nil, ev, -1); n != 1 || errno != 0 {
			t.Error(n, errno)
		}
		r.wantReturn(o, 1, 0)
	})
	t.Run("delay", func(t *testing.T) {
		r := newRig(t, Config{Faults: []Fault{If(And(At(Start), Fd(-5)), Fail(aio.EIO)), If(And(At(Start), First(1), Always), Delay(15*time.Millisecond))}})
		start := time.Now()
		o := r.finishedJob(aio.EvOneshot, 1)
		if d := time.Since(start); d < 15*time.Millisecond {
			t.Error(d)
		}
		r.wantReturn(o, 1, 0)
	})
	t.Run("random by seed", func(t *testing.T) {
		draw := func() (s []bool) {
			p := Not(Randomly(7, 0.5))
			for range 64 {
				s = append(s, p(Op{}))
			}
			return s
		}
		a, b := draw(), draw()
		yes := 0
		for i := range a {
			if a[i] != b[i] {
				t.Fatal("the same seed draws otherwise")
			}
			if a[i] {
				yes++
			}
		}
		if yes == 0 || yes == 64 {
			t.Error(yes)
		}
	})
	t.Run("by block, syncs", func(t *testing.T) {
		r := newRig(t, Config{})
		o := r.op(0, 0, nil, aio.Sigevent{})
		r.Inject(If(And(At(Start), Syncs, Block(o.cb)), Fail(aio.EIO)))
		r.wantErrno("fsync", r.Fsync(aio.Sync, o.cb), 0)
		r.settle()
		r.wantReturn(o, -1, aio.EIO)
	})
}

// A storm from many goroutines: nothing is lost, nothing comes twice.
func TestStorm(t *testing.T) {
	r := newRig(t, Config{Limits: aio.Limits{MaxQueuePerProc: 40}, Faults: []Fault{
		If(And(At(Submit), Randomly(1, 0.1)), Fail(aio.EAGAIN)),
		If(And(At(Sleep), Randomly(2, 0.1)), Fail(aio.EINTR)),
		If(And(At(Start), Randomly(3, 0.1)), Short(1)),
		If(And(At(Result), Randomly(4, 0.1)), Fail(aio.EIO)),
	}})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			fd, err := unix.Open(r.f.Name(), unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			kq, _ := r.Kqueue()
			defer r.CloseKqueue(kq)
			var ops []*op
			for i := range 12 {
				code := aio.OpWrite
				if i%3 == 0 {
					code = aio.OpRead
				}
				o := r.op(code, int64(100*g+i), make([]byte, 4), aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), KeventFlags: aio.EvOneshot, Value: uintptr(i)})
				o.cb.Fd = int32(fd)
				ops = append(ops, o)
			}
			list := blocks(ops...)
			for round := range 60 {
				r.ListIO(aio.ListNoWait, list, nil)
				flying := map[uintptr]*op{}
				for i, o := range ops {
					if o.cb.ErrorWord() == aio.EINPROGRESS {
						flying[uintptr(i)] = o
					}
				}
				if round%5 == 0 {
					r.Cancel(fd, nil)
				}
				events := make([]aio.Kevent, 5)
				for len(flying) > 0 {
					n, errno := r.Kevent(kq, nil, events, -1)
					if errno != 0 && errno != aio.EINTR {
						t.Error(errno)
						return
					}
					for _, e := range events[:max(n, 0)] {
						o := flying[e.Udata]
						if o == nil {
							t.Errorf("an event too many: %+v", e)
							return
						}
						delete(flying, e.Udata)
						if _, errno := r.Return(o.cb); errno != aio.Errno(e.Data) {
							t.Errorf("event says %d, Return %v", e.Data, errno)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	st := r.Stats()
	if st.Accepted != st.Finished || st.Accepted != st.Reaped || st.Events != st.Accepted || st.Refused == 0 || st.Cancelled > st.Accepted {
		t.Errorf("%+v", st)
	}
}
