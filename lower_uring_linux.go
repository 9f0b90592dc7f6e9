package aioring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/uring"
	"github.com/aioring/aioring/ring"
)

// uringLower is Linux's io_uring below the engine. Links, drains and what else an
// SQE's flags ask for are the kernel's business, and so are its refusals.
//
// The two sides of the kernel's ring have two owners. The engine's owner submits:
// it writes private entries into the kernel's queue, and copies there what was
// pushed, which the pushers have written as the kernel's entries already. Whoever
// holds completionQueue.mu takes completions from the kernel's queue to the ring's:
// as a rule the one who wants them, while another is in the kernel to submit.
//
// The harvester only looks whether some are there, and waits for them. It waits in
// one of two ways: a waiter that cannot be called off blocks in io_uring_enter with
// its thread, the ring's own harvester reads an eventfd by way of Go's poller,
// without one.
type uringLower struct {
	ring *Ring
	u    *uring.Ring
	can  [256]bool // opcodes that an SQE can describe and the kernel has

	// queue has what was pushed: the kernel's entries, whose operations are running
	// as far as the engine knows.
	queue *ring.MPSC[uring.SQE]

	chain   uint32      // entries at the end of the kernel's queue that are a chain not complete
	stuck   bool        // the kernel has taken nothing, the last time
	drained bool        // a drain was submitted: a cancellation there may have to wait
	entries []uring.SQE // the kernel's queue
	mask    uint32      // of indexes in it
	closed  bool        // written by who owns both sides

	// issuer is the thread that alone may enter the kernel, 0 if any may. What
	// others submit or cancel is left for it.
	issuer   int
	cancels  []uint64
	stripped SetupFlags

	// entering is the time at which the engine's owner began to submit, so that
	// completions may come soon; 0 when it does not.
	entering atomic.Int64

	// tid is the thread of the waiter that blocks in the kernel, or is about to;
	// 0 when there is none. several says that it waits for more than one
	// completion, and must look again when somebody else takes some, or waits too.
	tid     atomic.Int64
	several atomic.Bool

	event  *os.File    // an eventfd, which the kernel signals while somebody listens
	listen atomic.Bool // the ring's own harvester reads event, or is about to

	enters, polls, sleeps, wakes, stale atomic.Uint64
}

// A token is the user data of the kernel's entries: how many lives the operation
// has had, and its slot. Bit 31 says that it is a call's, which may have been
// cancelled before it was submitted.
const (
	tokenLife = 1 << 32
	tokenCall = 1 << 31

	// notOurs is the slot of a token that no operation has: a cancellation's.
	notOurs = 1<<32 - 1
)

// openURing makes the ring's io_uring.
func openURing(r *Ring) (lower, error) {
	flags := uint32(r.opts.setup)
	l := &uringLower{ring: r}
	if !r.opts.locked {
		l.stripped = r.opts.setup & tiedFlags
		flags &^= uint32(tiedFlags)
	}
	if flags&uring.SetupCoopTaskrun == 0 && flags&uring.SetupDeferTaskrun == 0 {
		flags &^= uring.SetupTaskrunFlag // it was for one that was stripped
	}
	p := &uring.Params{Flags: flags, SQThreadIdle: sqThreadIdle}
	if r.opts.locked {
		p.Flags |= uring.SetupRDisabled // the thread that enables it is its issuer
	}
	if flags&uring.SetupDeferTaskrun != 0 {
		p.Flags |= uring.SetupTaskrunFlag // it tells when there is something to enter for
	}
	u, err := uring.Setup(uint32(len(r.sq.entries)), p)
	if err != nil {
		return nil, err
	}
	l.u = u
	if err := l.open(); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return l, nil
}

// sqThreadIdle is how long the kernel's submitting thread spins when there is
// nothing to do, in milliseconds.
const sqThreadIdle = 2

func (l *uringLower) open() error {
	l.entries, l.mask = l.u.Entries(), l.u.SQEntries()-1
	l.queue = ring.NewMPSC[uring.SQE](int(l.u.SQEntries()))
	probe, err := l.u.Probe()
	if err != nil {
		return fmt.Errorf("io_uring probe: %w", err)
	}
	for _, op := range [...]Opcode{OpNop, OpRead, OpWrite, OpReadv, OpWritev, OpFsync} {
		l.can[op] = probe.Supports(uint8(op))
	}
	for _, op := range l.ring.opts.lacks {
		l.can[op] = false
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	l.event = os.NewFile(uintptr(fd), "eventfd")
	l.u.EventsOff(true)
	if err := l.u.RegisterEventfd(fd); err != nil {
		return errors.Join(fmt.Errorf("io_uring eventfd: %w", err), l.event.Close())
	}
	return nil
}

func (l *uringLower) name() string { return KernelURing }

// push writes operations as the kernel's entries where the engine's owner finds
// them: this work is the pushers', and little crosses to the owner's processor.
func (l *uringLower) push(op *engine.Op, n int) ring.Status {
	if n > len(l.entries) {
		return ring.TooBig // it may be a chain, which the kernel must get as a whole
	}
	to, status := l.queue.Claim(n)
	if status != ring.OK {
		return status
	}
	now := l.entering.Load() // a clock would be half the cost of a small push
	if now == 0 {
		now = l.ring.now()
	}
	k := to.Low
	for op != nil {
		if len(k) == 0 {
			k = to.High
		}
		next := op.Unlink()
		l.ring.eng.Admit(op, op.SQE.Bytes(), now)
		l.fill(&k[0], op)
		if op.Owner != nil {
			if c, _ := op.Owner.(*call); c != nil {
				c.op = op
				op.Token |= tokenCall
				k[0].UserData = op.Token
			}
		}
		if next == nil {
			k[0].Flags &^= linkFlags // a chain ends here: it must not go on in somebody else's
		}
		op, k = next, k[1:]
	}
	l.ring.eng.Admitted(n) // before they can leave the queue: see quiet
	to.Publish()
	return ring.OK
}

// fill writes the kernel's entry of an operation.
func (l *uringLower) fill(k *uring.SQE, op *engine.Op) {
	s := &op.SQE
	token := (op.Token&^(tokenLife-1) + tokenLife) | uint64(op.Slot())
	op.Token = token
	opcode := uint8(s.Opcode)
	var addr uint64
	var length uint32
	// What the addresses point to stays: the operation has it until its CQE.
	switch s.Opcode {
	case OpRead, OpWrite:
		addr = uring.Address(s.Buf)
		length = uint32(min(len(s.Buf), MaxTransfer))
	case OpReadv, OpWritev:
		addr, length = vectors(op)
	}
	if !l.can[opcode] {
		opcode = noOpcode // the kernel itself refuses it, with all that follows
	}
	// Field by field: a literal is built elsewhere first, and its copying waits for
	// the small stores. The CQE of a success is needed here, to know that the buffers
	// are free: it is reap that leaves it out.
	k.Opcode, k.Flags, k.IOPrio = opcode, s.Flags&^uring.SQESkipSuccess, 0
	k.Fd = s.Fd
	k.Off, k.Addr, k.Len = uint64(s.Off), addr, length
	k.OpFlags, k.UserData = s.OpFlags, token
	k.BufIndex, k.Personality, k.FileIndex = 0, 0, 0
	k.Addr3, k.Pad = 0, 0
}

// noOpcode is one that no kernel has.
const noOpcode = 255

// vectors describes an operation's buffers to the kernel, which reads the
// description when it takes the entry. More than are allowed are refused by it
// unread.
func vectors(op *engine.Op) (addr uint64, n uint32) {
	bufs := op.SQE.Bufs
	if len(bufs) > engine.MaxVectors {
		return 0, uint32(len(bufs))
	}
	vec, _ := op.Args.(*[]uring.Iovec)
	if vec == nil {
		vec = new([]uring.Iovec)
		op.Args = vec
	}
	*vec, addr = uring.Vectors(*vec, bufs)
	return addr, uint32(len(bufs))
}

// adopt makes the calling goroutine's thread the one that alone enters the kernel.
func (l *uringLower) adopt() error {
	runtime.LockOSThread()
	l.issuer = unix.Gettid()
	return l.u.Enable()
}

// mayEnter reports whether this thread may enter the kernel. If not, the one that
// may is asked to.
func (l *uringLower) mayEnter() bool {
	if !l.ring.opts.locked || unix.Gettid() == l.issuer {
		return true
	}
	l.ring.again.Store(true)
	l.wake()
	return false
}

func (l *uringLower) flush() { l.enterAll() }

// enterAll gives the kernel all there is but a chain that is not complete, and
// reports whether it took something.
func (l *uringLower) enterAll() bool {
	if !l.mayEnter() {
		return false
	}
	for progress := false; ; progress = true {
		// A request in the midst of a chain would be a part of it.
		for len(l.cancels) > 0 && l.chain == 0 && l.cancelToken(l.cancels[0]) {
			l.cancels = slices.Delete(l.cancels, 0, 1)
		}
		n := l.pending() - l.chain
		if n == 0 {
			if len(l.cancels) > 0 && l.sqpoll() && l.u.WaitSQ() == 0 {
				continue // the kernel's thread is behind
			}
			return progress
		}
		got, errno := l.enter(n, l.ring.now())
		if l.stuck = got == 0; l.stuck && !l.absorb(errno) {
			return progress
		}
	}
}

// pending is how many entries in the kernel's queue wait for an enter.
func (l *uringLower) pending() uint32 {
	if l.sqpoll() {
		return l.u.Unpublished()
	}
	return l.u.Pending()
}

func (l *uringLower) sqpoll() bool { return l.u.Flags()&uring.SetupSQPoll != 0 }

// enter submits n entries and counts it.
func (l *uringLower) enter(n uint32, now int64) (uint32, syscall.Errno) {
	l.enters.Add(1)
	l.entering.Store(max(now, 1))
	got, errno := l.u.Enter(n, false)
	l.entering.Store(0)
	return got, errno
}

// absorb deals with a kernel that took nothing: for want of memory, or on an old
// one because completions have no room. It reports whether to try again at once.
func (l *uringLower) absorb(errno syscall.Errno) bool {
	if errno == unix.EBUSY && l.u.Ready() > 0 {
		l.ring.fetch()
		return true
	}
	// Something may have to end first, perhaps elsewhere in the system.
	time.AfterFunc(time.Millisecond, l.ring.kick)
	return false
}

// enterBatch is how many entries go to the kernel at a time: enough that the call
// costs little for each, and few enough that the kernel's own requests stay in the
// processor's nearest cache.
const enterBatch = 128

func (l *uringLower) takePushed(sqes int) {
	if !l.ring.eng.Closing() && !l.mayEnter() {
		return
	}
	for sqes > 0 || l.chain > 0 {
		cells := l.queue.Front(enterBatch)
		if len(cells) == 0 {
			break
		}
		n := l.submit(cells)
		l.queue.Advance(n)
		sqes -= n
		if n == len(cells) && l.pending()-l.chain < enterBatch {
			continue
		}
		if progress := l.enterAll(); n > 0 || progress {
			l.ring.roomMade()
			continue
		}
		if !l.sqpoll() || l.u.WaitSQ() != 0 {
			break // the kernel takes nothing now
		}
	}
	l.flush()
	if sqes <= 0 {
		l.ring.again.Store(true)
	}
}

// submit copies what was pushed into the kernel's queue, and returns how much
// found room.
func (l *uringLower) submit(cells []uring.SQE) int {
	// In a loop of its own: the lines come from other processors, several at a time.
	var flags uint8
	var tokens uint64
	for i := range cells {
		flags |= cells[i].Flags
		tokens |= cells[i].UserData
	}
	if tokens&tokenCall != 0 || l.ring.eng.Closing() {
		return l.submitOneByOne(cells)
	}
	at, n := l.u.Take(uint32(len(cells)))
	cells = cells[:n]
	for i := range cells {
		l.entries[(at+uint32(i))&l.mask] = cells[i]
	}
	if flags&(linkFlags|uring.SQEDrain) == 0 {
		l.chain = 0
	} else {
		for i := range cells {
			l.count(cells[i].Flags)
		}
	}
	l.submitted(int(n))
	return int(n)
}

// submitOneByOne is submit that looks at each operation: some may be over already.
func (l *uringLower) submitOneByOne(cells []uring.SQE) int {
	eng := l.ring.eng
	n := 0
	for ; n < len(cells); n++ {
		op := eng.Op(uint32(cells[n].UserData) &^ tokenCall)
		c, _ := op.Owner.(*call)
		if eng.Closing() || c != nil && c.cancelled.Load() {
			eng.Complete(op, -int32(syscall.ECANCELED))
			continue
		}
		k := l.u.NextSQE()
		if k == nil {
			break
		}
		*k = cells[n]
		l.count(k.Flags)
	}
	l.submitted(n)
	return n
}

// submitted counts operations that the kernel is about to see. It also publishes
// them to reap, as the kernel does, but in a way that the race detector knows.
func (l *uringLower) submitted(n int) { l.ring.stat.submitted.Add(uint64(n)) }

// count follows chains: one must not be cut by an io_uring_enter.
func (l *uringLower) count(flags uint8) {
	if flags&linkFlags != 0 {
		l.chain++
	} else {
		l.chain = 0
	}
	if flags&uring.SQEDrain != 0 {
		l.drained = true
	}
}

func (l *uringLower) stop()         { l.queue.Close() }
func (l *uringLower) untaken() bool { return l.queue.Len() > 0 }

// quiesce takes what is still being pushed. The engine is closing, the intake
// closed.
func (l *uringLower) quiesce() {
	for !l.queue.Drained() {
		l.takePushed(len(l.entries))
		runtime.Gosched()
	}
}

func (l *uringLower) acceptOwn() (n int, stopped bool, err error) {
	r := l.ring
	q := &r.sq
	if l.stuck {
		return 0, true, syscall.EAGAIN // the kernel lacks memory even for what was pushed
	}
	lent := q.lent
	k := q.tail - q.head
	var bytes int64 // reserved
	if r.opts.maxBytes > 0 {
		for i := range k {
			bytes += lent[(q.head+i)&q.mask].SQE.Bytes()
		}
	}
	if r.reserve(int(k), bytes) != nil {
		if k, bytes = l.reservePart(k); k == 0 {
			return 0, true, syscall.EAGAIN
		}
	}
	r.eng.Admitted(int(k)) // before the kernel can complete one
	now := r.now()
	at, room := l.u.Take(k)
	for room < k { // of SQPOLL: else there is room for all
		l.u.Retract(room)
		_ = l.u.WaitSQ() // Take tells
		at, room = l.u.Take(k)
	}
	var total int64
	for i := range k {
		op := lent[(q.head+i)&q.mask]
		size := op.SQE.Bytes()
		total += size
		r.eng.Admit(op, size, now)
		l.fill(&l.entries[(at+i)&l.mask], op)
		if op.SQE.Flags&uring.SQEDrain != 0 {
			l.drained = true
		}
	}
	r.eng.Unreserve(0, bytes-total) // what was not known before
	l.submitted(int(k))
	got, errno := l.enter(k, now)
	if errno == unix.EBUSY && l.absorb(errno) {
		got, errno = l.enter(k, now)
	}
	if got < k { // the last that it took was bad
		l.u.Retract(k - got)
		total = 0
		for i := got; i < k; i++ {
			op := lent[(q.head+i)&q.mask]
			total += op.SQE.Bytes()
			r.eng.Withdraw(op)
		}
		r.eng.Admitted(-int(k - got))
		r.eng.Unreserve(int(k-got), total)
		l.submitted(-int(k - got))
	}
	q.head += got
	if got == 0 {
		return 0, true, errno
	}
	return int(got), q.head != q.tail, nil
}

// reservePart claims room for as many of the private entries as there is.
func (l *uringLower) reservePart(k uint32) (n uint32, bytes int64) {
	q := &l.ring.sq
	for ; n < k; n++ {
		size := q.lent[(q.head+n)&q.mask].SQE.Bytes()
		if l.ring.reserve(1, size) != nil {
			break
		}
		bytes += size
	}
	return n, bytes
}

// find is the operation of a completion, nil if it has none.
func (l *uringLower) find(c *uring.CQE) *engine.Op {
	slot := uint32(c.UserData)
	if slot == notOurs {
		return nil
	}
	op := l.ring.eng.Op(slot &^ tokenCall)
	if op.Token != c.UserData || !op.Running() {
		l.stale.Add(1)
		return nil
	}
	return op
}

func (l *uringLower) has() bool {
	return !l.closed && (l.u.Ready() > 0 || l.u.NeedsEnter())
}

func (l *uringLower) crowded() bool { return l.u.Ready() > l.u.CQEntries()/2 }

func (l *uringLower) roomy() bool { return 2*l.queue.Len() <= l.queue.Cap() }

func (l *uringLower) reap(woken wakeList) (_ wakeList, n uint64) {
	if l.closed {
		return woken, 0
	}
	eng, q := l.ring.eng, &l.ring.cq
	var done engine.Released
	first := q.tail.Load()
	tail, end := first, q.freed.Load()+uint64(len(q.cells))
	if q.backlog.Len() > 0 {
		end = tail // what comes now goes behind
	}
	for {
		cqes := l.u.Peek()
		if cqes == nil {
			if !l.u.NeedsEnter() || !l.enterEvents() {
				break
			}
			continue
		}
		_ = l.ring.stat.submitted.Load() // see submitted
		for i := range cqes {
			c := &cqes[i]
			op := l.find(c)
			if op == nil {
				continue
			}
			n++
			eng.Retire(op)
			res := c.Res
			if res <= -512 {
				res = uring.Result(res)
			}
			if op.Owner == nil && tail != end && op.SQE.Flags&uring.SQESkipSuccess == 0 {
				q.putResult(tail, op, res, c.Flags)
				tail++
				continue
			}
			op.CQE.UserData, op.CQE.Res, op.CQE.Flags = op.SQE.UserData, res, c.Flags
			switch owner := op.Owner.(type) {
			case nil:
				switch {
				case op.SQE.Flags&uring.SQESkipSuccess != 0 && op.CQE.Res >= 0:
					done.Add(op)
				case tail != end:
					q.put(tail, op)
					tail++
				default:
					q.backlog.Push(op)
					q.overflowed.Store(true)
				}
			case *call:
				owner.end(op.CQE, &woken)
				done.Add(op)
			case *member:
				owner.end(op.CQE, &woken)
				done.Add(op)
			}
		}
		l.u.Advance(uint32(len(cqes)))
	}
	if tail != first {
		q.tail.Store(tail)
	}
	eng.Release(&done)
	if n > 0 && l.several.Load() {
		l.interrupt()
	}
	return woken, n
}

// enterEvents has the kernel bring in what waits for that, and reports whether
// there is something now.
func (l *uringLower) enterEvents() bool {
	if !l.mayEnter() {
		return false
	}
	return l.u.Events() == 0 && l.u.Ready() > 0
}

// start and settle are the engine's: it releases nothing here, and what has come in
// is delivered by reap.
func (l *uringLower) start(*engine.Op) {}
func (l *uringLower) settle()          {}

// cancel asks the kernel.
func (l *uringLower) cancel(op *engine.Op) {
	if len(l.cancels) > 0 || l.chain > 0 || !l.mayEnter() || !l.cancelToken(op.Token) {
		l.cancels = append(l.cancels, op.Token) // for the next flush
	}
}

// cancelToken writes a request to cancel. false: there is no room. A drain would
// hold the request back that is to end what it waits for, so then it goes past the
// queue, from which the kernel must have taken the operation.
func (l *uringLower) cancelToken(token uint64) bool {
	if l.drained {
		for l.sqpoll() && l.u.Pending() > 0 {
			_, _ = l.enter(l.u.Unpublished(), l.ring.now()) // Pending tells
			runtime.Gosched()
		}
		if err := l.u.SyncCancel(token, 0); err == nil || errors.Is(err, unix.ETIME) {
			return true
		}
		// It is over; or it is not taken; or Linux is older than 6.0.
	}
	k := l.u.NextSQE()
	if k == nil {
		return false
	}
	*k = uring.SQE{Opcode: uring.OpAsyncCancel, Fd: -1, Addr: token, UserData: notOurs}
	return true
}

func (l *uringLower) waiting() int { return 0 }

// harvests is false where only one thread may: its own goroutine does it.
func (l *uringLower) harvests() bool { return !l.ring.opts.locked }

func (l *uringLower) busy() bool { return l.entering.Load() != 0 }

func (l *uringLower) poll() int {
	l.polls.Add(1)
	if l.u.Ready() > 0 || l.u.NeedsEnter() {
		return 1
	}
	return 0
}

func (l *uringLower) prepareSleep() {
	l.listen.Store(true)
	l.u.EventsOff(false)
}

func (l *uringLower) cancelSleep() {
	l.u.EventsOff(true)
	l.listen.Store(false)
}

// sleep reads the eventfd: Go's poller watches it, and no thread waits.
func (l *uringLower) sleep() int {
	// Listening first, looked second: the kernel signals what comes later.
	if l.poll() == 0 {
		l.sleeps.Add(1)
		var count [8]byte
		_, _ = l.event.Read(count[:])
	}
	l.cancelSleep()
	return l.poll()
}

func (l *uringLower) block(w *waiter) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.several.Store(true)
	l.tid.Store(int64(unix.Gettid()))
	// Published first, looked second: who fires the waiter or takes completions
	// from the kernel later finds the thread.
	n := l.ring.lacking(w)
	l.several.Store(n > 1)
	if !w.fired.Load() {
		l.sleeps.Add(1)
		_ = l.u.Wait(uint32(min(n, uint64(l.u.CQEntries()))), nil)
	}
	l.tid.Store(0)
	l.several.Store(false)
}

// wake ends a sleep of either kind.
func (l *uringLower) wake() {
	if l.listen.Load() {
		l.wakes.Add(1)
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = l.event.Write(one[:])
	}
	l.interrupt()
}

func (l *uringLower) alert() {
	// Pairs with the store in block: either the sleeper sees who stands by, or is
	// seen here.
	if l.several.Load() {
		l.interrupt()
	}
}

// interrupt ends a sleep in io_uring_enter by a signal: the one that Go's own
// scheduler interrupts threads with, which its handler ignores when it did not
// send it. A signal that comes before the thread is in the call is lost, so it is
// sent until the thread says that it is out.
func (l *uringLower) interrupt() {
	tid := l.tid.Load()
	if tid == 0 {
		return
	}
	l.wakes.Add(1)
	for i := 0; l.tid.Load() == tid; i++ {
		if i%100 == 0 {
			_ = unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
		}
		runtime.Gosched()
		if i > 1000 {
			time.Sleep(time.Microsecond)
		}
	}
}

func (l *uringLower) stats(s *Stats) {
	s.Stripped = l.stripped
	s.Enters, s.Polls, s.Sleeps, s.Wakes = l.enters.Load(), l.polls.Load(), l.sleeps.Load(), l.wakes.Load()
	s.Stale = l.stale.Load()
}

func (l *uringLower) close() error {
	l.ring.cq.mu.Lock()
	l.closed = true
	l.ring.cq.mu.Unlock()
	return errors.Join(l.u.Close(), l.event.Close())
}

// lacking is how many completions a waiter needs at least, 1 or more.
func (r *Ring) lacking(w *waiter) uint64 {
	ready := r.cq.ready()
	need := min(w.need, uint64(len(r.cq.cells)))
	if w.all || need <= ready || r.bystanders.Load()+r.parked.Load() > 0 {
		return 1
	}
	return need - ready
}
