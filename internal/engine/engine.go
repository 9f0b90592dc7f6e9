package engine

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
)

// chunkSize is how many operations are made at a time. Operations never move
// and are never given back to the collector before the engine is.
const chunkSize = 256

// ErrFull says that the bound on operations alive, or on the bytes they hold,
// leaves no room.
var ErrFull = errors.New("too many operations alive")

// state is where an operation is on its way.
type state uint8

const (
	idle      state = iota // nobody's, or delivered and not freed yet
	released               // may run; whoever took it from NextReleased runs it
	completed              // has its final CQE, not delivered
)

// Op is one accepted operation, from Accept to Free.
type Op struct {
	// What is looked at on the way of every operation comes first.
	next  *Op    // in one list at a time
	Token uint64 // what the kernel below calls it, if that is the kernel's to say
	slot  uint32
	state state // the owner's
	bytes int64
	Start int64 // when it was accepted: nanoseconds on the caller's clock
	Owner any   // who gets the final CQE; nil: the completion queue
	SQE   SQE

	CQE  CQE // final once Complete was called
	Args any // what the kernel below has made to describe it; stays for the next life
}

// Slot is the operation's number: unique among those alive, below the engine's
// bound, the same for the life of the *Op.
func (o *Op) Slot() uint32 { return o.slot }

// Running reports whether the operation was released and has no final CQE yet.
// Owner only.
func (o *Op) Running() bool { return o.state == released }

// List is a FIFO of operations, threaded through them: an operation is in one
// list at a time, and no list allocates.
type List struct {
	head, tail *Op
	n          int
}

// Push appends o.
func (l *List) Push(o *Op) {
	o.next = nil
	if l.tail == nil {
		l.head = o
	} else {
		l.tail.next = o
	}
	l.tail = o
	l.n++
}

// Pop takes the first operation, nil if there is none.
func (l *List) Pop() *Op {
	o := l.head
	if o == nil {
		return nil
	}
	l.head = o.next
	if l.head == nil {
		l.tail = nil
	}
	o.next = nil
	l.n--
	return o
}

// Len is the number of operations in the list.
func (l *List) Len() int { return l.n }

type chunk [chunkSize]Op

// Engine is the state machine. Make one with New.
type Engine struct {
	maxOps   int64
	maxBytes int64 // 0: no bound

	// alive and bytes are claimed by Reserve, on any goroutine, before an SQE is
	// published, and given back by Free: the table below cannot run out.
	alive atomic.Int64
	bytes atomic.Int64
	// reserving makes the look at both and the claim one step where bytes are
	// bounded. A claim that fails must never have been visible: who failed for
	// it alone would wait for room that nobody makes.
	reserving sync.Mutex

	// inFlight is written by the owner, read by anybody.
	inFlight atomic.Int64

	// chunks[i] is set once by the owner, before the first slot of it is known
	// to anybody else.
	chunks []atomic.Pointer[chunk]
	made   uint32 // slots made so far

	vacant *Op // free operations, the owner's
	// returned is a stack of operations given back by consumers; the owner takes
	// all of it at once, so a stack without counters is safe from ABA.
	returned atomic.Pointer[Op]

	released  List
	completed List
	closing   bool

	// lending guards vacant and made where operations are lent to several.
	lending sync.Mutex
}

// New makes an engine for at most maxOps operations alive, holding at most
// maxBytes of buffers; 0 means any amount.
func New(maxOps int, maxBytes int64) *Engine {
	return &Engine{
		maxOps:   int64(maxOps),
		maxBytes: maxBytes,
		chunks:   make([]atomic.Pointer[chunk], (maxOps+chunkSize-1)/chunkSize),
	}
}

// Reserve claims room for n operations that name so many bytes. What it claimed
// is given back by the Free of each, or by Unreserve. A single operation larger
// than the bound on bytes is let through alone.
func (e *Engine) Reserve(n int, bytes int64) error {
	if e.maxBytes > 0 {
		e.reserving.Lock()
		defer e.reserving.Unlock()
		held := e.bytes.Load()
		if bytes > 0 && bytes > e.maxBytes-held && (held > 0 || n > 1) {
			return ErrFull
		}
	}
	for {
		alive := e.alive.Load()
		if int64(n) > e.maxOps-alive {
			return ErrFull
		}
		if e.alive.CompareAndSwap(alive, alive+int64(n)) {
			if bytes != 0 {
				e.bytes.Add(bytes)
			}
			return nil
		}
	}
}

// Unreserve gives back what Reserve claimed and nobody used.
func (e *Engine) Unreserve(n int, bytes int64) {
	if n != 0 {
		e.alive.Add(-int64(n))
	}
	if bytes != 0 {
		e.bytes.Add(-bytes)
	}
}

// Alive is the number of operations reserved and not freed.
func (e *Engine) Alive() int { return int(e.alive.Load()) }

// BytesHeld is the number of bytes they name.
func (e *Engine) BytesHeld() int64 { return e.bytes.Load() }

// InFlight is the number of operations accepted whose final CQE was not delivered.
func (e *Engine) InFlight() int { return int(e.inFlight.Load()) }

// CancelNew makes every operation accepted from now on end at once with
// ECANCELED.
func (e *Engine) CancelNew() { e.closing = true }

// Accept takes one reserved SQE. Its CQE is certain from here on. ok is false if
// the SQE is one that io_uring refuses before running it: its CQE says why, and
// a Submit stops after it.
//
// The operation comes out of NextReleased if somebody must run it, and out of
// NextCompleted if it is already over.
func (e *Engine) Accept(sqe *SQE, now int64) (op *Op, ok bool) {
	op = e.take()
	op.SQE = *sqe
	op.Owner, op.SQE.owner = sqe.owner, nil
	op.Start = now
	op.bytes = sqe.Bytes()
	op.state = released
	e.inFlight.Add(1)

	if errno := check(&op.SQE); errno != 0 {
		e.Complete(op, -int32(errno))
		return op, false
	}
	switch {
	case e.closing:
		e.Complete(op, -int32(syscall.ECANCELED))
	case op.SQE.Opcode == OpNop:
		e.Complete(op, 0)
	case op.SQE.Opcode != OpFsync && op.SQE.OpFlags != 0:
		e.Complete(op, -int32(syscall.EOPNOTSUPP)) // per-call read and write flags
	default:
		e.released.Push(op)
	}
	return op, true
}

// check finds what io_uring refuses when it prepares an SQE, before anything
// runs. What only running it can tell (a bad descriptor) is not looked at.
func check(s *SQE) syscall.Errno {
	if s.Flags&^FlagAsync != 0 {
		return syscall.EINVAL
	}
	switch s.Opcode {
	case OpNop:
		return 0
	case OpRead, OpWrite:
		if s.Off < CurrentPosition {
			return syscall.EINVAL
		}
	case OpReadv, OpWritev:
		if s.Off < CurrentPosition || len(s.Bufs) > MaxVectors {
			return syscall.EINVAL
		}
	case OpFsync:
		if s.OpFlags&^FsyncDatasync != 0 {
			return syscall.EINVAL
		}
	default:
		return syscall.EINVAL
	}
	return 0
}

// NextReleased takes an operation that may run now, nil if there is none.
func (e *Engine) NextReleased() *Op { return e.released.Pop() }

// HasReleased reports whether NextReleased has one.
func (e *Engine) HasReleased() bool { return e.released.Len() > 0 }

// Complete gives a running operation its result.
func (e *Engine) Complete(op *Op, res int32) {
	if op.state != released {
		return // a second result for one operation is never delivered
	}
	op.state = completed
	op.CQE = CQE{UserData: op.SQE.UserData, Res: res}
	e.completed.Push(op)
}

// NextCompleted takes an operation whose final CQE is to be delivered, in the
// order of their completion; nil if there is none.
func (e *Engine) NextCompleted() *Op {
	op := e.completed.Pop()
	if op != nil {
		op.state = idle
	}
	return op
}

// Delivered says that the CQEs of n operations from NextCompleted are where they
// belong. Until then the operations count as in flight.
func (e *Engine) Delivered(n int) { e.inFlight.Add(-int64(n)) }

// Free ends the life of a delivered operation. Any goroutine may call it, once.
func (e *Engine) Free(op *Op) {
	bytes := op.bytes
	// The buffers are no longer the ring's: let the collector have them.
	op.SQE, op.Owner = SQE{}, nil
	for {
		top := e.returned.Load()
		op.next = top
		// Publishes the cleared operation to the owner's Swap in take.
		if e.returned.CompareAndSwap(top, op) {
			break
		}
	}
	// Only now: whoever reserves this room finds the operation on the stack.
	e.Unreserve(1, bytes)
}

// Each calls f for every operation that is running. Owner only.
func (e *Engine) Each(f func(*Op)) {
	e.lending.Lock() // some may still be lent in vain, and never run
	made := e.made
	e.lending.Unlock()
	for i := range made {
		if op := e.Op(i); op.state == released {
			f(op)
		}
	}
}

// Op finds an operation by its slot.
func (e *Engine) Op(slot uint32) *Op {
	return &e.chunks[slot/chunkSize].Load()[slot%chunkSize]
}

// take finds a free operation. Reserve has made sure that there is one.
func (e *Engine) take() *Op {
	if e.vacant == nil {
		// Acquires what Free published.
		e.vacant = e.returned.Swap(nil)
	}
	if op := e.vacant; op != nil {
		e.vacant, op.next = op.next, nil
		return op
	}
	slot := e.made
	if slot%chunkSize == 0 {
		c := new(chunk)
		for i := range c {
			c[i].slot = slot + uint32(i)
		}
		e.chunks[slot/chunkSize].Store(c)
	}
	e.made++
	return e.Op(slot)
}
