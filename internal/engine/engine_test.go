package engine

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
)

// accept reserves and accepts.
func accept(t *testing.T, e *Engine, s SQE) (*Op, bool) {
	t.Helper()
	if err := e.Reserve(1, s.Bytes()); err != nil {
		t.Fatal(err)
	}
	return e.Accept(&s, 0)
}

func TestWhatRunsIsReleasedAndTheRestIsCompletedAtOnce(t *testing.T) {
	for _, c := range []struct {
		sqe  SQE
		runs bool
		ok   bool
		res  int32
	}{
		{SQE{}, false, true, 0},
		{SQE{Flags: FlagAsync}, false, true, 0},
		{SQE{Opcode: OpRead}, true, true, 0},
		{SQE{Opcode: OpRead, Off: CurrentPosition}, true, true, 0},
		{SQE{Opcode: OpRead, Off: -2}, false, false, -int32(syscall.EINVAL)},
		{SQE{Opcode: OpWrite, OpFlags: 1}, false, true, -int32(syscall.EOPNOTSUPP)},
		{SQE{Opcode: OpReadv, Bufs: make([][]byte, MaxVectors)}, true, true, 0},
		{SQE{Opcode: OpWritev, Bufs: make([][]byte, MaxVectors+1)}, false, false, -int32(syscall.EINVAL)},
		{SQE{Opcode: OpFsync, OpFlags: FsyncDatasync}, true, true, 0},
		{SQE{Opcode: OpFsync, OpFlags: 2}, false, false, -int32(syscall.EINVAL)},
		{SQE{Opcode: 4}, false, false, -int32(syscall.EINVAL)},
		{SQE{Flags: FlagBufferSelect}, false, false, -int32(syscall.EOPNOTSUPP)},
		{SQE{OpFlags: 1 << 7}, false, false, -int32(syscall.EINVAL)},
		{SQE{Opcode: OpRead, Flags: FlagFixedFile}, false, true, -int32(syscall.EBADF)},
		{SQE{Flags: 1 << 7}, false, false, -int32(syscall.EINVAL)},
	} {
		t.Run(fmt.Sprint(c.sqe.Opcode, c.sqe.Flags, c.sqe.OpFlags, c.sqe.Off, len(c.sqe.Bufs)), func(t *testing.T) {
			e := New(4, 0)
			c.sqe.UserData = 1<<64 - 1
			op, ok := accept(t, e, c.sqe)
			if ok != c.ok {
				t.Errorf("ok is %v", ok)
			}
			if c.runs {
				if got := e.NextReleased(); got != op || !op.Running() {
					t.Fatal("it was not released")
				}
				e.Complete(op, 42)
				c.res = 42
			}
			if e.HasWork() {
				t.Error("something is released")
			}
			if got := e.NextCompleted(); got != op || op.CQE.Res != c.res || op.CQE.UserData != 1<<64-1 {
				t.Errorf("completed %+v", op.CQE)
			}
			if e.NextCompleted() != nil {
				t.Error("completed twice")
			}
		})
	}
}

func TestWaitsTellsOfWhatDependsOnOthers(t *testing.T) {
	for name, sqes := range map[string][]SQE{
		"chain":  {read(1, link), nop(2, 0)},
		"drain":  {read(1, 0), nop(2, bar)},
		"count":  {{Opcode: OpTimeout, UserData: 2, Time: 1000, Off: 1}, read(1, 0)},
		"cancel": {read(1, 0), cancel(2, 1, 0)},
		"cut":    {timeout(1, link, 10, TimeoutMultishot), nop(2, 0)},
		"":       {read(1, 0), timeout(2, 0, 10, 0), nop(3, link)},
		"limit":  {read(1, link), limit(2, 0, 10)}, // the clock is enough
	} {
		r := newRig(t)
		r.submit(sqes...)
		for op := r.NextReleased(); op != nil; op = r.NextReleased() {
			r.ops[op.SQE.UserData] = op
		}
		want := name != "" && name != "limit"
		if r.Waits() != want {
			t.Errorf("%q waits: %v", name, !want)
		}
		if op := r.ops[1]; op != nil {
			r.Complete(op, 8)
		}
		r.Advance(10)
		if op := r.NextCompleted(); name == "cut" {
			r.Cut(op)
		}
		r.look()
		if r.Waits() {
			t.Errorf("%q waits at the end", name)
		}
	}
}

func TestSecondResultIsDropped(t *testing.T) {
	e := New(4, 0)
	op, _ := accept(t, e, SQE{Opcode: OpRead})
	e.NextReleased()
	e.Complete(op, 1)
	e.Complete(op, 2)
	if got := e.NextCompleted(); got != op || op.CQE.Res != 1 || e.NextCompleted() != nil {
		t.Errorf("%+v", op.CQE)
	}
	e.Complete(op, 3) // delivered already
	if e.NextCompleted() != nil {
		t.Error("a result after the delivery")
	}
}

func TestReserveBoundsOperationsAndBytes(t *testing.T) {
	e := New(3, 100)
	steps := []struct {
		n     int
		bytes int64
		fits  bool
	}{
		{4, 0, false}, {2, 60, true}, {1, 41, false}, {1, 40, true}, {1, 0, false},
	}
	for _, s := range steps {
		if err := e.Reserve(s.n, s.bytes); (err == nil) != s.fits {
			t.Errorf("Reserve(%d, %d): %v", s.n, s.bytes, err)
		}
	}
	e.Unreserve(3, 100)
	if err := e.Reserve(1, 1000); err != nil {
		t.Errorf("a large one alone: %v", err)
	}
	if e.Alive() != 1 || e.BytesHeld() != 1000 {
		t.Errorf("%d alive, %d bytes", e.Alive(), e.BytesHeld())
	}
}

// Slots are used again, by any number of consumers beside the owner, and never
// more are made than the bound allows.
func TestFreedSlotsAreUsedAgain(t *testing.T) {
	const bound = 300 // more than a chunk
	e := New(bound, 0)
	freed := make(chan *Op, bound)
	var consumers sync.WaitGroup
	for range 3 {
		consumers.Go(func() {
			for op := range freed {
				e.Free(op)
			}
		})
	}
	alive := map[uint32]bool{}
	var mu sync.Mutex
	for n := 0; n < 20_000; {
		if e.Reserve(1, 0) != nil {
			continue
		}
		op, _ := e.Accept(&SQE{UserData: uint64(n)}, 0)
		if op.Slot() >= bound || e.Op(op.Slot()) != op {
			t.Fatalf("slot %d of %d", op.Slot(), bound)
		}
		if e.NextCompleted() != op {
			t.Fatal("another was completed")
		}
		mu.Lock()
		alive[op.Slot()] = true
		mu.Unlock()
		freed <- op
		n++
	}
	close(freed)
	consumers.Wait()
	if e.Alive() != 0 || len(alive) > bound {
		t.Errorf("%d alive, %d slots", e.Alive(), len(alive))
	}
}

func TestFreeLetsGoOfTheBuffers(t *testing.T) {
	e := New(1, 0)
	op, _ := accept(t, e, SQE{Buf: make([]byte, 8), Keep: new(int)})
	e.NextCompleted()
	e.Free(op)
	if op.SQE.Buf != nil || op.SQE.Keep != nil || e.BytesHeld() != 0 {
		t.Errorf("%+v, %d bytes held", op.SQE, e.BytesHeld())
	}
}

func TestInFlightUntilDelivered(t *testing.T) {
	e := New(4, 0)
	accept(t, e, SQE{})
	if e.NextCompleted() == nil || e.InFlight() != 1 {
		t.Errorf("%d in flight before the delivery", e.InFlight())
	}
	e.Delivered(1)
	if e.InFlight() != 0 {
		t.Errorf("%d in flight after it", e.InFlight())
	}
}

func TestCancelAllEndsWhatComesLater(t *testing.T) {
	e := New(4, 0)
	running, _ := accept(t, e, SQE{Opcode: OpRead})
	e.NextReleased()
	e.CancelAll()
	op, _ := accept(t, e, SQE{Opcode: OpWrite})
	if e.NextCompleted() != op || op.CQE.Res != -int32(syscall.ECANCELED) || e.HasWork() {
		t.Errorf("%+v", op.CQE)
	}
	n := 0
	e.Each(func(op *Op) {
		if n++; op != running {
			t.Errorf("slot %d runs", op.Slot())
		}
	})
	if n != 1 {
		t.Errorf("%d are running", n)
	}
}

func TestOwnerIsNotPartOfTheSQE(t *testing.T) {
	e := New(1, 0)
	var s SQE
	Own(&s, "me")
	op, _ := accept(t, e, s)
	if op.Owner != "me" || op.SQE.owner != nil {
		t.Errorf("owner %v, in the SQE %v", op.Owner, op.SQE.owner)
	}
}
