package reactor

import (
	"context"
	"errors"
	"sync/atomic"
)

var (
	// ErrShutdown: the reactor is gone, no event will come any more. It says
	// nothing about the operation.
	ErrShutdown = errors.New("reactor: shut down")
	// ErrReplaced: a later poll of the same entry has taken this waiter's place.
	ErrReplaced = errors.New("reactor: a later poller has taken the place of this one")
	// ErrReleased: the entry was given back; what the caller holds is of an
	// earlier generation.
	ErrReleased = errors.New("reactor: the entry was released")
)

// The word of a Readiness. The generation is above the tick, so that neither runs
// into the other.
//
//	| ready | shutdown | generation | tick    |
//	| 1 bit | 1 bit    | 30 bits    | 32 bits |
const (
	readyBit    = 1 << 63
	shutdownBit = 1 << 62

	generationShift = 32
	generationMask  = 1<<30 - 1
	tickMask        = 1<<32 - 1
)

// Event is what a poll saw: one state of one entry. It is good for one
// [Readiness.Clear]. The zero Event clears nothing.
type Event struct{ word uint64 }

// Ready reports whether an operation had finished, well or badly.
func (e Event) Ready() bool { return e.word&readyBit != 0 }

// Shutdown reports whether the reactor was gone.
func (e Event) Shutdown() bool { return e.word&shutdownBit != 0 }

// Generation tells one use of the entry from the others, in 30 bits.
func (e Event) Generation() uint32 { return uint32(e.word>>generationShift) & generationMask }

// Tick is the number of events that the entry had had, modulo 2^32.
func (e Event) Tick() uint32 { return uint32(e.word & tickMask) }

// Waker is what [Readiness.PollReady] leaves behind when there is nothing yet. A
// poll takes it up, and it is called at most once for that; the next poll must
// leave it again. One Waker waits at one entry.
type Waker struct{ wake func(err error) }

// NewWaker makes a Waker of a function. It is called with nil when it is time to
// poll again, which may prove to be for nothing, or with [ErrReplaced]. It is
// called in the goroutine that makes the entry ready (or replaces the waker), with
// no lock held, so it must not block; it may poll.
func NewWaker(wake func(err error)) *Waker { return &Waker{wake: wake} }

// Wake calls the waker that [Readiness.Arrive] handed out. Nobody else does.
func (w *Waker) Wake() { w.wake(nil) }

// Readiness says whether an operation has finished, and wakes who waits for that.
// It is one atomic word and a place for one waker: an event (Complete) makes it
// ready, and ready it stays, however often it is polled, until it is cleared with
// a current Event. All methods may be called from any goroutine; none takes a lock
// and, but for the first Ready that has to wait, none allocates.
//
// The zero value is an entry of generation 0 with nothing ready. It must not be
// copied after first use. Who uses it names the generation meant, so that a late
// event and an old handle do nothing to the entry's next user.
//
// A poller leaves its waker and looks again; who changes the word takes the waker
// out afterwards. Whichever comes second sees the other, so no wake-up is lost.
//
// There is one place: the last poller has it. The one it replaces is told so, by
// ErrReplaced, and must not simply poll again, or the two would chase each other.
type Readiness struct {
	// word publishes the state to polls, which act on nothing else. Complete,
	// Clear, Shutdown and Release write it, each by one exchange that keeps what
	// is not theirs. What was written before Complete (the result of the
	// operation) is visible to the poll that sees ready.
	word atomic.Uint64

	// waker publishes a waiter to whoever changes the word next. Who takes it out,
	// and that is always one, calls it.
	waker atomic.Pointer[Waker]

	// idle is the waiter that a call of Ready left behind for the next; it hands
	// over the channel in it. It belongs to the entry and not to a pool of the
	// package so that a testing/synctest bubble keeps its channels for itself.
	idle atomic.Pointer[waiter]

	// pause is nil outside of tests, which step goroutines through the accesses
	// with it. It is set before the first use.
	pause func()
}

// Init gives an entry that nobody uses yet its generation, modulo 2^30.
func (r *Readiness) Init(generation uint32) {
	r.word.Store(uint64(generation&generationMask) << generationShift)
}

// Poll is a snapshot. It answers the same until something happens.
func (r *Readiness) Poll() Event { return Event{r.word.Load()} }

// Complete is the arrival of an event: one tick, and ready. It then wakes the
// waiter. false: the entry is no longer of this generation; nothing has changed.
func (r *Readiness) Complete(generation uint32) bool {
	w, ok := r.Arrive(generation)
	if w != nil {
		w.wake(nil)
	}
	return ok
}

// Arrive is Complete for a caller that holds a lock: it hands the waker out, nil if
// there is none, for the caller to [Waker.Wake] when it holds none.
func (r *Readiness) Arrive(generation uint32) (w *Waker, ok bool) {
	for {
		old := r.word.Load()
		if (Event{old}).Generation() != generation&generationMask {
			return nil, false
		}
		r.step()
		tick := (old + 1) & tickMask
		if r.word.CompareAndSwap(old, old&^tickMask|tick|readyBit) {
			return r.takeWaker(), true
		}
	}
}

// Clear takes ready back, if ev was ready and is current: generation and the whole
// tick. Then the entry pends until the next Complete, so it is for those who are
// about to submit again. false: ev is stale or was cleared before; nothing has
// changed. Shutdown is never cleared.
func (r *Readiness) Clear(ev Event) bool {
	for {
		old := r.word.Load()
		if !ev.Ready() || old&^shutdownBit != ev.word&^shutdownBit {
			return false
		}
		r.step()
		if r.word.CompareAndSwap(old, old&^readyBit) {
			return true
		}
	}
}

// Shutdown says, for good, that no event will come, and wakes the waiter. It may be
// repeated.
func (r *Readiness) Shutdown() {
	r.word.Or(shutdownBit)
	r.wakeUp()
}

// Release ends the generation and returns the next. What was ready is forgotten,
// shutdown is not. The waiter is woken to find out.
func (r *Readiness) Release() (next uint32) {
	for {
		old := r.word.Load()
		next = ((Event{old}).Generation() + 1) & generationMask
		r.step()
		if r.word.CompareAndSwap(old, old&(shutdownBit|tickMask)|uint64(next)<<generationShift) {
			break
		}
	}
	r.wakeUp()
	return next
}

// PollReady answers at once: an Event and true when an operation has finished,
// false when not, ErrShutdown when the reactor is gone (whether or not something
// was ready), ErrReleased when the entry is of another generation. After false
// without error w is called when there is news, and in w's place before it, a
// waker that another poll had left there, with ErrReplaced. A nil w only looks.
func (r *Readiness) PollReady(generation uint32, w *Waker) (Event, bool, error) {
	ev, ready, err := r.look(generation)
	if ready || err != nil || w == nil {
		return ev, ready, err
	}
	ev, ready, _, err = r.leave(generation, w)
	return ev, ready, err
}

// look is one look at the word.
func (r *Readiness) look(generation uint32) (ev Event, ready bool, err error) {
	ev = r.Poll()
	switch {
	case ev.Generation() != generation&generationMask:
		return Event{}, false, ErrReleased
	case ev.Shutdown():
		return ev, false, ErrShutdown
	case !ev.Ready():
		return Event{}, false, nil
	}
	return ev, true, nil
}

// leave leaves the waker and looks again: who changed the word before the waker was
// there has not seen it. back: there was an answer, and the waker is the caller's
// again, uncalled; else somebody has it and calls it.
func (r *Readiness) leave(generation uint32, w *Waker) (ev Event, ready, back bool, err error) {
	r.step()
	earlier := r.waker.Swap(w)
	r.step()
	ev, ready, err = r.look(generation)
	answered := ready || err != nil
	if answered {
		r.step()
		back = r.waker.CompareAndSwap(w, nil)
	}
	if earlier != nil && earlier != w {
		if answered {
			earlier.wake(nil) // its poll will be answered too
		} else {
			earlier.wake(ErrReplaced)
		}
	}
	return ev, ready, back, err
}

// wakeUp takes the waker out and calls it. The word has changed before.
func (r *Readiness) wakeUp() {
	if w := r.takeWaker(); w != nil {
		w.wake(nil)
	}
}

// takeWaker takes the waker out, for whoever has changed the word to call.
func (r *Readiness) takeWaker() *Waker {
	r.step()
	if r.waker.Load() == nil {
		return nil // who leaves one now looks at the word after that
	}
	r.step()
	return r.waker.Swap(nil)
}

func (r *Readiness) step() {
	if r.pause != nil {
		r.pause()
	}
}

// waiter is a goroutine in Ready.
type waiter struct {
	Waker
	// told has room for the one call that one leaving of the waker can lead to.
	told chan error
}

func newWaiter() *waiter {
	w := &waiter{told: make(chan error, 1)}
	w.wake = func(err error) { w.told <- err }
	return w
}

// Ready waits until an operation has finished and returns what
// [Readiness.PollReady] would. The other ends of the wait are ErrReplaced, when
// another poller has taken this one's place, and ctx's error; an answer that is
// there goes before either. One goroutine at a time should wait.
func (r *Readiness) Ready(ctx context.Context, generation uint32) (Event, error) {
	ev, ready, err := r.look(generation)
	if ready || err != nil {
		return ev, err
	}
	w := r.idle.Swap(nil)
	if w == nil {
		w = newWaiter()
	}
	for {
		var back bool
		ev, ready, back, err = r.leave(generation, &w.Waker)
		if ready || err != nil {
			r.retire(w, back)
			return ev, err
		}
		select {
		case why := <-w.told:
			ev, ready, err = r.look(generation)
			if ready || err != nil || why != nil {
				r.retire(w, true)
				if !ready && err == nil {
					err = why
				}
				return ev, err
			}
		case <-ctx.Done():
			r.retire(w, r.waker.CompareAndSwap(&w.Waker, nil))
			ev, ready, err = r.look(generation)
			if !ready && err == nil {
				err = ctx.Err()
			}
			return ev, err
		}
	}
}

// retire keeps a waiter for the next Ready. One whose call is still to come is left
// to the collector: the call must not reach its next user.
func (r *Readiness) retire(w *waiter, back bool) {
	if back {
		r.idle.Store(w)
	}
}
