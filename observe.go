package aioring

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/aioring/aioring/internal/engine"
)

// This file is for those who watch a ring: what is under way, what takes long, and
// the counters in the forms that other programs ask for.

// State says where an operation under way is.
type State string

// The states.
const (
	StateQueued  State = "queued"              // accepted, not handed down yet
	StateWaiting State = "waiting for room"    // for a place among the kernel's jobs
	StateHeld    State = "waiting for another" // in its chain, behind a drain, or earlier on its file
	StateKernel  State = "in the kernel"       // submitted
	StateTimer   State = "timer"               // until its time comes
	StateCalling State = "plain call"          // with a worker, or waiting for one or for readiness
)

// WithLatency says whether a ring measures where the time of its operations goes, for
// [Stats]. It does unless told otherwise: a list costs three readings of the clock. The
// uring kernel measures nothing.
func WithLatency(on bool) Option {
	return func(o *options) error { o.noLatency = !on; return nil }
}

// WithSlow logs, by log/slog as a warning, each operation that is still under way d
// after it was accepted, once; timeouts are not looked at. 0, the default, logs
// nothing.
func WithSlow(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("aioring: operations slower than %v: want 0 or more", d)
		}
		o.slow = d
		return nil
	}
}

// InFlight iterates over the operations accepted that have no final CQE, as they are
// when the loop begins. Any goroutine may call it; it is not for every moment, because
// it looks at each operation while nobody submits.
func (r *Ring) InFlight() iter.Seq[Operation] {
	return func(yield func(Operation) bool) {
		for _, op := range r.running(0) {
			if !yield(op) {
				return
			}
		}
	}
}

// stater is a lower that knows where an operation is.
type stater interface {
	state(op *engine.Op) State
}

// running lists the operations under way that were accepted at or before a time on
// the ring's clock, or all for 0.
func (r *Ring) running(before int64) (ops []Operation) {
	r.fetch() // what the kernel has completed is not under way
	r.owner.Lock()
	if !r.closed.Load() {
		if r.direct == nil {
			r.low.settle()
		}
		now := r.now()
		where, _ := r.low.(stater)
		r.freeze()
		r.eng.EachAlive(func(op *engine.Op, stage engine.Stage) {
			if before != 0 && op.Start > before {
				return
			}
			o := operation(op, now)
			switch {
			case stage == engine.StageTurn:
				o.State = StateHeld
			case stage == engine.StageTimer:
				o.State = StateTimer
			case stage == engine.StageReleased:
				o.State = StateQueued
			case where != nil:
				o.State = where.state(op)
			default:
				o.State = StateKernel
			}
			ops = append(ops, o)
		})
		r.thaw()
	}
	r.turn(turnSQEs)
	r.release()
	r.drive()
	return ops
}

// oldestAge is the age of the operation longest under way. The owner calls it.
func (r *Ring) oldestAge() time.Duration {
	first := int64(math.MaxInt64)
	if r.eng.InFlight() > 0 {
		r.freeze()
		r.eng.EachAlive(func(op *engine.Op, _ engine.Stage) { first = min(first, op.Start) })
		r.thaw()
	}
	if first == math.MaxInt64 {
		return 0
	}
	return time.Duration(max(0, r.now()-first))
}

// slowWatch has a timer while operations are under way that it has not looked at.
// Everything but the timer's function is the engine's owner's.
type slowWatch struct {
	timer *time.Timer
	armed bool
	seen  int64 // what was accepted up to then, on the ring's clock, is logged
	last  sync.Mutex
	ended bool
}

// arm sees to it that what is under way will be looked at. The owner calls it.
func (s *slowWatch) arm(r *Ring) {
	if r.opts.slow == 0 || s.armed || s.ended || r.eng.InFlight() == 0 {
		return
	}
	s.set(r, r.opts.slow)
}

func (s *slowWatch) set(r *Ring, d time.Duration) {
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(d, func() { s.look(r) })
		return
	}
	s.timer.Reset(d)
}

// look logs what has become slow, and comes again for the next.
func (s *slowWatch) look(r *Ring) {
	s.last.Lock() // one at a time, so that none is logged twice
	defer s.last.Unlock()
	cut := r.now() - int64(r.opts.slow)
	if cut < 1 {
		cut = 1
	}
	slow := r.running(cut)
	r.owner.Lock()
	seen, next := s.seen, int64(0)
	s.seen, s.armed = cut, false
	if !s.ended {
		r.eng.EachAlive(func(op *engine.Op, stage engine.Stage) {
			if stage != engine.StageTimer && op.Start > cut && (next == 0 || op.Start < next) {
				next = op.Start
			}
		})
		if next != 0 {
			s.set(r, time.Duration(max(1, next+int64(r.opts.slow)-r.now())))
		}
	}
	r.owner.Unlock()
	r.drive()
	for _, op := range slow {
		if op.start > seen && op.State != StateTimer {
			slog.Warn("aioring: an operation takes long", "op", op.Op.String(), "fd", op.Fd, "off", op.Off,
				"len", op.Len, "age", op.Age, "state", string(op.State))
		}
	}
}

// stop ends the watch. No operation is under way.
func (s *slowWatch) stop() {
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// errnoCounts counts results by errno. completionQueue.mu guards it.
type errnoCounts [256]uint64

func (c *errnoCounts) note(res int32) {
	if res < 0 {
		c[min(-int(res), len(c)-1)]++
	}
}

func (c *errnoCounts) read() map[string]uint64 {
	var counts map[string]uint64
	for errno, n := range c {
		if n == 0 {
			continue
		}
		if counts == nil {
			counts = make(map[string]uint64)
		}
		name := errnoName(syscall.Errno(errno))
		if name == "" {
			name = fmt.Sprintf("errno %d", errno)
		}
		counts[name] += n
	}
	return counts
}

// Var gives a ring's Stats as expvar.Publish wants them. Make one with [Ring.Var].
type Var struct{ r *Ring }

// Var is the ring's Stats as a variable of package expvar:
//
//	expvar.Publish("aioring", r.Var())
func (r *Ring) Var() Var { return Var{r} }

// String is the Stats in JSON.
func (v Var) String() string {
	s, err := json.Marshal(v.r.Stats())
	if err != nil {
		return "null" // a Stats has nothing that JSON lacks
	}
	return string(s)
}
