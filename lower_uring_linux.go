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

// tiedFlags are the set-up flags that tie a ring to a thread.
const tiedFlags = SetupSingleIssuer | SetupDeferTaskrun

// uringLower is Linux's io_uring below the engine. Links, drains and what else an
// SQE's flags ask for are the kernel's business, and so are its refusals.
//
// The two sides of the kernel's ring have two owners. The engine's owner submits:
// it writes private entries into the kernel's queue, and copies there what was
// pushed, which the pushers have written as the kernel's entries already if it has
// no flags. Whoever holds completionQueue.mu takes completions from the kernel's
// queue to the ring's: as a rule the one who wants them, while another is in the
// kernel to submit. Those whose end concerns other operations are the engine's
// owner's, who then holds both.
//
// The harvester only looks whether some are there, and waits for them. It waits in
// one of two ways: a waiter that cannot be called off blocks in io_uring_enter with
// its thread, the ring's own harvester reads an eventfd by way of Go's poller,
// without one.
type uringLower struct {
	ring *Ring
	u    *uring.Ring
	can  [256]bool // opcodes that an SQE can describe and the kernel has

	// queue has what was pushed: the kernel's entries, or, with look in the token, just
	// the slot of an operation that the engine's owner is to look at.
	queue  *ring.MPSC[uring.SQE]
	serial atomic.Uint32 // of tokens

	chain   uint32      // entries at the end of the kernel's queue that are a chain not complete
	stuck   bool        // the kernel has taken nothing, the last time
	drained bool        // a drain was submitted: a cancellation there may have to wait
	entries []uring.SQE // the kernel's queue
	mask    uint32      // of indexes in it
	closed  bool        // written by who owns both sides

	polled   bool     // completions come to those who enter the kernel for them
	provided [][]byte // buffers given to the kernel, which may write to them until close

	before    *engine.Op // the last entry, if it has a link flag
	undrained bool       // an entry that skips its CQE was seen: the kernel would drain no more
	seeks     []*engine.Op
	missed    []uint64 // tokens of what is to end and was not found: see again
	tries     int
	missing   atomic.Bool // there are some
	progress  atomic.Bool // something has ended since it was looked for
	ticking   bool        // a timer runs,
	due       atomic.Bool // and it is time to look
	asks      []*syncCancel
	syncs     atomic.Int32 // whether the kernel has io_uring_register_sync_cancel: 0 nobody knows

	// issuer is the thread that alone may enter the kernel, 0 if any may. What
	// others submit or cancel is left for it.
	issuer   int
	cancels  []uint64
	stripped SetupFlags

	// entering is the time at which the engine's owner began to submit, so that
	// completions may come soon; 0 when it does not.
	entering atomic.Int64
	// rules says that completions wait for the engine's owner.
	rules atomic.Bool

	// tid is the thread of the waiter that blocks in the kernel, or is about to;
	// 0 when there is none. several says that it waits for more than one
	// completion, and must look again when somebody else takes some, or waits too.
	tid     atomic.Int64
	several atomic.Bool

	event  *os.File    // an eventfd, which the kernel signals while somebody listens
	listen atomic.Bool // the ring's own harvester reads event, or is about to

	enters, polls, sleeps, wakes, stale, lost atomic.Uint64
}

// A token is the user data of the kernel's entries: the operation's slot, and a serial
// number in the 29 bits from 32 on.
const (
	// look says that the engine's owner is to look at an operation that was pushed, and
	// to write its entry.
	look = 1 << 61

	serials = 1 << 29
)

// kernelArgs are what an operation's entry points to.
type kernelArgs struct {
	vector  []uring.Iovec
	time    uring.Timespec
	message unix.Msghdr
}

// argsOf is where they are.
func argsOf(op *engine.Op) *kernelArgs {
	args, _ := op.Args.(*kernelArgs)
	if args == nil {
		args = new(kernelArgs)
		op.Args = args
	}
	return args
}

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
	l.polled = l.u.Flags()&uring.SetupIOPoll != 0
	l.entries, l.mask = l.u.Entries(), l.u.SQEntries()-1
	l.queue = ring.NewMPSC[uring.SQE](int(l.u.SQEntries()))
	probe, err := l.u.Probe()
	if err != nil {
		return fmt.Errorf("io_uring probe: %w", err)
	}
	for op := range l.can {
		l.can[op] = op < len(shapes) && probe.Supports(uint8(op))
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
	serial := l.serial.Add(uint32(n))
	looked := !plain(op)
	for k := to.Low; op != nil; k = k[1:] {
		if len(k) == 0 {
			k = to.High
		}
		next := op.Unlink()
		l.ring.eng.Admit(op, op.SQE.Bytes(), now)
		if looked {
			if c, _ := op.Owner.(*call); c != nil {
				c.op = op
			}
			op.Token = 0
			k[0].UserData = look | uint64(op.Slot())
		} else {
			l.fill(&k[0], op, serial)
			serial++
		}
		op = next
	}
	l.ring.eng.Admitted(n) // before they can leave the queue: see quiet
	to.Publish()
	l.ring.eng.Filled()
	return ring.OK
}

// timed reports whether an operation's Time is one.
func timed(op Opcode) bool { return op == OpTimeout || op == OpTimeoutRemove || op == OpLinkTimeout }

// ruled reports whether an operation's entry is for the engine's owner to write.
func ruled(op Opcode) bool {
	switch op {
	case OpTimeout, OpTimeoutRemove, OpAsyncCancel, OpLinkTimeout, OpPollRemove, OpProvideBuffers:
		return true
	}
	return false
}

// plain reports whether the operations from this one on can be written as entries
// by anybody: they have no flags, name no other operation, and nobody waits for them
// who may give up.
func plain(op *engine.Op) bool {
	for ; op != nil; op = op.Next() {
		if s := &op.SQE; s.Flags != 0 || ruled(s.Opcode) || s.Owned() {
			return false
		}
	}
	return true
}

// fill writes the kernel's entry of an operation: but for its flags and what rule
// adds.
func (l *uringLower) fill(k *uring.SQE, op *engine.Op, serial uint32) {
	s := &op.SQE
	token := uint64(serial%serials)<<32 | uint64(op.Slot())
	op.Token = token
	opcode := uint8(s.Opcode)
	addr, length, shaped := s.Addr, s.Len, false
	// What the addresses point to stays: the operation has it until its CQE.
	switch s.Opcode {
	case OpRead, OpWrite:
		addr = uring.Address(s.Buf)
		length = uint32(min(len(s.Buf), MaxTransfer))
	case OpReadv, OpWritev:
		addr, length = vector(op)
	case OpNop, OpFsync, OpTimeout, OpTimeoutRemove, OpAsyncCancel, OpLinkTimeout:
	default:
		shaped = l.can[opcode]
	}
	if !l.can[opcode] {
		opcode = noOpcode // the kernel itself refuses it, with all that follows
	}
	// Field by field: a literal is built elsewhere first, and its copying waits for
	// the small stores.
	k.Opcode, k.Flags, k.IOPrio = opcode, s.Flags, s.IOPrio
	k.Fd = s.Fd
	k.Off, k.Addr, k.Len = uint64(s.Off), addr, length
	k.OpFlags, k.UserData = s.OpFlags, token
	k.BufIndex, k.Personality, k.FileIndex = 0, 0, 0
	k.Addr3, k.Pad = 0, 0
	if s.Time != 0 && !timed(s.Opcode) {
		k.BufIndex, k.Personality, k.FileIndex = s.Rest()
	}
	if shaped && !l.shaped(k, op) {
		k.Opcode = noOpcode
	}
}

// fillOwn is fill by the engine's owner, of any operation.
func (l *uringLower) fillOwn(k *uring.SQE, op *engine.Op, serial uint32) {
	s := &op.SQE
	l.fill(k, op, serial)
	if ruled(s.Opcode) && k.Opcode != noOpcode {
		l.fillRule(k, op)
	}
	if s.Flags != 0 || l.before != nil {
		l.flags(k, op)
	}
}

// noOpcode is one that no kernel has.
const noOpcode = 255

// vector describes an operation's buffers to the kernel, which reads the description
// when it takes the entry. More than are allowed are refused by it unread.
func vector(op *engine.Op) (addr uint64, n uint32) {
	bufs := op.SQE.Bufs
	if len(bufs) > engine.MaxVectors {
		return 0, uint32(len(bufs))
	}
	args := argsOf(op)
	args.vector, addr = uring.Vectors(args.vector, bufs)
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
		l.makeRoom()
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
	l.serve()
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
	var tokens uint64
	for i := range cells {
		tokens |= cells[i].UserData
	}
	if tokens&look != 0 || l.ring.eng.Closing() {
		return l.submitOneByOne(cells)
	}
	at, n := l.u.Take(uint32(len(cells)))
	cells = cells[:n]
	for i := range cells {
		l.entries[(at+uint32(i))&l.mask] = cells[i]
	}
	l.submitted(int(n))
	return int(n)
}

// submitOneByOne is submit that looks at each operation: some may be over already.
func (l *uringLower) submitOneByOne(cells []uring.SQE) int {
	eng := l.ring.eng
	n := 0
	for ; n < len(cells); n++ {
		cell := &cells[n]
		op := eng.Op(uint32(cell.UserData))
		c, _ := op.Owner.(*call)
		if eng.Closing() || c != nil && c.cancelled.Load() {
			eng.Post(op, -int32(syscall.ECANCELED))
			continue
		}
		k := l.u.NextSQE()
		if k == nil {
			break
		}
		if cell.UserData&look != 0 {
			l.fillOwn(k, op, l.serial.Add(1))
		} else {
			*k = *cell
		}
		// The flags asked for: a chain must not be cut by an io_uring_enter.
		if op.SQE.Flags&linkFlags != 0 {
			l.chain++
		} else {
			l.chain = 0
		}
	}
	l.submitted(n)
	return n
}

// submitted counts operations that the kernel is about to see. It also publishes
// them to reap, as the kernel does, but in a way that the race detector knows.
func (l *uringLower) submitted(n int) { l.ring.stat.submitted.Add(uint64(n)) }

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
	undrained, skips := l.undrained, k // those before, and the first here, that skip their CQE
	var total int64
	serial := l.serial.Add(k)
	for i := range k {
		op := lent[(q.head+i)&q.mask]
		size := op.SQE.Bytes()
		total += size
		r.eng.Admit(op, size, now)
		l.fillOwn(&l.entries[(at+i)&l.mask], op, serial+i)
		if op.SQE.Flags&FlagCQESkip != 0 && l.can[op.SQE.Opcode] {
			skips = min(skips, i)
		}
	}
	r.eng.Unreserve(0, bytes-total) // what was not known before
	l.before = nil                  // a chain ends with its submission
	l.submitted(int(k))
	got, errno := l.enter(k, now)
	if errno == unix.EBUSY && l.absorb(errno) {
		got, errno = l.enter(k, now)
	}
	if got < k {
		l.undrained = undrained || skips < got // those it has not seen do not count
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
	op := l.ring.eng.Find(slot)
	if op == nil || op.Token != c.UserData { // another ring may send what it likes
		l.stale.Add(1)
		if c.Flags&uring.CQEMore != 0 { // it was cut, and its cancellation missed it
			l.cancels = append(l.cancels, c.UserData)
			l.ring.again.Store(true)
		}
		return nil
	}
	return op
}

// concerns reports whether a completion is for the engine's owner alone: that of a
// cancellation of ours, or one that others depend on.
func (l *uringLower) concerns(c *uring.CQE) bool {
	if c.UserData&(request|proxy) != 0 || c.Flags&CQEMore != 0 {
		return true
	}
	op := l.ring.eng.Find(uint32(c.UserData))
	return op == nil || op.Token == c.UserData && !op.Plain()
}

func (l *uringLower) has() bool {
	return !l.closed && (l.u.Ready() > 0 || l.toEnter())
}

// toEnter reports whether completions may come from entering the kernel.
func (l *uringLower) toEnter() bool {
	return l.u.NeedsEnter() || l.polled && l.ring.eng.InFlight() > 0
}

func (l *uringLower) crowded() bool { return l.ruled() || l.u.Ready() > l.u.CQEntries()/2 }

func (l *uringLower) roomy() bool { return 2*l.queue.Len() <= l.queue.Cap() }

func (l *uringLower) ruled() bool { return l.rules.Load() }

func (l *uringLower) reap(woken wakeList, owner bool) (_ wakeList, n uint64) {
	if l.closed {
		return woken, 0
	}
	if owner && l.rules.Load() {
		l.rules.Store(false)
	}
	eng, q := l.ring.eng, &l.ring.cq
	var done engine.Released
	first, any := q.tail.Load(), false
	tail, end := first, q.freed.Load()+uint64(len(q.cells))
	if q.backlog.Len() > 0 {
		end = tail // what comes now goes behind
	}
	for rest := false; !rest; {
		cqes := l.u.Peek()
		if cqes == nil {
			if !l.toEnter() || !l.enterEvents() {
				break
			}
			continue
		}
		_ = l.ring.stat.submitted.Load() // see submitted
		for i := range cqes {
			c := &cqes[i]
			// As a rule nothing depends on it, and there is room.
			op := eng.Find(uint32(c.UserData))
			if op != nil && op.Token == c.UserData && op.Owner == nil && tail != end && op.Plain() && c.UserData&proxy == 0 && c.Flags&CQEMore == 0 {
				n++
				op.Token = 0
				eng.RetirePlain(op)
				res := uring.Result(c.Res)
				q.putResult(tail, op, res, c.Flags)
				l.ring.stat.errors.note(res)
				tail++
				continue
			}
			if !owner && l.concerns(c) {
				l.rules.Store(true)
				cqes, rest = cqes[:i], true
				break
			}
			if op = l.find(c); op == nil {
				continue
			}
			any = true
			if c.Flags&uring.CQENotif != 0 && op.Owner != nil {
				op.CQE.Flags &^= CQEMore // the result came before
			} else {
				op.CQE.UserData, op.CQE.Res, op.CQE.Flags = op.SQE.UserData, uring.Result(c.Res), c.Flags
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
	if n > 0 && !l.progress.Load() {
		l.progress.Store(true)
	}
	if l.missing.Load() && l.progress.Load() {
		l.ring.again.Store(true)
		if !owner {
			l.rules.Store(true) // so that the owner gets to know
		}
	}
	if (any || n > 0) && l.several.Load() {
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
	errno := l.u.Events()
	l.lost.Store(uint64(l.u.Lost())) // only a full queue loses any
	return errno == 0 && l.u.Ready() > 0
}

// start and settle are the engine's: it releases nothing here, and reap brings results
// in.
func (l *uringLower) start(*engine.Op) {}
func (l *uringLower) settle()          {}

// makeRoom gives the engine what has come in, but for what is not its operation's
// last.
func (l *uringLower) makeRoom() {
	l.ring.cq.mu.Lock()
	defer l.ring.cq.mu.Unlock()
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

// cancel asks the kernel. What it says comes later, to nobody.
func (l *uringLower) cancel(op *engine.Op) syscall.Errno {
	if op.Token == 0 {
		return syscall.EALREADY // who takes it out of the queue sees that it is to end
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
			_, _ = l.enter(l.u.Unpublished(), l.ring.now()) // Pending tells
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

func (l *uringLower) busy() bool { return l.entering.Load() != 0 }

func (l *uringLower) poll() int {
	l.polls.Add(1)
	if l.polled && l.u.Ready() == 0 && l.ring.eng.InFlight() > 0 {
		_ = l.u.Events() // Ready tells
	}
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
	if l.poll() == 0 && !(l.polled && l.ring.eng.InFlight() > 0) {
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
