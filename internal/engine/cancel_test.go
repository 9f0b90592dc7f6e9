package engine

import (
	"syscall"
	"testing"
)

// answers lets cancellations be answered one by one.
func (r *rig) answers(errnos ...syscall.Errno) {
	r.t.Helper()
	for _, errno := range errnos {
		target, by := r.NextCancel()
		if target == nil {
			r.t.Fatalf("nothing is to be cancelled: %v", r.log)
		}
		if again, _ := r.NextCancel(); again != nil {
			r.t.Error("asked for another before the answer")
		}
		r.log = append(r.log, "?"+result(int32(by.SQE.UserData))+result(int32(target.SQE.UserData)))
		r.Answer(target, errno)
	}
}

func TestCancelByUserData(t *testing.T) { // checks 86 to 88
	r := newRig(t)
	r.submit(read(1, 0), read(1, 0), read(2, 0))
	r.want("1+", "1+", "2+")
	r.submit(cancel(3, 9, 0), cancel(4, 1, 0), cancel(5, 1, CancelAll), cancel(6, 1, 0), cancel(7, 1, CancelAll))
	r.want("1?4", "3:ENOENT", "4:0", "1:cancelled", "1?5", "1:cancelled", "5:1", "6:ENOENT", "7:0")
	r.end(2, 8)
	r.want("2:8")
	r.over()
}

func TestCancelKeys(t *testing.T) { // checks 89 to 92
	on := func(s SQE, fd int32) SQE { s.Fd = fd; return s }
	for name, c := range map[string]struct {
		by   SQE
		want map[uint64]bool
	}{
		"by data":          {cancel(9, 1, CancelAll), map[uint64]bool{1: true}},
		"everything":       {cancel(9, 0, CancelAny), map[uint64]bool{1: true, 2: true, 3: true, 4: true}},
		"by operation":     {SQE{Opcode: OpAsyncCancel, UserData: 9, OpFlags: CancelOp | CancelAll, Len: uint32(OpTimeout)}, map[uint64]bool{4: true}},
		"by descriptor":    {SQE{Opcode: OpAsyncCancel, UserData: 9, OpFlags: CancelFd | CancelAll, Fd: 7}, map[uint64]bool{2: true, 3: true}},
		"and by operation": {SQE{Opcode: OpAsyncCancel, UserData: 9, OpFlags: CancelFd | CancelOp | CancelAll, Fd: 7, Len: uint32(OpFsync)}, map[uint64]bool{3: true}},
		"and by data":      {SQE{Opcode: OpAsyncCancel, UserData: 9, OpFlags: CancelFd | CancelUserData | CancelAll, Fd: 7, Addr: 2}, map[uint64]bool{2: true}},
	} {
		r := newRig(t)
		r.submit(on(read(1, 0), 6), on(read(2, 0), 7), on(SQE{Opcode: OpFsync, UserData: 3}, 7), timeout(4, 0, 1000, 0))
		r.want("1+", "2+", "3+")
		r.submit(c.by)
		if c.by.OpFlags&CancelFd != 0 {
			op := r.NextReleased()
			if op == nil || op.SQE.UserData != 9 {
				t.Fatalf("%s: it is not released for a look at its descriptor", name)
			}
			r.Seek(op)
		}
		for target, _ := r.NextCancel(); target != nil; target, _ = r.NextCancel() {
			if !c.want[target.SQE.UserData] {
				t.Errorf("%s: %d is to be cancelled", name, target.SQE.UserData)
			}
			r.Answer(target, 0)
			r.Complete(target, -int32(syscall.ECANCELED))
		}
		ended := 0
		for op := r.NextCompleted(); op != nil; op = r.NextCompleted() {
			switch {
			case op.SQE.UserData == 9:
				if op.CQE.Res != int32(len(c.want)) {
					t.Errorf("%s: %d", name, op.CQE.Res)
				}
			case op.CQE.Res != -int32(syscall.ECANCELED) || !c.want[op.SQE.UserData]:
				t.Errorf("%s: %+v", name, op.CQE)
			default:
				ended++
			}
			r.Delivered(1)
			r.Free(op)
		}
		if ended != len(c.want) {
			t.Errorf("%s: %d ended", name, ended)
		}
	}
}

// One that wants one goes on after what is over or was not meant, and ends with what
// cannot be stopped; one that wants all counts those that are stopped.
func TestCancelAnswers(t *testing.T) { // check 95
	r := newRig(t)
	r.submit(read(1, 0), read(1, 0), read(1, 0))
	r.want("1+", "1+", "1+")
	r.submit(cancel(2, 1, 0))
	r.answers(syscall.ENOENT, 0)
	r.log = nil
	r.want("2:0")
	r.submit(cancel(2, 1, 0)) // the second is not found again
	r.answers(syscall.ENOENT, syscall.EALREADY)
	r.log = nil
	r.want("2:EALREADY")
	r.submit(cancel(2, 1, CancelAll))
	r.answers(syscall.EALREADY, 0)
	r.log = nil
	r.want("2:1")
}

// Where the target's end is the answer, it is its result that counts.
func TestCancelAnsweredByTheEnd(t *testing.T) { // check 96
	for res, want := range map[int32]string{-int32(syscall.ECANCELED): "0", 8: "ENOENT", eio: "ENOENT"} {
		r := newRig(t)
		r.submit(read(1, 0))
		r.want("1+")
		r.submit(cancel(2, 1, 0))
		if target, _ := r.NextCancel(); target == nil {
			t.Fatal("1 is not to be cancelled")
		}
		if r.HasWork() {
			t.Error("there is work, though an answer is waited for")
		}
		r.end(1, res)
		if want == "0" {
			r.want("2:0", "1:cancelled")
		} else {
			r.want("1:"+result(res), "2:"+want)
		}
		r.over()
	}
}

func TestCancelFindsOnlyWhatRuns(t *testing.T) { // check 98
	r := newRig(t)
	r.submit(read(1, link), read(2, 0), read(3, link), limit(4, 0, 1000))
	r.submit(cancel(5, 2, 0), cancel(6, 4, 0), cancel(7, 6, 0))
	r.want("1+", "3+", "5:ENOENT", "6:ENOENT", "7:ENOENT")
	r.submit(cancel(8, 1, 0)) // and with the head goes the rest
	r.want("1?8", "8:0", "1:cancelled", "2:cancelled")
	r.submit(cancel(9, 3, 0))
	r.want("3?9", "9:0", "3:cancelled", "4:cancelled")
	r.over()
}

// A cancellation does not find what was submitted after it, and finds nothing that is
// not started yet: what is released starts first.
func TestCancelIsInOrder(t *testing.T) {
	r := newRig(t)
	r.submit(cancel(1, 2, 0), read(2, 0))
	r.want("2+", "1:ENOENT")
	r.submit(cancel(3, 2, 0), read(4, 0))
	if target, _ := r.NextCancel(); target != nil {
		t.Error("asked before what is released has started")
	}
	r.want("4+", "2?3", "3:0", "2:cancelled")
	r.end(4, 8)
	r.want("4:8")
	r.over()
}

func TestCancelOfTimers(t *testing.T) {
	r := newRig(t)
	r.submit(timeout(1, link, 100, 0), nop(2, 0), timeout(3, 0, 100, TimeoutMultishot))
	r.submit(cancel(4, 1, 0), cancel(5, 3, 0))
	r.want("4:0", "1:cancelled", "2:cancelled", "5:0", "3:cancelled")
	r.over()
}

func TestRefusedCancels(t *testing.T) { // check 93
	for _, s := range []SQE{
		cancel(1, 0, 1<<6), cancel(1, 0, CancelFd|CancelAny), cancel(1, 0, CancelOp|CancelAny),
		{Opcode: OpAsyncCancel, UserData: 1, Off: 1},
	} {
		r := newRig(t)
		r.submit(s)
		r.want("1:EINVAL")
		if _, err := NewCancel(s); err != syscall.EINVAL {
			t.Errorf("NewCancel: %v", err)
		}
	}
	r := newRig(t)
	r.submit(SQE{Opcode: OpAsyncCancel, UserData: 1, OpFlags: CancelFd | CancelFdFixed}, SQE{Opcode: OpAsyncCancel, UserData: 2, OpFlags: CancelFd, Flags: FlagFixedFile})
	r.want("1:EBADF", "2:EBADF")
}

// NewCancel's is over when what it found is; it can be sent again.
func TestCancelThatIsNoOperation(t *testing.T) { // check 97
	r := newRig(t)
	r.submit(read(1, 0), read(1, 0))
	r.want("1+", "1+")
	c, err := NewCancel(SQE{Addr: 1, OpFlags: CancelAll})
	if err != nil {
		t.Fatal(err)
	}
	r.Cancel(c)
	first, _ := r.NextCancel()
	r.Answer(first, 0)
	if c.Over() {
		t.Error("over with one of two")
	}
	second, _ := r.NextCancel()
	r.Answer(second, 0)
	if r.NextCancel(); !c.Over() || c.CQE.Res != 2 || !r.Remains(c) {
		t.Errorf("over %v, %+v, remains %v", c.Over(), c.CQE, r.Remains(c))
	}
	r.Complete(first, -int32(syscall.ECANCELED))
	if !r.Remains(c) {
		t.Error("the second is over")
	}
	r.Complete(second, 8)
	if r.Remains(c) {
		t.Error("the second is not over")
	}
	r.want("1:cancelled", "1:8")
	r.Cancel(c)
	if r.NextCancel(); !c.Over() || c.CQE.Res != 0 {
		t.Errorf("again: over %v, %+v", c.Over(), c.CQE)
	}
	r.over()
}

func TestCancelAllEndsEverythingNotBegun(t *testing.T) { // check 99
	r := newRig(t)
	r.submit(read(1, hard), nop(2, hard), nop(3, 0), timeout(4, link, 100, 0), nop(5, 0), timeout(6, 0, 10, TimeoutMultishot),
		nop(7, bar), read(8, link), nop(9, 0))
	r.want("1+")
	r.CancelAll()
	r.want("7:cancelled", "8:cancelled", "9:cancelled", "6:cancelled", "4:cancelled", "5:cancelled")
	r.submit(read(10, link), nop(11, 0))
	r.want("10:cancelled", "11:cancelled")
	running := 0
	r.Each(func(op *Op) { running++ })
	if running != 1 {
		t.Errorf("%d run", running)
	}
	r.end(1, 8)
	r.want("1:8", "2:cancelled", "3:cancelled")
	r.over()
}
