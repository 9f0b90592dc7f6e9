//go:build unix

package worker

import (
	"sync"
	"syscall"
)

// DefaultLimit is how many calls a Pool makes at a time unless told otherwise.
const DefaultLimit = 64

// Pool makes calls on goroutines of its own. Make one with New, end it with Close.
// Its methods may be called from any goroutine, and from done except for Close.
type Pool struct {
	limit int
	done  func(*Call)

	// What goroutines start on. Made once: a method value made at each start would
	// be an allocation at each start.
	work, watch func()

	mu      sync.Mutex
	queue   list              // to be made; never without a goroutine to come for it
	given   int               // submitted and not done
	working int               // goroutines
	coming  int               // those of them that will look at the queue without blocking first
	lines   map[lineKey]*line // those with a call in them
	spare   *line             // empty ones for reuse
	poller  poller
	closed  bool
	quiet   sync.Cond // closed, and nothing left; for Close

	high, waiting int
	calls         uint64
}

// New makes a pool that makes at most limit calls at once; 0 or less means
// DefaultLimit. done is called exactly once for each call submitted, outside every
// lock, from the goroutine that made it, or from Cancel. It may submit and cancel;
// while it runs, so does one of the limit.
func New(limit int, done func(*Call)) *Pool {
	if limit <= 0 {
		limit = DefaultLimit
	}
	p := &Pool{limit: limit, done: done, lines: make(map[lineKey]*line)}
	// poll(2) has an answer for a descriptor that is closed while it waits.
	p.poller.queues.Poll = true
	p.work, p.watch = p.worker, p.watcher
	p.quiet.L = &p.mu
	return p
}

// Submit gives calls to the pool and returns at once. They start in order, as far
// as goroutines are free. Those of one stream and direction are made one after the
// other, in the order in which they first came to look at it; done may still be
// called for two of them at once, or the other way round.
func (p *Pool) Submit(calls ...*Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given += len(calls)
	for _, c := range calls {
		cancelled := c.cancelled && c.state == fresh
		c.cancelled, c.fault, c.line = false, 0, nil
		if cancelled || p.closed {
			c.fault = syscall.ECANCELED
		}
		p.enqueue(c)
	}
}

// enqueue queues a call. p.mu is held.
func (p *Pool) enqueue(c *Call) {
	c.state = queued
	p.queue.push(c)
	p.hurry()
}

// hurry starts a goroutine if something is queued and none is coming for it: those
// in their calls may be there for long. The one that comes does the same when it has
// taken a call, so there are as many as there are calls that take their time, up to
// the limit, and few for calls that do not. p.mu is held.
func (p *Pool) hurry() {
	if p.queue.n > 0 && p.coming == 0 && p.working < p.limit {
		p.working++
		p.coming++
		p.high = max(p.high, p.working)
		go p.work()
	}
}

// worker makes one call after the other until the queue is empty.
func (p *Pool) worker() {
	p.mu.Lock()
	for c := p.queue.pop(); c != nil; c = p.queue.pop() {
		c.state = taken
		p.coming--
		p.hurry()
		p.mu.Unlock()
		if p.perform(c) {
			p.finish(c)
		} else {
			p.mu.Lock()
		}
		p.coming++
	}
	p.coming--
	p.working--
	p.rest()
	p.mu.Unlock()
}

// perform makes a call, or puts it where it waits; then it reports false, and the
// call is no longer the caller's.
func (p *Pool) perform(c *Call) bool {
	switch {
	case c.fault != 0:
		if !p.commit(c, false) {
			c.fault = syscall.ECANCELED
		}
		c.settle(0, c.fault)
		p.leave(c)
	case c.Stream && c.Op.moves():
		return p.stream(c)
	default:
		Run(c)
	}
	return true
}

// finish calls done, after which the call is its maker's, and returns with p.mu
// held.
func (p *Pool) finish(c *Call) {
	p.done(c)
	p.mu.Lock()
	p.given--
	p.calls++
}

// Cancel asks for the end of a call.
//
// true: the call had not started. Its Err is ECANCELED. Nothing was moved. done was
// called for it before Cancel returned, in this goroutine: do not hold a lock that
// done takes. If the call was not even submitted, done is called so after Submit; if
// it is a stream call that is just finding out whether it has to wait, when it has.
//
// false: it is being made, or done, or cancelled. Its own result comes or came, but
// for a call on a socket, or on a descriptor with O_NONBLOCK, that finds out only by
// being made that it has to wait: that ends with ECANCELED too.
func (p *Pool) Cancel(c *Call) bool {
	p.mu.Lock()
	again := c.cancelled
	c.cancelled = true
	switch c.state {
	case queued:
		p.queue.remove(c)
	case parked:
		p.waiting--
		c.line.behind.remove(c)
	case waiting:
		p.waiting--
		p.poller.remove(c)
	default:
		ends := c.state == fresh || !again && c.state == taken && c.Stream && c.Op.moves()
		p.mu.Unlock()
		return ends
	}
	c.state = taken
	p.depart(c)
	p.mu.Unlock()

	c.settle(0, syscall.ECANCELED)
	p.finish(c)
	p.rest()
	p.mu.Unlock()
	return true
}

// Stuck reports whether a stream call is being made in a way that may block, for as long
// as it likes, or was.
func (p *Pool) Stuck(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.state == moving && c.blocks
}

// Close returns when every call given is done and every goroutine has left. It
// does not cancel: a stream call that has nothing to do is waited for as long as
// that takes, unless it is cancelled. What is submitted after Close has begun ends
// with ECANCELED. Not to be called from done. The second Close waits like the
// first.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for !p.resting() {
		p.quiet.Wait()
	}
	p.poller.close()
}

func (p *Pool) resting() bool {
	return p.given == 0 && p.working == 0 && !p.poller.running
}

// rest tells Close if nothing is left. p.mu is held.
func (p *Pool) rest() {
	if p.closed && p.resting() {
		p.quiet.Broadcast()
	}
}
