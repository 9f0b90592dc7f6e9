package engine

import (
	"runtime"
	"sync/atomic"
	"syscall"
)

// A kernel that is a ring itself has io_uring's rules of its own. For such a one
// the engine is only the table of what is alive: operations are lent before they
// are submitted, by anybody, so that their SQEs are filled in place, and nothing
// here looks at what they ask for:
//
//	Reserve, Lend -> fill op.SQE -> Admit(op), Admitted -> (the kernel runs it)
//	-> Retire(op) -> Delivered, Release(ops)
//
// Who lends an operation has it to himself until it is published to the owner, and
// who takes its completion from the kernel has it from there on.
//
// One rule is kept here all the same: which CQEs are left out for the sake of
// IOSQE_CQE_SKIP_SUCCESS. The kernel must post them, or nobody would know that the
// buffers are free.

// AllowLent makes the table larger, by n operations that are lent and not alive.
// To be called before anything else.
func (e *Engine) AllowLent(n int) {
	e.chunks = make([]atomic.Pointer[chunk], (int(e.maxOps)+n+chunkSize-1)/chunkSize)
}

// Lend takes n free operations, 1 or more, which Unlink takes one from another.
// Their SQEs are clear. Filled or Restore must follow soon, without waiting for
// anything.
func (e *Engine) Lend(n int) *Op {
	e.lending.Lock()
	first := e.idle()
	last := first
	for ; n > 1; n-- {
		if last.next == nil {
			e.vacant = nil
			last.next = e.idle()
		}
		last = last.next
	}
	e.vacant, last.next = last.next, nil
	e.filling.Add(1)
	e.lending.Unlock()
	return first
}

// LendInto is Lend into a slice, for as long as one likes: only the owner admits
// them.
func (e *Engine) LendInto(ops []*Op) {
	e.lending.Lock()
	op := e.vacant
	for i := range ops {
		if op == nil {
			e.vacant = nil
			op = e.idle()
		}
		// Its link stays: it is set when the operation is given back.
		ops[i], op = op, op.next
	}
	e.vacant = op
	e.lending.Unlock()
}

// idle is the first of the free operations, which stays among them.
func (e *Engine) idle() *Op {
	op := e.take()
	op.next, e.vacant = e.vacant, op
	return op
}

// Unlink returns the operation that was lent after this one, nil if it is the last.
func (o *Op) Unlink() *Op {
	next := o.next
	o.next = nil
	return next
}

// Next is the operation that was lent after this one, nil if it is the last.
func (o *Op) Next() *Op { return o.next }

// Fill copies SQEs into as many operations, from this one on, and returns the one
// that follows.
func (o *Op) Fill(sqes []SQE) *Op {
	for i := range sqes {
		o.SQE = sqes[i]
		o = o.next
	}
	return o
}

// Restore gives back operations that were lent together and not admitted.
func (e *Engine) Restore(first *Op) {
	for op := first; op != nil; op = op.next {
		op.SQE = SQE{}
	}
	e.Filled() // before the lock, whose holder may wait for it
	e.lending.Lock()
	for op := first; op != nil; {
		next := op.Unlink()
		op.next, e.vacant = e.vacant, op
		op = next
	}
	e.lending.Unlock()
}

// Admit makes a lent operation, for which there is room by Reserve, one that is
// running.
func (e *Engine) Admit(op *Op, bytes, now int64) {
	if op.SQE.owner != nil {
		op.Owner, op.SQE.owner = op.SQE.owner, nil
	}
	op.bytes, op.Start, op.state, op.marks = bytes, now, released, handed
	if len(op.SQE.Bufs) > 0 {
		op.keepVector()
	}
}

// Withdraw makes an admitted operation a lent one again.
func (e *Engine) Withdraw(op *Op) {
	op.state = idle
	op.link, op.guard = nil, nil
}

// Closing reports whether CancelAll was called. Owner only.
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

// Plain reports whether the end of an admitted operation concerns no other.
func (o *Op) Plain() bool { return o.SQE.Flags == 0 && o.marks == handed }

// Freeze waits until nobody fills an operation that was lent by Lend, and keeps it
// so until Thaw: for Named and Meant, during which no operation may be retired either.
func (e *Engine) Freeze() {
	e.lending.Lock()
	for e.filling.Load() > 0 {
		runtime.Gosched() // they publish what they have claimed, and wait for nobody
	}
}

// Thaw ends it.
func (e *Engine) Thaw() { e.lending.Unlock() }

// Filled says that what one Lend has lent is filled and admitted.
func (e *Engine) Filled() { e.filling.Add(-1) }

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

// RetirePlain is Retire of a plain operation.
func (e *Engine) RetirePlain(op *Op) { op.state = idle }

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
	if op.SQE.Bufs != nil {
		op.dropVector()
	}
	op.SQE, op.Owner = SQE{}, nil
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
