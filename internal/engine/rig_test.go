package engine

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// rig is an engine with somebody around it who writes down what comes out: "1+" when
// the operation with user data 1 is released, "1:0" when it ends with 0, "1?2" when 1 is
// to be cancelled for 2, "1~" when a CQE of 1 comes that is not its last.
type rig struct {
	*Engine
	t   *testing.T
	log []string
	ops map[uint64]*Op // what was released, by user data
}

func newRig(t *testing.T) *rig {
	r := &rig{Engine: New(64, 0), t: t, ops: map[uint64]*Op{}}
	r.SetClocks(0, 0, 0)
	return r
}

// submit is one submission. It returns how many were taken: up to one that stops it.
func (r *rig) submit(sqes ...SQE) (n int) {
	r.t.Helper()
	for i := range sqes {
		if err := r.Reserve(1, sqes[i].Bytes()); err != nil {
			r.t.Fatal(err)
		}
		n++
		if _, ok := r.Accept(&sqes[i], r.now); !ok {
			break
		}
	}
	r.EndChain()
	return n
}

// look writes down what is there.
func (r *rig) look() {
	for {
		if op := r.NextCompleted(); op != nil {
			if op.CQE.Flags&CQEMore != 0 {
				r.log = append(r.log, fmt.Sprintf("%d~", op.CQE.UserData))
				r.Rearm(op, r.now)
				continue
			}
			if !op.Silent() {
				r.log = append(r.log, fmt.Sprintf("%d:%s", op.CQE.UserData, result(op.CQE.Res)))
			}
			delete(r.ops, op.CQE.UserData)
			r.Delivered(1)
			r.Free(op)
			continue
		}
		if op := r.NextReleased(); op != nil {
			r.log = append(r.log, fmt.Sprintf("%d+", op.SQE.UserData))
			r.ops[op.SQE.UserData] = op
			continue
		}
		target, by := r.NextCancel()
		if target == nil {
			if !r.HasCompleted() {
				return
			}
			continue
		}
		r.log = append(r.log, fmt.Sprintf("%d?%d", target.SQE.UserData, by.SQE.UserData))
		r.Answer(target, 0)
		r.Complete(target, -int32(syscall.ECANCELED))
	}
}

// end completes a released operation.
func (r *rig) end(data uint64, res int32) {
	r.t.Helper()
	op := r.ops[data]
	if op == nil {
		r.t.Fatalf("%d does not run", data)
	}
	r.Complete(op, res)
}

// want compares what was written down since the last time.
func (r *rig) want(want ...string) {
	r.t.Helper()
	r.look()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("%v, want %v", r.log, want)
	}
	r.log = r.log[:0]
}

// over sees that nothing is left.
func (r *rig) over() {
	r.t.Helper()
	r.want()
	if r.InFlight() != 0 || r.Alive() != 0 || r.HasWork() || r.Waits() || r.drain.active != 0 || len(r.timers.heap) != 0 || len(r.timers.counting) != 0 {
		r.t.Errorf("%d in flight, %d alive, %d active, timers %d, %d", r.InFlight(), r.Alive(), r.drain.active, len(r.timers.heap), len(r.timers.counting))
	}
}

func result(res int32) string {
	switch -res {
	case int32(syscall.ECANCELED):
		return "cancelled"
	case int32(syscall.EINVAL):
		return "EINVAL"
	case int32(syscall.ENOENT):
		return "ENOENT"
	case int32(syscall.EALREADY):
		return "EALREADY"
	case int32(syscall.EIO):
		return "EIO"
	case int32(syscall.EOPNOTSUPP):
		return "EOPNOTSUPP"
	case int32(syscall.ENOBUFS):
		return "ENOBUFS"
	case int32(syscall.EBADF):
		return "EBADF"
	case int32(ETIME):
		return "ETIME"
	}
	return fmt.Sprint(res)
}

// The entries of the tests. read moves 8 bytes.

const (
	link = FlagIOLink
	hard = FlagIOHardlink
	bar  = FlagIODrain
	skip = FlagCQESkip
	eio  = -int32(syscall.EIO)
)

func nop(data uint64, flags uint8) SQE { return SQE{UserData: data, Flags: flags} }

func read(data uint64, flags uint8) SQE {
	return SQE{Opcode: OpRead, UserData: data, Flags: flags, Buf: make([]byte, 8)}
}

func bad(data uint64, flags uint8) SQE { return SQE{Opcode: 99, UserData: data, Flags: flags} }

func timeout(data uint64, flags uint8, t int64, op uint32) SQE {
	return SQE{Opcode: OpTimeout, UserData: data, Flags: flags, Time: t, OpFlags: op}
}

func limit(data uint64, flags uint8, t int64) SQE {
	return SQE{Opcode: OpLinkTimeout, UserData: data, Flags: flags, Time: t}
}

func cancel(data, which uint64, flags uint32) SQE {
	return SQE{Opcode: OpAsyncCancel, UserData: data, Addr: which, OpFlags: flags}
}
