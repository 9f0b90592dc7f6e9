package engine

import "sync/atomic"

// A kernel that is a ring itself has io_uring's rules of its own. For such a one
// the engine is only the table of what is alive: operations are lent before they
// are submitted, by anybody, so that their SQEs are filled in place, and nothing
// here looks at what they ask for:
//
//	Reserve, Admitted, Lend -> fill op.SQE -> Admit(op) -> (the kernel runs it)
//	-> Retire(op) -> Delivered, Release(ops)
//
// Who lends an operation has it to himself until the kernel has it; who takes its
// completion from the kernel has it from there on.

// AllowLent makes the table larger, by n operations that are lent and not alive.
// To be called before anything else.
func (e *Engine) AllowLent(n int) {
	e.chunks = make([]atomic.Pointer[chunk], (int(e.maxOps)+n+chunkSize-1)/chunkSize)
}

// Lend takes n free operations, 1 or more, which Unlink takes one from another.
// Their SQEs are clear.
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
	e.lending.Unlock()
	return first
}

// LendInto is Lend into a slice.
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
	e.lending.Lock()
	for op := first; op != nil; {
		next := op.Unlink()
		op.SQE = SQE{}
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
	op.bytes, op.Start, op.state = bytes, now, released
}

// Withdraw makes an admitted operation a lent one again.
func (e *Engine) Withdraw(op *Op) { op.state = idle }

// Admitted counts n operations as in flight, before the kernel knows of them;
// a negative n takes back some that were withdrawn.
func (e *Engine) Admitted(n int) { e.inFlight.Add(int64(n)) }

// Closing reports whether CancelNew was called. Owner only.
func (e *Engine) Closing() bool { return e.closing }

// Retire ends the running of an operation without Complete: its CQE goes to where
// it belongs at once.
func (e *Engine) Retire(op *Op) { op.state = idle }

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
