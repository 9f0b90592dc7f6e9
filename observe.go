package aioring

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
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
	StateHeld    State = "waiting for another" // for an earlier operation on its file
	StateKernel  State = "in the kernel"       // submitted
	StateCalling State = "plain call"          // with a worker, or waiting for one or for readiness
)

// WithLatency says whether a ring measures where the time of its operations goes, for
// [Stats]. It does unless told otherwise: a list costs three readings of the clock. The
// uring kernel measures nothing.
func WithLatency(on bool) Option {
	return func(o *options) error { o.noLatency = !on; return nil }
}

// WithSlow logs, by log/slog as a warning, each operation that is still under way d
// after it was accepted, once. 0, the default, logs nothing.
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
	if r.direct != nil {
		r.glance() // what the kernel has completed is not under way
	}
	r.owner.Lock()
	if !r.closed.Load() {
		if r.direct == nil {
			r.low.settle()
		}
		now := r.now()
		where, _ := r.low.(stater)
		r.eng.Each(func(op *engine.Op) {
			if before != 0 && op.Start > before {
				return
			}
			o := operation(op, now)
			o.State = StateKernel
			if where != nil {
				o.State = where.state(op)
			}
			ops = append(ops, o)
		})
	}
	r.turn(turnSQEs)
	r.release()
	r.drive()
	return ops
}

// oldest is the age of the operation longest under way.
func (r *Ring) oldest() time.Duration {
	first, now := int64(0), r.now()
	if r.eng.InFlight() == 0 {
		return 0
	}
	r.owner.Lock()
	r.eng.Each(func(op *engine.Op) {
		if first == 0 || op.Start < first {
			first = op.Start
		}
	})
	r.owner.Unlock()
	r.drive() // what was asked for meanwhile
	if first == 0 {
		return 0
	}
	return time.Duration(max(0, now-first))
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
		r.eng.Each(func(op *engine.Op) {
			if op.Start > cut && (next == 0 || op.Start < next) {
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
		if op.start > seen {
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

// errnoCounts counts results by errno. The engine's owner writes.
type errnoCounts [256]atomic.Uint64

func (c *errnoCounts) note(res int32) {
	if res < 0 {
		n := &c[min(-int(res), len(c)-1)]
		n.Store(n.Load() + 1)
	}
}

func (c *errnoCounts) read() map[string]uint64 {
	var counts map[string]uint64
	for errno := range c {
		n := c[errno].Load()
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
