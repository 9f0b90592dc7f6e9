package engine

import "sync/atomic"

// A kernel that is a ring itself has io_uring's rules of its own. For such a one
// the engine is only the table of what is alive: operations are lent before they
// are submitted, so that their SQEs are filled in place, and nothing here looks at
// what they ask for. All but Release belong to the engine's owner:
//
//	Lend() -> fill op.SQE -> Admit(op) -> (the kernel runs it) -> Retire(op) -> Release(ops)

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
	op.bytes, op.Start, op.state = bytes, now, released
	return !e.closing
}

// Withdraw makes an admitted operation a lent one again.
func (e *Engine) Withdraw(op *Op) { op.state = idle }

// Admitted counts n operations as in flight, before the kernel knows of them;
// a negative n takes back some that were withdrawn.
func (e *Engine) Admitted(n int) { e.inFlight.Add(int64(n)) }

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
