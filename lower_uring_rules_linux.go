package aioring

import (
	"context"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/uring"
)

// Links, drains, timeouts and cancellations on the uring kernel are the kernel's.
// What it takes to hand them down: times have a place beside the queue, and operations
// that are named by their user data are named to the kernel by their tokens.

// flags looks at what of an entry's flags concerns us.
func (l *uringLower) flags(k *uring.SQE, op *engine.Op) {
	if prev := l.before; prev != nil {
		l.ring.eng.Chain(prev, op)
		if op.SQE.Opcode != OpLinkTimeout {
			l.before = op
		}
	} else {
		l.before = op
	}
	flags := op.SQE.Flags
	if flags&linkFlags == 0 {
		l.before = nil
	}
	if flags&FlagIODrain != 0 {
		l.drained = true
	}
	if flags&FlagCQESkip != 0 {
		l.undrained = l.undrained || k.Opcode != noOpcode
		// The CQE of a success is needed here, to know that the buffers are free: it is
		// reap that leaves it out.
		k.Flags &^= uring.SQESkipSuccess
	}
	if l.undrained && flags&FlagIODrain != 0 && k.Opcode != noOpcode {
		// What the kernel would have said had it seen the other flag. It says the same
		// of a NOP that selects a buffer.
		*k = uring.SQE{Opcode: uring.OpNop, Fd: -1, Flags: flags&linkFlags | uring.SQEBufferSelect, UserData: k.UserData}
	}
}

// fillRule fills in what timeouts and cancellations have of their own.
func (l *uringLower) fillRule(k *uring.SQE, op *engine.Op) {
	s := &op.SQE
	switch s.Opcode {
	case OpTimeout, OpLinkTimeout:
		k.Addr, k.Len = timeOf(op), 1
	case OpTimeoutRemove:
		if s.OpFlags&engine.TimeoutUpdate != 0 {
			k.Off = timeOf(op)
		}
		kind := OpTimeout
		if s.OpFlags&engine.LinkTimeoutUpdate != 0 {
			kind = OpLinkTimeout
		}
		k.Addr, _ = l.target(op, func(o *engine.Op) bool { return o.SQE.Opcode == kind })
	case OpPollRemove:
		k.Addr, _ = l.target(op, func(o *engine.Op) bool { return o.SQE.Opcode == OpPollAdd })
	case OpAsyncCancel:
		if !engine.ByUserData(s) {
			return
		}
		var others bool
		k.Addr, others = l.target(op, func(*engine.Op) bool { return true })
		if others && s.Flags&linkFlags == 0 && engine.CheckCancel(s) == 0 && l.hasSyncCancel() {
			// A NOP finds out when it is its turn; then see serve.
			k.Opcode, k.Fd, k.OpFlags, k.Addr, k.Len = uring.OpNop, -1, 0, 0, 0
			op.Token |= proxy
			k.UserData = op.Token
		}
	}
}

const (
	// proxy in a token says that the kernel has a NOP in the operation's place.
	proxy = 1 << 63
	// request beside one says that it is not the operation but its cancellation.
	request = 1 << 62
)

// timeOf describes an operation's time to the kernel, which reads it when it takes the
// entry.
func timeOf(op *engine.Op) uint64 {
	ts, t := &argsOf(op).time, op.SQE.Time
	*ts = uring.Timespec{Sec: t / 1e9, Nsec: t % 1e9}
	if ts.Nsec < 0 { // of a 32-bit process the kernel reads 32 bits of it, without a sign
		ts.Sec, ts.Nsec = ts.Sec-1, ts.Nsec+1e9
	}
	return uring.TimeAddress(ts)
}

// nobody is a token that no operation has.
const nobody = ^uint64(0)

// target is the token of the operation that op's Addr names: the eldest, but rather one
// that may have started. others says that there are more.
func (l *uringLower) target(op *engine.Op, suits func(*engine.Op) bool) (token uint64, others bool) {
	var found *engine.Op
	l.ring.freeze()
	defer l.ring.thaw()
	l.ring.eng.Named(op.SQE.Addr, func(o *engine.Op) bool {
		if o == op || o.Token == 0 || !suits(o) {
			return true
		}
		others = found != nil
		if found == nil || !o.Follower() && found.Follower() || o.Follower() == found.Follower() && elder(o, found) {
			found = o
		}
		return true
	})
	if found == nil {
		return nobody, false
	}
	return found.Token, others
}

// elder compares by the serial number of the tokens.
func elder(a, b *engine.Op) bool { return int32(uint32(a.Token>>32)<<3-uint32(b.Token>>32)<<3) < 0 }

// cut ends an operation that would go on, for want of room for its CQE.
func (l *uringLower) cut(op *engine.Op) {
	op.CQE.Flags &^= CQEMore
	l.cancels = append(l.cancels, op.Token) // what it has to say is nobody's from now on
	l.ring.again.Store(true)
}

// seeking takes a cancellation whose NOP says that it is its turn.
func (l *uringLower) seeking(op *engine.Op, res int32) bool {
	if op.Token&proxy == 0 || res < 0 {
		return false
	}
	op.Token = 0
	l.seeks = append(l.seeks, op)
	l.ring.again.Store(true)
	return true
}

// serve does what cancellations are due past the queue. The owner calls it.
func (l *uringLower) serve() {
	if len(l.missed) == 0 && l.due.Swap(false) {
		l.ticking = false // for nothing; what is missed next sets the clock anew
	}
	if len(l.seeks)+len(l.asks)+len(l.missed) == 0 || !l.mayEnter() {
		return
	}
	l.again()
	for i, op := range l.seeks {
		n, errno := l.cancelNow(&op.SQE)
		res := -int32(errno)
		if errno == 0 && op.SQE.OpFlags&(CancelAll|CancelAny) != 0 {
			res = int32(n)
		}
		l.ring.eng.Post(op, res)
		l.seeks[i] = nil
	}
	l.seeks = l.seeks[:0]
	l.asks = slices.DeleteFunc(l.asks, l.answer)
}

// answered takes the answer to a cancellation of ours. completionQueue.mu is held.
func (l *uringLower) answered(c *uring.CQE) {
	token := c.UserData &^ request
	if op := l.ring.eng.Find(uint32(token)); c.Res < 0 && op != nil {
		l.ring.eng.Freeze() // it may be over, and another in a pusher's hands
		alive := op.Token == token
		l.ring.eng.Thaw()
		if alive {
			l.miss(token)
		}
	}
}

// miss is told of what the kernel did not end. If it is not over it waits its turn in a
// chain or behind a drain (ENOENT), or is in a call (EALREADY); or on its way between the
// kernel's threads, where it is not found for a moment, or interrupted in vain.
func (l *uringLower) miss(token uint64) {
	l.missed = append(l.missed, token)
	l.missing.Store(true)
	l.remind()
}

// remind sees to it that what is to end is looked for again. A moment is short as a
// rule, so the clock soon goes slower. What waits its turn is looked for when something
// ends.
func (l *uringLower) remind() {
	if l.ticking {
		return
	}
	l.ticking = true
	time.AfterFunc(time.Millisecond<<l.tries, func() {
		l.due.Store(true)
		l.ring.kick()
	})
	l.tries = min(l.tries+1, 10)
}

// again looks once more for what is to end and was not found, if something has ended
// since or it is time.
func (l *uringLower) again() {
	due := l.due.Swap(false)
	if due {
		l.ticking = false
	}
	if !due && !l.progress.Load() || len(l.missed) == 0 {
		return
	}
	if l.progress.Swap(false) {
		l.tries = 0 // another may be on its way now
	}
	l.missing.Store(false)
	l.ring.freeze() // what is over may be another by now, in a pusher's hands
	defer l.ring.thaw()
	for _, token := range l.missed {
		if l.ring.eng.Op(uint32(token)).Token == token {
			l.cancels = append(l.cancels, token)
		}
	}
	l.missed = l.missed[:0]
}

// cancelNow cancels what an ASYNC_CANCEL means.
func (l *uringLower) cancelNow(s *SQE) (n int, errno syscall.Errno) {
	if !engine.ByUserData(s) {
		return l.u.CancelNow(0, s.Fd, uint8(s.Len), s.OpFlags)
	}
	many := s.OpFlags&CancelAll != 0
	var running bool
	l.ring.freeze()
	defer l.ring.thaw()
	l.ring.eng.Named(s.Addr, func(op *engine.Op) bool {
		if op.Token == 0 {
			return true
		}
		got, err := l.u.CancelNow(op.Token, s.Fd, uint8(s.Len), s.OpFlags)
		switch {
		case err == 0:
			n += got
		case err == syscall.EALREADY:
			running = true
		case err != syscall.ENOENT:
			errno = err
		}
		return errno == 0 && (many || n == 0 && !running)
	})
	switch {
	case errno != 0 || n > 0:
	case running:
		errno = syscall.EALREADY
	case !many:
		errno = syscall.ENOENT
	}
	return n, errno
}

// hasSyncCancel reports whether the kernel can cancel past its queue: Linux 6.0.
func (l *uringLower) hasSyncCancel() bool {
	if l.syncs.Load() == 0 {
		has := int32(1)
		if _, errno := l.u.CancelNow(nobody, -1, 0, 0); errno == syscall.EINVAL {
			has = -1
		}
		l.syncs.Store(has)
	}
	return l.syncs.Load() > 0
}

// syncCancel is somebody in CancelSync.
type syncCancel struct {
	sqe   SQE
	found []found // what is meant, when it was first asked for
	began bool
	over  bool
	n     int
	errno syscall.Errno
}

// found is an operation and its token then: another later, it is over.
type found struct {
	op    *engine.Op
	token uint64
}

// answer tries a CancelSync, and reports whether that is over. While something that is
// meant runs in a call, it is tried again at each turn.
func (l *uringLower) answer(c *syncCancel) bool {
	if !c.began {
		l.ring.freeze()
		l.ring.eng.Meant(&c.sqe, func(op *engine.Op) {
			if op.Token != 0 {
				c.found = append(c.found, found{op, op.Token})
			}
		})
		l.ring.thaw()
	}
	n, errno := l.cancelNow(&c.sqe)
	c.n += n
	if errno == syscall.ENOENT && c.began {
		errno = 0 // it was interrupted, or is over by itself
	}
	c.began = true
	c.errno = errno
	c.over = errno != syscall.EALREADY
	if !c.over {
		l.remind()
	}
	return c.over
}

// gone reports whether what was cancelled is over.
func (c *syncCancel) gone() bool {
	n := 0
	for _, f := range c.found {
		if f.op.Token != f.token {
			n++
		}
	}
	return n >= min(c.n, len(c.found))
}

func (l *uringLower) cancelSync(ctx context.Context, sqe *SQE) (int, error) {
	r := l.ring
	c := &syncCancel{sqe: *sqe}
	if r.closed.Load() {
		return 0, ErrClosed
	}
	// Counted first: whose turn ends the last of it sees that somebody waits.
	r.cq.turning.Add(1)
	defer r.cq.turning.Add(-1)
	r.own(func() { l.asks = append(l.asks, c) })
	for {
		seen := r.cq.turned.Load()
		r.owner.Lock()
		r.freeze()
		done, closed := c.over && c.gone(), r.closed.Load()
		r.thaw()
		r.owner.Unlock()
		r.drive()
		if done {
			break
		}
		if closed {
			return 0, ErrClosed
		}
		if err := r.awaitTurn(ctx, seen); err != nil {
			r.owner.Lock()
			l.asks = slices.DeleteFunc(l.asks, func(o *syncCancel) bool { return o == c })
			r.owner.Unlock()
			r.drive()
			return 0, err
		}
	}
	if c.errno != 0 {
		return 0, c.errno
	}
	return c.n, nil
}

// open asks the system.
func (l *uringLower) open(fd int32) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// uses is not asked: the kernel knows the file.
func (l *uringLower) uses(op *engine.Op, fd int32) bool { return op.SQE.Fd == fd }

func (l *uringLower) features() Features { return Features(l.u.Features()) }

func (l *uringLower) supports(op Opcode) bool { return l.can[op] }
