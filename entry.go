package aioring

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/reactor"
)

// Readiness, as tokio's Aio has it. Every operation has an entry. Most end in the
// completion queue: such an entry is the CQE's place there, ready while the CQE is
// and gone when it is consumed. One that is kept, made by NewEntry, has a
// reactor.Readiness of its own:
//
//	Submit -> ... -> deliver: result, tick, ready -> waker -> PollReady, Ready -> ClearReady -> Submit

var (
	// ErrBusy is returned by [Entry.Submit] while an operation of the entry is under
	// way, or has ended and was not cleared.
	ErrBusy = errors.New("aioring: the entry's operation is not cleared")

	// ErrReplaced ends the wait of one whose place at an [Entry] a later one has
	// taken.
	ErrReplaced = reactor.ErrReplaced

	// ErrReleased is returned for an [Entry] after its Release.
	ErrReleased = reactor.ErrReleased
)

// Waker is what [Entry.PollReady] leaves behind when there is nothing yet.
type Waker = reactor.Waker

// NewWaker makes a Waker of a function. It is called with nil when it is time to
// poll again, which may prove to be for nothing, or with [ErrReplaced]; at most once
// for each poll that left it. It is called by whichever goroutine brings the
// operation's end, with no lock held, so it must not block, nor wait for the ring: it
// should pass the news on. It may poll.
func NewWaker(wake func(err error)) *Waker { return reactor.NewWaker(wake) }

// Event is one completion of one entry, as a CQE shows it: what [Ring.ClearReady]
// clears. It is a plain value. The zero Event clears nothing.
type Event struct {
	of *entry
	// word is the generation and the tick of a kept entry; of a CQE in the
	// completion queue its position there, counted from 1.
	word uint64
}

// Event is the completion that the CQE tells of.
func (c CQE) Event() Event { return c.event }

// ClearReady takes the readiness of an entry back, if ev is its latest completion.
// After that a kept entry pends, and may be submitted again. It is false, and changes
// nothing, for an event that was cleared before or that a later one has followed,
// for one of a released entry or of another ring, and for one whose CQE was consumed:
// an entry that is not kept ends then. Any goroutine may call it.
func (r *Ring) ClearReady(ev Event) bool {
	switch {
	case ev.of == nil:
		return false
	case ev.of == &r.cq.place:
		return !r.closed.Load() && r.cq.clear(ev.word)
	}
	return ev.of.ring == r && ev.of.clear(ev.word)
}

// Entry is a place where operations end that somebody awaits by readiness: their CQEs
// do not go to the completion queue. Prepare its SQE, or a list by [PrepList], and
// Submit; when it is ready, [Ring.ClearReady] makes it fit for the next Submit. So
// one entry serves any number of operations, one after the other, each a new one with
// a final CQE of its own.
//
// It is kept until Release, with the buffers of the last operation, and an Entry that
// the garbage collector finds is released. Prepare and Submit are for one goroutine at
// a time, while nothing is under way; the other methods any goroutine may call.
type Entry struct {
	entry   *entry
	cleanup runtime.Cleanup
}

// entry is what the ring knows of an Entry. It does not lead to the Entry, or the
// collector would never find that.
type entry struct {
	reactor.Readiness
	ring       *Ring
	generation uint32 // of the Readiness until Release
	at         int    // the index in entryTable.all, whose lock guards it

	sqe SQE // the user's to prepare; of opList, list is meant
	// list is what PrepList made, until Submit puts it in group's place: what ended
	// before it can be had until it is cleared.
	list *group
	out  []SQE // what is pushed: sqe, or the members of the list that have no result

	// group is where results are. It changes while nothing is under way; pollers may
	// look at it at any time.
	group atomic.Pointer[group]

	// mu is a leaf: nothing is called under it.
	mu       sync.Mutex
	state    entryState
	released bool
	left     bool // a waker is there that was left while nothing was under way
	watched  bool // the ring's own harvester runs for the waker, see Ring.parked
}

type entryState uint8

const (
	entryIdle     entryState = iota // the user's
	entryInFlight                   // from Submit to the last final CQE
	entryDone                       // until it is cleared
)

// entryTable is a ring's kept entries, to end their waits when no more will come.
type entryTable struct {
	mu   sync.Mutex
	all  []*entry
	made uint32 // the last generation given out
	over bool   // nothing more will come
}

// NewEntry makes an entry, released by [Entry.Release]. [ErrClosed] comes back after
// Shutdown or Close.
func (r *Ring) NewEntry() (*Entry, error) {
	e := &entry{ring: r}
	e.group.Store(newGroup(e, 1))
	t := &r.entries
	t.mu.Lock()
	if t.over || r.stopped.Load() {
		t.mu.Unlock()
		return nil, r.gone()
	}
	t.made++
	e.generation = t.made
	e.Init(e.generation)
	e.at = len(t.all)
	t.all = append(t.all, e)
	t.mu.Unlock()
	kept := &Entry{entry: e}
	kept.cleanup = runtime.AddCleanup(kept, (*entry).release, e)
	return kept, nil
}

// SQE is the entry's own, for a Prep function to fill while nothing is under way. Its
// Buf, Bufs and Keep are held until the next is prepared or the entry released, and
// are the ring's from Submit to the final CQE, whatever became of a wait.
func (e *Entry) SQE() *SQE { return &e.entry.sqe }

// Submit starts what was prepared, a list as a whole. While there is no room it waits
// for some, as [Ring.PushContext] does. A descriptor's number must stay open until
// the operation has been taken, which may be a moment later.
//
// Errors: [ErrBusy] when the operation before was not cleared, [ErrReleased],
// [ErrTooBig] for a list longer than the ring, [ErrClosed], ctx's.
func (e *Entry) Submit(ctx context.Context) error {
	defer runtime.KeepAlive(e)
	return e.entry.submit(ctx)
}

// PollReady answers at once: the final CQE and true if the operation has ended, well
// or badly, and was not cleared; false if it has not, or was never submitted. An
// error says nothing about the operation: the ring is closed, or shut down with
// nothing to come ([ErrClosed]), or the entry released.
//
// After false without error w, unless it is nil, is called once when there is news. It
// takes the place of a waker left before, which learns of it by [ErrReplaced] and
// must not simply poll again. A w that leads to the Entry keeps it from the collector.
//
// The CQE of a list has the UserData of [Entry.SQE], and Res is how many of its
// members have their result, which are told by [Entry.Member].
func (e *Entry) PollReady(w *Waker) (CQE, bool, error) {
	defer runtime.KeepAlive(e)
	return e.entry.poll(w)
}

// Ready waits until the operation has ended and returns what PollReady would, or
// [ErrReplaced] when another has begun to wait in its place, or ctx's error. When it
// returns early the operation goes on, and its buffers are still the ring's: wait
// again before they are used, or let them go.
func (e *Entry) Ready(ctx context.Context) (CQE, error) {
	defer runtime.KeepAlive(e)
	return e.entry.wait(ctx)
}

// Release ends the entry and lets go of its buffers. An operation under way goes on;
// its buffers are the ring's until it has ended, and its CQE is dropped and counted in
// Stats.Stale. Who waits gets [ErrReleased]. Release may be repeated.
func (e *Entry) Release() {
	e.cleanup.Stop()
	e.entry.release()
	runtime.KeepAlive(e)
}

func (e *entry) submit(ctx context.Context) error {
	e.mu.Lock()
	switch {
	case e.released:
		e.mu.Unlock()
		return ErrReleased
	case e.state != entryIdle:
		e.mu.Unlock()
		return ErrBusy
	}
	e.state = entryInFlight
	if e.left {
		e.left = false
		e.watch()
	}
	watched := e.watched
	e.mu.Unlock()

	g := e.arm()
	empty := len(e.out) == 0
	if err := e.ring.PushContext(ctx, e.out...); err != nil {
		e.disarm()
		return err
	}
	// What was pushed may have ended, and somebody else submit the entry again.
	if empty {
		// An empty list: no event will ever come for it.
		var woken wakeList
		g.end(&woken)
		e.ring.signal(&woken)
	} else if watched {
		e.ring.ensureHarvest()
	}
	return nil
}

// arm makes e.out of what is to be submitted.
func (e *entry) arm() *group {
	clear(e.out)
	e.out = e.out[:0]
	g := e.group.Load()
	if e.sqe.Opcode == opList && e.list != nil {
		g = e.list
		e.group.Store(g)
	}
	e.list = nil
	if e.sqe.Opcode == opList && g.sqes != nil { // else it is a copy of another entry's
		g.userData = e.sqe.UserData
		e.out = g.rest(e.out)
	} else {
		if g.sqes != nil {
			g = newGroup(e, 1) // the list is over
			e.group.Store(g)
		}
		e.out = append(e.out, e.sqe)
		engine.Own(&e.out[0], &g.members[0])
	}
	g.left = len(e.out)
	return g
}

// disarm takes a Submit back that failed.
func (e *entry) disarm() {
	e.mu.Lock()
	e.state = entryIdle
	if e.watched {
		e.unwatch()
		e.left = true
	}
	released := e.released
	e.mu.Unlock()
	if released {
		e.drop()
	}
}

// watch and unwatch count the entry among the waiters that cannot harvest, while a
// waker is left at it and an operation is under way. e.mu is held.
func (e *entry) watch() {
	e.watched = true
	e.ring.parked.Add(1)
}

func (e *entry) unwatch() {
	if e.watched {
		e.watched = false
		e.ring.parked.Add(-1)
	}
}

// arrive is the end of what was submitted: its results are in the group. The waker is
// left to woken.
func (e *entry) arrive(woken *wakeList) {
	e.mu.Lock()
	e.state = entryDone
	e.unwatch()
	released := e.released
	e.mu.Unlock()
	if released {
		e.ring.stat.stale.Add(1)
		e.drop()
		return
	}
	// After the state: who sees it ready may clear it.
	w, ok := e.Arrive(e.generation)
	if !ok {
		e.ring.stat.stale.Add(1) // released since: Release drops
	}
	if w != nil {
		woken.wake(w, e.ring)
	}
}

// poll is PollReady.
func (e *entry) poll(w *Waker) (CQE, bool, error) {
	for {
		ev, ready, err := e.PollReady(e.generation, w)
		if !ready && err == nil {
			e.await(w)
			return CQE{}, false, nil
		}
		cqe, ready, err := e.answer(ev, err)
		if ready || err != nil {
			return cqe, ready, err
		}
	}
}

// await sees to it that somebody brings the completion for which w was left.
func (e *entry) await(w *Waker) {
	if w == nil {
		return
	}
	// After w was left: if the operation ends in between, w is called.
	e.mu.Lock()
	start := e.state == entryInFlight && !e.watched
	if start {
		e.watch()
	}
	if e.state != entryInFlight {
		e.left = true
	}
	e.mu.Unlock()
	if start {
		e.ring.ensureHarvest()
	}
}

// wait is Ready.
func (e *entry) wait(ctx context.Context) (CQE, error) {
	r := e.ring
	for {
		cqe, ready, err := e.poll(nil)
		if ready || err != nil {
			return cqe, err
		}
		r.parked.Add(1)
		r.ensureHarvest()
		ev, err := e.Ready(ctx, e.generation)
		r.parked.Add(-1)
		cqe, ready, err = e.answer(ev, err)
		if ready || err != nil {
			return cqe, err
		}
	}
}

// answer makes the user's answer of the Readiness's. Neither a CQE nor an error: it was
// cleared meanwhile, and what was read may be of the next operation.
func (e *entry) answer(ev reactor.Event, err error) (CQE, bool, error) {
	if err == reactor.ErrShutdown {
		// What has ended can be had until Close.
		if !ev.Ready() || e.ring.closed.Load() {
			return CQE{}, false, e.ring.gone()
		}
	} else if err != nil {
		return CQE{}, false, err
	} else if e.ring.closed.Load() {
		return CQE{}, false, ErrClosed
	}
	cqe := e.group.Load().result.load()
	cqe.event = Event{e, word(ev)}
	// The result is of this event if it is still the latest after the reading.
	now := e.Poll()
	return cqe, now.Ready() && word(now) == word(ev), nil
}

// word is what an Event of the user's carries of a reactor's.
func word(ev reactor.Event) uint64 { return uint64(ev.Generation())<<32 | uint64(ev.Tick()) }

// clear is ClearReady.
func (e *entry) clear(seen uint64) bool {
	for {
		now := e.Poll()
		if !now.Ready() || word(now) != seen {
			return false
		}
		if e.Clear(now) {
			break
		}
	}
	e.mu.Lock()
	e.state = entryIdle
	e.mu.Unlock()
	return true
}

// release is Release.
func (e *entry) release() {
	e.mu.Lock()
	again := e.released
	e.released = true
	e.unwatch()
	inFlight := e.state == entryInFlight
	e.mu.Unlock()
	if again {
		return
	}
	e.ring.entries.remove(e)
	e.Release()
	if !inFlight {
		e.drop()
	}
}

// drop lets go of the buffers.
func (e *entry) drop() {
	e.sqe, e.out, e.list = SQE{}, nil, nil
	e.group.Store(newGroup(e, 0))
}

func (t *entryTable) remove(e *entry) {
	t.mu.Lock()
	last := t.all[len(t.all)-1]
	t.all[e.at], last.at = last, e.at
	t.all[len(t.all)-1] = nil
	t.all = t.all[:len(t.all)-1]
	t.mu.Unlock()
}

// end ends the waits at kept entries: nothing more will come. A result that is there
// stays until Close.
func (t *entryTable) end() {
	t.mu.Lock()
	t.over = true
	all := append([]*entry(nil), t.all...)
	t.mu.Unlock()
	for _, e := range all {
		e.Shutdown()
	}
}
