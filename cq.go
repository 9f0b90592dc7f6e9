package aioring

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/aioring/aioring/internal/engine"
)

// CQE is a completion queue entry: what became of one operation. It is a plain
// value. Res of -int32(syscall.EIO), say, means that the operation failed with EIO.
type CQE struct {
	UserData uint64 // the SQE's
	Res      int32  // bytes or 0; or a negative errno in this system's numbering
	Flags    uint32 // io_uring's CQE flags: CQEMore

	event Event // so two CQEs are compared by their fields, not by ==
}

// completionQueue is the completion ring, and behind it the backlog of what did
// not fit. The engine's owner produces; consumers take.
//
// An operation lives until its CQE is consumed, and the backlog is threaded
// through the operations, so it allocates nothing and loses nothing.
type completionQueue struct {
	eng   *engine.Engine
	cells []CQE
	ops   []*engine.Op // whose they are
	mask  uint64

	// The entry of an operation whose CQE comes here is the CQE's place. Its word
	// need not be written for that: its generation and tick are the position, it is
	// ready from post to advance, and cleared[i] is the position, counted from 1, that
	// was cleared last of those in cell i.
	place   entry // what the Events of this queue are of
	cleared []atomic.Uint64

	_    [128]byte
	head atomic.Uint64 // the next to consume
	_    [120]byte
	tail atomic.Uint64 // one past the last; the store publishes the cells before it
	_    [120]byte

	// taking serializes the consumers that return values, and guards the freeing
	// of what was consumed. Those that return pointers have one user, by contract.
	taking sync.Mutex
	// freed is one past the last consumed operation that was given back to the
	// engine: its store gives the cells back to the producer. What is consumed is
	// freed by many, when nothing is left in the ring or somebody needs the room.
	freed atomic.Uint64

	// mu guards the producer's side: tail, backlog and the waiters.
	mu         sync.Mutex
	backlog    engine.List
	overflowed atomic.Bool // backlog is not empty
	waiters    waiterList
	idlers     waiterList // wait for the end of everything in flight
	pushers    waiterList // wait for room to push
	turns      waiterList // wait for a turn of the engine

	room    atomic.Uint64 // counts the times that room was made
	pushing atomic.Int64  // those who wait for it
	turned  atomic.Uint64 // counts the turns of the engine,
	turning atomic.Int64  // while somebody waits for one
}

func (q *completionQueue) init(entries int, first uint32, eng *engine.Engine) {
	q.head.Store(uint64(first))
	q.tail.Store(uint64(first))
	q.freed.Store(uint64(first))
	q.eng, q.cells, q.mask = eng, make([]CQE, entries), uint64(entries-1)
	q.ops = make([]*engine.Op, entries)
	q.cleared = make([]atomic.Uint64, entries)
}

// ready is the number of CQEs in the ring.
func (q *completionQueue) ready() uint64 {
	head := q.head.Load() // first: the tail only grows, so the difference is never negative
	return q.tail.Load() - head
}

// posted is how many CQEs there ever were, in the ring and behind it. q.mu is held, so
// that of the two only refill moves any.
func (q *completionQueue) posted() uint64 { return q.tail.Load() + uint64(q.backlog.Len()) }

// crowded reports whether it is time to free what was consumed.
func (q *completionQueue) crowded() bool {
	return q.tail.Load()-q.freed.Load() > q.mask/2
}

// window is where CQEs may be put: from tail up to end. None where there is a backlog:
// what comes now goes behind that. q.mu is held, and whoever fills cells stores the tail
// before it lets go.
func (q *completionQueue) window() (tail, end uint64) {
	tail = q.tail.Load()
	if q.backlog.Len() > 0 {
		return tail, tail
	}
	return tail, q.freed.Load() + uint64(len(q.cells))
}

// overflow appends an operation's CQE to the backlog. q.mu is held.
func (q *completionQueue) overflow(op *engine.Op) {
	q.backlog.Push(op)
	q.overflowed.Store(true)
}

// postMore posts a CQE of an operation that goes on, or reports that there is no room
// for one. Who waits for the operation alone is told of its last only. q.mu is held.
func (q *completionQueue) postMore(op *engine.Op) bool {
	if op.Owner != nil {
		return true
	}
	t, end := q.window()
	if t == end {
		return false
	}
	q.put(t, op)
	q.ops[t&q.mask] = nil // its end is another's
	q.tail.Store(t + 1)
	return true
}

// put fills the cell of position t with the CQE of op.
func (q *completionQueue) put(t uint64, op *engine.Op) {
	q.putResult(t, op, op.CQE.Res, op.CQE.Flags)
}

// putResult is put of a CQE that op does not have yet.
func (q *completionQueue) putResult(t uint64, op *engine.Op, res int32, flags uint32) {
	c := &q.cells[t&q.mask]
	c.UserData, c.Res, c.Flags = op.SQE.UserData, res, flags
	if c.event.of == nil { // as a rule it is what it was
		c.event.of = &q.place
	}
	c.event.word = t + 1
	q.ops[t&q.mask] = op
}

// clear clears the readiness of the CQE at a position, counted from 1, once, and only
// before it is consumed.
func (q *completionQueue) clear(position uint64) bool {
	c := &q.cleared[(position-1)&q.mask]
	last := c.Load()
	// Looked at after last: if the cell goes to a later CQE from here on and that is
	// cleared, the exchange fails.
	if last == position || q.head.Load() >= position {
		return false
	}
	return c.CompareAndSwap(last, position)
}

// refill moves the backlog into the ring as far as there is room.
func (q *completionQueue) refill() {
	if q.overflowed.Load() {
		q.collect()
		q.refillFreed()
	}
}

// refillFreed is refill with what room there is.
func (q *completionQueue) refillFreed() {
	if !q.overflowed.Load() {
		return
	}
	q.mu.Lock()
	t := q.tail.Load()
	for t-q.freed.Load() < uint64(len(q.cells)) {
		op := q.backlog.Pop()
		if op == nil {
			break
		}
		q.put(t, op)
		t++
		q.tail.Store(t)
	}
	q.overflowed.Store(q.backlog.Len() > 0)
	q.mu.Unlock()
}

// advance consumes n CQEs; more than there are, only those.
func (q *completionQueue) advance(n uint64) {
	for {
		head := q.head.Load()
		tail := q.tail.Load()
		if n = min(n, tail-head); n == 0 {
			return
		}
		// A consumer beside this one breaks the contract, but no operation.
		if q.head.CompareAndSwap(head, head+n) {
			if head+n == tail {
				q.collect()
			}
			return
		}
	}
}

// collect frees what was consumed.
func (q *completionQueue) collect() {
	q.taking.Lock()
	q.free()
	q.taking.Unlock()
}

// free is collect with q.taking held.
func (q *completionQueue) free() {
	var done engine.Released
	at, head := q.freed.Load(), q.head.Load()
	for ; at != head; at++ {
		if op := q.ops[at&q.mask]; op != nil { // else it goes on
			done.Add(op)
		}
	}
	q.eng.Release(&done)
	q.freed.Store(at)
}

// pop takes the oldest CQE.
func (q *completionQueue) pop() (CQE, bool) {
	q.taking.Lock()
	defer q.taking.Unlock()
	if q.overflowed.Load() {
		q.free()
		q.refillFreed()
	}
	for {
		head, tail := q.head.Load(), q.tail.Load()
		if tail == head {
			return CQE{}, false
		}
		cqe := q.cells[head&q.mask]
		if q.head.CompareAndSwap(head, head+1) {
			if head+1 == tail {
				q.free()
			}
			return cqe, true
		}
	}
}

// PeekCQE returns the oldest CQE without consuming it, or EAGAIN. It stays valid
// until [Ring.CQESeen] or [Ring.CQAdvance] consumes it.
//
// One goroutine at a time may reap by PeekCQE, WaitCQE, PeekBatchCQE, CQESeen and
// CQAdvance. For several there is [Ring.Wait].
func (r *Ring) PeekCQE() (*CQE, error) {
	if r.closed.Load() {
		return nil, ErrClosed
	}
	r.cq.refill()
	if r.cq.ready() == 0 && !r.look() {
		return nil, syscall.EAGAIN
	}
	return &r.cq.cells[r.cq.head.Load()&r.cq.mask], nil
}

// PeekBatchCQE fills cqes with pointers to the oldest CQEs, in order, without
// consuming them, and returns how many there were.
func (r *Ring) PeekBatchCQE(cqes []*CQE) int {
	if r.closed.Load() {
		return 0
	}
	r.cq.refill()
	if r.cq.ready() == 0 {
		r.look()
	} else if r.cq.ready() < uint64(len(cqes)) {
		r.fetch()
	}
	head := r.cq.head.Load()
	n := min(len(cqes), int(r.cq.tail.Load()-head))
	for i := range n {
		cqes[i] = &r.cq.cells[(head+uint64(i))&r.cq.mask]
	}
	return n
}

// WaitCQE waits for a CQE and returns it without consuming it, as PeekCQE does.
// Nothing that is not submitted is submitted by it. It returns [ErrClosed] when
// the ring is closed, or shut down and empty.
func (r *Ring) WaitCQE() (*CQE, error) {
	if err := r.await(context.Background(), 1); err != nil {
		return nil, err
	}
	return &r.cq.cells[r.cq.head.Load()&r.cq.mask], nil
}

// CQESeen consumes the oldest CQE, of which cqe should be the pointer; nil
// consumes nothing. The CQE must not be looked at afterwards.
func (r *Ring) CQESeen(cqe *CQE) {
	if cqe != nil {
		r.CQAdvance(1)
	}
}

// CQAdvance consumes the n oldest CQEs; if there are fewer, those.
func (r *Ring) CQAdvance(n int) {
	if n > 0 && !r.closed.Load() {
		r.cq.advance(uint64(n))
		r.roomMade()
	}
}

// CQReady is the number of CQEs that can be consumed without a refill from the
// backlog.
func (r *Ring) CQReady() int {
	r.fetch()
	return int(r.cq.ready())
}

// CQHasOverflow reports whether completions wait behind a full completion ring.
// They move up, in order, when one of the peeking and waiting calls finds room.
func (r *Ring) CQHasOverflow() bool {
	r.fetch()
	return r.cq.overflowed.Load()
}

// Wait waits for a CQE, consumes it and returns it. Any number of goroutines may
// call it; each CQE goes to one of them. When ctx ends first, its error comes back
// and nothing is lost: the operations go on, and their buffers are still the
// ring's. [ErrClosed] comes back when the ring is closed, or shut down and empty.
func (r *Ring) Wait(ctx context.Context) (CQE, error) {
	for {
		if err := r.await(ctx, 1); err != nil {
			return CQE{}, err
		}
		cqe, ok := r.cq.pop()
		r.roomMade()
		if r.cq.ready() > 0 || r.cq.overflowed.Load() {
			r.rouse() // what is left is another waiter's
		}
		if ok {
			return cqe, nil
		}
	}
}

// CQEs is Wait as a loop: it yields completions, consumed, until ctx ends, the
// ring is closed, or it is shut down and empty. Any number of goroutines may
// range over it.
func (r *Ring) CQEs(ctx context.Context) iter.Seq[CQE] {
	return func(yield func(CQE) bool) {
		for {
			cqe, err := r.Wait(ctx)
			if err != nil || !yield(cqe) {
				return
			}
		}
	}
}
