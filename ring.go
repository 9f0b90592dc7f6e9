// Package aioring gives Go programs io_uring's submission and completion rings
// over FreeBSD's POSIX AIO and kqueue, and over plain calls elsewhere.
//
// Operations go in by [Ring.GetSQE], the Prep functions and [Ring.Submit], as with
// liburing, or by [Ring.Push] and [Ring.Do] from any goroutine; completions come
// out by [Ring.WaitCQE] and its kin, or by [Ring.Wait] and [Ring.CQEs].
//
// An operation that cannot go to the kernel at once, and on the threads kernel
// every one that is not over when Submit returns, works on a duplicate of its descriptor. Closing it drops the
// process's POSIX record locks on the file, as any close does (fcntl(2)).
package aioring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/ring"
)

// Ring is a submission queue, a completion queue, and what moves operations from
// one to the other. Make one with [New]; end it with [Ring.Close].
//
// Any goroutine may call Push, Do, Wait, CQEs, Stats, Shutdown and Close. One
// goroutine at a time may fill and submit (GetSQE, Submit, SubmitAndWait). CQEs
// are reaped either by value, by any number of goroutines (Wait, CQEs), or by
// pointer, by one (PeekCQE and its kin): not in both ways at a time, or a CQE may
// be seen twice or not at all.
type Ring struct {
	opts options
	eng  *engine.Engine
	sq   submissionQueue
	cq   completionQueue
	low  lower
	// direct is low again if that is a ring itself, else nil.
	direct direct

	// owner is the ownership of the engine and of everything below it that says
	// so. Who finds it taken, and need not wait, leaves again set; who gives it up
	// looks at again afterwards.
	owner sync.Mutex
	again atomic.Bool
	batch [64]SQE // the owner's: what is being drained

	intake atomic.Int64 // SQEs pushed, or about to be, that the engine has not accepted

	harvester  atomic.Bool  // somebody harvests
	ownHarvest func()       // harvestLoop: a method value made for each start would be allocated
	parked     atomic.Int64 // waiters who cannot
	bystanders atomic.Int64 // waiters who could, and do not
	dependent  atomic.Bool  // operations wait for the end of others that has to be harvested
	comes      bool         // the owner's: somebody is about to wait

	entries entryTable               // the kept ones
	wakers  atomic.Pointer[[]*Waker] // lent to a wakeList
	waiters sync.Pool                // of *waiter
	calls   sync.Pool                // of *call

	worker     *ring.Parker   // the dedicated worker's, with WithWorker
	background sync.WaitGroup // the dedicated worker

	began    time.Time
	stopped  atomic.Bool           // no more intake
	closed   atomic.Bool           // everything is over
	forsaken atomic.Bool           // a Close has given up waiting: nobody is to wait for more than there is
	failure  atomic.Pointer[error] // why completions no longer come by themselves
	closing  chan struct{}         // holds a token while somebody closes: one at a time

	disabled atomic.Bool // until Enable
	alarm    alarm       // the owner's: wakes it for the engine's next deadline
	notify   notifier

	stat counters
	slow slowWatch
}

// New makes a ring with at least so many submission queue entries: 1 to
// [MaxEntries], rounded up to a power of two. The completion queue has twice as
// many. The kernel is this system's own, else threads, unless an option says
// otherwise.
//
// Errors: EINVAL for a number of entries out of range; [ErrUnsupported] for a
// kernel that this system lacks; what the system answers when it has no memory or
// descriptors to give.
func New(entries int, opts ...Option) (*Ring, error) {
	o := options{kernel: KernelAuto, maxOps: DefaultMaxOps, merge: DefaultMerge, method: MethodAuto}
	for _, set := range opts {
		if set == nil {
			continue
		}
		if err := set(&o); err != nil {
			return nil, err
		}
	}
	if err := o.fromEnvironment(os.LookupEnv); err != nil {
		return nil, err
	}
	entries, completions, err := o.sizes(entries)
	if err != nil {
		return nil, err
	}
	r := &Ring{opts: o, eng: engine.New(o.maxOps, o.maxBytes), began: time.Now(), closing: make(chan struct{}, 1)}
	r.ownHarvest = r.harvestLoop
	r.sq.init(entries, o.first)
	r.cq.init(completions, o.first, r.eng)
	r.disabled.Store(o.setup&SetupRDisabled != 0)
	r.alarm.init(r)
	low, err := openLower(r)
	if err != nil {
		return nil, err
	}
	r.low = low
	if _, is := low.(direct); !is && o.setup&SetupIOPoll != 0 {
		return nil, errors.Join(fmt.Errorf("aioring: kernel %q polls no devices: %w", low.name(), syscall.EINVAL), low.close())
	}
	if r.direct, _ = low.(direct); r.direct == nil {
		r.opts.locked = false
		r.opts.worker = o.worker || o.setup&SetupSQPoll != 0
		r.sq.share()
	} else if !o.worker {
		r.eng.AllowLent(entries)
		r.sq.lent = make([]*engine.Op, entries)
	}
	if r.opts.worker {
		r.worker = new(ring.Parker)
		r.background.Add(1)
		if r.opts.locked {
			adopted := make(chan error)
			go r.workLocked(adopted)
			if err := <-adopted; err != nil {
				return nil, errors.Join(fmt.Errorf("aioring: kernel %q: %w", low.name(), err), low.close())
			}
		} else {
			go r.work()
		}
		r.ensureHarvest()
	}
	return r, nil
}

// Kernel is the name of the kernel that runs the ring's operations.
func (r *Ring) Kernel() string { return r.low.name() }

// now is the ring's clock, in nanoseconds.
func (r *Ring) now() int64 { return int64(time.Since(r.began)) }

// Bounds on what one owner does for others before it passes the engine on.
const (
	turnSQEs = 1024 // SQEs taken from the submission ring in one turn
	turns    = 8    // turns in a row
)

// kick asks for a turn of the engine: by this goroutine if the engine is free,
// else by its owner.
func (r *Ring) kick() {
	if !r.again.Load() { // true, it will be looked at from here on: do not take the line away
		r.again.Store(true)
	}
	r.drive()
}

// drive gives the engine turns while it is free and somebody asks for them.
func (r *Ring) drive() {
	if r.opts.locked {
		if r.again.Load() {
			r.wakeWorker() // it alone can do more than look
		}
		return
	}
	for n := 0; r.again.Load() && r.owner.TryLock(); n++ {
		if n == turns {
			// Enough done for others. The lock is let go first: the new owner
			// must find the engine free.
			r.owner.Unlock()
			go r.drive()
			return
		}
		r.turn(turnSQEs)
		r.release()
	}
}

// turn lets the engine take everything in: results from below, SQEs from above.
// The owner calls it.
func (r *Ring) turn(sqes int) {
	r.take(sqes)
	if r.direct == nil && !r.closed.Load() {
		r.start()
	}
}

// take gives the engine the results that have come in and up to so many of the
// SQEs pushed. The owner calls it.
func (r *Ring) take(sqes int) {
	// Cleared first: what is asked for from here on is asked for again.
	if r.again.Load() {
		r.again.Store(false)
	}
	if r.closed.Load() {
		return // a late request: there is nothing any more
	}
	if r.direct != nil {
		r.direct.takePushed(sqes)
		return
	}
	r.low.settle()
	now := r.now()
	r.eng.Advance(now)
	for sqes > 0 || r.eng.InChain() { // a batch pushed is there as a whole
		n := r.sq.shared.PopBatch(r.batch[:])
		if n == 0 {
			break
		}
		for i := range n {
			r.accept(&r.batch[i], now)
		}
		clear(r.batch[:n])
		// After Accept has counted them in flight: see quiet.
		r.intake.Add(-int64(n))
		r.stat.submitted.Add(uint64(n))
		sqes -= n
	}
	if sqes <= 0 {
		r.again.Store(true)
	}
}

// accept gives the engine one SQE. The owner calls it.
func (r *Ring) accept(sqe *SQE, now int64) (ok bool) {
	if sqe.Opcode >= OpTimeout && sqe.Opcode <= OpLinkTimeout && sqe.OpFlags&TimeoutAbs != 0 {
		r.readClocks()
	}
	op, ok := r.eng.Accept(sqe, now)
	if op.Owner != nil {
		if c, _ := op.Owner.(*call); c != nil {
			if c.op = op; c.cancelled.Load() {
				r.end(op)
			}
		}
	}
	return ok
}

// end asks for the end of one operation. The owner calls it.
func (r *Ring) end(op *engine.Op) {
	if r.direct != nil || r.eng.End(op) { // where the kernel is a ring it is not the engine's
		_ = r.low.cancel(op) // how it ends will show
	}
}

// start hands down what the engine releases. The owner calls it.
func (r *Ring) start() {
	for {
		for op := r.eng.NextReleased(); op != nil; op = r.eng.NextReleased() {
			if c, _ := op.Owner.(*call); c != nil {
				if c.cancelled.Load() {
					r.eng.Complete(op, -int32(syscall.ECANCELED))
					continue
				}
			}
			if op.SQE.Opcode == OpAsyncCancel { // by descriptor
				r.seek(op)
				continue
			}
			r.low.start(op)
		}
		r.low.flush()
		r.cancelTargets()
		r.low.settle() // refusals, and what was done at once
		if !r.eng.HasWork() {
			return
		}
	}
}

// release delivers what is completed, gives up the engine and wakes those whom it
// concerns.
func (r *Ring) release() {
	var woken wakeList
	posted := r.deliver(&woken)
	if r.eng.HasWork() {
		r.again.Store(true) // the delivery itself ended a timeout, and something follows it
	}
	r.alarm.set(r.eng.NextDeadline())
	dependent := r.eng.Waits() && r.low.inKernel() > 0
	if dependent != r.dependent.Load() {
		r.dependent.Store(dependent)
	}
	comes := r.comes
	r.comes = false
	r.slow.arm(r)
	r.owner.Unlock()
	r.signal(&woken)
	if posted > 0 {
		r.notify.fire()
	}
	r.roomMade() // the submission ring was drained, Do's operations are over
	if r.low.waiting() > 0 || dependent && !comes {
		r.ensureHarvest()
	}
}

// deliver hands out the CQEs there are, and returns how many went to the completion
// queue. The owner calls it.
func (r *Ring) deliver(woken *wakeList) (posted int) {
	op := r.eng.NextCompleted()
	if op == nil && !r.stopped.Load() && !r.expected() {
		return 0
	}
	if r.cq.crowded() {
		r.cq.collect()
	}
	if op != nil || r.direct == nil || r.stopped.Load() || r.awaited() || r.direct.ruled() {
		r.cq.mu.Lock()
	} else if !r.cq.mu.TryLock() {
		return 0 // somebody is just taking them: not worth stopping for, with the engine
	}
	_, posted = r.post(op, true, woken)
	r.cq.mu.Unlock()
	return posted
}

// expected reports whether the engine's owner is to take completions from a kernel
// that is a ring itself: because somebody waits and does not look for himself, because
// there are many, because only the owner can, or because the owner harvests too.
// Otherwise who looks for completions takes them, on another processor while the owner
// submits.
func (r *Ring) expected() bool {
	return r.direct != nil && r.direct.has() && (r.awaited() || r.direct.crowded() || r.opts.locked)
}

// awaited reports whether somebody waits who does not look for himself.
func (r *Ring) awaited() bool { return r.parked.Load()+r.bystanders.Load() > 0 }

// fetch takes completions from a kernel that is a ring itself. Anybody may call it.
func (r *Ring) fetch() {
	if r.direct != nil && r.takeIn() {
		r.kick()
	}
}

// bring is fetch that does not leave anything to the engine's owner of the moment.
func (r *Ring) bring() {
	if r.takeIn() {
		r.own(func() {})
	}
}

// takeIn is fetch of what concerns nobody but the engine's table. It reports whether
// the rest is for the engine's owner.
func (r *Ring) takeIn() (rest bool) {
	var woken wakeList
	if r.cq.crowded() {
		r.cq.collect()
	}
	r.cq.mu.Lock()
	n, posted := r.post(nil, false, &woken)
	r.cq.mu.Unlock()
	r.signal(&woken)
	if posted > 0 {
		r.notify.fire()
	}
	if n > 0 {
		r.roomMade() // Do's operations are over
	}
	return r.direct.ruled()
}

// post puts the CQE of op, and of those completed after it, to where they belong, and
// then those that a kernel which is a ring itself has. It returns how many operations
// are over, and how many CQEs went to the completion queue. mine says that the engine is
// the caller's: else there is no op. completionQueue.mu is held.
func (r *Ring) post(op *engine.Op, mine bool, woken *wakeList) (n uint64, posted int) {
	before := r.cq.posted()
	tail, end := r.cq.window()
	for ; op != nil; op = r.eng.NextCompleted() {
		if op.CQE.Flags&CQEMore != 0 {
			r.cq.tail.Store(tail)
			more := r.postMore(op)
			tail, end = r.cq.window()
			if more {
				r.eng.Rearm(op, r.now())
				continue
			}
			r.eng.Cut(op)
		}
		n++
		r.stat.errors.note(op.CQE.Res)
		switch owner := op.Owner.(type) {
		case nil:
			if op.Silent() {
				r.eng.Free(op)
				continue
			}
			if tail == end {
				r.cq.overflow(op)
				continue
			}
			r.cq.put(tail, op)
			tail++
		case *call:
			owner.end(op.CQE, woken)
			r.eng.Free(op)
		case *member:
			owner.end(op.CQE, woken)
			r.eng.Free(op)
		}
	}
	r.cq.tail.Store(tail) // publishes the cells
	if r.direct != nil {
		var more uint64
		*woken, more = r.direct.reap(*woken, mine)
		n += more
	}
	posted = int(r.cq.posted() - before)
	if n > 0 {
		r.stat.completed.Add(n)
		r.eng.Delivered(int(n)) // after the posts: who finds the ring quiet finds them
	}
	r.cq.fire(woken)
	if r.stopped.Load() && r.quiet() {
		r.cq.fireAll(woken)
		woken.end = true
	}
	return n, posted
}

// postMore posts a CQE of an operation that goes on, if there is room or can be made.
// completionQueue.mu is held, but not throughout.
func (r *Ring) postMore(op *engine.Op) bool {
	if r.cq.postMore(op) {
		return true
	}
	r.cq.mu.Unlock()
	r.cq.collect()
	r.cq.mu.Lock()
	return r.cq.postMore(op)
}

// quiet reports whether nothing is on its way: every operation pushed or
// submitted has its final CQE.
func (r *Ring) quiet() bool {
	// In this order: an operation is counted in flight before it leaves intake.
	if r.direct != nil && r.direct.untaken() {
		return false
	}
	return r.intake.Load() == 0 && r.eng.InFlight() == 0
}

// work is the dedicated worker of WithWorker.
func (r *Ring) work() {
	defer r.background.Done()
	asked := func() bool { return r.again.Load() || r.closed.Load() }
	for {
		r.worker.Wait(asked)
		if r.closed.Load() {
			return
		}
		r.owner.Lock()
		r.turn(turnSQEs)
		r.release()
	}
}

// workLocked is work on a thread of its own, which alone enters the kernel: it
// harvests too.
func (r *Ring) workLocked(adopted chan<- error) {
	defer r.background.Done()
	err := r.direct.adopt()
	adopted <- err
	for err == nil && !r.closed.Load() {
		r.owner.Lock()
		r.turn(turnSQEs)
		r.release()
		r.low.prepareSleep()
		if r.again.Load() || r.closed.Load() || r.low.poll() > 0 {
			r.low.cancelSleep()
			continue
		}
		r.low.sleep()
	}
}

// wakeWorker ends the dedicated worker's sleep.
func (r *Ring) wakeWorker() {
	if r.opts.locked {
		r.low.wake()
	} else {
		r.worker.Wake()
	}
}

// Shutdown takes no more operations and waits until every one taken has its
// final CQE. CQEs can be reaped meanwhile and afterwards; when there are none
// left, waiting calls return [ErrClosed]. SQEs that were filled and not submitted
// are not taken. When ctx ends first its error comes back, and the operations go
// on; Shutdown may be called again.
func (r *Ring) Shutdown(ctx context.Context) error {
	r.stop()
	if err := r.awaitQuiet(ctx); err != nil {
		return err
	}
	r.entries.end() // here too: when Shutdown returns it is so
	return nil
}

// stop ends the intake.
func (r *Ring) stop() {
	if r.direct != nil {
		r.direct.stop()
	} else {
		r.sq.shared.Close()
	}
	// As the owner: a Submit under way is over, and its operations are counted.
	r.own(func() { r.stopped.Store(true) })
}

// Close takes no more operations, cancels those under way, waits until each has
// ended, releases everything and wakes all who wait, with [ErrClosed]; a Do under
// way returns what became of its operation, ECANCELED as a rule. CQEs that
// were not reaped are gone. After Close the kernel touches no buffer.
//
// An operation that the kernel does not cancel is waited for, however long it
// takes: see [Ring.CloseContext]. Closing a closed ring does nothing.
func (r *Ring) Close() error { return r.CloseContext(context.Background()) }

// CloseContext is Close with an end to its patience. When ctx ends first it
// returns a [*HeldError] that names the operations which the kernel still holds,
// and keeps their memory for ever. It may be called again.
func (r *Ring) CloseContext(ctx context.Context) error {
	select {
	case r.closing <- struct{}{}:
	default:
		select {
		case r.closing <- struct{}{}:
		case <-ctx.Done():
			return r.held(ctx.Err())
		}
	}
	defer func() { <-r.closing }()
	if r.closed.Load() {
		return nil
	}
	r.stop()
	r.own(func() {
		r.eng.CancelAll()
		if r.direct != nil {
			r.direct.quiesce()
		}
		r.each(func(op *engine.Op) { _ = r.low.cancel(op) })
		r.low.settle()
	})
	if err := r.awaitQuiet(ctx); err != nil {
		abandoned.Store(r, nil)
		r.forsaken.Store(true)
		r.dismiss()
		return r.held(err)
	}
	abandoned.Delete(r)

	r.closed.Store(true)
	r.dismiss()
	r.low.wake()
	if r.worker != nil {
		r.wakeWorker()
	}
	r.background.Wait()
	r.slow.stop()
	// Whoever still harvests for itself was fired, and leaves.
	for !r.harvester.CompareAndSwap(false, true) {
		runtime.Gosched()
		r.low.wake()
	}
	r.owner.Lock()
	defer r.owner.Unlock()
	r.alarm.stop()
	return errors.Join(r.notify.close(), r.low.close())
}

// gone is why the ring takes nothing more.
func (r *Ring) gone() error {
	if err := r.failure.Load(); err != nil && !r.closed.Load() {
		return *err
	}
	return ErrClosed
}

// fail is called when completions no longer come by themselves: the intake ends, and
// whoever waits for more than there is gets the error. What was accepted still ends.
// Any goroutine but the engine's owner may call it.
func (r *Ring) fail(err error) {
	if !r.failure.CompareAndSwap(nil, &err) {
		return
	}
	r.stop()
	r.dismiss()
}

// dismiss has whoever waits look again.
func (r *Ring) dismiss() {
	woken := wakeList{end: true}
	r.cq.mu.Lock()
	r.cq.fireAll(&woken)
	r.cq.mu.Unlock()
	r.signal(&woken)
}

// held names what is under way.
func (r *Ring) held(err error) *HeldError {
	held := &HeldError{Err: err}
	r.own(func() {}) // what has come in is not held
	r.fetch()
	r.own(func() {
		if r.closed.Load() {
			return
		}
		if r.direct != nil {
			// Whoever else is closing the ring has come so far, or will.
			r.direct.stop()
			r.eng.CancelAll()
			r.direct.quiesce()
		}
		now := r.now()
		r.each(func(op *engine.Op) { held.Held = append(held.Held, operation(op, now)) })
	})
	return held
}

// each calls f for every operation that is running. The owner of a ring that is
// closing calls it.
func (r *Ring) each(f func(*engine.Op)) {
	if r.direct != nil {
		r.cq.mu.Lock() // they end under it
		defer r.cq.mu.Unlock()
	}
	r.eng.Each(f)
}

// freeze keeps all operations as they are, so that they can be looked through. The
// owner calls it.
func (r *Ring) freeze() {
	if r.direct != nil {
		r.cq.mu.Lock() // under which they end
		r.eng.Freeze()
	}
}

func (r *Ring) thaw() {
	if r.direct != nil {
		r.eng.Thaw()
		r.cq.mu.Unlock()
	}
}

// abandoned keeps rings reachable whose operations the kernel did not give back:
// it may write to their buffers at any time.
var abandoned sync.Map

// own runs f as the engine's owner and then does what an owner does.
func (r *Ring) own(f func()) {
	r.owner.Lock()
	f()
	r.turn(turnSQEs)
	r.release()
	r.drive()
}

// isFull translates the engine's refusal.
func isFull(err error) error {
	if errors.Is(err, engine.ErrFull) {
		return ErrFull
	}
	return err
}
