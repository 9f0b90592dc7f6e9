// Package reactor owns one kqueue: it fetches events in batches, sleeps when
// told to, and is woken from any goroutine without losing a wake-up. It keeps
// timers, all by the one timeout of its sleep, and watches descriptors.
//
//	kernel -> kqueue -> Poll or Sleep -> events of jobs, returned
//	timers, descriptors ------------>  -> Notices
//
// One goroutine at a time polls and sleeps; that is a role which the caller hands
// around. Wake is everybody's, and so are timers and descriptors.
package reactor

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aioring/aioring/aio"
)

// batchSize is how many events one kevent call fetches at most.
const batchSize = 256

// idents numbers the reactors' own EVFILT_USER events: the queue of another reactor
// has no event with this one's ident, by which it is told from this one's.
var idents atomic.Uintptr

// Queues is what a reactor needs of a kernel: every [aio.Kernel] has it, and on
// systems with another kernel [aio.HostQueues].
type Queues interface {
	Kqueue() (kq int, errno aio.Errno)
	Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (n int, errno aio.Errno)
	CloseKqueue(kq int) aio.Errno
}

// Reactor is one kqueue and the events fetched from it last.
type Reactor struct {
	kernel Queues
	kq     int
	clock  func() int64
	events [batchSize]aio.Kevent
	failed aio.Errno // of the last fetch; 0 after EINTR

	// notices are those of the last Poll or Sleep. They belong to who called it.
	notices []Notice

	mu      sync.Mutex // guards the next five; never held over a system call that waits
	timers  timerHeap
	watches []watch       // by descriptor
	atOnce  []Watch       // ready as soon as somebody looks
	changes [1]aio.Kevent // what AddFd and RemoveFd send
	// until is when the Sleep under way ends by itself, if sleeping, else 0: then
	// the next has not yet looked at the timers.
	until int64
	// concerns is how many timers and watches there are. While it is 0 a Poll takes
	// no lock: what is added meanwhile is for the next.
	concerns atomic.Int64

	// asleep is 1 from PrepareSleep until somebody has seen to it that Sleep
	// returns. The sleeper stores it and then looks for a reason to stay awake; a
	// waker makes the reason and then looks at asleep. One of the two sees the
	// other.
	asleep atomic.Uint32

	trigger [1]aio.Kevent // what Wake sends; never changed
	probe   [1]aio.Kevent // what Check sends: a change of the same event that changes nothing

	wakers atomic.Int64 // inside Wake or Check: Close waits for them

	// lost is why the queue is no longer there, 0 while it is; inside is 1 while
	// Sleep is in the kernel. Who loses the queue stores lost and then looks at inside,
	// a sleeper the other way round: either it does not sleep, or it is interrupted.
	lost, inside atomic.Uint32

	polls, sleeps, wakes, fetched, fired, readied, stale atomic.Uint64
}

// Stats counts what a reactor did.
type Stats struct {
	Polls  uint64 // kevent calls that did not wait
	Sleeps uint64 // kevent calls that did
	Wakes  uint64 // sleepers woken by Wake
	Events uint64 // events of jobs fetched
	Timers uint64 // timers expired
	Fds    uint64 // descriptors ready
	Stale  uint64 // events of descriptors that nobody watched any more, dropped
}

// SleepsPer is how many blocked calls there were for each of so many operations, and
// WakesPer how many wake-ups: the two things that cost a thread's switch. 0 for none.
func (s Stats) SleepsPer(operations uint64) float64 { return ratio(s.Sleeps, operations) }

// WakesPer is described at SleepsPer.
func (s Stats) WakesPer(operations uint64) float64 { return ratio(s.Wakes, operations) }

func ratio(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// New makes a reactor with a kqueue of its own.
func New(k Queues) (*Reactor, error) {
	kq, errno := k.Kqueue()
	if errno != 0 {
		return nil, fmt.Errorf("kqueue: %w", errno)
	}
	// Added here, triggered by changes of their own: a trigger in the change that
	// adds the event does not fire, and one that repeats EvClear is lost.
	ident := idents.Add(1)
	add := []aio.Kevent{{Ident: ident, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear}}
	if _, errno := k.Kevent(kq, add, nil, 0); errno != 0 {
		_ = k.CloseKqueue(kq)
		return nil, fmt.Errorf("kevent: add EVFILT_USER: %w", errno)
	}
	began := time.Now()
	r := &Reactor{kernel: k, kq: kq, clock: func() int64 { return int64(time.Since(began)) }}
	r.trigger[0] = aio.Kevent{Ident: ident, Filter: aio.FilterUser, Fflags: aio.NoteTrigger}
	r.probe[0] = aio.Kevent{Ident: ident, Filter: aio.FilterUser}
	return r, nil
}

// Kqueue is the queue's descriptor: what a control block's sigevent names.
func (r *Reactor) Kqueue() int { return r.kq }

// Poll fetches events that are there now. The slice is valid until the next call
// of Poll or Sleep, and so is that of Notices.
func (r *Reactor) Poll() []aio.Kevent {
	r.polls.Add(1)
	return r.fetch(0)
}

// Notices are the timers and descriptors that the last Poll or Sleep brought. They
// are for the goroutine that called it.
func (r *Reactor) Notices() []Notice { return r.notices }

// PrepareSleep announces that the caller is about to call Sleep. Between the two
// it must look once more for a reason not to, which Poll is not (it would eat the
// wake-up); having found one it calls CancelSleep.
func (r *Reactor) PrepareSleep() { r.asleep.Store(1) }

// CancelSleep takes PrepareSleep back. A Wake may have come in between; its event
// then ends the next Sleep at once.
func (r *Reactor) CancelSleep() { r.asleep.Store(0) }

// Sleep waits until there are events, a Wake, a descriptor or a timer, and fetches
// them. It may return nothing.
func (r *Reactor) Sleep() []aio.Kevent {
	r.sleeps.Add(1)
	events := r.fetch(r.sleepTime())
	r.asleep.Store(0)
	return events
}

// sleepTime is how long there is nothing to do, and notes until when that is: who
// adds an earlier timer after this wakes the sleeper.
func (r *Reactor) sleepTime() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.atOnce) > 0:
		return 0
	case len(r.timers.order) == 0:
		r.until = never
		return -1
	}
	r.until = r.timers.order[0].when
	return time.Duration(max(0, r.until-r.clock()))
}

// never is later than every timer.
const never = math.MaxInt64

// fetch calls kevent, leaves out the reactor's own wake-up events, and makes notices
// of what is no job's.
func (r *Reactor) fetch(timeout time.Duration) []aio.Kevent {
	n, errno := r.kevent(timeout)
	r.failed = 0
	if errno != 0 {
		n = 0
		if errno != aio.EINTR { // after which the caller looks around and comes back
			r.failed = errno
		}
	}
	r.attend(r.events[:n], timeout != 0)
	kept := r.events[:0]
	for i := range n {
		switch r.events[i].Filter {
		case aio.FilterUser, aio.FilterRead, aio.FilterWrite:
		default:
			kept = append(kept, r.events[i])
		}
	}
	r.fetched.Add(uint64(len(kept)))
	return kept
}

// kevent fetches, unless the queue is known to be lost.
func (r *Reactor) kevent(timeout time.Duration) (n int, errno aio.Errno) {
	if timeout != 0 {
		r.inside.Store(1) // publishes to lose that somebody may be asleep
		defer r.inside.Store(0)
	}
	if errno = aio.Errno(r.lost.Load()); errno != 0 {
		return 0, errno
	}
	n, errno = r.kernel.Kevent(r.kq, nil, r.events[:], timeout)
	if lost := aio.Errno(r.lost.Load()); errno == aio.EINTR && lost != 0 {
		errno = lost
	}
	return n, errno
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
	_ = r.touch(r.trigger[:])
}

// Check asks whether the queue is still there. It is lost when somebody else has
// closed it, by its number: nobody is told of that, and who is asleep in it sleeps on.
// Wake, which has to do with the queue, and Check find out. When they do, the sleeper
// returns, and it and every later Poll and Sleep have an error in Err.
//
// The number may be another queue's by now; that is noticed too. What is not is a
// loss while nobody wakes, checks or sleeps anew: that nobody had to. Any goroutine
// may call it.
func (r *Reactor) Check() error {
	r.wakers.Add(1)
	defer r.wakers.Add(-1)
	if errno := r.touch(r.probe[:]); errno != 0 {
		return fmt.Errorf("kevent: %w", errno)
	}
	return nil
}

// touch makes a change of the reactor's own event, which can fail in one way: the
// event is not there, nor is its queue then.
func (r *Reactor) touch(own []aio.Kevent) aio.Errno {
	errno := aio.Errno(r.lost.Load())
	if errno == 0 {
		if _, errno = r.kernel.Kevent(r.kq, own, nil, 0); errno != 0 {
			r.lose(errno)
		}
	}
	return errno
}

// lose notes that the queue is lost and gets out whoever is asleep in it: the queue
// itself lives until then, but nothing leads to it any more. A signal does, to
// whichever thread it is, and to the others for nothing.
func (r *Reactor) lose(errno aio.Errno) {
	if !r.lost.CompareAndSwap(0, uint32(errno)) {
		return
	}
	k, ok := r.kernel.(interface{ Signal() })
	// More than once: the first signal may come a moment before the thread sleeps, if
	// the number is another queue's.
	for pause := time.Microsecond; ok && r.inside.Load() != 0; pause = min(2*pause, time.Millisecond) {
		k.Signal()
		time.Sleep(pause)
	}
}

// Close closes the kqueue. Nobody may be in Poll or Sleep, and no job may be
// unreaped: its event would never come. A Wake under way is waited for: the
// number of the kqueue may soon be another's. If it was lost, it may be that already,
// and is not closed.
func (r *Reactor) Close() error {
	r.asleep.Store(0)
	for r.wakers.Load() > 0 {
		runtime.Gosched()
	}
	if err := r.Check(); err != nil {
		return fmt.Errorf("close kqueue: %w", err)
	}
	if errno := r.kernel.CloseKqueue(r.kq); errno != 0 {
		return fmt.Errorf("close kqueue: %w", errno)
	}
	return nil
}

// Stats reads the counters. Any goroutine may.
func (r *Reactor) Stats() Stats {
	return Stats{
		Polls: r.polls.Load(), Sleeps: r.sleeps.Load(), Wakes: r.wakes.Load(), Events: r.fetched.Load(),
		Timers: r.fired.Load(), Fds: r.readied.Load(), Stale: r.stale.Load(),
	}
}
