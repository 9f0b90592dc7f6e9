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
	waiting                // for its turn: in a chain, or behind a drain
	timing                 // its timer runs
	repeating              // a multishot timer that went off: a CQE that is not its last is on its way
	seeking                // a cancellation on its way through Engine.cancels
)

// marks are what an operation is besides its state.
type marks uint16

const (
	failed      marks = 1 << iota // breaks its chain
	silent                        // gets no CQE
	silenceRest                   // the rest of its chain gets none if it breaks
	uncounted                     // its CQE does not count for timeouts with a count
	cancelled                     // its end was asked for and granted; it is not found again
	doomed                        // ends with ECANCELED when its turn comes
	handed                        // NextReleased gave it out
	outside                       // not of the table: a cancellation that is no operation
	follower                      // admitted, behind another in its chain
	hushed                        // admitted, gets no CQE if it is cancelled
	unsure                        // with doomed: what is not ECANCELED is its own result
	leading                       // started, and others of its chain wait for it
)

// Op is one accepted operation, from Accept to Free.
type Op struct {
	// What is looked at on the way of every operation comes first.
	next  *Op    // in one list at a time
	Token uint64 // what the kernel below calls it, if that is the kernel's to say
	slot  uint32
	state state // the owner's, as is all that is not exported
	marks marks
	bytes int64
	Start int64 // when it was accepted: nanoseconds on the caller's clock
	Owner any   // who gets the final CQE; nil: the completion queue
	SQE   SQE

	CQE  CQE // final once Complete was called
	Args any // what the kernel below has made to describe it; stays for the next life

	link  *Op    // the next of its chain
	guard *Op    // of an operation with an armed LINK_TIMEOUT that; of the LINK_TIMEOUT the operation
	seq   uint64 // counts what was accepted

	timer  timer
	seek   seek
	vector [][]byte // where SQE.Bufs is kept
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

// remove takes o out, from wherever it is.
func (l *List) remove(o *Op) {
	var before *Op
	for at := l.head; at != nil; before, at = at, at.next {
		if at != o {
			continue
		}
		if before == nil {
			l.head = o.next
		} else {
			before.next = o.next
		}
		if l.tail == o {
			l.tail = before
		}
		o.next = nil
		l.n--
		return
	}
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
	now       int64  // the latest time that was given
	accepted  uint64 // operations so far

	chain   assembly
	ready   List // may run, and were not looked at yet
	drain   drain
	leaders int // leading
	timers  timers
	cancels List // seeking
	asked   *Op  // the target that NextCancel gave out last, not answered yet

	// lending guards vacant and made where operations are lent to several, and
	// filling counts those who are filling some: see Freeze.
	lending sync.Mutex
	filling atomic.Int64
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

// Accept takes one reserved SQE. Its CQE is certain from here on. ok is false if
// the SQE is one that io_uring refuses before running it, and at which a Submit
// stops: its CQE says why. now is the owner's clock, in nanoseconds.
//
// An SQE with a link flag begins or continues a chain, which ends with the next SQE
// that has none, or with EndChain. Nothing of a chain runs before it is complete.
//
// The operation comes out of NextReleased if somebody must run it, and out of
// NextCompleted when it is over.
func (e *Engine) Accept(sqe *SQE, now int64) (op *Op, ok bool) {
	op = e.take()
	op.SQE = *sqe
	op.Owner, op.SQE.owner = sqe.owner, nil
	op.Start = now
	op.bytes = sqe.Bytes()
	op.state, op.marks = waiting, 0
	e.accepted++
	op.seq = e.accepted
	e.now = max(e.now, now)
	e.inFlight.Add(1)

	errno := e.prepare(op)
	if e.closing {
		if errno == 0 {
			errno = syscall.ECANCELED
		}
		op.fail(-int32(errno))
		e.post(op, -int32(errno))
		return op, errno == syscall.ECANCELED
	}
	return op, e.assemble(op, errno)
}

// run starts an operation whose turn has come.
func (e *Engine) run(op *Op) {
	if op.marks&doomed != 0 {
		e.finish(op, -int32(syscall.ECANCELED))
		return
	}
	e.guardBy(op)
	if op.link != nil {
		op.marks |= leading
		e.leaders++
	}
	switch op.SQE.Opcode {
	case OpNop:
		res := int32(0)
		if op.SQE.OpFlags&NopInjectResult != 0 {
			res = int32(op.SQE.Len)
		}
		e.finish(op, res)
	case OpTimeout:
		e.startTimeout(op)
	case OpTimeoutRemove:
		e.finish(op, e.removeTimeout(&op.SQE))
	case OpAsyncCancel:
		e.startCancel(op)
	default:
		switch {
		case op.SQE.Flags&FlagFixedFile != 0:
			e.finish(op, -int32(syscall.EBADF)) // there is no table of files
		case op.SQE.Flags&FlagBufferSelect != 0:
			e.finish(op, -int32(syscall.ENOBUFS)) // there are no groups of buffers
		case op.SQE.Opcode != OpFsync && op.SQE.OpFlags != 0:
			e.finish(op, -int32(syscall.EOPNOTSUPP)) // per-call read and write flags
		default:
			op.state = released
			e.released.Push(op)
		}
	}
}

// step runs what has become ready, one after the other: a chain of any length
// takes no stack.
func (e *Engine) step() {
	for {
		for op := e.ready.Pop(); op != nil; op = e.ready.Pop() {
			e.run(op)
		}
		if !e.drainNext() {
			return
		}
	}
}

// finish gives an operation that was queued its result and sees to those that wait
// for it. The caller calls step.
func (e *Engine) finish(op *Op, res int32) {
	if e.asked == op {
		e.answer(op, res)
	}
	e.unlead(op)
	guard := e.unguard(op)
	if breaks(op, res) {
		op.fail(res)
	}
	e.post(op, res)
	e.drain.active--
	if guard != nil {
		e.finish(guard, -int32(syscall.ECANCELED))
	}
	if op.link != nil {
		e.follow(op)
	}
}

// unlead ends the counting of one that others wait for.
func (e *Engine) unlead(op *Op) {
	if op.marks&leading != 0 {
		op.marks &^= leading
		e.leaders--
	}
}

// Waits reports whether something accepted waits for something else to end: in a chain,
// behind a drain, for a count of completions, for the end of what it cancels.
func (e *Engine) Waits() bool {
	return e.leaders > 0 || e.drain.deferred.Len() > 0 || len(e.timers.counting) > 0 || e.cancels.Len() > 0
}

// post makes res the final result of an operation.
func (e *Engine) post(op *Op, res int32) {
	op.CQE = CQE{UserData: op.SQE.UserData, Res: res}
	op.state = completed
	e.completed.Push(op)
}

// NextReleased takes an operation that may run now, nil if there is none.
func (e *Engine) NextReleased() *Op {
	op := e.released.Pop()
	if op != nil {
		op.marks |= handed
	}
	return op
}

// HasWork reports whether NextReleased or NextCancel has one.
func (e *Engine) HasWork() bool {
	return e.released.Len() > 0 || e.cancels.Len() > 0 && e.asked == nil
}

// Complete gives a running operation its result.
func (e *Engine) Complete(op *Op, res int32) {
	if op.state != released {
		return // a second result for one operation is never delivered
	}
	e.finish(op, res)
	e.step()
}

// NextCompleted takes an operation whose CQE is to be delivered, in the order of
// their completion; nil if there is none. With CQEMore among the flags of the CQE
// the operation goes on: Rearm or Cut must follow. Silent says that the operation is
// over and nobody is to be told.
func (e *Engine) NextCompleted() *Op {
	op := e.completed.Pop()
	if op == nil {
		if !e.reachCounts() {
			return nil
		}
		op = e.completed.Pop()
	}
	if op.state == completed {
		op.state = idle
	}
	if op.marks&(silent|uncounted) == 0 && op.Owner == nil {
		e.timers.posted++
	}
	return op
}

// Silent reports whether a completed operation has no CQE: it asked for none, or
// one that did broke its chain.
func (o *Op) Silent() bool { return o.marks&silent != 0 }

// HasCompleted reports whether NextCompleted has one.
func (e *Engine) HasCompleted() bool { return e.completed.Len() > 0 }

// CancelAll ends what has not begun to run, timers too, with ECANCELED, and makes
// every operation accepted from now on end so at once. What runs is found by Each.
func (e *Engine) CancelAll() {
	e.closing = true
	e.dropChain()
	for head := e.drain.deferred.Pop(); head != nil; head = e.drain.deferred.Pop() {
		head.fail(-int32(syscall.ECANCELED))
		e.poison(head)
	}
	e.dropTimers()
	for op := e.released.Pop(); op != nil; op = e.released.Pop() {
		e.finish(op, -int32(syscall.ECANCELED))
	}
	e.step()
}

// End is for the owner who wants one operation to end. What has not begun, or is a
// timer, ends with ECANCELED. true: it runs, and whoever runs it is to be asked.
func (e *Engine) End(op *Op) bool {
	switch op.state {
	case released:
		if op.marks&handed != 0 {
			return true
		}
		e.released.remove(op)
		e.finish(op, -int32(syscall.ECANCELED))
	case waiting:
		op.marks |= doomed
		if e.drain.drop(op) {
			e.drain.active++ // it is queued no more
			e.finish(op, -int32(syscall.ECANCELED))
		}
	case timing:
		e.stopTimer(op)
	case repeating:
		op.marks |= doomed
	}
	e.step()
	return false
}

// Delivered says that the CQEs of n operations from NextCompleted are where they
// belong. Until then the operations count as in flight.
func (e *Engine) Delivered(n int) { e.inFlight.Add(-int64(n)) }

// Free ends the life of a delivered operation. Any goroutine may call it, once.
func (e *Engine) Free(op *Op) {
	bytes := op.bytes
	// The buffers are no longer the ring's: let the collector have them.
	op.SQE, op.Owner = SQE{}, nil
	if len(op.vector) > 0 {
		op.dropVector()
	}
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

// Each calls f for every operation that somebody runs. Owner only.
func (e *Engine) Each(f func(*Op)) {
	e.lending.Lock() // some may still be lent in vain, and never run
	made := e.made
	e.lending.Unlock()
	for i := range made {
		if op := e.Op(i); op.state == released && op.marks&handed != 0 {
			f(op)
		}
	}
}

// Op finds an operation by its slot.
func (e *Engine) Op(slot uint32) *Op {
	return &e.chunks[slot/chunkSize].Load()[slot%chunkSize]
}

// Find is Op for a number that may be nobody's slot: nil.
func (e *Engine) Find(slot uint32) *Op {
	if i := slot / chunkSize; i < uint32(len(e.chunks)) {
		if c := e.chunks[i].Load(); c != nil {
			return &c[slot%chunkSize]
		}
	}
	return nil
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
