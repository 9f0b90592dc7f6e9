//go:build unix

package sim

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Faults are predicates composed with effects, as in pebble's vfs/errorfs:
//
//	sim.If(sim.And(sim.At(sim.Submit), sim.Entry(2)), sim.Fail(aio.EAGAIN))
//	sim.If(sim.And(sim.At(sim.Start), sim.Reads, sim.Every(3)), sim.Short(100))
//	sim.If(sim.At(sim.Sleep), sim.Fail(aio.EINTR))
//
// A predicate that counts (Nth, Every, First) counts how often it is asked, so
// in And it goes last.
//
// What a kernel may do to its callers, and how it is had here:
//
//	 1  EAGAIN of the process, the system, a disk  Submit, Queue: Fail; Occupy; SetSysctl
//	 2  lists that are accepted in part            Submit, Entry: Fail
//	 3  done, or fetched, before the call returns  Submit: Early; Submitted, ListPosted: Do
//	 4  any order, slow, stuck; daemons come late  Start: Delay, HoldActive; NewDaemon: Delay
//	 5  short, failed after a part                 Start, Transfer: Short, FailAfter, Fail; Result: Fail
//	 6  events twice, lost, against the rule       Deliver: Again; Fetch, ListPosted: Do
//	 7  every answer of a cancel                   Cancel: Refuse, Early; Transfer, Result with Marked
//	 8  EINTR                                      Sleep, ListSleep, SuspendSleep, WaitSleep: Fail; Signal
//	 9  kevent early, late, in small portions      Sleep: Expire, Delay; Fetch: Short
//	10  closes, fork, exec in the middle           Do, with Close, CloseKqueue, Fork, Exec
//	11  versions                                   Config.Profile
//	12  sysctls                                    Sysctl
//	13  not for AIO, or for ever                   Queue: Unsafe; Start: HoldActive; OpenMute
//	14  buffers written at any time                Submitted, Start, Cancel: Scribble
//
// Do and Sysctl are for every point but Deliver and NewDaemon.

// Point is where in the life of a job, or in a call, a fault is asked for.
type Point uint8

const (
	// Submit: after the caps, before all other checks. Fail refuses the entry;
	// HoldQueued holds the job on the run queue, Early runs it before the call
	// goes on (neither has a job of a disk, and sockets know no Early).
	Submit Point = iota
	// Start: a daemon has the job and has done nothing. Fail is its result, Short
	// and FailAfter bound its transfer, HoldActive and Delay hold it up (but not a job
	// on a socket in stepped mode). A disk in threaded mode asks for each element.
	Start
	// Result: the work is done. Fail is its result and hides it; HoldActive and
	// Delay hold it up.
	Result
	// Sleep: a Kevent has found nothing and is going to sleep. Fail (EINTR) and
	// Expire end it, Delay makes it sleep longer than it was told.
	Sleep
	// ListSleep: a ListIO of LIO_WAIT is going to sleep. Fail (EINTR) ends it.
	ListSleep
	// SuspendSleep: a Suspend is going to sleep. Fail (EINTR) ends it.
	SuspendSleep
	// WaitSleep: a WaitComplete is going to sleep. Fail (EINTR) ends it.
	WaitSleep
	// Queue: all checks are passed, and the job goes to its backend, which answers
	// Fail (EAGAIN: no mapped buffer, EFAULT, ENXIO), or Unsafe.
	Queue
	// Submitted: the job is accepted and the call is about to go on.
	Submitted
	// Transfer: a daemon has the file to itself and moves the bytes now, or a socket
	// is ready for the first of them. Fail is the result, Short and FailAfter bound the
	// transfer.
	Transfer
	// List: a ListIO begins. Fail is the answer to the whole of it.
	List
	// ListPosted: all entries of a ListIO were tried, and its event is posted if
	// nothing is under way. Op.Accepted of them were accepted. When there are none,
	// the event is gone as soon as the call returns.
	ListPosted
	// Fetch: a Kevent looks for events. Short is for how many it has room.
	Fetch
	// Deliver: a Kevent takes an event; Udata is the event's, Addr its ident. With
	// Again it stays, whatever its flags say.
	Deliver
	// Cancel: a Cancel begins, of Fd and Addr (0: all of the descriptor's). With
	// Refuse it finds that a daemon has the jobs, with Early that they have
	// finished.
	Cancel
	// NewDaemon, in stepped mode: a daemon is about to be made. Delay holds it up.
	NewDaemon
)

// Op is what a fault is asked about.
type Op struct {
	Point    Point
	Opcode   aio.Opcode   // OpRead and so on; of syncs the kernel's own, see Syncs
	Fd       int          // the descriptor; the kqueue at Sleep, Fetch and Deliver; else -1
	Type     aio.FileType // of the file, from Queue on
	Entry    int          // the index in its list, or -1
	Accepted int          // at ListPosted
	Offset   int64
	Bytes    uintptr // at Submit of a vector, the number of its elements
	Addr     uintptr // of the control block
	Udata    uintptr // of its sigevent
	Seq      uint64  // the job's number in order of submission, from 1; 0 at Submit and Queue
	Marked   bool    // Cancel came too late for the job
}

// Effect is what a fault does. The zero value is nothing.
type Effect struct {
	Errno     aio.Errno
	Limit     uintptr // with Short
	Delay     time.Duration
	limited   bool
	after     aio.Errno // with FailAfter
	expire    bool
	stepped   bool // nobody may wait
	early     bool
	refused   bool
	unsafe    bool
	again     bool
	scribbled bool
	scribbler uint64
	sysctl    func(*System)
	do        func(Op)
	queued    *Gate
	active    *Gate
}

// Fault is asked at every point, sometimes with the kernel's lock held: it must
// not call the Kernel. The function of a [Do] may.
type Fault func(Op) Effect

// Predicate chooses.
type Predicate func(Op) bool

// If does the effects when p holds.
func If(p Predicate, effects ...Effect) Fault {
	var all Effect
	for _, e := range effects {
		all = all.or(e)
	}
	return func(op Op) Effect {
		if p(op) {
			return all
		}
		return Effect{}
	}
}

// or adds what o has and e has not.
func (e Effect) or(o Effect) Effect {
	if e.Errno == 0 {
		e.Errno = o.Errno
	}
	if !e.limited {
		e.limited, e.Limit = o.limited, o.Limit
	}
	if e.Delay == 0 {
		e.Delay = o.Delay
	}
	if e.queued == nil {
		e.queued = o.queued
	}
	if e.active == nil {
		e.active = o.active
	}
	if e.after == 0 {
		e.after = o.after
	}
	if !e.scribbled {
		e.scribbled, e.scribbler = o.scribbled, o.scribbler
	}
	e.expire = e.expire || o.expire
	e.early = e.early || o.early
	e.refused = e.refused || o.refused
	e.unsafe = e.unsafe || o.unsafe
	e.again = e.again || o.again
	e.do = both(e.do, o.do)
	e.sysctl = both(e.sysctl, o.sysctl)
	return e
}

func both[T any](f, g func(T)) func(T) {
	if f == nil || g == nil {
		if f == nil {
			return g
		}
		return f
	}
	return func(v T) { f(v); g(v) }
}

// Fail is an errno: a refusal, a result, or the end of a sleep, by the point.
func Fail(errno aio.Errno) Effect { return Effect{Errno: errno} }

// Short lets at most n bytes be transferred.
func Short(n int) Effect { return Effect{limited: true, Limit: uintptr(n)} }

// FailAfter lets at most n bytes be transferred, and then something go wrong: EINTR
// and EAGAIN end the job with the bytes that were moved, any other errno hides them.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_process_rw.
func FailAfter(n int, errno aio.Errno) Effect {
	return Effect{limited: true, Limit: uintptr(n), after: errno}
}

// Early runs a job to its end inside the call: that which submits it, or that which
// cancels it and comes too late.
func Early() Effect { return Effect{early: true} }

// Refuse makes a Cancel find its jobs in the hands of daemons: they are marked, and
// go on.
func Refuse() Effect { return Effect{refused: true} }

// Unsafe makes a file one of those that AIO is not for, as on a network file system.
func Unsafe() Effect { return Effect{unsafe: true} }

// Again makes an event stay that should go with its delivery.
func Again() Effect { return Effect{again: true} }

// Scribble fills the buffer of a read with garbage, as a kernel may at any time
// between submission and completion. Before the transfer it holds again what it
// held. seed chooses the garbage.
func Scribble(seed uint64) Effect { return Effect{scribbled: true, scribbler: seed} }

// Sysctl changes a variable of the machine, see [System.SetSysctl].
func Sysctl(name string, value int) Effect {
	v := sysctlTable[name]
	return Effect{sysctl: func(s *System) { _ = s.store(v, name, value) }}
}

// Do calls f, which may call the Kernel: what another thread of the process does at
// that very moment.
func Do(f func(Op)) Effect { return Effect{do: f} }

// Delay holds an active job up for a time.
func Delay(d time.Duration) Effect { return Effect{Delay: d} }

// Expire ends the sleep of a Kevent at once, as if its time were over.
func Expire() Effect { return Effect{expire: true} }

// HoldQueued keeps a job on the run queue until g opens. It can be cancelled.
func HoldQueued(g *Gate) Effect { return Effect{queued: g} }

// HoldActive keeps a job active until g opens. It cannot be cancelled and it
// occupies a daemon.
func HoldActive(g *Gate) Effect { return Effect{active: g} }

// At holds at one point.
func At(p Point) Predicate { return func(op Op) bool { return op.Point == p } }

// Reads holds for OpRead and OpReadv.
func Reads(op Op) bool { return op.Opcode&aio.OpRead != 0 && !Syncs(op) }

// Writes holds for OpWrite and OpWritev.
func Writes(op Op) bool { return op.Opcode&aio.OpWrite != 0 && !Syncs(op) }

// Syncs holds for jobs of Fsync.
func Syncs(op Op) bool { return op.Opcode&opSync != 0 }

// Marked holds for jobs that a Cancel has come too late for.
func Marked(op Op) bool { return op.Marked }

// Empty holds for lists of which nothing was accepted.
func Empty(op Op) bool { return op.Point == ListPosted && op.Accepted == 0 }

// Type holds for one type of file.
func Type(t aio.FileType) Predicate { return func(op Op) bool { return op.Type == t } }

// Fd holds for one descriptor number.
func Fd(fd int) Predicate { return func(op Op) bool { return op.Fd == fd } }

// Entry holds for one index of a list.
func Entry(i int) Predicate { return func(op Op) bool { return op.Entry == i } }

// Offset holds for jobs that begin in [from, to).
func Offset(from, to int64) Predicate {
	return func(op Op) bool { return from <= op.Offset && op.Offset < to }
}

// Block holds for one control block.
func Block(cb *aio.ControlBlock) Predicate {
	addr := uintptr(unsafe.Pointer(cb))
	return func(op Op) bool { return op.Addr == addr }
}

// Always holds.
func Always(Op) bool { return true }

// And holds when all do; it stops asking at the first that does not.
func And(ps ...Predicate) Predicate {
	return func(op Op) bool {
		for _, p := range ps {
			if !p(op) {
				return false
			}
		}
		return true
	}
}

// Or holds when one does; it stops asking there.
func Or(ps ...Predicate) Predicate {
	return func(op Op) bool {
		for _, p := range ps {
			if p(op) {
				return true
			}
		}
		return false
	}
}

// Not holds when p does not.
func Not(p Predicate) Predicate { return func(op Op) bool { return !p(op) } }

// Nth holds the nth time it is asked, from 1.
func Nth(n uint64) Predicate {
	var asked atomic.Uint64
	return func(Op) bool { return asked.Add(1) == n }
}

// Every holds each nth time it is asked.
func Every(n uint64) Predicate {
	var asked atomic.Uint64
	return func(Op) bool { return asked.Add(1)%n == 0 }
}

// First holds the first n times it is asked.
func First(n uint64) Predicate {
	var asked atomic.Uint64
	return func(Op) bool { return asked.Add(1) <= n }
}

// Randomly holds with probability p. Which times is decided by the seed.
func Randomly(seed uint64, p float64) Predicate {
	var mu sync.Mutex
	r := rand.NewPCG(seed, seed) // without Rand, whose streams may change with Go's version
	return func(Op) bool {
		mu.Lock()
		defer mu.Unlock()
		return float64(r.Uint64()>>11)/(1<<53) < p
	}
}

// Inject adds faults at run time, after those that there are. Of two that fail
// the same operation the earlier counts.
func (k *Kernel) Inject(faults ...Fault) {
	for {
		old := k.faults.Load()
		var all []Fault
		if old != nil {
			all = append(all, *old...)
		}
		all = append(all, faults...)
		if k.faults.CompareAndSwap(old, &all) {
			return
		}
	}
}

// ClearFaults removes all faults. Jobs that a gate holds stay held.
func (k *Kernel) ClearFaults() { k.faults.Store(new([]Fault)) }

// ask collects the effects of all faults. Without faults it costs a load.
func (k *Kernel) ask(describe func() Op) Effect {
	faults := *k.faults.Load()
	if len(faults) == 0 {
		return Effect{}
	}
	op := describe()
	var e Effect
	for _, f := range faults {
		e = e.or(f(op))
	}
	e.stepped = k.sys.stepped != nil
	return e
}

// askHere asks with the lock held, and does at once what the answer says that has
// nothing to do with the point. For a Do the lock is given up.
func (k *Kernel) askHere(describe func() Op) Effect {
	e := k.ask(describe)
	if e.sysctl != nil {
		e.sysctl(k.sys)
	}
	if e.do != nil {
		op := describe()
		k.sys.unlock()
		e.do(op)
		k.sys.lock()
	}
	return e
}

// askThere asks without the lock.
func (k *Kernel) askThere(describe func() Op) Effect {
	e := k.ask(describe)
	if e.sysctl != nil {
		k.sys.lock()
		e.sysctl(k.sys)
		k.sys.unlock()
	}
	if e.do != nil {
		e.do(describe())
	}
	return e
}

// opOfBlock describes a submission. op is OpNop in a list.
func opOfBlock(cb *aio.ControlBlock, op aio.Opcode, entry int) Op {
	if entry >= 0 {
		op = cb.Opcode
	}
	return Op{
		Point: Submit, Opcode: op, Fd: int(cb.Fd), Entry: entry, Offset: cb.Offset,
		Bytes: cb.Nbytes, Addr: uintptr(unsafe.Pointer(cb)), Udata: cb.Sigevent.Value,
	}
}

func opOfJob(j *job, p Point) Op {
	op := Op{
		Point: p, Opcode: j.op, Fd: int(j.fd), Entry: j.entry, Offset: j.offset,
		Bytes: j.nbytes, Addr: j.addr, Udata: j.udata, Seq: j.seq, Marked: atomic.LoadUint32(&j.marked) != 0,
	}
	if j.file != nil {
		op.Type = j.file.Type
	}
	return op
}

// maxScribble is the longest read that is scribbled over: a job may name more memory
// than there is, if the file is short.
const maxScribble = 1 << 20

// scribble fills a read's buffer with garbage, if the effect wants it.
func (s *System) scribble(j *job, e *Effect) {
	if !e.scribbled || j.write() || j.sync() || j.mlock() || j.badAddr || j.transferring || j.state == finished || j.nbytes > maxScribble {
		return
	}
	if j.before == nil {
		j.eachBuffer(func(p []byte) { j.before = append(j.before, p...) })
	}
	r := rand.NewPCG(e.scribbler, j.seq)
	j.eachBuffer(func(p []byte) {
		for i := range p {
			p[i] = byte(r.Uint64())
		}
	})
	if t := s.tracer; t != nil {
		t.begin(s, j.k, "scribble").job(j).end()
	}
}

// unscribble puts back what was there.
func (j *job) unscribble() {
	if j.before == nil {
		return
	}
	rest := j.before
	j.eachBuffer(func(p []byte) { rest = rest[copy(p, rest):] })
	j.before = nil
}
