package engine

import "syscall"

// TIMEOUT, LINK_TIMEOUT and TIMEOUT_REMOVE. Contract parts 3.7 and 6. Source: Linux
// io_uring/timeout.c.

// Flags of TIMEOUT, LINK_TIMEOUT and TIMEOUT_REMOVE in SQE.OpFlags.
const (
	TimeoutAbs          uint32 = 1 << 0 // SQE.Time is a time of the clock
	TimeoutUpdate       uint32 = 1 << 1 // a TIMEOUT_REMOVE sets a timer anew
	TimeoutBoottime     uint32 = 1 << 2 // the clock that goes on while the system sleeps
	TimeoutRealtime     uint32 = 1 << 3 // the clock of the wall
	LinkTimeoutUpdate   uint32 = 1 << 4 // with TimeoutUpdate: of a LINK_TIMEOUT
	TimeoutETimeSuccess uint32 = 1 << 5 // going off does not break a chain
	TimeoutMultishot    uint32 = 1 << 6 // goes off again and again

	timeoutClocks  = TimeoutBoottime | TimeoutRealtime
	timeoutUpdates = TimeoutUpdate | LinkTimeoutUpdate
	timeoutFlags   = TimeoutAbs | timeoutClocks | TimeoutETimeSuccess | TimeoutMultishot
)

// timer is what an operation's timer is.
type timer struct {
	deadline int64  // on the owner's clock
	order    uint64 // of two that are due together, the one armed first goes off first
	at       int    // its place in timers.heap, counted from 1; 0: not armed
	count    uint64 // of a TIMEOUT: CQEs to wait for, or repeats; 0 none
	target   uint64 // what timers.posted must reach
	left     uint64 // repeats
	interval int64
}

// timers are the armed ones.
type timers struct {
	heap     []*Op
	armed    uint64
	counting []*Op // those with a count, the nearest first
	posted   uint64
	clocks   [3]int64
}

// SetClocks says what has to be added to a time of CLOCK_MONOTONIC, CLOCK_BOOTTIME
// and CLOCK_REALTIME, in nanoseconds, to have that of the owner's clock. Accept goes
// by it where an SQE names an absolute time.
func (e *Engine) SetClocks(monotonic, boottime, realtime int64) {
	e.timers.clocks = [3]int64{monotonic, boottime, realtime}
}

// ownTime turns a time of the clock that flags name into the owner's.
func (e *Engine) ownTime(t int64, flags uint32) int64 {
	switch flags & timeoutClocks {
	case TimeoutBoottime:
		return t + e.timers.clocks[1]
	case TimeoutRealtime:
		return t + e.timers.clocks[2]
	}
	return t + e.timers.clocks[0]
}

func (e *Engine) prepareTimeout(op *Op) syscall.Errno {
	s := &op.SQE
	flags := s.OpFlags
	switch {
	case flags&^timeoutFlags != 0, flags&timeoutClocks == timeoutClocks:
		return syscall.EINVAL
	case flags&TimeoutMultishot != 0 && flags&TimeoutAbs != 0:
		return syscall.EINVAL
	case s.Time < 0, s.Off < 0, s.Off > 1<<32-1:
		return syscall.EINVAL
	}
	if s.Opcode == OpLinkTimeout {
		if s.Off != 0 || e.chain.head == nil || e.chain.last.SQE.Opcode == OpLinkTimeout {
			return syscall.EINVAL
		}
	}
	op.timer = timer{count: uint64(s.Off), interval: s.Time}
	if flags&TimeoutMultishot != 0 {
		op.timer.left = op.timer.count
	}
	if flags&TimeoutAbs != 0 {
		op.timer.deadline = e.ownTime(s.Time, flags)
	}
	return 0
}

func (e *Engine) prepareRemove(s *SQE) syscall.Errno {
	if s.Flags&(FlagFixedFile|FlagBufferSelect) != 0 {
		return syscall.EINVAL
	}
	if s.OpFlags&timeoutUpdates == 0 {
		if s.OpFlags != 0 {
			return syscall.EINVAL
		}
		return 0
	}
	if s.OpFlags&^(timeoutUpdates|TimeoutAbs) != 0 || s.Time < 0 {
		return syscall.EINVAL
	}
	return 0
}

// startTimeout arms a TIMEOUT. With a count it is over, too, when so many more CQEs
// were posted; those of timeouts do not count.
func (e *Engine) startTimeout(op *Op) {
	t := &op.timer
	if t.count > 0 && op.SQE.OpFlags&TimeoutMultishot == 0 {
		t.target = e.timers.posted + t.count
		c := append(e.timers.counting, op)
		for i := len(c) - 1; i > 0 && c[i-1].timer.target > t.target; i-- {
			c[i-1], c[i] = c[i], c[i-1]
		}
		e.timers.counting = c
	}
	e.arm(op)
}

// arm starts a timer: to go off so long after now, or at its time.
func (e *Engine) arm(op *Op) {
	op.state = timing
	if op.SQE.OpFlags&TimeoutAbs == 0 {
		op.timer.deadline = after(e.now, op.timer.interval)
	}
	e.timers.add(op)
}

// after is t+d, or the end of time.
func after(t, d int64) int64 {
	if t > 0 && d > 1<<63-1-t {
		return 1<<63 - 1
	}
	return t + d
}

// disarm stops a timer without a word.
func (e *Engine) disarm(op *Op) {
	e.timers.remove(op)
	e.uncount(op)
}

// uncount ends the waiting for a count.
func (e *Engine) uncount(op *Op) {
	c := e.timers.counting
	for i := range c {
		if c[i] == op {
			copy(c[i:], c[i+1:])
			c[len(c)-1] = nil
			e.timers.counting = c[:len(c)-1]
			return
		}
	}
}

// stopTimer ends an armed TIMEOUT with ECANCELED.
func (e *Engine) stopTimer(op *Op) {
	e.disarm(op)
	e.finish(op, -int32(syscall.ECANCELED))
}

// dropTimers ends all timers. A LINK_TIMEOUT ends with its target.
func (e *Engine) dropTimers() {
	var armed List
	for _, op := range e.timers.heap {
		if op.SQE.Opcode == OpTimeout {
			armed.Push(op)
		}
	}
	for op := armed.Pop(); op != nil; op = armed.Pop() {
		e.stopTimer(op)
	}
}

// NextDeadline is the time at which Advance must be called next, if there is one.
func (e *Engine) NextDeadline() (deadline int64, ok bool) {
	if len(e.timers.heap) == 0 {
		return 0, false
	}
	return e.timers.heap[0].timer.deadline, true
}

// Observe tells the engine the time and lets no timer go off: before results are
// given that had come in by then.
func (e *Engine) Observe(now int64) { e.now = max(e.now, now) }

// Advance tells the engine the time, in nanoseconds on the owner's clock: timers that
// are due go off, the earliest first. The time must not be earlier than what
// happened before any result that is given after it, or a timer that follows that
// result would go off early.
func (e *Engine) Advance(now int64) {
	e.now = max(e.now, now)
	for len(e.timers.heap) > 0 && e.timers.heap[0].timer.deadline <= now {
		op := e.timers.heap[0]
		e.timers.remove(op)
		if op.SQE.Opcode == OpLinkTimeout {
			e.fireLink(op)
		} else {
			e.fire(op)
		}
		e.step()
	}
}

// fire is the end of a TIMEOUT's time.
func (e *Engine) fire(op *Op) {
	op.marks |= uncounted
	e.uncount(op)
	if op.SQE.OpFlags&TimeoutMultishot == 0 || op.lastRepeat() {
		e.finish(op, -int32(ETIME))
		return
	}
	op.state = repeating
	op.CQE = CQE{UserData: op.SQE.UserData, Res: -int32(ETIME), Flags: CQEMore}
	e.completed.Push(op)
}

func (o *Op) lastRepeat() bool {
	if o.timer.count == 0 {
		return false
	}
	o.timer.left--
	return o.timer.left == 0
}

// Rearm is told when the CQE of an operation that goes on was delivered.
func (e *Engine) Rearm(op *Op, now int64) {
	if op.state != repeating {
		return
	}
	e.now = max(e.now, now)
	op.marks &^= uncounted
	if op.marks&doomed != 0 || e.closing {
		e.finish(op, -int32(syscall.ECANCELED))
		e.step()
		return
	}
	e.arm(op)
}

// reachCounts ends the TIMEOUTs whose count is reached, and reports whether any was.
// What was posted together counts together: a CQE of the same batch counts for a
// TIMEOUT submitted after its operation.
func (e *Engine) reachCounts() bool {
	t := &e.timers
	if len(t.counting) == 0 || t.counting[0].timer.target > t.posted {
		return false
	}
	for len(t.counting) > 0 && t.counting[0].timer.target <= t.posted {
		op := t.counting[0]
		op.marks |= uncounted
		e.disarm(op)
		e.finish(op, 0)
	}
	e.step()
	return true
}

// removeTimeout is what a TIMEOUT_REMOVE does, and its result.
func (e *Engine) removeTimeout(s *SQE) int32 {
	links := s.OpFlags&(TimeoutUpdate|LinkTimeoutUpdate) == timeoutUpdates
	op := e.findTimer(s.Addr, links)
	if op == nil {
		return -int32(syscall.ENOENT)
	}
	if s.OpFlags&TimeoutUpdate == 0 {
		e.endTimeout(op)
		return 0
	}
	e.uncount(op)
	op.timer.count = 0 // as in Linux: what is set anew waits for no count, and repeats without end
	op.timer.interval = s.Time
	op.SQE.OpFlags = op.SQE.OpFlags&^TimeoutAbs | s.OpFlags&TimeoutAbs
	if s.OpFlags&TimeoutAbs != 0 {
		op.timer.deadline = e.ownTime(s.Time, op.SQE.OpFlags)
	}
	if op.state == timing {
		e.timers.remove(op)
		e.arm(op)
	}
	return 0
}

// endTimeout ends a TIMEOUT that is armed, or about to be again.
func (e *Engine) endTimeout(op *Op) {
	if op.state == repeating {
		op.marks |= doomed
		return
	}
	e.stopTimer(op)
}

// findTimer finds the eldest timer with this user data, armed or about to be again.
func (e *Engine) findTimer(data uint64, links bool) (found *Op) {
	look := func(op *Op) {
		if op.SQE.UserData == data && (op.SQE.Opcode == OpLinkTimeout) == links && op.marks&doomed == 0 &&
			(found == nil || op.seq < found.seq) {
			found = op
		}
	}
	for _, op := range e.timers.heap {
		look(op)
	}
	for op := e.completed.head; op != nil; op = op.next {
		if op.state == repeating {
			look(op)
		}
	}
	return found
}

// guardBy arms the LINK_TIMEOUT that follows an operation which starts, and takes it
// out of the chain: what comes after it follows the operation.
func (e *Engine) guardBy(op *Op) {
	lt := op.link
	if lt == nil || lt.SQE.Opcode != OpLinkTimeout {
		return
	}
	op.link, lt.link = lt.link, nil
	op.guard, lt.guard = lt, op
	e.arm(lt)
}

// unguard stops the LINK_TIMEOUT of an operation that is over.
func (e *Engine) unguard(op *Op) *Op {
	lt := op.guard
	if lt == nil {
		return nil
	}
	op.guard, lt.guard = nil, nil
	if op.SQE.Opcode == OpLinkTimeout {
		return nil
	}
	e.disarm(lt)
	return lt
}

// fireLink is the end of a LINK_TIMEOUT's time: its target is to be cancelled.
func (e *Engine) fireLink(lt *Op) {
	target := lt.guard
	lt.guard, target.guard = nil, nil
	lt.state = seeking
	lt.seek = seek{target: target, before: target.seq}
	e.cancels.Push(lt)
}

// The heap: the earliest deadline is at its root.

func (t *timers) before(i, j int) bool {
	a, b := &t.heap[i].timer, &t.heap[j].timer
	return a.deadline < b.deadline || a.deadline == b.deadline && a.order < b.order
}

func (t *timers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].timer.at, t.heap[j].timer.at = i+1, j+1
}

func (t *timers) add(op *Op) {
	t.armed++
	op.timer.order = t.armed
	t.heap = append(t.heap, op)
	op.timer.at = len(t.heap)
	t.up(len(t.heap) - 1)
}

func (t *timers) remove(op *Op) {
	i, last := op.timer.at-1, len(t.heap)-1
	if i < 0 {
		return
	}
	if i != last {
		t.swap(i, last)
	}
	t.heap[last] = nil
	t.heap = t.heap[:last]
	op.timer.at = 0
	if i != last {
		t.down(i)
		t.up(i)
	}
}

func (t *timers) up(i int) {
	for i > 0 && t.before(i, (i-1)/2) {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (t *timers) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(t.heap); c++ {
			if t.before(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}
