package aioring

import (
	"context"
	"runtime"
	"sync/atomic"
)

// waiter is a goroutine that waits for completions. It is in a list until it is
// fired, once, by somebody who holds the list's lock; the signal on its channel
// follows when the locks are gone.
type waiter struct {
	need       uint64 // CQEs in the ring; for a pusher, the count of room it saw
	all        bool   // need is not a number of CQEs
	served     bool   // what it waits for does not come by harvesting
	fired      atomic.Bool
	harvesting atomic.Bool // it sleeps in the kernel's event queue, not on ch
	ch         chan struct{}

	list       *waiterList // guarded by completionQueue.mu, as are the links
	prev, next *waiter
}

// newWaiter has a pool that is the ring's own: a channel made in a testing/synctest
// bubble is of no use outside.
func (r *Ring) newWaiter(need uint64) *waiter {
	w, _ := r.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{ch: make(chan struct{}, 1)}
	}
	w.need = need
	w.fired.Store(false)
	return w
}

// waiterList is a FIFO of waiters, linked both ways.
type waiterList struct{ head, tail *waiter }

func (l *waiterList) push(w *waiter) {
	w.list, w.prev, w.next = l, l.tail, nil
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
}

func (l *waiterList) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.list, w.prev, w.next = nil, nil, nil
}

// wakeList collects whom to wake when no lock is held.
type wakeList struct {
	head   *waiter   // fired
	wakers *[]*Waker // of kept entries; nil if there are none
	end    bool      // nothing more will come for kept entries
}

// wake adds a waker, which is nobody else's. The slice is lent by the ring, so that
// none is made for each batch.
func (l *wakeList) wake(w *Waker, r *Ring) {
	if l.wakers == nil {
		if l.wakers = r.wakers.Swap(nil); l.wakers == nil {
			l.wakers = new([]*Waker)
		}
	}
	*l.wakers = append(*l.wakers, w)
}

// add fires a waiter, which is in no list.
func (l *wakeList) add(w *waiter) {
	w.next, l.head = l.head, w
	// Whoever sees it true takes the signal from ch before the waiter is used
	// again.
	w.fired.Store(true)
}

// fire moves to woken every waiter whose need is met, the eldest first: a CQE
// wakes one waiter, not all. q.mu is held.
func (q *completionQueue) fire(woken *wakeList) {
	left := q.ready() + uint64(q.backlog.Len())
	for w := q.waiters.head; w != nil && left > 0; {
		next := w.next
		// A need larger than the ring is met by a full ring.
		if need := min(w.need, uint64(len(q.cells))); need <= left {
			left -= need
			q.waiters.remove(w)
			woken.add(w)
		}
		w = next
	}
}

// fireAll moves every waiter to woken. q.mu is held.
func (q *completionQueue) fireAll(woken *wakeList) {
	for _, l := range [...]*waiterList{&q.waiters, &q.idlers, &q.pushers, &q.turns} {
		for w := l.head; w != nil; w = l.head {
			l.remove(w)
			woken.add(w)
		}
	}
}

// signal wakes what was fired. No lock is held.
func (r *Ring) signal(woken *wakeList) {
	for w := woken.head; w != nil; {
		next := w.next // w is its owner's again once it is signalled
		w.next = nil
		harvesting := w.harvesting.Load()
		w.ch <- struct{}{}
		if harvesting {
			r.low.wake()
		}
		w = next
	}
	if woken.wakers != nil {
		for _, w := range *woken.wakers {
			w.Wake()
		}
		clear(*woken.wakers)
		*woken.wakers = (*woken.wakers)[:0]
		r.wakers.Store(woken.wakers)
	}
	if woken.end {
		r.entries.end()
	}
}

// rouse wakes the waiters whose needs are met by what is in the ring.
func (r *Ring) rouse() {
	var woken wakeList
	r.cq.mu.Lock()
	r.cq.fire(&woken)
	r.cq.mu.Unlock()
	r.signal(&woken)
}

// met reports whether a waiter has nothing more to wait for, and the error with
// which it ends, if any.
func (r *Ring) met(l *waiterList, need uint64) (bool, error) {
	switch l {
	case &r.cq.idlers:
		return r.quiet(), nil
	case &r.cq.turns:
		return r.cq.turned.Load() != need || r.closed.Load(), nil
	case &r.cq.pushers:
		return r.cq.room.Load() != need || r.stopped.Load(), nil
	}
	if r.closed.Load() {
		return true, ErrClosed
	}
	r.cq.refill()
	if r.cq.ready() >= min(need, uint64(len(r.cq.cells))) {
		return true, nil
	}
	if r.failure.Load() != nil || r.forsaken.Load() {
		return true, r.gone()
	}
	if r.stopped.Load() && r.quiet() {
		// No more will come. Look again: quiet was false until the last was posted.
		r.cq.refill()
		if r.cq.ready() < min(need, uint64(len(r.cq.cells))) {
			return true, ErrClosed
		}
		return true, nil
	}
	return false, nil
}

// await waits until need CQEs are in the ring, or returns why they will not be.
func (r *Ring) await(ctx context.Context, need uint64) error {
	return r.awaitIn(ctx, &r.cq.waiters, need)
}

// awaitQuiet waits until every operation accepted has its final CQE.
func (r *Ring) awaitQuiet(ctx context.Context) error {
	return r.awaitIn(ctx, &r.cq.idlers, 0)
}

// awaitRoom waits until room was made since room was read as seen. The caller is
// counted in pushing.
func (r *Ring) awaitRoom(ctx context.Context, seen uint64) error {
	return r.awaitIn(ctx, &r.cq.pushers, seen)
}

// awaitTurn waits until the engine had a turn since turned was read as seen. The caller
// is counted in turning.
func (r *Ring) awaitTurn(ctx context.Context, seen uint64) error {
	return r.awaitIn(ctx, &r.cq.turns, seen)
}

// roomMade says that a push may succeed which failed before, and that the engine had a
// turn.
func (r *Ring) roomMade() {
	q := &r.cq
	// After the room was made: who is not counted yet will look for it. With a kernel
	// that is a ring itself there will be more, if it is not worth it yet.
	var lists [2]*waiterList
	if q.pushing.Load() > 0 && (r.direct == nil || r.direct.roomy()) {
		q.room.Add(1)
		lists[0] = &q.pushers
	}
	if q.turning.Load() > 0 {
		q.turned.Add(1)
		lists[1] = &q.turns
	}
	if lists[0] == nil && lists[1] == nil {
		return
	}
	var woken wakeList
	q.mu.Lock()
	for _, l := range lists {
		if l == nil {
			continue
		}
		for w := l.head; w != nil; w = l.head {
			l.remove(w)
			woken.add(w)
		}
	}
	q.mu.Unlock()
	r.signal(&woken)
}

// awaitIn is the one place where goroutines wait. One that cannot be called off
// fetches the completions itself when nobody else does: a wake-up less. The
// others park, and a goroutine of the ring's own fetches for them.
func (r *Ring) awaitIn(ctx context.Context, l *waiterList, need uint64) error {
	if done, err := r.met(l, need); done {
		return err
	}
	// A kernel that is a ring itself takes what was pushed when it is submitted; and
	// who makes room among what is alive has reaped it.
	served := r.direct != nil && l == &r.cq.pushers
	if r.direct != nil && !served {
		r.fetch()
		if done, err := r.met(l, need); done {
			return err
		}
	}
	w := r.newWaiter(need)
	w.all = l != &r.cq.waiters
	w.served = served
	defer r.waiters.Put(w)
	for {
		r.cq.mu.Lock()
		l.push(w)
		r.cq.mu.Unlock()
		// Listed first, looked second: whoever makes it true after the look finds
		// the waiter.
		if done, err := r.met(l, need); done {
			r.leave(w)
			return err
		}
		if ctx.Done() == nil && !served && r.takeHarvest() {
			w.harvesting.Store(true)
			r.harvest(w)
			w.harvesting.Store(false)
			r.leave(w)
			r.dropHarvest()
		} else if err := r.park(ctx, w); err != nil {
			return err
		}
		w.fired.Store(false)
	}
}

// park waits for the signal, or the end of ctx.
func (r *Ring) park(ctx context.Context, w *waiter) error {
	if w.served {
		// Nobody need harvest for it.
	} else if ctx.Done() != nil {
		r.parked.Add(1)
		defer r.parked.Add(-1)
		r.ensureHarvest()
	} else {
		r.bystanders.Add(1)
		defer r.bystanders.Add(-1)
		r.alert()
	}
	select {
	case <-w.ch:
		return nil
	case <-ctx.Done():
		r.leave(w)
		r.rouse() // it may have been fired for a CQE that is another's now
		return ctx.Err()
	}
}

// leave takes a waiter out of its list, or, when it was fired meanwhile, takes
// the signal that is certain to come.
func (r *Ring) leave(w *waiter) {
	r.cq.mu.Lock()
	listed := w.list != nil
	if listed {
		w.list.remove(w)
	}
	r.cq.mu.Unlock()
	if !listed {
		<-w.ch
	}
}

// Harvesting is a role: one goroutine at a time fetches events from the kernel,
// and sleeps there when there are none. A waiter that has no reason to be called
// off takes it. When only others wait, or operations wait for the room that
// harvesting makes, a goroutine of the ring's own has it.

// takeHarvest takes the role, if it is free and there is one.
func (r *Ring) takeHarvest() bool {
	return r.low.harvests() && r.harvester.CompareAndSwap(false, true)
}

// dropHarvest gives the role up and finds it a new holder if one is needed.
func (r *Ring) dropHarvest() {
	r.harvester.Store(false)
	// After the store: a waiter that was listed before it and found the role taken
	// is seen here, one listed later takes the role itself.
	if r.wantsHarvest() {
		r.ensureHarvest()
		return
	}
	var woken wakeList
	r.cq.mu.Lock()
	for _, l := range [...]*waiterList{&r.cq.waiters, &r.cq.idlers, &r.cq.pushers, &r.cq.turns} {
		if w := l.head; w != nil && woken.head == nil {
			l.remove(w)
			woken.add(w) // it finds nothing, and the role free
		}
	}
	r.cq.mu.Unlock()
	r.signal(&woken)
}

// wantsHarvest reports whether the ring's own goroutine must harvest.
func (r *Ring) wantsHarvest() bool {
	if r.closed.Load() {
		return false
	}
	if r.failure.Load() != nil {
		return r.low.harvests() // until the last is in
	}
	return r.parked.Load() > 0 || r.low.waiting() > 0 || r.dependent.Load() || r.opts.worker
}

// ensureHarvest starts the ring's own harvester unless the role is taken.
func (r *Ring) ensureHarvest() {
	if r.takeHarvest() {
		go r.ownHarvest() // Close waits for the role, not for the goroutine
	} else {
		r.alert()
	}
}

// alert tells whoever sleeps in the kernel for several completions that somebody
// else, counted in parked or bystanders, wants to know of the first.
func (r *Ring) alert() {
	if r.direct != nil {
		r.direct.alert()
	}
}

func (r *Ring) harvestLoop() {
	r.harvest(nil)
	r.dropHarvest()
}

// maxLooks is how often a waiter looks again for what somebody is just submitting.
const maxLooks = 64

// harvest fetches completions until w is fired; without w, as long as the ring
// wants it.
func (r *Ring) harvest(w *waiter) {
	over := func() bool {
		if w != nil {
			return w.fired.Load() || !r.low.harvests()
		}
		return !r.wantsHarvest()
	}
	bring := r.kick
	if r.direct != nil {
		bring = r.bring
	}
	for looks, polled := 0, false; !over(); looks++ {
		// A waiter who has slept once sleeps again at once: that fetches what is
		// there as a poll would, and nobody but him came by meanwhile.
		if !polled {
			if r.low.poll() > 0 {
				bring()
				looks = 0
				continue
			}
			runtime.Gosched() // let those run who would submit more
			if over() || r.low.poll() > 0 {
				bring()
				looks = 0
				continue
			}
			if w != nil && r.direct != nil && looks < maxLooks && r.direct.busy() {
				continue // to sleep and be woken takes longer
			}
			polled = w != nil
		}
		if r.direct != nil && w != nil {
			r.direct.block(w)
			polled = false
			continue
		}
		r.low.prepareSleep()
		if over() {
			r.low.cancelSleep()
			return
		}
		if r.low.sleep() > 0 {
			bring()
		}
	}
}

// look fetches what is there without waiting, and reports whether a CQE is.
func (r *Ring) look() bool {
	if r.direct != nil {
		r.fetch()
	} else if r.takeHarvest() {
		if r.low.poll() > 0 {
			r.kick()
		}
		r.dropHarvest()
	}
	r.cq.refill()
	return r.cq.ready() > 0
}
