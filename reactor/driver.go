package reactor

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/aioring/aioring/aio"
)

// Driver fetches the events of [Aio] sources and makes them ready. It has a kqueue
// of its own: a ring fetches from its queue whatever is there, and would take
// events that are not its own from whom they are meant for.
//
//	Source: submit -> kernel -> kqueue -> Turn or Run -> registry -> entry -> waker
//
// Nothing moves unless some goroutine calls Turn or is in Run.
//
// An event that the kernel would report again on every call (of every list, and of
// a job that did not ask for one of its own by [aio.EvOneshot]) is deleted as soon
// as it was fetched, before its waiter learns of it. So an unreaped source costs
// nothing, and what is deleted is never the event of the next submission.
type Driver struct {
	kernel  aio.Kernel
	reactor *Reactor

	// role is full while one goroutine fetches and delivers: it alone uses the
	// reactor, due, deletes and closed.
	role    chan struct{}
	due     [batchSize]*entry
	deletes [batchSize]aio.Kevent
	closed  bool

	mu       sync.Mutex // guards registry, and the writing of gone; never held while a waker is called
	registry registry
	// gone publishes to who fetches that Shutdown was called, before Shutdown
	// wakes it; to register and to Shutdown under mu.
	gone atomic.Bool

	delivered, stale, deleted atomic.Uint64 // counters, read by Stats
}

// DriverStats counts what a driver did.
type DriverStats struct {
	Reactor    Stats
	Delivered  uint64 // events that made an entry ready
	Stale      uint64 // events of no registered entry, dropped
	Deleted    uint64 // events that would have come again, and were deleted
	Registered int    // entries now
}

// NewDriver makes a driver with a kqueue of its own.
func NewDriver(k aio.Kernel) (*Driver, error) {
	r, err := New(k)
	if err != nil {
		return nil, err
	}
	return &Driver{kernel: k, reactor: r, role: make(chan struct{}, 1)}, nil
}

// Kqueue is the queue's descriptor, as sources get it.
func (d *Driver) Kqueue() int { return d.reactor.Kqueue() }

// Turn delivers the events that are there and returns how many it fetched. When
// another goroutine is at it, it leaves that to it and returns 0. ErrShutdown after
// Shutdown, or the kernel's error.
func (d *Driver) Turn() (int, error) {
	select {
	case d.role <- struct{}{}:
	default:
		return 0, nil
	}
	defer d.resign()
	if d.gone.Load() {
		return 0, ErrShutdown
	}
	n := d.deliver(d.reactor.Poll())
	return n, d.reactor.Err()
}

// Run delivers events, asleep in kevent while there are none, until ctx ends or
// Shutdown is called, and returns ctx's error or ErrShutdown. If the kernel refuses
// to go on, nobody would be woken any more, so it shuts the driver down and returns
// that error. While another goroutine is in Run it waits for its turn.
func (d *Driver) Run(ctx context.Context) error {
	select {
	case d.role <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer d.resign()
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { d.reactor.Wake(); close(woken) })
	defer func() {
		if !stop() {
			<-woken // it must not reach for the queue after Close
		}
	}()
	for {
		if err := d.ended(ctx); err != nil {
			return err
		}
		if d.deliver(d.reactor.Poll()) == 0 && d.reactor.Err() == nil {
			d.reactor.PrepareSleep()
			if d.ended(ctx) != nil {
				d.reactor.CancelSleep()
				continue
			}
			d.deliver(d.reactor.Sleep())
		}
		if err := d.reactor.Err(); err != nil {
			d.Shutdown()
			return err
		}
	}
}

// ended is why Run has to return, if it has.
func (d *Driver) ended(ctx context.Context) error {
	if d.gone.Load() {
		return ErrShutdown
	}
	return ctx.Err()
}

func (d *Driver) resign() { <-d.role }

// deliver ends the events that would come again, finds the entries, and makes them
// ready.
func (d *Driver) deliver(events []aio.Kevent) int {
	deletes := d.deletes[:0]
	for i := range events {
		if sticky(&events[i]) {
			deletes = append(deletes, aio.Kevent{
				Ident: events[i].Ident, Filter: events[i].Filter, Flags: aio.EvDelete | aio.EvReceipt,
			})
		}
	}
	if len(deletes) > 0 {
		// With a receipt for each, a change that fails (its source was reaped
		// already, which deletes too) does not keep the others from being made,
		// and no room is left that events would be fetched into.
		_, _ = d.kernel.Kevent(d.reactor.Kqueue(), deletes, deletes, 0)
		d.deleted.Add(uint64(len(deletes)))
	}

	due := d.due[:0]
	d.mu.Lock()
	for i := range events {
		if e := d.registry.find(events[i].Udata); e != nil && e.filter == events[i].Filter {
			due = append(due, e)
		}
	}
	d.mu.Unlock()

	delivered := 0
	for i := range due {
		if due[i].Complete(due[i].generation) { // else it was released meanwhile
			delivered++
		}
	}
	clear(due)
	d.delivered.Add(uint64(delivered))
	d.stale.Add(uint64(len(events) - delivered))
	return len(events)
}

// sticky reports whether kevent would return this event again and again.
func sticky(ev *aio.Kevent) bool {
	return ev.Filter == aio.FilterLIO || ev.Flags&(aio.EvOneshot|aio.EvClear|aio.EvDispatch) == 0
}

// register gives the entry a token; false when the driver was shut down.
func (d *Driver) register(e *entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone.Load() {
		return false
	}
	d.registry.add(e)
	return true
}

// release takes the entry out. It has one caller: Into, or the collector.
func (d *Driver) release(e *entry) {
	d.mu.Lock()
	d.registry.remove(e)
	d.mu.Unlock()
	e.Release()
}

// Shutdown ends the driver for good: Run returns, nothing more is registered, and
// every entry's waiter and later poll gets ErrShutdown. Any goroutine may call it,
// a waker too, and again. Jobs in flight finish, and are reaped by their users.
func (d *Driver) Shutdown() {
	d.mu.Lock()
	if d.gone.Load() {
		d.mu.Unlock()
		return
	}
	d.gone.Store(true)
	entries := d.registry.all()
	d.reactor.Wake() // under mu, so that it is over before Close closes the queue
	d.mu.Unlock()
	for _, e := range entries {
		e.Shutdown()
	}
}

// Close is Shutdown, and then closes the queue when Run and Turn have returned. A
// waker must not call it: the goroutine that calls the waker is waited for. Sources
// that are still registered must not be submitted any more; the number of the
// queue may be something else's.
func (d *Driver) Close() error {
	d.Shutdown()
	d.role <- struct{}{}
	defer d.resign()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.reactor.Close()
}

// Stats reads the counters. Any goroutine may.
func (d *Driver) Stats() DriverStats {
	d.mu.Lock()
	registered := d.registry.live
	d.mu.Unlock()
	return DriverStats{
		Reactor:    d.reactor.Stats(),
		Delivered:  d.delivered.Load(),
		Stale:      d.stale.Load(),
		Deleted:    d.deleted.Load(),
		Registered: registered,
	}
}
