package ring

import (
	"context"
	"runtime"
	"sync/atomic"
)

// DefaultSpin is the Spin that did well on two cores for one who waits for an
// answer that is on its way: a round trip takes half of what it does without. The
// consumer of a stream does better with none, for by looking often it takes the
// cache lines from its producer and gets little each time.
const DefaultSpin = 4

// Parker is how one goroutine waits for a condition that others make true: it
// looks a bounded number of times, yielding in between, and then sleeps on a
// channel until it is woken. It uses no timer, and asleep it uses no CPU.
//
// The zero value is ready to use and sleeps at once. A Parker must not be copied
// after first use.
//
// One goroutine waits at a time. Goroutines may take turns if something (a mutex,
// a channel) orders the end of one wait before the beginning of the next. With
// two waiters at once one of them may sleep for ever.
//
// The waiter's promise is to set the flag before its last look; the waker's, to
// change what ready looks at before it calls Wake. Whichever comes second sees
// the other: either the waiter finds ready true, or the waker finds the flag
// set. So what ready reads must be changed by atomic operations, as the rings
// do, or under a lock which ready takes too.
//
// In a testing/synctest bubble a goroutine asleep here is durably blocked,
// provided that the first wait of this Parker was inside that bubble.
type Parker struct {
	// Spin is how many times the waiter yields and looks again before it
	// sleeps. Set it before the first wait. 0 or less sleeps at once.
	Spin int

	// token holds at most one wake-up, so wakes coalesce and Wake never blocks.
	// The first waiter makes it before it first sets asleep, which publishes
	// it to the waker that finds asleep set.
	token chan struct{}
	// asleep publishes to Wake that a waiter sleeps or is about to. Set by the
	// waiter; cleared by the one waker that will send the token, or by the
	// waiter when it is awake again.
	asleep atomic.Bool
	_      pad // Wake reads asleep on every push: keep neighbours' writes away
}

// Wait returns when ready returns true. It calls ready on the waiter's own
// goroutine, any number of times, so ready should be cheap.
func (p *Parker) Wait(ready func() bool) {
	p.wait(nil, ready)
}

// WaitContext returns nil when ready has returned true, or ctx's error when ctx
// ended first. Nil always means that ready was true, even if ctx ended too.
func (p *Parker) WaitContext(ctx context.Context, ready func() bool) error {
	if p.wait(ctx.Done(), ready) {
		return nil
	}
	return ctx.Err()
}

// Wake makes the waiter look again. Call it after making ready true. When nobody
// sleeps it is one atomic load; of many calls during one sleep, one sends the
// token. Any goroutine may call it.
func (p *Parker) Wake() {
	if p.asleep.Load() { // pairs with the store in wait
		p.rouse()
	}
}

// rouse is Wake's rare half, apart so that the common one is inlined.
func (p *Parker) rouse() {
	if !p.asleep.CompareAndSwap(true, false) {
		return // another waker sends the token, or the waiter is awake and will look
	}
	select {
	case p.token <- struct{}{}:
	default:
		// A token lies there already, from a waker whose waiter found ready true
		// by itself and left. It wakes as well as ours.
	}
}

// wait returns true when ready has, false when done was closed before that.
func (p *Parker) wait(done <-chan struct{}, ready func() bool) bool {
	for {
		if p.spin(ready) {
			return true
		}
		if p.token == nil {
			p.token = make(chan struct{}, 1)
		}
		p.asleep.Store(true) // publishes to Wake that a token is wanted
		// Whoever made ready true before the flag was set has not seen it and
		// sends nothing: look once more.
		if ready() {
			p.asleep.Store(false)
			return true
		}
		select {
		case <-p.token:
			// Perhaps an old one (see rouse): then ready is false and we go
			// round again. Clear the flag, for an old token leaves it set; a
			// waker that is overtaken here came before our next look.
			p.asleep.Store(false)
		case <-done: // a nil channel, of Wait, never is
			p.asleep.Store(false)
			return ready()
		}
	}
}

// spin looks once, and Spin times more after yielding.
func (p *Parker) spin(ready func() bool) bool {
	if ready() {
		return true
	}
	for range p.Spin {
		runtime.Gosched()
		if ready() {
			return true
		}
	}
	return false
}
