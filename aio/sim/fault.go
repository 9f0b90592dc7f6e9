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

// Point is where in a job's life a fault is asked for.
type Point uint8

const (
	// Submit: after the caps, before all other checks. Fail refuses the entry;
	// HoldQueued holds the job on the run queue.
	Submit Point = iota
	// Start: a daemon has the job and has done nothing. Fail is its result,
	// Short bounds its transfer, HoldActive and Delay hold it up.
	Start
	// Result: the work is done. Fail is its result and hides it; HoldActive and
	// Delay hold it up.
	Result
	// Sleep: a Kevent has found nothing and is going to sleep. Fail (EINTR) and
	// Expire end it.
	Sleep
	// ListSleep: a ListIO of LIO_WAIT is going to sleep. Fail (EINTR) ends it.
	ListSleep
)

// Op is what a fault is asked about.
type Op struct {
	Point  Point
	Opcode aio.Opcode // OpRead and so on; of syncs the kernel's own, see Syncs
	Fd     int        // the descriptor; the kqueue at Sleep; else -1
	Entry  int        // the index in its list, or -1
	Offset int64
	Bytes  uintptr // at Submit of a vector, the number of its elements
	Addr   uintptr // of the control block
	Udata  uintptr // of its sigevent
	Seq    uint64  // the job's number in order of submission, from 1; 0 at Submit
}

// Effect is what a fault does. The zero value is nothing.
type Effect struct {
	Errno   aio.Errno
	Limit   uintptr // with Short
	Delay   time.Duration
	limited bool
	expire  bool
	queued  *Gate
	active  *Gate
}

// Fault is asked at every point, sometimes with the kernel's lock held: it must
// not call the Kernel.
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
	e.expire = e.expire || o.expire
	return e
}

// Fail is an errno: a refusal, a result, or the end of a sleep, by the point.
func Fail(errno aio.Errno) Effect { return Effect{Errno: errno} }

// Short lets at most n bytes be transferred.
func Short(n int) Effect { return Effect{limited: true, Limit: uintptr(n)} }

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
	r := rand.New(rand.NewPCG(seed, seed))
	return func(Op) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64() < p
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
	return Op{
		Point: p, Opcode: j.op, Fd: int(j.fd), Entry: j.entry, Offset: j.offset,
		Bytes: j.nbytes, Addr: j.addr, Udata: j.udata, Seq: j.seq,
	}
}
