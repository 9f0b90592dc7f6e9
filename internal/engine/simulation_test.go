package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

var (
	simSeed     = flag.Uint64("seed", 1, "first seed of TestSimulation")
	simPrograms = flag.Uint64("seeds", 0, "how many it runs; 0: 100000, with -short or -race 2000")
)

// TestSimulation runs random programs of up to 200 SQEs against the engine: chains,
// drains, timers, cancellations, refused entries. A seeded scheduler takes the part of
// everybody else: it submits, completes what runs in any order, short and with errors,
// answers cancellations late, lets time pass, fills the completion queue. After each
// step the rules are looked at anew from the list of what was submitted, by the model
// below, which shares nothing with the engine but the SQEs. Then the faults end, and
// everything must finish.
func TestSimulation(t *testing.T) {
	programs := *simPrograms
	if programs == 0 {
		programs = 100_000
		if testing.Short() || raceEnabled {
			programs = 2_000
		}
	}
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range min(2, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for !t.Failed() {
				n := next.Add(1) - 1
				if n >= programs {
					return
				}
				if err := simulate(*simSeed + n); err != nil {
					t.Errorf("seed %d: %v\nreplay: go test ./internal/engine -run Simulation -seed=%d -seeds=1",
						*simSeed+n, err, *simSeed+n)
				}
			}
		})
	}
	workers.Wait()
}

// simOp is what the model knows of one SQE.
type simOp struct {
	op       *Op
	sqe      SQE
	chain    *simChain
	at       int // in chain.ops
	id       int
	running  bool // given out, and not completed
	since    int  // the step in which it began to run
	deadline int64
	order    uint64 // timer.order, which tells an update
	armed    bool
	count    uint64 // posted when it is reached
	began    bool   // ran, or was a timer, or did what the engine does itself
	cancel   bool   // its cancellation was granted
	more     int
	ended    bool
	res      int32
	found    int32
	last     int32 // the answer heard last
}

type simChain struct {
	ops     []*simOp
	bad     bool
	drains  bool
	left    int
	ordinal int
}

type sim struct {
	e       *Engine
	rng     *rand.Rand
	now     int64
	step    int
	ops     []*simOp
	byOp    map[*Op]*simOp
	live    []*simChain // with something that has not ended, in order of submission
	open    *simChain
	running []*simOp
	asked   *simOp
	by      *simOp
	posted  uint64
	skips   bool
	closing bool
	calm    bool
	err     error
}

func (s *sim) failf(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("step %d: "+format, append([]any{s.step}, args...)...)
	}
}

var simBuffer = make([]byte, 8)

func simulate(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	s := &sim{e: New(256, 0), rng: rng, byOp: map[*Op]*simOp{}, now: 1}
	s.e.SetClocks(0, 0, 0)
	total := 1 + rng.IntN(1+rng.IntN(200))
	closeAt := -1
	if rng.IntN(10) == 0 {
		closeAt = rng.IntN(total + 1)
	}
	for len(s.ops) < total && s.err == nil {
		s.step++
		switch rng.IntN(8) {
		case 0, 1, 2:
			s.submit(min(1+rng.IntN(12), total-len(s.ops)))
		case 3, 4, 5:
			s.complete()
		case 6:
			s.now += int64(rng.IntN(30))
			s.advance()
		case 7:
			if closeAt >= 0 && len(s.ops) >= closeAt && !s.closing {
				s.closing = true
				s.e.CancelAll()
			}
		}
		s.settle()
	}
	s.calm = true
	for idle := 0; s.err == nil && len(s.live) > 0; {
		s.step++
		before := len(s.live)
		switch {
		case len(s.running) > 0:
			s.complete()
		default:
			at, ok := s.e.NextDeadline()
			if ok && at < 1<<60 {
				s.now = max(s.now, at)
				s.advance()
			}
			// What repeats for ever, or is not due in this life, has to be ended.
			for _, o := range s.ops {
				if o.armed && !o.ended && (o.sqe.OpFlags&TimeoutMultishot != 0 || o.deadline >= 1<<60) {
					s.e.End(o.op)
				}
			}
		}
		s.settle()
		if idle++; len(s.live) < before {
			idle = 0
		}
		if idle > 2000 {
			s.failf("%d chains do not finish, the first %v", len(s.live), s.live[0].ops[0].sqe)
		}
	}
	if s.err == nil && (s.e.InFlight() != 0 || s.e.Alive() != 0 || s.e.HasWork() || s.e.drain.active != 0) {
		s.failf("at the end %d in flight, %d alive, %d active", s.e.InFlight(), s.e.Alive(), s.e.drain.active)
	}
	return s.err
}

// advance lets the time be s.now.
func (s *sim) advance() {
	s.e.Advance(s.now)
	for _, c := range s.live {
		for _, o := range c.ops {
			if o.armed && !o.ended && o.op.state == timing && o.op.timer.order == o.order && o.deadline <= s.now {
				s.failf("timer %d was due at %d", o.id, o.deadline)
			}
		}
	}
}

// sqe makes an entry up.
func (s *sim) sqe() SQE {
	r := s.rng
	q := SQE{UserData: uint64(r.IntN(12)), Fd: int32(r.IntN(4))}
	if r.IntN(3) == 0 {
		q.Flags |= FlagIOLink
	}
	if r.IntN(8) == 0 {
		q.Flags |= FlagIOHardlink
	}
	if r.IntN(12) == 0 {
		q.Flags |= FlagIODrain
	}
	if s.skips && r.IntN(4) == 0 || r.IntN(200) == 0 {
		q.Flags |= FlagCQESkip
	}
	if r.IntN(60) == 0 {
		q.Flags |= 1 << 7
	}
	switch r.IntN(16) {
	case 0, 1, 2:
		if r.IntN(3) == 0 {
			q.OpFlags, q.Len = NopInjectResult, uint32(int32(r.IntN(5)-3))
		}
	case 3, 4, 5, 6:
		q.Opcode, q.Buf = OpRead, simBuffer
	case 7:
		q.Opcode = OpFsync
	case 8, 9:
		q.Opcode, q.Time = OpTimeout, int64(r.IntN(100))
		switch r.IntN(6) {
		case 0:
			q.Off = int64(1 + r.IntN(6))
		case 1:
			q.OpFlags, q.Off = TimeoutMultishot, int64(r.IntN(4))
		case 2:
			q.OpFlags, q.Time = TimeoutAbs, s.now+int64(r.IntN(50))
		case 3:
			q.OpFlags = TimeoutETimeSuccess
		case 4:
			q.Time = 1<<63 - 1
		}
	case 10, 11:
		q.Opcode, q.Time = OpLinkTimeout, int64(r.IntN(40))
	case 12:
		q.Opcode, q.Addr = OpTimeoutRemove, uint64(r.IntN(12))
		if r.IntN(2) == 0 {
			q.OpFlags, q.Time = TimeoutUpdate, int64(r.IntN(60))
			if r.IntN(2) == 0 {
				q.OpFlags |= LinkTimeoutUpdate
			}
		}
	case 13, 14:
		q.Opcode, q.Addr = OpAsyncCancel, uint64(r.IntN(12))
		q.OpFlags = [...]uint32{0, 0, CancelAll, CancelAny, CancelOp, CancelFd, CancelFd | CancelAll, CancelOp | CancelUserData | CancelAll, CancelFd | CancelAny}[r.IntN(9)]
		if q.OpFlags&CancelOp != 0 {
			q.Len = uint32([...]Opcode{OpRead, OpTimeout, OpFsync}[r.IntN(3)])
		}
	case 15:
		q.Opcode = OpNop
		if r.IntN(8) == 0 {
			q.Opcode = 99
		}
	}
	return q
}

// refused says whether io_uring refuses an entry, by the sheet.
func (s *sim) refused(q *SQE, before *simOp) bool {
	switch {
	case q.Opcode == 99, q.Flags&(1<<7) != 0:
		return true
	case q.Flags&FlagIODrain != 0 && s.skips:
		return true
	case q.Opcode == OpAsyncCancel && q.OpFlags == CancelFd|CancelAny:
		return true
	case q.Opcode == OpLinkTimeout:
		return before == nil || before.sqe.Opcode == OpLinkTimeout
	}
	return false
}

func (s *sim) submit(n int) {
	for range n {
		q := s.sqe()
		if s.e.Reserve(1, q.Bytes()) != nil {
			break
		}
		if q.Flags&FlagCQESkip != 0 && q.Flags&(1<<7) == 0 && q.Opcode != 99 {
			s.skips = true
		}
		c := s.open
		var before *simOp
		if c != nil {
			before = c.ops[len(c.ops)-1]
		} else {
			c = &simChain{ordinal: len(s.ops)}
		}
		bad := s.refused(&q, before)
		o := &simOp{sqe: q, chain: c, at: len(c.ops), id: len(s.ops)}
		c.ops = append(c.ops, o)
		c.left++
		c.bad = c.bad || bad
		c.drains = c.drains || q.Flags&FlagIODrain != 0
		s.ops = append(s.ops, o)
		linked := q.Flags&(FlagIOLink|FlagIOHardlink) != 0
		if len(c.ops) == 1 {
			s.live = append(s.live, c)
		}
		if s.open = c; !linked {
			s.open = nil
		}
		if s.closing {
			c.bad, s.open = true, nil
		}
		op, ok := s.e.Accept(&q, s.now)
		o.op, s.byOp[op] = op, o
		if want := !bad || linked && !s.closing; ok != want {
			s.failf("Accept(%v) is %v", q, ok)
		}
		if bad && !linked {
			break // as a Submit does
		}
	}
	s.e.EndChain()
	s.open = nil
}

// complete gives one running operation a result.
func (s *sim) complete() {
	if len(s.running) == 0 {
		return
	}
	i := s.rng.IntN(len(s.running))
	o := s.running[i]
	s.running[i] = s.running[len(s.running)-1]
	s.running = s.running[:len(s.running)-1]
	res := int32(0)
	if o.sqe.Opcode == OpRead {
		res = 8
	}
	switch {
	case o.cancel && s.rng.IntN(4) > 0:
		res = -int32(syscall.ECANCELED)
	case s.calm:
	case s.rng.IntN(6) == 0:
		res = -int32(syscall.EIO)
	case s.rng.IntN(8) == 0:
		res /= 2
	}
	o.running = false
	o.res = res
	s.e.Complete(o.op, res)
	if s.rng.IntN(20) == 0 {
		s.e.Complete(o.op, res+1) // dropped
	}
	if s.asked == o {
		s.asked = nil
		if res == -int32(syscall.ECANCELED) {
			s.by.found++
		}
		s.by.last = 1
	}
}

// settle does what an owner does, and then looks at everything.
func (s *sim) settle() {
	for range 100 {
		moved := false
		final := 0
		for op := s.e.NextCompleted(); op != nil; op = s.e.NextCompleted() {
			moved = true
			if s.deliver(s.byOp[op]) {
				final++
			}
		}
		s.e.Delivered(final)
		for op := s.e.NextReleased(); op != nil; op = s.e.NextReleased() {
			moved = true
			s.release(s.byOp[op])
			if op.SQE.Opcode == OpAsyncCancel {
				break // its end may have released more: that was not delivered
			}
		}
		if s.asked != nil && (s.calm || s.rng.IntN(2) == 0) {
			s.reply()
			moved = true
		}
		if s.asked == nil {
			if target, by := s.e.NextCancel(); target != nil {
				moved = true
				s.ask(s.byOp[target], s.byOp[by])
			}
			moved = moved || s.e.HasCompleted()
		}
		if s.err != nil || !moved && (s.asked == nil || !s.calm) {
			break
		}
	}
	s.check()
}

func (s *sim) release(o *simOp) {
	if o.ended || o.running {
		s.failf("op %d is released again", o.id)
		return
	}
	if o.sqe.Opcode == OpAsyncCancel {
		if s.rng.IntN(4) == 0 {
			o.began = true
			o.res = -int32(syscall.EBADF)
			s.e.Complete(o.op, o.res)
		} else {
			s.e.Seek(o.op)
		}
		return
	}
	if why := s.mayNotStart(o); why != "" {
		s.failf("op %d is released: %s", o.id, why)
	}
	o.running, o.began, o.since = true, true, s.step
	s.running = append(s.running, o)
}

func (s *sim) ask(target, by *simOp) {
	if !target.running || target.cancel || target.id > by.id && by.sqe.Opcode != OpLinkTimeout && len(by.chain.ops) == 1 && !s.deferredOnce(by) {
		s.failf("op %d is to be cancelled", target.id)
	}
	if by.sqe.Opcode == OpLinkTimeout {
		if by.at == 0 || by.chain != target.chain || target.at != by.at-1 {
			s.failf("link timeout %d means op %d", by.id, target.id)
		}
	} else if !simMatches(&by.sqe, &target.sqe) {
		s.failf("cancellation %d means op %d", by.id, target.id)
	}
	s.asked, s.by = target, by
}

// deferredOnce reports whether something before could have held a chain back.
func (s *sim) deferredOnce(o *simOp) bool {
	for _, before := range s.ops[:o.chain.ordinal] {
		if before.chain.drains {
			return true
		}
	}
	return false
}

func simMatches(by, target *SQE) bool {
	f := by.OpFlags
	if f&CancelAny != 0 {
		return true
	}
	ok := true
	if f&CancelFd != 0 {
		ok = ok && by.Fd == target.Fd
	}
	if f&CancelOp != 0 {
		ok = ok && by.Len == uint32(target.Opcode)
	}
	if f&CancelUserData != 0 || f&(CancelFd|CancelOp) == 0 {
		ok = ok && by.Addr == target.UserData
	}
	return ok
}

func (s *sim) reply() {
	errno := [...]syscall.Errno{0, 0, syscall.EALREADY, syscall.ENOENT}[s.rng.IntN(4)]
	o := s.asked
	s.asked = nil
	if errno == 0 {
		o.cancel = true
		s.by.found++
	}
	s.by.last = 1
	if errno == syscall.EALREADY {
		s.by.last = -int32(errno)
	}
	s.e.Answer(o.op, errno)
}

// deliver takes one CQE, and reports whether it is the operation's last.
func (s *sim) deliver(o *simOp) bool {
	cqe := o.op.CQE
	if o.ended {
		s.failf("op %d has a second final CQE", o.id)
		return false
	}
	if cqe.UserData != o.sqe.UserData {
		s.failf("op %d: user data %d", o.id, cqe.UserData)
	}
	if cqe.Flags&CQEMore != 0 {
		if o.sqe.OpFlags&TimeoutMultishot == 0 || cqe.Res != -int32(ETIME) || o.early(s.now) {
			s.failf("op %d: %+v", o.id, cqe)
		}
		o.more++
		o.began = true
		if s.rng.IntN(6) > 0 {
			s.e.Rearm(o.op, s.now)
			o.deadline, o.order = o.op.timer.deadline, o.op.timer.order
			return false
		}
		s.e.Cut(o.op)
		cqe = o.op.CQE
	}
	s.finalCQE(o, cqe.Res)
	o.ended, o.res = true, cqe.Res
	o.armed = false
	if !o.op.Silent() && !(o.sqe.Opcode == OpTimeout && (cqe.Res == -int32(ETIME) || cqe.Res == 0)) {
		s.posted++
	}
	c := o.chain
	if c.left--; c.left == 0 {
		for i := range s.live {
			if s.live[i] == c {
				s.live = append(s.live[:i], s.live[i+1:]...)
				break
			}
		}
	}
	delete(s.byOp, o.op)
	s.e.Free(o.op)
	return true
}

// early reports whether a timer that goes off now is not due. If it was set anew in
// this step, the model has not seen to what.
func (o *simOp) early(now int64) bool { return o.op.timer.order == o.order && now < o.deadline }

// finalCQE judges a final result by what went before.
func (s *sim) finalCQE(o *simOp, res int32) {
	broken := o.chain.bad
	cut := s.cutBy(o)
	own := !broken && cut == nil && !(s.closing && !o.began)
	lt := o.sqe.Opcode == OpLinkTimeout
	for _, before := range o.chain.ops[:o.at] {
		if !before.ended && before.sqe.Opcode != OpLinkTimeout && !(lt && before.at == o.at-1) {
			s.failf("op %d ends before op %d of its chain", o.id, before.id)
		}
	}
	want := o.sqe.Flags&FlagCQESkip != 0
	switch {
	case broken:
		want = o.at > 0 && o.chain.ops[0].sqe.Flags&FlagCQESkip != 0
		if res >= 0 {
			s.failf("op %d of a refused chain: %d", o.id, res)
		}
		if s.closing {
			return // a chain may have been cut in two by it
		}
	case cut != nil:
		want = cut.sqe.Flags&FlagCQESkip != 0
		if res != -int32(syscall.ECANCELED) {
			s.failf("op %d after a failure: %d", o.id, res)
		}
	case own && !lt && simFails(&o.sqe, res):
		want = false
	}
	if s.closing && !o.began {
		return
	}
	if o.op.Silent() != want {
		s.failf("op %d (%v, result %d) silent: %v", o.id, o.sqe.Opcode, res, !want)
	}
	if !own {
		return
	}
	if why := s.mayNotStart(o); why != "" && !lt {
		s.failf("op %d ends with %d: %s", o.id, res, why)
	}
	switch o.sqe.Opcode {
	case OpNop:
		inject := int32(0)
		if o.sqe.OpFlags != 0 {
			inject = int32(o.sqe.Len)
		}
		if res != inject {
			s.failf("NOP %d: %d", o.id, res)
		}
	case OpRead, OpFsync:
		if !o.began || o.running || res != o.res {
			s.failf("op %d: %d, completed with %d", o.id, res, o.res)
		}
	case OpTimeout:
		if res == -int32(ETIME) && o.armed && o.early(s.now) {
			s.failf("timer %d goes off at %d, not %d", o.id, s.now, o.deadline)
		}
		if res == 0 && (o.sqe.Off == 0 || s.posted < o.count) {
			s.failf("timer %d: the count is not reached", o.id)
		}
	case OpLinkTimeout:
		target := o.chain.ops[o.at-1]
		if res == -int32(ETIME) && !target.cancel && !(target.sqe.Opcode == OpTimeout) && target.res != -int32(syscall.ECANCELED) {
			s.failf("link timeout %d: target %d was not cancelled", o.id, target.id)
		}
		if o.armed && res != -int32(syscall.ECANCELED) && o.early(s.now) {
			s.failf("link timeout %d goes off at %d, not %d", o.id, s.now, o.deadline)
		}
	case OpAsyncCancel:
		many := o.sqe.OpFlags&(CancelAll|CancelAny) != 0
		switch {
		case res == -int32(syscall.EBADF) && o.sqe.OpFlags&CancelFd != 0:
		case many && res < o.found, !many && o.found > 0 && res != 0:
			s.failf("cancellation %d: %d, found %d", o.id, res, o.found)
		case res == -int32(syscall.ENOENT), many:
			s.missed(o)
		}
	}
	o.began = true
}

// missed finds what a cancellation should have found: what ran before this step and
// runs yet, was not asked, nor granted its end.
func (s *sim) missed(by *simOp) {
	for _, o := range s.running {
		if o.since < s.step && o.since > 0 && o.id < by.id && !o.cancel && by.last == 0 && by.found == 0 && simMatches(&by.sqe, &o.sqe) {
			s.failf("cancellation %d did not find op %d", by.id, o.id)
		}
	}
}

// simFails is the table of contract part 3.4.
func simFails(q *SQE, res int32) bool {
	if q.Opcode == OpTimeout {
		return res == -int32(syscall.ECANCELED) || res == -int32(ETIME) && q.OpFlags&TimeoutETimeSuccess == 0
	}
	if q.Opcode == OpRead && res < 8 {
		return true
	}
	return res < 0
}

// cutBy is the member of a chain that broke it before o.
func (s *sim) cutBy(o *simOp) *simOp {
	for _, before := range o.chain.ops[:o.at] {
		if before.sqe.Opcode == OpLinkTimeout || !before.ended || !simFails(&before.sqe, before.res) {
			continue
		}
		if o.sqe.Opcode == OpLinkTimeout && before.at == o.at-1 {
			continue // that is its target
		}
		if before.sqe.Flags&FlagIOHardlink == 0 {
			return before
		}
	}
	return nil
}

// mayNotStart is why an operation must not start yet.
func (s *sim) mayNotStart(o *simOp) string {
	if s.closing || o.began {
		return ""
	}
	for _, before := range o.chain.ops[:o.at] {
		if before.sqe.Opcode != OpLinkTimeout && !before.ended {
			return fmt.Sprintf("op %d of its chain is not over", before.id)
		}
	}
	if s.cutBy(o) != nil {
		return "its chain is broken"
	}
	if o.at > 0 {
		return ""
	}
	for _, c := range s.live {
		if c.ordinal >= o.chain.ordinal {
			break
		}
		if !c.bad && c.drains {
			return fmt.Sprintf("the drain of op %d is not over", c.ops[0].id)
		}
		if !c.bad && o.chain.drains {
			return fmt.Sprintf("it drains, and op %d is not over", c.ops[0].id)
		}
	}
	return ""
}

// check looks at everything that is not over.
func (s *sim) check() {
	left, first, timers := 0, int64(1<<63-1), 0
	for _, c := range s.live {
		left += c.left
		for _, o := range c.ops {
			if o.ended {
				continue
			}
			switch o.sqe.Opcode {
			case OpTimeout, OpLinkTimeout:
				if o.op.state != timing {
					o.armed = false
					break
				}
				s.checkTimer(o)
				timers++
				first = min(first, o.deadline)
			}
			if !o.running && o.op.state == waiting && !s.closing && s.mayNotStart(o) == "" && !s.waitsInChain(o) {
				s.failf("op %d (%v) could start, and does not", o.id, o.sqe.Opcode)
			}
		}
	}
	if left != s.e.InFlight() {
		s.failf("%d in flight, the engine says %d", left, s.e.InFlight())
	}
	at, ok := s.e.NextDeadline()
	if ok != (timers > 0) || ok && at != first {
		s.failf("next deadline %d (%v), of %d timers the first %d", at, ok, timers, first)
	}
}

// waitsInChain is so for a LINK_TIMEOUT whose target has not started.
func (s *sim) waitsInChain(o *simOp) bool {
	return o.sqe.Opcode == OpLinkTimeout || o.chain.bad
}

func (s *sim) checkTimer(o *simOp) {
	if !o.armed {
		o.armed = true
		if why := s.mayNotStart(o); why != "" && o.sqe.Opcode == OpTimeout {
			s.failf("timer %d runs: %s", o.id, why)
		}
		o.began = true
		if o.sqe.OpFlags&TimeoutAbs != 0 {
			o.deadline = o.sqe.Time
		} else if o.deadline = s.now + o.sqe.Time; o.deadline < 0 {
			o.deadline = 1<<63 - 1
		}
		if o.more > 0 || o.op.timer.interval != o.sqe.Time || o.op.SQE.OpFlags != o.sqe.OpFlags {
			o.deadline = o.op.timer.deadline // set anew
		}
		o.count = s.posted + uint64(o.sqe.Off)
		if o.op.timer.target > 0 {
			o.count = min(o.count, o.op.timer.target)
		}
	} else if o.op.timer.order != o.order {
		o.deadline = o.op.timer.deadline // set anew
	} else if o.op.timer.deadline != o.deadline {
		s.failf("timer %d is set to %d, not %d", o.id, o.op.timer.deadline, o.deadline)
	}
	o.order = o.op.timer.order
	if o.op.timer.target > 0 && o.op.timer.count > 0 && o.sqe.OpFlags&TimeoutMultishot == 0 && s.posted >= o.op.timer.target {
		s.failf("timer %d: its count of %d was reached", o.id, o.sqe.Off)
	}
}
