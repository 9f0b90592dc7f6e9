//go:build unix

package sim

import (
	"os"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
)

// The fourteen groups of faults, each injected and seen.

func (r *rig) events(n int) []aio.Kevent {
	ev := make([]aio.Kevent, n)
	got, errno := r.Kevent(r.kq, nil, ev, 0)
	r.wantErrno("kevent", errno, 0)
	return ev[:max(got, 0)]
}

func (r *rig) readOp(off int64, n int, flags uint16) *op {
	return r.op(aio.OpRead, off, make([]byte, n), r.kevent(flags, 1))
}

func TestFaultGroup1NoSlot(t *testing.T) {
	t.Run("the system is full with no job of one's own", func(t *testing.T) {
		r := newStepRig(t, Config{}, "")
		r.System().Occupy(1024)
		r.wantErrno("read", r.Read(r.readOp(0, 1, 0).cb), aio.EAGAIN)
		if l, _ := r.Limits(); l.QueueCount != 1024 {
			t.Errorf("queue count %d", l.QueueCount)
		}
		r.System().Occupy(-1024)
		o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
		r.settle()
		r.wantReturn(o, 0, 0)
	})
	t.Run("the process is full", func(t *testing.T) {
		r := newStepRig(t, Config{Faults: []Fault{If(And(At(Submit), Nth(2)), Sysctl("vfs.aio.max_aio_queue_per_proc", 2))}}, "")
		a, b, c := r.readOp(0, 1, 0), r.readOp(1, 1, 0), r.readOp(2, 1, 0)
		r.start(r.Read, a)
		r.start(r.Read, b)
		r.wantErrno("third", r.Read(c.cb), aio.EAGAIN)
		r.settle()
		r.wantReturn(a, 0, 0)
		r.wantReturn(b, 0, 0)
	})
	for name, c := range map[string]struct {
		p    Predicate
		want []bool
	}{
		"entry 1":       {Entry(1), []bool{true, false, true, true}},
		"not a prefix":  {Or(Entry(0), Entry(2)), []bool{false, true, false, true}},
		"every entry":   {Always, []bool{false, false, false, false}},
		"no buffer map": {And(At(Queue), Entry(3)), []bool{true, true, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newStepRig(t, Config{Faults: []Fault{If(And(Or(At(Submit), At(Queue)), c.p), Fail(aio.EAGAIN))}}, "")
			ops := []*op{r.readOp(0, 1, 0), r.readOp(1, 1, 0), r.readOp(2, 1, 0), r.readOp(3, 1, 0)}
			r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), aio.EAGAIN)
			r.settle()
			for i, o := range ops {
				if c.want[i] {
					r.wantReturn(o, 0, 0)
				} else {
					r.wantWords(o, -1, aio.EAGAIN)
				}
			}
			if l, _ := r.Limits(); l.QueueCount != 0 {
				t.Errorf("queue count %d", l.QueueCount)
			}
		})
	}
}

func TestFaultGroup2PartialLists(t *testing.T) {
	r := newStepRig(t, Config{Faults: []Fault{
		If(And(At(Submit), Entry(0)), Fail(aio.EBADF)),
		If(And(At(Submit), Entry(1)), Fail(aio.EAGAIN)),
		If(And(At(Queue), Entry(2)), Fail(aio.EOPNOTSUPP)),
		If(And(At(Submit), Entry(4)), Fail(aio.EINVAL)),
	}}, "abc")
	ops := []*op{r.readOp(0, 1, 0), r.readOp(0, 1, 0), r.readOp(0, 1, 0), r.readOp(0, 1, aio.EvOneshot), r.readOp(0, 1, 0)}
	sig := r.kevent(0, 2)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), &sig), aio.EIO)
	for i, want := range []aio.Errno{aio.EBADF, aio.EAGAIN, aio.EOPNOTSUPP, aio.EINPROGRESS, aio.EINVAL} {
		r.wantWords(ops[i], -1, want)
	}
	r.settle()
	r.wantEvents(2) // of the one entry and of the list
	r.wantReturn(ops[3], 1, 0)
	r.wantEvents(0)
}

func TestFaultGroup3BeforeTheCallReturns(t *testing.T) {
	var r *rig
	var during []aio.Kevent
	look := Do(func(Op) { during = append(during, r.events(4)...) })
	r = newStepRig(t, Config{Faults: []Fault{
		If(At(Submit), Early()),
		If(Or(At(Submitted), At(ListPosted)), look),
	}}, "abc")
	o := r.start(r.Read, r.readOp(0, 2, aio.EvOneshot))
	if len(during) != 1 || during[0].Ident != ident(o) {
		t.Errorf("events during the call: %+v", during)
	}
	r.wantErrno("aio_error at the return", r.Error(o.cb), 0)
	r.wantReturn(o, 2, 0)

	during = nil
	a := r.readOp(0, 1, aio.EvOneshot)
	sig := r.kevent(0, 2)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(a), &sig), 0)
	if len(during) != 2 || during[1].Filter != aio.FilterLIO {
		t.Errorf("events during the list's call: %+v", during)
	}
	r.wantReturn(a, 1, 0)
}

func TestFaultGroup4OrderAndDelay(t *testing.T) {
	t.Run("any order", func(t *testing.T) {
		orders := make(map[[3]uint64]bool)
		for seed := range uint64(64) {
			var order []uint64
			r := newStepRig(t, Config{Seed: seed, Faults: []Fault{If(At(Result), Do(func(op Op) { order = append(order, op.Seq) }))}}, "abc")
			ops := []*op{r.start(r.Read, r.readOp(0, 1, 0)), r.start(r.Read, r.readOp(1, 1, 0)), r.start(r.Read, r.readOp(2, 1, 0))}
			r.settle()
			orders[[3]uint64(order)] = true
			for _, o := range ops {
				r.wantReturn(o, 1, 0)
			}
		}
		if len(orders) != 6 {
			t.Errorf("%d orders of three jobs in 64 seeds: %v", len(orders), orders)
		}
	})
	t.Run("one very slow", func(t *testing.T) {
		r := newStepRig(t, Config{Faults: []Fault{If(And(At(Start), Offset(0, 1)), Delay(time.Hour))}}, "abc")
		slow, quick := r.start(r.Read, r.readOp(0, 1, 0)), r.start(r.Read, r.readOp(1, 1, 0))
		r.System().Sleep(time.Minute)
		r.wantErrno("the quick one", r.Error(quick.cb), 0)
		r.wantErrno("the slow one", r.Error(slow.cb), aio.EINPROGRESS)
		r.System().Sleep(time.Hour)
		r.wantReturn(slow, 1, 0)
		r.wantReturn(quick, 1, 0)
	})
	t.Run("all daemons stuck", func(t *testing.T) {
		g := NewGate()
		r := newStepRig(t, Config{Limits: aio.Limits{MaxProcs: 2}, Faults: []Fault{If(And(At(Start), Offset(0, 2)), HoldActive(g))}}, "abc")
		a, b, c := r.start(r.Read, r.readOp(0, 1, 0)), r.start(r.Read, r.readOp(1, 1, 0)), r.start(r.Read, r.readOp(2, 1, 0))
		if !r.System().StepUntil(func() bool { return g.Waiting() == 2 }) {
			t.Fatal("the daemons do not come to the gate")
		}
		if r.Quiesce(time.Hour) {
			t.Error("at rest behind a closed gate")
		}
		r.wantErrno("the third", r.Error(c.cb), aio.EINPROGRESS)
		g.Open()
		r.settle()
		for _, o := range []*op{a, b, c} {
			r.wantReturn(o, 1, 0)
		}
	})
	t.Run("daemons come late", func(t *testing.T) {
		r := newStepRig(t, Config{Limits: aio.Limits{TargetProcs: 1}, Faults: []Fault{
			If(At(NewDaemon), Delay(time.Minute)), If(And(At(Start), Offset(0, 1)), Delay(time.Hour)),
		}}, "abc")
		slow := r.start(r.Read, r.readOp(0, 1, 0))
		r.System().Sleep(time.Second)
		o := r.start(r.Read, r.readOp(1, 1, 0))
		r.System().Sleep(30 * time.Second)
		r.wantErrno("before the daemon is there", r.Error(o.cb), aio.EINPROGRESS)
		r.System().Sleep(time.Minute)
		r.wantErrno("after", r.Error(o.cb), 0)
		r.System().Sleep(time.Hour)
		r.settle()
		r.wantReturn(slow, 1, 0)
		r.wantReturn(o, 1, 0)
	})
}

func TestFaultGroup5ResultsCutShort(t *testing.T) {
	for _, c := range []struct {
		name   string
		effect Effect
		at     Point
		n      int
		errno  aio.Errno
		left   string
	}{
		{"short", Short(2), Start, 2, 0, "xx...."},
		{"zero", Short(0), Transfer, 0, 0, "......"},
		{"an error after a part hides it", FailAfter(3, aio.ENOSPC), Transfer, -1, aio.ENOSPC, "xxx..."},
		{"EINTR after a part shows it", FailAfter(3, aio.EINTR), Transfer, 3, 0, "xxx..."},
		{"EINTR before any", FailAfter(0, aio.EINTR), Transfer, -1, aio.EINTR, "......"},
		{"EIO", Fail(aio.EIO), Start, -1, aio.EIO, "......"},
		{"EFAULT", Fail(aio.EFAULT), Transfer, -1, aio.EFAULT, "......"},
		{"ENXIO after all of it", Fail(aio.ENXIO), Result, -1, aio.ENXIO, "xxxxxx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newStepRig(t, Config{Faults: []Fault{If(And(At(c.at), Writes), c.effect)}}, "......")
			o := r.start(r.Write, r.op(0, 0, []byte("xxxxxx"), r.kevent(aio.EvOneshot, 1)))
			r.settle()
			if ev := r.wantEvents(1); ev[0].Data != int64(c.errno) {
				t.Errorf("%+v", ev[0])
			}
			r.wantReturn(o, c.n, c.errno)
			if got := r.content(r.fd); got != c.left {
				t.Errorf("the file has %q, want %q", got, c.left)
			}
		})
	}
}

func TestFaultGroup6EventsTwiceAndLost(t *testing.T) {
	t.Run("sticky, and to two threads", func(t *testing.T) {
		var r *rig
		var other []aio.Kevent
		r = newStepRig(t, Config{}, "abc")
		o := r.start(r.Read, r.readOp(0, 1, 0))
		r.settle()
		r.Inject(If(And(At(Fetch), Nth(1)), Do(func(Op) { other = r.events(1) })))
		r.wantEvents(1)
		if len(other) != 1 || other[0].Ident != ident(o) {
			t.Errorf("the other thread got %+v", other)
		}
		r.wantEvents(1)
		r.wantReturn(o, 1, 0)
		r.wantEvents(0)
	})
	t.Run("a one-shot event that does not go", func(t *testing.T) {
		r := newStepRig(t, Config{Faults: []Fault{If(And(At(Deliver), First(2)), Again())}}, "abc")
		o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
		r.settle()
		for range 3 {
			r.wantEvents(1)
		}
		r.wantEvents(0)
		r.wantReturn(o, 1, 0)
	})
	t.Run("lost when reaped first", func(t *testing.T) {
		r := newStepRig(t, Config{}, "abc")
		o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
		r.settle()
		r.wantReturn(o, 1, 0)
		r.wantEvents(0)
	})
	t.Run("lost when the array is used again", func(t *testing.T) {
		r := newStepRig(t, Config{}, "abc")
		list := blocks(r.readOp(0, 1, aio.EvOneshot))
		a, sig := list[0], r.kevent(0, 1)
		r.wantErrno("first", r.ListIO(aio.ListNoWait, list, &sig), 0)
		b := r.readOp(1, 1, aio.EvOneshot)
		list[0], sig.Value = b.cb, 2
		r.wantErrno("second", r.ListIO(aio.ListNoWait, list, &sig), 0)
		r.settle()
		lists := 0
		for _, ev := range r.events(8) {
			if ev.Filter == aio.FilterLIO {
				lists++
			}
		}
		if lists != 1 {
			t.Errorf("%d list events, want 1", lists)
		}
		r.Return(a)
		r.wantEvents(0)
		r.wantReturn(b, 1, 0)
		r.wantMisuse(1)
	})
	t.Run("of a list of nothing, seen by another thread", func(t *testing.T) {
		var r *rig
		var other []aio.Kevent
		r = newStepRig(t, Config{Faults: []Fault{
			If(At(Submit), Fail(aio.EINVAL)),
			If(And(At(ListPosted), Empty, Nth(2)), Do(func(Op) { other = r.events(1) })),
		}}, "abc")
		sig := r.kevent(0, 1)
		for range 2 {
			r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(r.readOp(0, 1, 0)), &sig), aio.EIO)
			r.wantEvents(0)
		}
		if len(other) != 1 || other[0].Filter != aio.FilterLIO {
			t.Errorf("the other thread got %+v", other)
		}
	})
}

func TestFaultGroup7Cancels(t *testing.T) {
	cancel := func(r *rig, o *op, want aio.CancelStatus) {
		t.Helper()
		if got, errno := r.Cancel(r.fd, o.cb); got != want || errno != 0 {
			t.Errorf("aio_cancel: %v, %v, want %v", got, errno, want)
		}
	}
	for _, c := range []struct {
		name   string
		faults []Fault
		want   aio.CancelStatus
		n      int
		errno  aio.Errno
	}{
		{"cancelled", nil, aio.Cancelled, -1, aio.ECANCELED},
		{"not, and it succeeds", []Fault{If(At(Cancel), Refuse())}, aio.NotCancelled, 4, 0},
		{"not, and it is all the same later", []Fault{If(At(Cancel), Refuse()), If(And(At(Result), Marked), Fail(aio.ECANCELED))}, aio.NotCancelled, -1, aio.ECANCELED},
		{"not, and it ends with a part", []Fault{If(At(Cancel), Refuse()), If(And(At(Transfer), Marked), Short(2))}, aio.NotCancelled, 2, 0},
		{"finished just before", []Fault{If(At(Cancel), Early())}, aio.AllDone, 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newStepRig(t, Config{Faults: c.faults}, "abcd")
			o := r.start(r.Read, r.readOp(0, 4, aio.EvOneshot))
			cancel(r, o, c.want)
			r.settle()
			r.wantEvents(1)
			r.wantReturn(o, c.n, c.errno)
		})
	}
	t.Run("of the old file's job by a number used again", func(t *testing.T) {
		r := newStepRig(t, Config{}, "abcd")
		o := r.start(r.Read, r.readOp(0, 4, aio.EvOneshot))
		r.wantErrno("close", r.Close(r.fd), 0)
		if _, errno := r.Cancel(r.fd, nil); errno != aio.EBADF {
			t.Errorf("cancel by a closed number: %v", errno)
		}
		if fd, _ := r.Open("other", os.O_RDWR|os.O_CREATE); fd != r.fd {
			t.Fatalf("%d, want the number again", fd)
		}
		cancel(r, o, aio.Cancelled)
		r.wantReturn(o, -1, aio.ECANCELED)
	})
}

func TestFaultGroup8Signals(t *testing.T) {
	r := newStepRig(t, Config{Faults: []Fault{
		If(And(Or(At(Sleep), At(ListSleep), At(SuspendSleep), At(WaitSleep)), Every(2)), Fail(aio.EINTR)),
	}}, "abc")
	_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), time.Second)
	r.wantErrno("kevent", errno, 0)
	_, errno = r.Kevent(r.kq, nil, make([]aio.Kevent, 1), time.Second)
	r.wantErrno("kevent", errno, aio.EINTR)
	r.ClearFaults()
	r.Inject(If(Or(At(ListSleep), At(SuspendSleep), At(WaitSleep)), Fail(aio.EINTR)))
	o := r.readOp(0, 1, 0)
	r.wantErrno("LIO_WAIT", r.ListIO(aio.ListWait, blocks(o), nil), aio.EINTR)
	r.wantErrno("its entry", r.Error(o.cb), aio.EINPROGRESS)
	r.wantErrno("aio_suspend", r.Suspend(blocks(o), -1), aio.EINTR)
	if cb, _, errno := r.WaitComplete(-1); cb != nil || errno != aio.EINTR {
		t.Errorf("aio_waitcomplete: %p, %v", cb, errno)
	}
	r.settle()
	r.wantReturn(o, 1, 0)
}

func TestFaultGroup9KeventsTiming(t *testing.T) {
	r := newStepRig(t, Config{Faults: []Fault{
		If(And(At(Sleep), Nth(1)), Expire()),
		If(And(At(Sleep), Nth(2)), Delay(time.Second)),
	}}, "abc")
	if r.wait(1, time.Second); r.Now() != 0 {
		t.Errorf("too early is %v", r.Now())
	}
	if r.wait(1, time.Second); r.Now() != 2*time.Second {
		t.Errorf("too late is %v", r.Now())
	}
	// More events than room, and they go round.
	r.Inject(If(At(Fetch), Short(1)))
	var ops []*op
	for i := range 3 {
		ops = append(ops, r.start(r.Read, r.readOp(int64(i), 1, aio.EvOneshot)))
	}
	r.settle()
	seen := make(map[uintptr]bool)
	for range 3 {
		for _, ev := range r.wantEvents(1) {
			seen[ev.Ident] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d of three events", len(seen))
	}
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
	// Receipts beside failures, and triggers that fall together.
	r.ClearFaults()
	user := func(flags uint16, fflags uint32) aio.Kevent {
		return aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: flags, Fflags: fflags}
	}
	out := make([]aio.Kevent, 4)
	n, errno := r.Kevent(r.kq, []aio.Kevent{user(aio.EvAdd|aio.EvClear|aio.EvReceipt, 0), {Ident: 9, Filter: aio.FilterUser, Flags: aio.EvDelete}, user(0, aio.NoteTrigger), user(0, aio.NoteTrigger)}, out, -1)
	if n != 2 || errno != 0 || out[0].Data != 0 || out[1].Data != int64(aio.ENOENT) {
		t.Errorf("%d, %v, %+v", n, errno, out[:2])
	}
	r.wantEvents(1)
	r.wantEvents(0)
}

func TestFaultGroup10ClosesForkExec(t *testing.T) {
	t.Run("the queue is closed in flight", func(t *testing.T) {
		var r *rig
		r = newStepRig(t, Config{Faults: []Fault{If(At(Start), Do(func(Op) { r.CloseKqueue(r.kq) }))}}, "abc")
		o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
		r.settle()
		r.wantReturn(o, 1, 0)
		_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), 0)
		r.wantErrno("kevent", errno, aio.EBADF)
	})
	t.Run("the descriptor is closed in flight and its number given away", func(t *testing.T) {
		var r *rig
		r = newStepRig(t, Config{Faults: []Fault{If(At(Start), Do(func(Op) {
			r.Close(r.fd)
			if fd, _ := r.Open("other", os.O_RDWR|os.O_CREATE); fd != r.fd {
				r.t.Errorf("%d, want the number again", fd)
			}
		}))}}, "abc")
		o := r.start(r.Write, r.op(0, 0, []byte("X"), aio.Sigevent{}))
		r.settle()
		r.wantReturn(o, 1, 0)
		if got := r.content(r.fd); got != "" {
			t.Errorf("the other file has %q", got)
		}
		old, _ := r.Open("file", os.O_RDWR)
		if got := r.content(old); got != "Xbc" {
			t.Errorf("the file has %q", got)
		}
	})
	t.Run("fork", func(t *testing.T) {
		r := newStepRig(t, Config{}, "abc")
		o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
		child := r.Fork()
		r.wantErrno("aio_error in a child that has not used AIO", child.Error(o.cb), aio.EINVAL)
		if st, errno := child.Cancel(r.fd, nil); st != aio.AllDone || errno != 0 {
			t.Errorf("aio_cancel in the child: %v, %v", st, errno)
		}
		r.wantErrno("aio_suspend in the child", child.Suspend(blocks(o), 0), aio.EAGAIN)
		if cb, _, errno := child.WaitComplete(0); cb != nil || errno != aio.EAGAIN {
			t.Errorf("aio_waitcomplete in the child: %p, %v", cb, errno)
		}
		// Now it has. What answers is what its memory says.
		r.wantErrno("aio_error in a child that has used AIO", child.Error(o.cb), aio.EINPROGRESS)
		r.wantErrno("aio_suspend in the child", child.Suspend(blocks(o), 0), 0)
		if _, errno := child.Return(o.cb); errno != aio.EINVAL {
			t.Errorf("aio_return in the child: %v", errno)
		}
		if _, errno := child.Kevent(r.kq, nil, make([]aio.Kevent, 1), 0); errno == 0 {
			t.Error("the child has the queue")
		}
		r.wantErrno("close in the parent", r.Close(r.fd), 0)
		buf := make([]byte, 3)
		if n, errno := child.Pread(r.fd, buf, 0); n != 3 || errno != 0 {
			t.Errorf("the child's read: %d, %v", n, errno)
		}
		if err := child.Shutdown(); err != nil {
			t.Error(err)
		}
		r.settle()
		r.wantReturn(o, 1, 0)
	})
	t.Run("exec", func(t *testing.T) {
		r := newStepRig(t, Config{Limits: aio.Limits{MaxPerProc: 1}, Faults: []Fault{If(At(Start), Delay(time.Minute))}}, "abc")
		a, b := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot)), r.start(r.Read, r.readOp(1, 1, aio.EvOneshot))
		r.System().StepUntil(func() bool { return r.Stats().Active == 1 })
		r.System().After(time.Second, func() {
			if ev := r.events(4); len(ev) != 0 {
				t.Errorf("exec tells of what it cancels: %+v", ev)
			}
		})
		r.wantErrno("exec", r.Exec(), 0)
		if r.Now() < time.Minute {
			t.Errorf("exec did not wait for the active job: %v", r.Now())
		}
		if st := r.Stats(); st.Cancelled != 1 || st.Done+st.Unfinished != 0 {
			t.Errorf("%+v", st)
		}
		for _, o := range []*op{a, b} {
			r.wantWords(o, -1, aio.EINPROGRESS) // no one has told user memory
			r.wantReturn(o, -1, aio.EINVAL)
		}
		if _, errno := r.Fstat(r.fd); errno != aio.EBADF {
			t.Errorf("a descriptor lives through exec: %v", errno)
		}
	})
}

func TestFaultGroup11Versions(t *testing.T) {
	for _, c := range []struct {
		p                 Profile
		readv, list, sync aio.Errno
		notKqueue         aio.Errno
		info              bool
	}{
		{V12, aio.ENOSYS, aio.EIO, aio.EINVAL, aio.EBADF, true},
		{V13, 0, aio.EIO, 0, aio.EBADF, true},
		{V14, 0, 0, 0, aio.EBADF, false},
		{V15, 0, 0, 0, aio.EINVAL, false},
	} {
		t.Run(c.p.String(), func(t *testing.T) {
			r := newStepRig(t, Config{Profile: c.p}, "abc")
			v := r.opv(aio.OpReadv, 0, aio.Sigevent{}, make([]byte, 1), make([]byte, 1))
			r.wantErrno("aio_readv", r.Readv(v.cb), c.readv)
			w := r.opv(aio.OpReadv, 0, aio.Sigevent{}, make([]byte, 1), make([]byte, 1))
			r.wantErrno("in a list", r.ListIO(aio.ListNoWait, blocks(w), nil), c.list)
			s := r.op(0, 0, nil, aio.Sigevent{})
			r.wantErrno("aio_fsync of data", r.Fsync(aio.DataSync, s.cb), c.sync)
			k := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(r.fd)})
			r.wantErrno("no kqueue", r.Read(k.cb), c.notKqueue)
			o := r.start(r.Read, r.readOp(0, 1, aio.EvOneshot))
			if got := infoWord(o.cb) != 0; got != c.info {
				t.Errorf("the third word is written: %v", got)
			}
			r.settle()
			for {
				cb, _, _ := r.WaitComplete(0)
				if cb == nil {
					break
				}
			}
			if c.readv != 0 {
				r.wantMisuse(1)
				if m := r.Misuse(); m[0].Rule != UnknownCall {
					t.Errorf("%v", m)
				}
			}
		})
	}
}

func TestFaultGroup12Sysctls(t *testing.T) {
	r := newStepRig(t, Config{Faults: []Fault{
		If(And(At(List), Nth(2)), Sysctl("vfs.aio.max_aio_queue_per_proc", 2)), // shrinks below a list that is built
		If(And(At(List), Nth(3)), Sysctl("vfs.aio.max_aio_queue_per_proc", 4096)),
	}}, "abc")
	list := func() []*op { return []*op{r.readOp(0, 1, 0), r.readOp(0, 1, 0), r.readOp(0, 1, 0)} }
	for _, want := range []aio.Errno{0, aio.EINVAL, 0} {
		ops := list()
		r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), want)
		r.settle()
		for _, o := range ops {
			if want == 0 {
				r.wantReturn(o, 1, 0)
			} else if o.cb.Touched() {
				t.Error("a block of the refused list was touched")
			}
		}
	}
}

func TestFaultGroup13NotForAIO(t *testing.T) {
	t.Run("a file of a network file system", func(t *testing.T) {
		r := newStepRig(t, Config{Faults: []Fault{If(And(At(Queue), Type(aio.TypeRegular)), Unsafe())}}, "abc")
		r.wantErrno("read", r.Read(r.readOp(0, 1, 0).cb), aio.EOPNOTSUPP)
		r.wantErrno("sync", r.Fsync(aio.Sync, r.op(0, 0, nil, aio.Sigevent{}).cb), aio.EOPNOTSUPP)
		r.wantErrno("enable", r.System().SetSysctl("vfs.aio.enable_unsafe", 1), 0)
		o := r.start(r.Read, r.readOp(0, 1, 0))
		if n, _ := r.System().Sysctl("vfs.aio.unsafe_warningcnt"); n != 0 {
			t.Errorf("%d warnings left", n)
		}
		r.settle()
		r.wantReturn(o, 1, 0)
	})
	t.Run("a pipe that says nothing keeps the process from ending", func(t *testing.T) {
		r := newStepRig(t, Config{}, "abc")
		pipe, errno := r.OpenMute(aio.TypeFIFO)
		r.wantErrno("pipe", errno, 0)
		o := r.readOp(0, 1, aio.EvOneshot)
		o.cb.Fd = int32(pipe)
		r.wantErrno("read", r.Read(o.cb), aio.EOPNOTSUPP)
		s := r.op(0, 0, nil, aio.Sigevent{})
		s.cb.Fd = int32(pipe)
		r.wantErrno("sync", r.Fsync(aio.Sync, s.cb), aio.EINVAL)
		r.System().SetSysctl("vfs.aio.enable_unsafe", 1)
		r.start(r.Read, o)
		for r.Step() {
		}
		if st, _ := r.Cancel(pipe, o.cb); st != aio.NotCancelled {
			t.Errorf("cancel: %v", st)
		}
		err := r.Shutdown()
		stuck := false
		for _, m := range r.Misuse() {
			stuck = stuck || m.Rule == Stuck
		}
		if err == nil || !stuck {
			t.Errorf("Shutdown: %v", err)
		}
		r.misuse = true
	})
}

func TestFaultGroup14LateWrites(t *testing.T) {
	for _, at := range []Point{Submitted, Start, Cancel} {
		r := newStepRig(t, Config{Faults: []Fault{If(At(at), Scribble(7)), If(At(Cancel), Refuse())}}, "abc")
		o := r.readOp(0, 16, aio.EvOneshot)
		copy(o.buf, "0123456789abcdef")
		r.start(r.Read, o)
		changed := false
		look := func() {
			changed = changed || string(o.buf) != "0123456789abcdef" && string(o.buf) != "abc3456789abcdef"
		}
		look()
		if st, _ := r.Cancel(r.fd, o.cb); st != aio.NotCancelled {
			t.Errorf("cancel: %v", st)
		}
		look()
		for r.Step() {
			look()
		}
		if !changed {
			t.Errorf("point %d: the buffer was never garbage", at)
		}
		if string(o.buf) != "abc3456789abcdef" {
			t.Errorf("point %d: in the end it holds %q", at, o.buf)
		}
		r.wantReturn(o, 3, 0)
	}
}
