// Package reactor owns one kqueue: it fetches events in batches, sleeps when
// told to, and is woken from any goroutine without losing a wake-up.
//
// One goroutine at a time polls and sleeps; that is a role which the caller hands
// around. Wake is everybody's.
package reactor

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/aioring/aioring/aio"
)

// batchSize is how many events one kevent call fetches at most.
const batchSize = 256

// wakeIdent is the ident of the reactor's own EVFILT_USER event.
const wakeIdent = 0

// Reactor is one kqueue and the events fetched from it last.
type Reactor struct {
	kernel aio.Kernel
	kq     int
	events [batchSize]aio.Kevent
	failed aio.Errno // of the last fetch; 0 after EINTR

	// asleep is 1 from PrepareSleep until somebody has seen to it that Sleep
	// returns. The sleeper stores it and then looks for a reason to stay awake; a
	// waker makes the reason and then looks at asleep. One of the two sees the
	// other.
	asleep atomic.Uint32

	trigger [1]aio.Kevent // what Wake sends; never changed

	wakers atomic.Int64 // inside Wake: Close waits for them

	polls, sleeps, wakes, fetched atomic.Uint64
}

// Stats counts what a reactor did.
type Stats struct {
	Polls  uint64 // kevent calls that did not wait
	Sleeps uint64 // kevent calls that did
	Wakes  uint64 // sleepers woken by Wake
	Events uint64 // events fetched
}

// New makes a reactor with a kqueue of its own.
func New(k aio.Kernel) (*Reactor, error) {
	kq, errno := k.Kqueue()
	if errno != 0 {
		return nil, fmt.Errorf("kqueue: %w", errno)
	}
	// Added here, triggered by changes of their own: a trigger in the change that
	// adds the event does not fire, and one that repeats EvClear is lost.
	add := []aio.Kevent{{Ident: wakeIdent, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear}}
	if _, errno := k.Kevent(kq, add, nil, 0); errno != 0 {
		_ = k.CloseKqueue(kq)
		return nil, fmt.Errorf("kevent: add EVFILT_USER: %w", errno)
	}
	r := &Reactor{kernel: k, kq: kq}
	r.trigger[0] = aio.Kevent{Ident: wakeIdent, Filter: aio.FilterUser, Fflags: aio.NoteTrigger}
	return r, nil
}

// Kqueue is the queue's descriptor: what a control block's sigevent names.
func (r *Reactor) Kqueue() int { return r.kq }

// Poll fetches events that are there now. The slice is valid until the next call
// of Poll or Sleep.
func (r *Reactor) Poll() []aio.Kevent {
	r.polls.Add(1)
	return r.fetch(0)
}

// PrepareSleep announces that the caller is about to call Sleep. Between the two
// it must look once more for a reason not to, which Poll is not (it would eat the
// wake-up); having found one it calls CancelSleep.
func (r *Reactor) PrepareSleep() { r.asleep.Store(1) }

// CancelSleep takes PrepareSleep back. A Wake may have come in between; its event
// then ends the next Sleep at once.
func (r *Reactor) CancelSleep() { r.asleep.Store(0) }

// Sleep waits until there are events, or a Wake, and fetches them. It may return
// none.
func (r *Reactor) Sleep() []aio.Kevent {
	r.sleeps.Add(1)
	events := r.fetch(-1)
	r.asleep.Store(0)
	return events
}

// fetch calls kevent and leaves out the reactor's own wake-up events.
func (r *Reactor) fetch(timeout time.Duration) []aio.Kevent {
	n, errno := r.kernel.Kevent(r.kq, nil, r.events[:], timeout)
	r.failed = 0
	if errno != 0 {
		if errno != aio.EINTR { // after which the caller looks around and comes back
			r.failed = errno
		}
		return nil
	}
	kept := r.events[:0]
	for i := range n {
		if r.events[i].Filter != aio.FilterUser {
			kept = append(kept, r.events[i])
		}
	}
	r.fetched.Add(uint64(len(kept)))
	return kept
}

// Err is why the last Poll or Sleep failed: the queue is no longer there. It is for
// the goroutine that called it; without asking, it would call for ever.
func (r *Reactor) Err() error {
	if r.failed != 0 {
		return fmt.Errorf("kevent: %w", r.failed)
	}
	return nil
}

// Wake ends a Sleep under way or announced. If nobody sleeps it is one load; any
// number of calls during one sleep make one system call.
func (r *Reactor) Wake() {
	if r.asleep.Load() == 0 {
		return
	}
	r.wakers.Add(1)
	defer r.wakers.Add(-1)
	if !r.asleep.CompareAndSwap(1, 0) {
		return
	}
	r.wakes.Add(1)
	_, _ = r.kernel.Kevent(r.kq, r.trigger[:], nil, 0) // a change that cannot fail: the event is there
}

// Close closes the kqueue. Nobody may be in Poll or Sleep, and no job may be
// unreaped: its event would never come. A Wake under way is waited for: the
// number of the kqueue may soon be another's.
func (r *Reactor) Close() error {
	r.asleep.Store(0)
	for r.wakers.Load() > 0 {
		runtime.Gosched()
	}
	if errno := r.kernel.CloseKqueue(r.kq); errno != 0 {
		return fmt.Errorf("close kqueue: %w", errno)
	}
	return nil
}

// Stats reads the counters. Any goroutine may.
func (r *Reactor) Stats() Stats {
	return Stats{Polls: r.polls.Load(), Sleeps: r.sleeps.Load(), Wakes: r.wakes.Load(), Events: r.fetched.Load()}
}
