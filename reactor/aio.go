package reactor

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/aioring/aioring/aio"
)

// Source is a control block, or a list of them, that its user submits and reaps.
//
// Register makes no system call: it writes a sigevent of [aio.NotifyKevent] with
// the kqueue and the token (as Value, which comes back as udata) into the control
// block, or keeps it for the list's own sigevent, and the kernel makes the event
// when the source is submitted. [aio.EvOneshot] in KeventFlags is what a single
// job wants; without it the driver takes one system call more to end the event.
// Deregister takes it back; the kernel has its own copy of what is in flight.
type Source interface {
	Register(kq int, token uintptr)
	Deregister()
}

// Aio joins a source to the driver that fetches its events. Submitting, asking for
// the result and reaping are done with the source itself, outside of this package.
//
// Ready means that the operation has finished, well or badly; that a list has
// finished, all of it that was accepted. Until something is submitted, and when
// nothing of a list was accepted, it pends. Then:
//
//	reap, ClearReady, submit again, Ready
//
// A source is not to be reaped before its readiness was seen. ClearReady must come
// before the next submission, and only when one follows.
//
// An Aio must be ended by Into or Close. One that the garbage collector finds is
// ended by it. All methods may be called from any goroutine.
type Aio[S Source] struct {
	source  S
	driver  *Driver
	entry   *entry
	ended   atomic.Bool // makes the first Into or Close the one that ends; publishes nothing
	cleanup runtime.Cleanup
}

// NewForAIO registers a source that is submitted as one job: aio_read(2) and its
// like. ErrShutdown when the driver was shut down; the source is untouched then.
func NewForAIO[S Source](d *Driver, source S) (*Aio[S], error) {
	return newAio(d, source, aio.FilterAIO)
}

// NewForLIO registers a source that is submitted by lio_listio(2) with a list
// event.
func NewForLIO[S Source](d *Driver, source S) (*Aio[S], error) {
	return newAio(d, source, aio.FilterLIO)
}

func newAio[S Source](d *Driver, source S, filter aio.Filter) (*Aio[S], error) {
	e := &entry{filter: filter}
	if !d.register(e) {
		return nil, ErrShutdown
	}
	a := &Aio[S]{source: source, driver: d, entry: e}
	// Neither the driver nor the entry leads to a, or it would never be found.
	a.cleanup = runtime.AddCleanup(a, d.release, e)
	source.Register(d.reactor.Kqueue(), e.token)
	return a, nil
}

// Source is what was registered.
func (a *Aio[S]) Source() S { return a.source }

// PollReady answers at once; false without an error leaves w to be called. See
// [Readiness.PollReady]. A w that leads to the Aio keeps it from the collector.
func (a *Aio[S]) PollReady(w *Waker) (Event, bool, error) {
	defer runtime.KeepAlive(a)
	return a.entry.PollReady(a.entry.generation, w)
}

// Ready waits until the source is ready. See [Readiness.Ready]. Somebody must be
// in [Driver.Run], or call [Driver.Turn], meanwhile.
func (a *Aio[S]) Ready(ctx context.Context) (Event, error) {
	defer runtime.KeepAlive(a)
	return a.entry.Ready(ctx, a.entry.generation)
}

// ClearReady takes ready back, if ev is current. See [Readiness.Clear].
func (a *Aio[S]) ClearReady(ev Event) bool {
	defer runtime.KeepAlive(a)
	return a.entry.Clear(ev)
}

// Into ends the Aio and hands the source back, deregistered. An event of it that
// comes later is dropped, a waiter gets ErrReleased.
//
// The late event of a list is deleted by its array's address: a list that was ended
// while it ran wants another array for its next submission to this driver.
func (a *Aio[S]) Into() S {
	if a.ended.CompareAndSwap(false, true) {
		a.cleanup.Stop()
		a.driver.release(a.entry)
		a.source.Deregister()
	}
	return a.source
}

// Close is Into for those who have the source already.
func (a *Aio[S]) Close() { a.Into() }
