package engine

import (
	"sync/atomic"
	"syscall"
)

// A kernel that is a ring itself has io_uring's rules of its own. For such a one
// the engine is only the table of what is alive: operations are lent before they
// are submitted, so that their SQEs are filled in place, and nothing here looks at
// what they ask for. All but Release belong to the engine's owner:
//
//	Lend() -> fill op.SQE -> Admit(op) -> (the kernel runs it) -> Retire(op) -> Release(ops)
//
// One rule is kept here all the same: which CQEs are left out for the sake of
// IOSQE_CQE_SKIP_SUCCESS. The kernel must post them, or nobody would know that the
// buffers are free.

// AllowLent makes the table larger, by n operations that are lent and not alive.
// To be called before anything else.
func (e *Engine) AllowLent(n int) {
	e.chunks = make([]atomic.Pointer[chunk], (int(e.maxOps)+n+chunkSize-1)/chunkSize)
}

// Lend takes a free operation. Its SQE is clear.
func (e *Engine) Lend() *Op { return e.take() }

// Restore gives back an operation that was lent and not admitted.
func (e *Engine) Restore(op *Op) {
	op.SQE, op.Owner = SQE{}, nil
	op.next, e.vacant = e.vacant, op
}

// Admit makes a lent operation, for which there is room by Reserve, one that is
// running. false: the engine takes no more, and Complete must be called for it.
func (e *Engine) Admit(op *Op, bytes, now int64) bool {
	if op.SQE.owner != nil {
		op.Owner, op.SQE.owner = op.SQE.owner, nil
	}
	op.bytes, op.Start, op.state, op.marks = bytes, now, released, handed
	if len(op.SQE.Bufs) > 0 {
		op.keepVector()
	}
	return !e.closing
}

// Withdraw makes an admitted operation a lent one again.
func (e *Engine) Withdraw(op *Op) {
	op.state = idle
	op.link, op.guard = nil, nil
}

// Closing reports whether CancelAll was called.
func (e *Engine) Closing() bool { return e.closing }

// Chain says that next follows an admitted operation in its chain. A LINK_TIMEOUT
// ends with the operation that it is for, and nothing follows it.
func (e *Engine) Chain(op, next *Op) {
	if next.SQE.Opcode == OpLinkTimeout {
		op.guard = next
		return
	}
	op.link = next
	next.marks |= follower
}

// Follower reports whether an admitted operation waits for another in its chain.
func (o *Op) Follower() bool { return o.marks&follower != 0 }

// Named calls f for the admitted operations that have this user data, until it is
// false.
func (e *Engine) Named(data uint64, f func(*Op) bool) {
	for i := range e.made {
		if op := e.Op(i); op.state == released && op.SQE.UserData == data && !f(op) {
			return
		}
	}
}

// Meant calls f for the admitted operations that have what an ASYNC_CANCEL looks
// for.
func (e *Engine) Meant(s *SQE, f func(*Op)) {
	c := Op{SQE: *s}
	for i := range e.made {
		if op := e.Op(i); op.state == released && c.means(op) {
			f(op)
		}
	}
}

// Admitted counts n operations as in flight, before the kernel knows of them;
// a negative n takes back some that were withdrawn.
func (e *Engine) Admitted(n int) { e.inFlight.Add(int64(n)) }

// Retire ends the running of an operation with this result without Complete: its CQE
// goes to where it belongs at once, or nowhere if it is silent.
func (e *Engine) Retire(op *Op, res int32) (silent bool) {
	op.state = idle
	if op.SQE.Flags == 0 && op.marks == handed {
		return false
	}
	next, limit := op.link, op.guard
	op.link, op.guard = nil, nil
	skips := op.SQE.Flags&FlagCQESkip != 0
	fails := breaks(op, res) || op.SQE.Opcode == OpLinkTimeout && refusal(res)
	// The first that fails decides for all that are cancelled behind it.
	var rest marks
	switch {
	case op.marks&doomed != 0 && (res == -int32(syscall.ECANCELED) || res < 0 && op.marks&unsure == 0):
		rest = op.marks & (doomed | unsure | hushed)
		silent = rest&hushed != 0
		if limit != nil { // it was not started either, or it would be gone
			limit.marks |= rest
		}
	case skips && !fails:
		silent = true
	case fails && op.SQE.Flags&FlagIOHardlink == 0:
		rest = doomed
		if skips {
			rest |= hushed
		}
		if op.SQE.Opcode == OpFsync {
			rest |= unsure // unless it was refused, it breaks no chain of Linux's
		}
	}
	if next != nil {
		next.marks = next.marks&^follower | rest
	}
	return silent && op.Owner == nil
}

// refusal reports whether a LINK_TIMEOUT has a result that one which was taken cannot
// have.
func refusal(res int32) bool {
	switch syscall.Errno(-res) {
	case ETIME, syscall.ECANCELED, syscall.ENOENT, syscall.EALREADY:
		return false
	}
	return res < 0
}

// Post gives an admitted operation its result, to be delivered by NextCompleted.
func (e *Engine) Post(op *Op, res int32) {
	if op.state != released {
		return
	}
	op.marks &^= silent
	if e.Retire(op, res) {
		op.marks |= silent
	}
	e.post(op, res)
}

// Released collects delivered operations, to give many back in one step.
type Released struct {
	first, last *Op
	n           int
	bytes       int64
}

// Add ends the life of a delivered operation, as Free does.
func (l *Released) Add(op *Op) {
	l.bytes += op.bytes
	l.n++
	// The buffers are no longer the ring's: let the collector have them.
	op.SQE, op.Owner = SQE{}, nil
	if len(op.vector) > 0 {
		op.dropVector()
	}
	op.next = l.first
	if l.first == nil {
		l.last = op
	}
	l.first = op
}

// Release is Free for all that were added. Any goroutine may call it.
func (e *Engine) Release(l *Released) {
	if l.n == 0 {
		return
	}
	for {
		top := e.returned.Load()
		l.last.next = top
		// Publishes the cleared operations to the owner's Swap in take.
		if e.returned.CompareAndSwap(top, l.first) {
			break
		}
	}
	// Only now: whoever reserves this room finds the operations on the stack.
	e.Unreserve(l.n, l.bytes)
	*l = Released{}
}
