package aioring

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/ring"
)

// submissionQueue is both ways in. entries is the porter's: a private array that
// GetSQE hands out and Submit takes, in order, with io_uring's free-running
// indexes. shared is everybody's: Push publishes there, and whoever owns the
// engine drains it.
type submissionQueue struct {
	entries []SQE
	lent    []*engine.Op // in place of entries where the kernel is a ring itself, up to lentEnd
	lentEnd uint32
	mask    uint32
	head    uint32 // the next to submit
	tail    uint32 // the next to hand out

	whole []SQE // the chain that is being published

	shared *ring.MPSC[SQE]

	// The engine's owner's: whoever submits will wait for this one operation, and
	// what he is to run himself for that. See alone.go.
	alone bool
	own   runner
}

func (q *submissionQueue) init(entries int, first uint32) {
	q.head, q.tail, q.lentEnd = first, first, first
	q.entries, q.mask = make([]SQE, entries), uint32(entries-1)
}

// share makes shared, which a kernel that is a ring itself has in its own form.
func (q *submissionQueue) share() { q.shared = ring.NewMPSC[SQE](len(q.entries)) }

// lend gets operations of the engine for the next entries of the array. As late as
// this they are those that were used last, and still in the processor's cache.
func (q *submissionQueue) lend(eng *engine.Engine) {
	first := q.lentEnd & q.mask
	room := min(uint32(len(q.lent))-(q.tail-q.head), uint32(len(q.lent))-first)
	n := min(lendBatch, room)
	eng.LendInto(q.lent[first : first+n])
	q.lentEnd += n
}

// lendBatch is how many operations are lent at a time.
const lendBatch = 64

// GetSQE hands out the next free entry, cleared, or nil when all are filled: then
// Submit. The entry is submitted by the next Submit, whether it was prepared or
// not (unprepared it is a NOP), and must not be touched after that.
func (r *Ring) GetSQE() *SQE {
	t := r.sq.tail
	if t == r.sq.lentEnd || r.stopped.Load() {
		return r.nextSQE()
	}
	r.sq.tail++
	return &r.sq.lent[t&r.sq.mask].SQE // cleared when it was freed
}

// nextSQE is GetSQE when no entry is lent in advance.
func (r *Ring) nextSQE() *SQE {
	q := &r.sq
	if q.tail-q.head == uint32(len(q.entries)) || r.stopped.Load() {
		return nil
	}
	if q.lent != nil {
		q.lend(r.eng)
		q.tail++
		return &q.lent[(q.tail-1)&q.mask].SQE
	}
	sqe := &q.entries[q.tail&q.mask]
	*sqe = SQE{}
	q.tail++
	q.lentEnd = q.tail // none
	return sqe
}

// SQReady is the number of entries handed out by GetSQE and not submitted.
func (r *Ring) SQReady() int { return int(r.sq.tail - r.sq.head) }

// SQSpaceLeft is the number of entries that GetSQE can hand out before a Submit.
func (r *Ring) SQSpaceLeft() int { return len(r.sq.entries) - r.SQReady() }

// Submit starts the operations in the entries handed out by GetSQE, after those
// pushed before, and returns how many it took. When it returns, the file that each
// names is fixed: its number may be closed.
//
// An entry that io_uring would refuse (an unknown opcode, a bad flag) is counted,
// gets a CQE that says so, and stops the submission after it; the rest stays for
// the next Submit. EAGAIN comes back when no operation at all could be taken
// because too many are alive: reap, and try again. Of a chain all is taken or nothing;
// [ErrTooBig] is for one that could never be.
func (r *Ring) Submit() (int, error) {
	n, _, err := r.submit()
	return n, err
}

// SubmitAndWait submits as Submit does and then waits until n CQEs can be reaped,
// those already there included. It does not wait when the submission stopped
// early. It returns the number of entries submitted.
func (r *Ring) SubmitAndWait(n int) (int, error) {
	submitted, stopped, err := r.submitFor(n)
	if err == nil && !stopped && n > 0 {
		err = r.await(context.Background(), uint64(n))
	}
	if r.dependent.Load() {
		r.ensureHarvest() // nobody has begun to, in the hope that this goroutine would
	}
	return submitted, err
}

// submit takes the private entries. stopped says that one of them was bad and
// that others are left.
func (r *Ring) submit() (n int, stopped bool, err error) { return r.submitFor(0) }

// submitFor is submit for somebody who will wait for so many CQEs at once.
func (r *Ring) submitFor(wait int) (n int, stopped bool, err error) {
	if r.stopped.Load() {
		return 0, false, r.gone()
	}
	if r.disabled.Load() {
		return 0, false, EBADFD
	}
	if r.sq.head == r.sq.tail {
		r.kick() // as io_uring's does, it helps what is under way
		return 0, false, nil
	}
	if r.worker != nil {
		return r.publish()
	}
	r.owner.Lock()
	if r.stopped.Load() {
		r.owner.Unlock()
		return 0, false, r.gone()
	}
	r.comes = wait > 0
	r.take(len(r.sq.entries)) // what was pushed before goes first
	var own runner
	if r.direct != nil {
		n, stopped, err = r.direct.acceptOwn()
	} else {
		r.sq.alone = wait > 0 && r.SQReady() == 1
		n, stopped, err = r.acceptOwn()
		r.start()
		own, r.sq.alone, r.sq.own = r.sq.own, false, nil
	}
	r.release()
	if own != nil {
		own.run()
	}
	r.drive()
	return n, stopped, err
}

// reserve claims room for operations, that of consumed ones too.
func (r *Ring) reserve(n int, bytes int64) error {
	err := r.eng.Reserve(n, bytes)
	if err != nil && r.cq.freed.Load() != r.cq.head.Load() {
		r.cq.collect()
		err = r.eng.Reserve(n, bytes)
	}
	return err
}

// linkFlags make a chain of an SQE and the next.
const linkFlags = FlagIOLink | FlagIOHardlink

// chain measures the chain at the head of the private entries: how many there are of
// it, and what they hold. The last of all ends it in any case.
func (q *submissionQueue) chain() (n int, bytes int64) {
	for at := q.head; at != q.tail; at++ {
		sqe := &q.entries[at&q.mask]
		n++
		bytes += sqe.Bytes()
		if sqe.Flags&linkFlags == 0 {
			break
		}
	}
	return n, bytes
}

// all measures all private entries.
func (q *submissionQueue) all() (n int, bytes int64) {
	for at := q.head; at != q.tail; at++ {
		bytes += q.entries[at&q.mask].Bytes()
	}
	return int(q.tail - q.head), bytes
}

// acceptOwn gives the engine the private entries, up to a bad one; of a chain all or
// nothing. The owner calls it.
func (r *Ring) acceptOwn() (n int, stopped bool, err error) {
	q := &r.sq
	now := r.now()
	reserved, bytes := q.all() // as a rule there is room
	if r.reserve(reserved, bytes) != nil {
		reserved = 0
	}
	for q.head != q.tail {
		if reserved == 0 {
			reserved, bytes = q.chain()
			if err := r.reserve(reserved, bytes); err != nil {
				stopped = true
				if n == 0 {
					return 0, true, r.refused(reserved, bytes)
				}
				break
			}
		}
		sqe := &q.entries[q.head&q.mask]
		ok := r.accept(sqe, now)
		*sqe = SQE{} // its buffers are the operation's now
		q.head++
		n++
		reserved--
		if !ok && q.head != q.tail && r.opts.setup&SetupSubmitAll == 0 {
			stopped = true
			if reserved > 0 {
				_, bytes = q.all()
				r.eng.Unreserve(reserved, bytes)
			}
			break
		}
	}
	r.eng.EndChain()
	r.stat.submitted.Add(uint64(n))
	return n, stopped, err
}

// refused is why there is no room for so many operations that belong together.
func (r *Ring) refused(n int, bytes int64) error {
	if n > r.opts.maxOps || n > 1 && r.opts.maxBytes > 0 && bytes > r.opts.maxBytes {
		return ErrTooBig
	}
	return syscall.EAGAIN
}

// publish gives the private entries to the dedicated worker, each chain at once. When
// the worker is behind and there is no room, this goroutine does its work.
func (r *Ring) publish() (n int, stopped bool, err error) {
	q := &r.sq
	for q.head != q.tail {
		members, bytes := q.chain()
		q.whole = q.whole[:0]
		for i := range members {
			q.whole = append(q.whole, q.entries[(q.head+uint32(i))&q.mask])
		}
		q.whole[members-1].Flags &^= linkFlags // it must not join what is pushed next
		err := r.push(q.whole, bytes)
		if err == ErrFull {
			r.own(func() {})
			err = r.push(q.whole, bytes)
		}
		if err == ErrFull && r.opts.locked {
			err = r.pushLocked(q.whole, bytes)
		}
		clear(q.whole)
		if err != nil && n == 0 {
			if err == ErrFull {
				err = r.refused(members, bytes)
			}
			return 0, false, err
		}
		if err != nil {
			stopped = true
			break
		}
		for range members {
			q.entries[q.head&q.mask] = SQE{}
			q.head++
		}
		n += members
	}
	r.pushed()
	return n, stopped, nil
}

// pushLocked is push that waits while it is for the locked thread to make room.
func (r *Ring) pushLocked(sqes []SQE, bytes int64) error {
	r.cq.pushing.Add(1)
	defer r.cq.pushing.Add(-1)
	for {
		seen, untaken := r.cq.room.Load(), r.direct.untaken()
		err := r.push(sqes, bytes)
		if err != ErrFull || !untaken {
			return err
		}
		r.pushed()
		_ = r.awaitRoom(context.Background(), seen) // push tells
	}
}

// push publishes SQEs, all or none, contiguous.
func (r *Ring) push(sqes []SQE, bytes int64) error {
	if err := r.reserve(len(sqes), bytes); err != nil {
		return isFull(err)
	}
	if r.direct != nil {
		op := r.eng.Lend(len(sqes))
		op.Fill(sqes)
		if status := r.direct.push(op, len(sqes)); status != ring.OK {
			r.eng.Restore(op)
			r.eng.Unreserve(len(sqes), bytes)
			r.kick() // as below
			return r.pushError(status)
		}
		return nil
	}
	r.intake.Add(int64(len(sqes)))
	if status := r.sq.shared.PushN(sqes); status != ring.OK {
		r.intake.Add(-int64(len(sqes)))
		r.eng.Unreserve(len(sqes), bytes)
		r.kick() // a full ring wants draining; Close may have seen intake
		return r.pushError(status)
	}
	return nil
}

// pushed sees to it that what was published is drained.
func (r *Ring) pushed() {
	if r.worker == nil {
		r.kick()
		return
	}
	r.again.Store(true)
	r.wakeWorker()
}

// Push submits operations from any goroutine: all of them, contiguous and in
// order, or none. It waits for nobody: if another goroutine is submitting, that
// one takes these along.
//
// Errors: [ErrFull] when there is no room now, in the ring or among the operations
// alive; [ErrTooBig] for more SQEs than the ring has entries; [ErrClosed].
//
// A descriptor's number must stay open until its operation has been taken, which
// may be a moment after Push returns; SQE.Keep does not stop an explicit close.
func (r *Ring) Push(sqes ...SQE) error {
	if r.stopped.Load() {
		return r.gone()
	}
	if r.disabled.Load() {
		return EBADFD
	}
	if len(sqes) == 0 {
		return nil
	}
	if last := len(sqes) - 1; sqes[last].Flags&linkFlags != 0 {
		// The chain ends here: it must not join what another pushes next.
		sqes = slices.Clone(sqes)
		sqes[last].Flags &^= linkFlags
	}
	var bytes int64
	for i := range sqes {
		bytes += sqes[i].Bytes()
	}
	if len(sqes) > len(r.sq.entries) || r.refused(len(sqes), bytes) == ErrTooBig {
		return ErrTooBig
	}
	if err := r.push(sqes, bytes); err != nil {
		return err
	}
	r.pushed()
	if r.direct != nil && r.eng.Alive() > len(r.cq.cells) {
		runtime.Gosched() // to those who reap: here nothing else holds pushers back
	}
	return nil
}

// PushContext is Push that waits, until ctx ends, for the room that it lacks. Among
// those who wait there is no order: a large batch may wait for long beside small
// ones.
func (r *Ring) PushContext(ctx context.Context, sqes ...SQE) error {
	err := r.Push(sqes...)
	if err != ErrFull {
		return err
	}
	// Counted first, tried again second: who makes room between the two sees that
	// somebody waits for it.
	r.cq.pushing.Add(1)
	defer r.cq.pushing.Add(-1)
	for {
		seen := r.cq.room.Load()
		err := r.Push(sqes...)
		if err != ErrFull {
			return err
		}
		if err := r.awaitRoom(ctx, seen); err != nil {
			return err
		}
	}
}

func (r *Ring) pushError(status ring.Status) error {
	switch status {
	case ring.Closed:
		return r.gone()
	case ring.TooBig:
		return ErrTooBig
	}
	return ErrFull
}

// call is somebody who waits for the result of one operation.
type call struct {
	waiter
	cqe       CQE
	op        *engine.Op  // once started; the engine's owner's
	cancelled atomic.Bool // whoever starts it ends it instead
	offer     offer
}

// end is the operation's end.
func (c *call) end(cqe engine.CQE, woken *wakeList) {
	c.cqe = CQE{UserData: cqe.UserData, Res: cqe.Res, Flags: cqe.Flags}
	c.op = nil
	woken.add(&c.waiter)
}

// Do runs one operation and returns its CQE, which nobody else sees. When the
// operation failed, the error is an [*OpError]. Any goroutine may call it.
//
// Do never returns while the kernel may touch the buffers: when ctx ends, it asks
// for the operation's end and waits for it. It then returns ctx's error if the
// operation was cancelled, or what the operation did if it was not. While there is
// no room for the operation, Do waits for some.
func (r *Ring) Do(ctx context.Context, sqe SQE) (CQE, error) {
	if err := ctx.Err(); err != nil {
		return CQE{}, err
	}
	c, _ := r.calls.Get().(*call)
	if c == nil {
		c = &call{waiter: waiter{ch: make(chan struct{}, 1)}}
	}
	defer r.calls.Put(c)
	c.cqe = CQE{}
	c.fired.Store(false)
	c.cancelled.Store(false)
	c.offer.make()
	engine.Own(&sqe, c)
	sqe.Flags &^= linkFlags // there is nothing to link to
	if err := r.PushContext(ctx, sqe); err != nil {
		return CQE{}, err
	}
	if own := c.offer.withdraw(); own != nil {
		own.run()
	}
	if !c.fired.Load() {
		r.fetch() // it may be over already
	}
	if ctx.Done() == nil && !c.fired.Load() && r.takeHarvest() {
		c.harvesting.Store(true)
		r.harvest(&c.waiter)
		c.harvesting.Store(false)
		r.dropHarvest()
	}
	r.parked.Add(1)
	defer r.parked.Add(-1)
	if !c.fired.Load() {
		r.ensureHarvest()
	}
	select {
	case <-c.ch:
	case <-ctx.Done():
		// First: if it was not started yet, even not published to the engine's
		// owner (behind somebody else's claim), start sees it.
		c.cancelled.Store(true)
		r.own(func() {
			if r.direct != nil {
				r.cq.mu.Lock() // under which it ends
				defer r.cq.mu.Unlock()
			}
			if c.op != nil {
				r.end(c.op)
			}
		})
		<-c.ch
		if c.cqe.Res == -int32(syscall.ECANCELED) {
			return c.cqe, ctx.Err()
		}
	}
	return c.cqe, opError(&sqe, c.cqe.Res)
}
