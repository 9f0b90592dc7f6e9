package aioring

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/aioring/aioring/internal/engine"
)

// Flags of the timeout operations. Source: io_uring_enter(2), IORING_TIMEOUT_*.
const (
	TimeoutAbs          = engine.TimeoutAbs          // a time of the clock, not a length
	TimeoutUpdate       = engine.TimeoutUpdate       // set by PrepTimeoutUpdate
	TimeoutBoottime     = engine.TimeoutBoottime     // the clock goes on while the system sleeps
	TimeoutRealtime     = engine.TimeoutRealtime     // the clock of the wall; a later change of it changes nothing
	LinkTimeoutUpdate   = engine.LinkTimeoutUpdate   // an update is of a link timeout
	TimeoutETimeSuccess = engine.TimeoutETimeSuccess // going off breaks no chain
	TimeoutMultishot    = engine.TimeoutMultishot    // goes off again and again, count times or without end

	// CQEMore among the flags of a CQE says that it is not the operation's last.
	CQEMore = engine.CQEMore
)

// PrepTimeout prepares a timer that ends after d with ETIME; or, with a count, after
// so many completions were posted that are not of timers, with 0. With TimeoutAbs, d
// is a time of the clock, as [Monotonic] reads it or since 1970. With TimeoutMultishot
// it goes off every d, count times, or until it is removed.
func PrepTimeout(sqe *SQE, d time.Duration, count uint32, flags uint32) {
	prep(sqe, OpTimeout, -1, int64(count))
	sqe.Time, sqe.OpFlags = int64(d), flags
}

// PrepTimeoutAt is PrepTimeout for a time of the wall clock.
func PrepTimeoutAt(sqe *SQE, t time.Time, count uint32, flags uint32) {
	PrepTimeout(sqe, time.Duration(t.UnixNano()), count, flags|TimeoutAbs|TimeoutRealtime)
}

// PrepLinkTimeout prepares a limit on the time of the entry before, which must have
// FlagIOLink or FlagIOHardlink: when it is reached that operation is cancelled, as
// [PrepCancel] does, and this one ends with ETIME; or with EALREADY if the operation
// cannot be stopped. When the operation ends first, this one ends with ECANCELED.
func PrepLinkTimeout(sqe *SQE, d time.Duration, flags uint32) {
	prep(sqe, OpLinkTimeout, -1, 0)
	sqe.Time, sqe.OpFlags = int64(d), flags
}

// PrepTimeoutRemove prepares the end of the timer with this user data: it ends with
// ECANCELED. ENOENT: there is none.
func PrepTimeoutRemove(sqe *SQE, userData uint64, flags uint32) {
	prep(sqe, OpTimeoutRemove, -1, 0)
	sqe.Addr, sqe.OpFlags = userData, flags
}

// PrepTimeoutUpdate prepares to set the timer with this user data anew; with
// LinkTimeoutUpdate, the link timeout. Its count is forgotten. ENOENT: there is none.
func PrepTimeoutUpdate(sqe *SQE, d time.Duration, userData uint64, flags uint32) {
	prep(sqe, OpTimeoutRemove, -1, 0)
	sqe.Addr, sqe.Time, sqe.OpFlags = userData, int64(d), flags|TimeoutUpdate
}

// Monotonic reads the clock of TimeoutAbs without another clock's flag.
func Monotonic() time.Duration { return time.Duration(monotonic()) }

// readClocks tells the engine how the system's clocks stand to the ring's. The owner
// calls it.
func (r *Ring) readClocks() {
	now := r.now()
	r.eng.SetClocks(now-monotonic(), now-boottime(), now-time.Now().UnixNano())
}

// alarm wakes the ring at the engine's next deadline, by one timer of the runtime. Its
// methods are the engine's owner's.
type alarm struct {
	ring  *Ring
	timer *time.Timer
	at    int64       // what it is set to, if set
	armed bool        // it is set
	rang  atomic.Bool // it went off since
}

func (a *alarm) init(r *Ring) { a.ring = r }

// set sets it to a time of the ring's clock, or stops it.
func (a *alarm) set(at int64, ok bool) {
	if !ok {
		a.stop()
		return
	}
	if a.armed && a.at == at && !a.rang.Load() {
		return
	}
	a.rang.Store(false)
	a.at, a.armed = at, true
	d := time.Duration(at - a.ring.now())
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.goOff)
		return
	}
	a.timer.Reset(d)
}

func (a *alarm) goOff() {
	a.rang.Store(true)
	a.ring.kick()
}

func (a *alarm) stop() {
	if a.armed {
		a.timer.Stop()
		a.armed = false
	}
}

// late translates the end of a wait's time.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return ETIME
	}
	return err
}

// awaitFor is await for at most d; ETIME when that is over.
func (r *Ring) awaitFor(need int, d time.Duration) error {
	if d <= 0 {
		if r.closed.Load() {
			return ErrClosed
		}
		if r.look(); r.cq.ready() < min(uint64(need), uint64(len(r.cq.cells))) {
			return ETIME
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return late(r.await(ctx, uint64(need)))
}

// oldest is the oldest CQE.
func (r *Ring) oldest() *CQE { return &r.cq.cells[r.cq.head.Load()&r.cq.mask] }

// WaitCQENr waits until n CQEs can be reaped and returns the oldest, as [Ring.WaitCQE]
// does. With n of 0 it is [Ring.PeekCQE].
func (r *Ring) WaitCQENr(n int) (*CQE, error) {
	if n <= 0 {
		return r.PeekCQE()
	}
	if err := r.await(context.Background(), uint64(n)); err != nil {
		return nil, err
	}
	return r.oldest(), nil
}

// WaitCQEs is WaitCQENr for at most d. When that is over it is content with one CQE;
// ETIME: there is none. Nothing that is not submitted is submitted by it.
func (r *Ring) WaitCQEs(n int, d time.Duration) (*CQE, error) {
	if n <= 0 {
		return r.PeekCQE()
	}
	if err := r.awaitFor(n, d); err != nil && (err != ETIME || r.cq.ready() == 0) {
		return nil, err
	}
	return r.oldest(), nil
}

// WaitCQETimeout is WaitCQEs for one.
func (r *Ring) WaitCQETimeout(d time.Duration) (*CQE, error) { return r.WaitCQEs(1, d) }

// SubmitAndWaitTimeout submits as Submit does and then waits, for at most d, until n
// CQEs can be reaped. It returns the number of entries submitted. ETIME: the time was
// over, nothing was submitted, and there is no CQE.
func (r *Ring) SubmitAndWaitTimeout(n int, d time.Duration) (int, error) {
	return r.SubmitAndWaitMinTimeout(n, d, d)
}

// SubmitAndWaitMinTimeout is SubmitAndWaitTimeout that after least is content with one
// CQE. With least of 0 it is SubmitAndWaitTimeout.
func (r *Ring) SubmitAndWaitMinTimeout(n int, d, least time.Duration) (int, error) {
	submitted, stopped, err := r.submit()
	if err != nil || stopped || n <= 0 {
		return submitted, err
	}
	if least <= 0 {
		least = d
	}
	err = r.awaitFor(n, least)
	if err == ETIME && d > least {
		err = r.awaitFor(1, d-least)
	}
	if err == ETIME && (submitted > 0 || r.cq.ready() > 0) {
		err = nil
	}
	return submitted, err
}

// ForEachCQE yields the CQEs that are there, in order, without consuming them:
// [Ring.CQAdvance] does that afterwards. What comes meanwhile is left for the next
// time.
func (r *Ring) ForEachCQE() iter.Seq[*CQE] {
	return func(yield func(*CQE) bool) {
		if r.closed.Load() {
			return
		}
		head, tail := r.cq.head.Load(), r.cq.tail.Load()
		for ; head != tail; head++ {
			if !yield(&r.cq.cells[head&r.cq.mask]) {
				return
			}
		}
	}
}
