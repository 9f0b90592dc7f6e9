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
)

// uringLower is Linux's io_uring below the engine. Operations are written into the
// kernel's own submission queue; links, drains and what else an SQE's flags ask
// for are the kernel's business, and so are its refusals.
//
// The engine's owner submits, and takes completions from the kernel's queue to the
// ring's; the harvester only looks whether some are there, and waits for them. It
// waits in one of two ways: a waiter that cannot be called off blocks in
// io_uring_enter with its thread, the ring's own harvester reads an eventfd by way
// of Go's poller, without one.
type uringLower struct {
	ring *Ring
	u    *uring.Ring
	can  [256]bool // opcodes that an SQE can describe and the kernel has

	serial  uint32          // of tokens
	chain   uint32          // entries at the end of the queue that are a chain not complete
	drained bool            // a drain was submitted: a cancellation there may have to wait
	entries []uring.SQE     // the kernel's queue
	mask    uint32          // of indexes in it
	vectors [][]uring.Iovec // beside it
	times   []uring.Timespec
	closed  bool

	before    *engine.Op // the last entry, if it has a link flag
	undrained bool       // an entry that skips its CQE was seen: the kernel would drain no more
	seeks     []*engine.Op
	missed    []uint64 // tokens of what is to end and was not found: see again
	tries     int
	progress  bool        // something has ended since it was looked for
	ticking   bool        // a timer runs,
	due       atomic.Bool // and it is time to look
	asks      []*syncCancel
	syncs     atomic.Int32 // whether the kernel has io_uring_register_sync_cancel: 0 nobody knows

	// issuer is the thread that alone may enter the kernel, 0 if any may. What
	// others submit or cancel is left for it in unsent and cancels; in unsent is also
	// what found the queue full.
	issuer   int
	unsent   []*engine.Op
	cancels  []uint64
	stripped SetupFlags

	// tid is the thread of the waiter that blocks in the kernel, or is about to;
	// 0 when there is none. several says that it waits for more than one
	// completion, and must look again when somebody else takes some, or waits too.
	tid     atomic.Int64
	several atomic.Bool

	event  *os.File    // an eventfd, which the kernel signals while somebody listens
	listen atomic.Bool // the ring's own harvester reads event, or is about to

	enters, polls, sleeps, wakes, stale, lost atomic.Uint64
}

// serials is how many tokens of one slot there are: the bits above are proxy and
// request.
const serials = 1 << 30

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
	flags = flags&^uint32(SetupRDisabled|SetupClamp) | uint32(SetupCQSize) // those are minded above
	p := &uring.Params{Flags: flags, SQThreadIdle: sqThreadIdle, CQEntries: uint32(len(r.cq.cells))}
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
	if err := l.prepareQueues(); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return l, nil
}

// sqThreadIdle is how long the kernel's submitting thread spins when there is
// nothing to do, in milliseconds.
const sqThreadIdle = 2

func (l *uringLower) prepareQueues() error {
	l.entries, l.mask = l.u.Entries(), l.u.SQEntries()-1
	l.vectors = make([][]uring.Iovec, l.u.SQEntries())
	l.times = make([]uring.Timespec, l.u.SQEntries())
	probe, err := l.u.Probe()
	if err != nil {
		return fmt.Errorf("io_uring probe: %w", err)
	}
	for op := range l.can {
		l.can[op] = engine.Supported(Opcode(op)) && probe.Supports(uint8(op))
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

// prepare writes an operation into the kernel's queue. false: the queue is full.
func (l *uringLower) prepare(op *engine.Op) bool {
	at := l.u.Next()
	k := l.u.NextSQE()
	if k == nil {
		return false
	}
	l.fill(k, at, op)
	return true
}

// fill writes the entry of index at.
func (l *uringLower) fill(k *uring.SQE, at uint32, op *engine.Op) {
	s := &op.SQE
	l.serial = (l.serial + 1) % serials
	token := uint64(l.serial)<<32 | uint64(op.Slot())
	op.Token = token
	opcode := uint8(s.Opcode)
	addr, length := s.Addr, s.Len
	// What the addresses point to stays: the operation has it until its CQE.
	switch s.Opcode {
	case OpRead, OpWrite:
		addr = uring.Address(s.Buf)
		length = uint32(min(len(s.Buf), MaxTransfer))
	case OpReadv, OpWritev:
		addr, length = l.vector(s.Bufs, at)
	}
	if !l.can[opcode] {
		opcode = noOpcode // the kernel itself refuses it, with all that follows
	}
	// Field by field: a literal is built elsewhere first, and its copying waits for
	// the small stores.
	k.Opcode, k.Flags, k.IOPrio = opcode, s.Flags, 0
	k.Fd = s.Fd
	k.Off, k.Addr, k.Len = uint64(s.Off), addr, length
	k.OpFlags, k.UserData = s.OpFlags, token
	k.BufIndex, k.Personality, k.FileIndex = 0, 0, 0
	k.Addr3, k.Pad = 0, 0
	if s.Opcode >= OpTimeout && s.Opcode <= OpLinkTimeout && opcode != noOpcode {
		l.fillRule(k, at, op)
	}
	if s.Flags != 0 || l.before != nil {
		l.flags(k, op)
	}
}

// noOpcode is one that no kernel has.
const noOpcode = 255

// vector describes buffers to the kernel, which reads the description when it
// takes the entry. More than are allowed are refused by it unread.
func (l *uringLower) vector(bufs [][]byte, at uint32) (addr uint64, n uint32) {
	if len(bufs) > engine.MaxVectors {
		return 0, uint32(len(bufs))
	}
	place := &l.vectors[at&uint32(len(l.vectors)-1)]
	*place, addr = uring.Vectors(*place, bufs)
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

// push writes an operation that is running into the queue, flushing it when it is
// full.
func (l *uringLower) push(op *engine.Op) {
	if l.mayEnter() && len(l.unsent) == 0 {
		if l.prepare(op) {
			l.count(op.SQE.Flags)
			return
		}
		l.flush()
	}
	l.unsent = append(l.unsent, op)
}

// count follows chains: one must not be cut by an io_uring_enter.
func (l *uringLower) count(flags uint8) {
	if flags&linkFlags != 0 {
		l.chain++
	} else {
		l.chain = 0
	}
}

// flush gives the kernel all there is but a chain that is not complete.
func (l *uringLower) flush() {
	if !l.mayEnter() {
		return
	}
	for {
		l.resend()
		n := l.u.Pending()
		if l.sqpoll() {
			n = l.u.Unpublished()
		}
		if n -= l.chain; n == 0 {
			if len(l.unsent)+len(l.cancels) > 0 && l.sqpoll() && l.u.WaitSQ() == 0 {
				continue // the kernel's thread is behind
			}
			return
		}
		if got, errno := l.enter(n); got == 0 && !l.absorb(errno) {
			return
		}
	}
}

// resend writes into the queue what found it full, and what was left for this
// thread.
func (l *uringLower) resend() {
	for i, op := range l.unsent {
		if !l.prepare(op) {
			l.unsent = slices.Delete(l.unsent, 0, i)
			return
		}
		l.count(op.SQE.Flags)
	}
	clear(l.unsent)
	l.unsent = l.unsent[:0]
	// A request in the midst of a chain would be a part of it.
	for len(l.cancels) > 0 && l.chain == 0 && l.cancelToken(l.cancels[0]) {
		l.cancels = slices.Delete(l.cancels, 0, 1)
	}
}

func (l *uringLower) sqpoll() bool { return l.u.Flags()&uring.SetupSQPoll != 0 }

// enter submits n entries and counts it.
func (l *uringLower) enter(n uint32) (uint32, syscall.Errno) {
	l.enters.Add(1)
	return l.u.Enter(n, false)
}

// absorb deals with a kernel that took nothing: for want of memory, or on an old
// one because completions have no room. It reports whether to try again at once.
func (l *uringLower) absorb(errno syscall.Errno) bool {
	if errno == unix.EBUSY && l.u.Ready() > 0 {
		l.makeRoom()
		return true
	}
	// Something may have to end first, perhaps elsewhere in the system.
	time.AfterFunc(time.Millisecond, l.ring.kick)
	return false
}

func (l *uringLower) takePushed(sqes int) {
	r := l.ring
	now := r.now()
	for sqes > 0 || l.chain > 0 {
		n := r.sq.shared.PopBatch(r.batch[:])
		if n == 0 {
			break
		}
		r.eng.Admitted(n)
		for i := range n {
			op := r.eng.Lend()
			op.SQE = r.batch[i]
			open := r.eng.Admit(op, op.SQE.Bytes(), now)
			c, _ := op.Owner.(*call)
			if !open || c != nil && c.cancelled.Load() {
				r.eng.Post(op, -int32(syscall.ECANCELED))
				continue
			}
			if c != nil {
				c.op = op
			}
			l.push(op)
		}
		clear(r.batch[:n])
		// After they were counted in flight: see quiet.
		r.intake.Add(-int64(n))
		r.stat.submitted.Add(uint64(n))
		sqes -= n
	}
	l.serve()
	l.flush()
	if sqes <= 0 {
		r.again.Store(true)
	}
}

func (l *uringLower) acceptOwn() (n int, stopped bool, err error) {
	r := l.ring
	q := &r.sq
	if (l.u.Pending() > 0 || len(l.unsent) > 0) && !l.sqpoll() {
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
		if k, bytes, err = l.reservePart(k); k == 0 {
			return 0, true, err
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
	undrained := l.undrained
	var total int64
	for i := range k {
		op := lent[(q.head+i)&q.mask]
		size := op.SQE.Bytes()
		total += size
		r.eng.Admit(op, size, now)
		l.fill(&l.entries[(at+i)&l.mask], at+i, op)
	}
	r.eng.Unreserve(0, bytes-total) // what was not known before
	l.before = nil                  // a chain ends with its submission
	got, errno := l.enter(k)
	if errno == unix.EBUSY && l.absorb(errno) {
		got, errno = l.enter(k)
	}
	if got < k {
		l.undrained = undrained || l.skipped(got) // those it has not seen do not count
	}
	for i := range got {
		lent[(q.head+i)&q.mask] = r.eng.Lend()
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
	}
	q.head += got
	r.stat.submitted.Add(uint64(got))
	if got == 0 {
		return 0, true, errno
	}
	return int(got), q.head != q.tail, nil
}

// reservePart claims room for as many of the private entries as there is, of a chain
// for all or none: a chain ends with its submission. The error is why there is none.
func (l *uringLower) reservePart(k uint32) (n uint32, bytes int64, err error) {
	q := &l.ring.sq
	for n < k {
		members, size := uint32(0), int64(0)
		for linked := true; linked && n+members < k; members++ {
			sqe := &q.lent[(q.head+n+members)&q.mask].SQE
			size += sqe.Bytes()
			linked = sqe.Flags&linkFlags != 0
		}
		if l.ring.reserve(int(members), size) != nil {
			if n == 0 {
				err = l.ring.refused(int(members), size)
			}
			break
		}
		n, bytes = n+members, bytes+size
	}
	return n, bytes, err
}

// find is the operation of a completion, nil if it has none.
func (l *uringLower) find(c *uring.CQE) *engine.Op {
	slot := uint32(c.UserData)
	if c.UserData&request != 0 {
		l.answered(c)
		return nil
	}
	op := l.ring.eng.Op(slot)
	if op.Token != c.UserData {
		l.stale.Add(1)
		return nil
	}
	return op
}

func (l *uringLower) has() bool {
	return !l.closed && (l.u.Ready() > 0 || l.u.NeedsEnter())
}

func (l *uringLower) reap(woken wakeList) (_ wakeList, n uint64) {
	if l.closed {
		return woken, 0
	}
	eng, q := l.ring.eng, &l.ring.cq
	var done engine.Released
	first, any := q.tail.Load(), false
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
		for i := range cqes {
			c := &cqes[i]
			op := l.find(c)
			if op == nil {
				continue
			}
			any = true
			op.CQE.UserData, op.CQE.Res, op.CQE.Flags = op.SQE.UserData, c.Res, c.Flags
			if c.Res <= -512 {
				op.CQE.Res = uring.Result(c.Res)
			}
			if op.CQE.Flags&CQEMore != 0 {
				if op.Owner != nil {
					continue
				}
				if tail != end {
					q.put(tail, op)
					q.ops[tail&q.mask] = nil // its end is another's
					tail++
					continue
				}
				l.cut(op)
			}
			if op.SQE.Opcode == OpAsyncCancel && l.seeking(op, op.CQE.Res) {
				continue
			}
			op.Token = 0
			n++
			silent := eng.Retire(op, op.CQE.Res)
			l.ring.stat.errors.note(op.CQE.Res)
			switch owner := op.Owner.(type) {
			case nil:
				switch {
				case silent:
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
	l.progress = l.progress || n > 0
	if l.progress && len(l.missed) > 0 {
		l.ring.again.Store(true)
	}
	if any && l.several.Load() {
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
	_, errno := l.u.Enter(0, true)
	l.lost.Store(uint64(l.u.Lost())) // only a full queue loses any
	return errno == 0 && l.u.Ready() > 0
}

// settle has nothing to do: reap brings results in.
func (l *uringLower) settle() {}

// makeRoom gives the engine what has come in, but for what is not its operation's
// last.
func (l *uringLower) makeRoom() {
	for cqes := l.u.Peek(); cqes != nil; cqes = l.u.Peek() {
		for i := range cqes {
			c := &cqes[i]
			if c.Flags&uring.CQEMore != 0 {
				l.u.Advance(uint32(i))
				return
			}
			if op := l.find(c); op != nil && !(op.SQE.Opcode == OpAsyncCancel && l.seeking(op, c.Res)) {
				op.Token = 0
				l.ring.eng.Post(op, uring.Result(c.Res))
			}
		}
		l.u.Advance(uint32(len(cqes)))
	}
}

// start is for operations that the engine releases: there are none.
func (l *uringLower) start(op *engine.Op) { l.push(op) }

// cancel asks the kernel. What it says comes later, to nobody.
func (l *uringLower) cancel(op *engine.Op) syscall.Errno {
	if i := slices.Index(l.unsent, op); i >= 0 {
		l.unsent = slices.Delete(l.unsent, i, i+1)
		l.ring.eng.Post(op, -int32(syscall.ECANCELED))
		return 0
	}
	if len(l.cancels) > 0 || l.chain > 0 || !l.mayEnter() || !l.cancelToken(op.Token) {
		l.cancels = append(l.cancels, op.Token) // for the next flush
	}
	return syscall.EALREADY
}

// cancelToken writes a request to cancel. false: there is no room. A drain would
// hold the request back that is to end what it waits for, so then it goes past the
// queue, from which the kernel must have taken the operation.
func (l *uringLower) cancelToken(token uint64) bool {
	if l.drained {
		for l.sqpoll() && l.u.Pending() > 0 {
			_, _ = l.enter(l.u.Unpublished()) // Pending tells
			runtime.Gosched()
		}
		switch _, errno := l.u.CancelNow(token, -1, 0, 0); errno {
		case 0:
			return true
		case syscall.ENOENT, syscall.EALREADY:
			l.miss(token)
			return true
		}
		// Linux is older than 6.0.
	}
	k := l.u.NextSQE()
	if k == nil {
		return false
	}
	*k = uring.SQE{Opcode: uring.OpAsyncCancel, Fd: -1, Addr: token, UserData: token | request}
	return true
}

func (l *uringLower) waiting() int { return 0 }

// inKernel is none: what waits for others there goes on by itself.
func (l *uringLower) inKernel() int { return 0 }

// harvests is false where only one thread may: its own goroutine does it.
func (l *uringLower) harvests() bool { return !l.ring.opts.locked }

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
	s.Stale, s.Lost = l.stale.Load(), l.lost.Load()
}

func (l *uringLower) close() error {
	l.closed = true
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
