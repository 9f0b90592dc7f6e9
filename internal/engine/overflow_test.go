package engine

import "testing"

// A CQE for which there is no room is the last of its operation.
func TestCutIsTheLast(t *testing.T) { // check 41
	r := newRig(t)
	r.submit(timeout(1, 0, 10, TimeoutMultishot), nop(2, bar))
	r.Advance(10)
	op := r.NextCompleted()
	if op == nil || op.CQE.Flags != CQEMore {
		t.Fatal("no CQE with more to come")
	}
	r.Cut(op)
	if op.CQE.Flags != 0 || op.CQE.Res != -int32(ETIME) || op.Silent() {
		t.Errorf("%+v", op.CQE)
	}
	r.Cut(op) // once
	r.Rearm(op, r.now)
	r.Delivered(1)
	r.Free(op)
	r.want("2:0")
	r.Advance(100)
	r.over()
}

// It breaks its chain, and its limit ends with it.
func TestCutInAChain(t *testing.T) {
	r := newRig(t)
	r.submit(timeout(1, link, 10, TimeoutMultishot), limit(2, link, 100), nop(3, 0))
	r.Advance(10)
	op := r.NextCompleted()
	r.Cut(op)
	r.Delivered(1)
	r.Free(op)
	r.want("2:cancelled", "3:cancelled")
	r.over()
}

// While such a CQE is on its way the operation can be ended; that is told after it.
func TestEndBetweenTwoCQEs(t *testing.T) {
	for name, end := range map[string]func(*rig, *Op){
		"removed":   func(r *rig, _ *Op) { r.submit(SQE{Opcode: OpTimeoutRemove, UserData: 2, Addr: 1}) },
		"cancelled": func(r *rig, _ *Op) { r.submit(cancel(2, 1, 0)); r.NextCancel() },
		"ended":     func(r *rig, op *Op) { r.End(op); r.submit(nop(2, 0)) },
		"closed":    func(r *rig, _ *Op) { r.submit(nop(2, 0)); r.CancelAll() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.submit(timeout(1, 0, 10, TimeoutMultishot))
			r.Advance(10)
			end(r, r.Op(0))
			r.want("1~", "2:0", "1:cancelled")
			r.over()
		})
	}
}
