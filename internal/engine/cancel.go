package engine

import "syscall"

// ASYNC_CANCEL, and whatever else asks for the end of operations. Contract part 7.
// Source: Linux io_uring/cancel.c.

// Flags of ASYNC_CANCEL in SQE.OpFlags.
const (
	CancelAll      uint32 = 1 << 0 // all that match, not the first
	CancelFd       uint32 = 1 << 1 // match by Fd
	CancelAny      uint32 = 1 << 2 // match everything
	CancelFdFixed  uint32 = 1 << 3 // Fd is an index into the table of files
	CancelUserData uint32 = 1 << 4 // match by Addr, besides others
	CancelOp       uint32 = 1 << 5 // match by opcode, in Len

	cancelFlags = CancelOp<<1 - 1
)

// seek is how far a cancellation is.
type seek struct {
	target *Op    // of a LINK_TIMEOUT
	before uint64 // what was accepted later is not found
	slot   uint32 // where to look next
	found  int32
	hit    *Op    // of one that ends with its first target that
	hitSeq uint64 // and its seq: the *Op may be another operation's by now
}

func prepareCancel(s *SQE) syscall.Errno {
	flags := s.OpFlags
	switch {
	case flags&^cancelFlags != 0, s.Off != 0:
		return syscall.EINVAL
	case flags&CancelAny != 0 && flags&(CancelFd|CancelOp) != 0:
		return syscall.EINVAL
	}
	return 0
}

// CheckCancel finds what io_uring refuses of an ASYNC_CANCEL.
func CheckCancel(s *SQE) syscall.Errno { return prepareCancel(s) }

// ByUserData reports whether an ASYNC_CANCEL names operations by their user data.
func ByUserData(s *SQE) bool {
	flags := s.OpFlags
	return flags&CancelAny == 0 && (flags&CancelUserData != 0 || flags&(CancelFd|CancelOp) == 0)
}

// startCancel sends an ASYNC_CANCEL on its way. One by descriptor is released first:
// whether the number means a file is for others to say, by Complete or Seek.
func (e *Engine) startCancel(op *Op) {
	op.seek = seek{before: e.accepted}
	if op.SQE.OpFlags&CancelFd == 0 {
		e.beginSeek(op)
		return
	}
	if op.SQE.Flags&FlagFixedFile != 0 || op.SQE.OpFlags&CancelFdFixed != 0 {
		e.finish(op, -int32(syscall.EBADF)) // there is no table of files
		return
	}
	op.state = released
	e.released.Push(op)
}

// Seek lets a released ASYNC_CANCEL look for its targets.
func (e *Engine) Seek(op *Op) {
	if op.state == released && op.SQE.Opcode == OpAsyncCancel {
		e.beginSeek(op)
	}
}

func (e *Engine) beginSeek(op *Op) {
	op.state = seeking
	e.cancels.Push(op)
}

// NewCancel makes a cancellation that is no operation: no drain holds it, it counts
// nowhere, and it takes no room. s is an ASYNC_CANCEL's.
func NewCancel(s SQE) (*Op, error) {
	s.Opcode = OpAsyncCancel
	if errno := prepareCancel(&s); errno != 0 {
		return nil, errno
	}
	return &Op{SQE: s, state: completed, marks: outside}, nil
}

// Cancel sends what NewCancel made on its way. When it is
// Over its result is in CQE.Res, and it may be sent again.
func (e *Engine) Cancel(c *Op) {
	if c.marks&outside != 0 && c.state == completed {
		c.seek = seek{before: e.accepted}
		e.beginSeek(c)
	}
}

// NextCancel gives out a running operation that is to be cancelled, and by whom; nil
// when there is none. Whoever runs it is asked, and Answer told what it said, before
// the next; or nothing is, if that will show when the target ends. What is released
// comes first: it is started before it is cancelled.
func (e *Engine) NextCancel() (target, by *Op) {
	for e.asked == nil && e.released.Len() == 0 {
		c := e.cancels.head
		if c == nil {
			break
		}
		target := e.match(c)
		switch {
		case target == nil:
			e.endSeek(c, -int32(syscall.ENOENT))
		case target.state == released:
			e.asked = target
			return target, c
		default: // a timer
			e.hit(c, target, 0)
			e.endTimeout(target)
		}
		e.step()
	}
	return nil, nil
}

// Over reports whether what Cancel has sent on its way is.
func (o *Op) Over() bool { return o.state == completed }

// Answer says what came of the target that NextCancel gave out: 0, it will end with
// ECANCELED, or already did; EALREADY, it cannot be stopped; ENOENT, it is over, or
// not what was meant.
func (e *Engine) Answer(target *Op, errno syscall.Errno) {
	if e.asked == target && target != nil {
		e.asked = nil
		if errno == 0 {
			target.marks |= cancelled
		}
		e.hit(e.cancels.head, target, errno)
		e.step()
	}
}

// answer is Answer where the target ended first.
func (e *Engine) answer(target *Op, res int32) {
	e.asked = nil
	errno := syscall.ENOENT
	if res == -int32(syscall.ECANCELED) {
		errno = 0
	}
	e.hit(e.cancels.head, target, errno)
}

// hit counts an answer for the first of e.cancels, and ends it if it is content.
func (e *Engine) hit(c, target *Op, errno syscall.Errno) {
	many := c.many()
	switch {
	case errno == 0 && many:
		c.seek.found++
	case errno == syscall.ENOENT && c.SQE.Opcode == OpAsyncCancel:
		// On to the next.
	case !many:
		c.seek.hit, c.seek.hitSeq = target, target.seq
		e.endSeek(c, -int32(errno))
	}
}

// Remains reports whether something runs yet that a cancellation of NewCancel's, which
// is over, has found.
func (e *Engine) Remains(c *Op) bool {
	if !c.many() {
		t := c.seek.hit
		return t != nil && t.state != idle && t.seq == c.seek.hitSeq
	}
	for i := range e.made {
		if op := e.Op(i); op.state == released && op.seq <= c.seek.before && c.means(op) {
			return true
		}
	}
	return false
}

// many reports whether a cancellation goes on after the first.
func (o *Op) many() bool {
	return o.SQE.Opcode == OpAsyncCancel && o.SQE.OpFlags&(CancelAll|CancelAny) != 0
}

// endSeek ends the first of e.cancels with res, or with what it counted.
func (e *Engine) endSeek(c *Op, res int32) {
	e.cancels.Pop()
	if c.many() {
		res = c.seek.found
	}
	if c.marks&outside != 0 {
		c.CQE.Res, c.state = res, completed
		return
	}
	if c.SQE.Opcode == OpLinkTimeout && res == 0 {
		res = -int32(ETIME)
	}
	c.seek.target = nil
	e.finish(c, res)
}

// match finds the next target of a cancellation.
func (e *Engine) match(c *Op) *Op {
	s := &c.seek
	if t := s.target; t != nil {
		s.target = nil
		if t.seq == s.before && (t.state == released || t.timer.ends(t.state)) && t.marks&(cancelled|doomed) == 0 {
			return t
		}
		return nil
	}
	if c.SQE.Opcode != OpAsyncCancel {
		return nil
	}
	for s.slot < e.made {
		op := e.Op(s.slot)
		s.slot++
		if op != c && c.matches(op) && op.seq <= s.before {
			return op
		}
	}
	return nil
}

// ends reports whether a timer in this state can be ended.
func (t *timer) ends(s state) bool { return s == timing || s == repeating }

// matches reports whether an operation is one that a cancellation means. What has
// not started is not found, nor a LINK_TIMEOUT, nor what was cancelled already.
func (o *Op) matches(op *Op) bool {
	switch op.state {
	case released:
		if op.SQE.Opcode == OpAsyncCancel {
			return false
		}
	case timing, repeating:
		if op.SQE.Opcode != OpTimeout || o.SQE.OpFlags&CancelFd != 0 {
			return false
		}
	default:
		return false
	}
	return op.marks&(cancelled|doomed) == 0 && o.means(op)
}

// means reports whether an operation has what a cancellation looks for.
func (o *Op) means(op *Op) bool {
	flags := o.SQE.OpFlags
	switch {
	case flags&CancelAny != 0:
		return true
	case flags&CancelFd != 0 && op.SQE.Fd != o.SQE.Fd:
		return false
	case flags&CancelOp != 0 && uint32(op.SQE.Opcode) != o.SQE.Len:
		return false
	}
	return !ByUserData(&o.SQE) || op.SQE.UserData == o.SQE.Addr
}
