//go:build unix

package ringtest

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// Timers.

const (
	timeoutSource = "io_uring_prep_timeout(3); Linux io_uring/timeout.c, io_timeout; liburing test/timeout.c"
	removeSource  = "io_uring_prep_timeout_remove(3); Linux io_uring/timeout.c, io_timeout_remove; liburing test/timeout.c"
)

// wantExpiry submits a timer and sees that it does not go off early.
func (r *rig) wantExpiry(o op, d time.Duration) {
	r.Helper()
	began := time.Now()
	r.submit(o)
	r.want(expired(o.UserData))
	if took := time.Since(began); took < d {
		r.Errorf("%v were over after %v", d, took)
	}
}

var timeoutCases = []testCase{
	{name: "tmo.expire", source: timeoutSource, run: func(r *rig) {
		r.wantExpiry(timeout(1, 0, 0, 0), 0)
		for _, d := range []time.Duration{1, time.Microsecond, ms, 20 * ms} {
			r.wantExpiry(timeout(1, d, 0, 0), d)
			r.wantExpiry(timeout(2, aioring.Monotonic()+d, 0, aioring.TimeoutAbs), d)
		}
		r.submit(timeout(1, long, 0, 0))
		r.quiet("an hour is not over")
	}},
	{name: "tmo.count", source: timeoutSource, run: func(r *rig) {
		r.submit(timeout(1, long, 2, 0))
		r.quiet("none of two")
		r.submit(nop(2))
		r.want(is(2, 0))
		r.quiet("one of two")
		r.submit(nop(3))
		r.wantAny(is(3, 0), is(1, 0))
		r.wantExpiry(timeout(4, ms, 5, 0), ms)
	}},
	{name: "tmo.remove", source: removeSource, run: func(r *rig) {
		r.submit(timeout(1, long, 0, 0), removal(2, 1))
		r.wantAny(cancelled(1), is(2, 0))
		r.submit(timeout(1, long, 3, 0))
		r.submit(removal(2, 1))
		r.wantAny(cancelled(1), is(2, 0))
		p := r.pipe()
		r.submit(p.read(1, 4), timeout(1, long, 0, 0)) // of two it means the timer
		r.submit(removal(2, 1))
		r.wantAny(cancelled(1), is(2, 0))
		p.put("1234")
		r.want(is(1, 4))
	}},
	{name: "tmo.remove_none", source: removeSource, run: func(r *rig) {
		r.submit(removal(1, 9))
		r.want(failed(1, unix.ENOENT))
		r.submit(timeout(2, ms, 0, 0))
		r.want(expired(2))
		r.submit(removal(3, 2)) // over
		r.want(failed(3, unix.ENOENT))
		r.submit(r.stuck(4), removal(5, 4)) // no timer
		r.want(failed(5, unix.ENOENT))
	}},
	{name: "tmo.update", source: "io_uring_prep_timeout_update(3); Linux io_uring/timeout.c, io_timeout_update", run: func(r *rig) {
		r.submit(timeout(1, long, 0, 0))
		began := time.Now()
		r.submit(update(2, 1, 5*ms, 0))
		r.want(is(2, 0), expired(1))
		if took := time.Since(began); took < 5*ms {
			r.Errorf("5 ms were over after %v", took)
		}
		r.submit(timeout(1, 5*ms, 0, 0), update(2, 1, long, 0))
		r.want(is(2, 0))
		r.quiet("it was set to an hour")
		r.submit(update(3, 1, aioring.Monotonic(), aioring.TimeoutAbs))
		r.want(is(3, 0), expired(1))
		r.submit(update(4, 1, ms, 0))
		r.want(failed(4, unix.ENOENT))
		r.submit(timeout(1, long, 0, 0), update(5, 1, ms, aioring.LinkTimeoutUpdate)) // it is not a LINK_TIMEOUT
		r.want(failed(5, unix.ENOENT))
	}},
	{name: "tmo.abs_past", source: "io_uring_prep_timeout(3), IORING_TIMEOUT_ABS, _REALTIME, _BOOTTIME", run: func(r *rig) {
		for _, clock := range []uint32{0, aioring.TimeoutRealtime, aioring.TimeoutBoottime} {
			r.submit(timeout(1, time.Nanosecond, 0, aioring.TimeoutAbs|clock))
			r.want(expired(1))
		}
		r.submit(prepared(2, func(s *aioring.SQE) { aioring.PrepTimeoutAt(s, time.Now().Add(-time.Minute), 0, 0) }))
		r.want(expired(2))
		r.wantExpiry(prepared(3, func(s *aioring.SQE) { aioring.PrepTimeoutAt(s, time.Now().Add(20*ms), 0, 0) }), 10*ms)
	}},
	{name: "tmo.multishot", source: "io_uring_prep_timeout(3), IORING_TIMEOUT_MULTISHOT; liburing test/timeout.c", run: func(r *rig) {
		again := expired(1).goesOn()
		began := time.Now()
		r.submit(timeout(1, 2*ms, 4, aioring.TimeoutMultishot))
		r.want(again, again, again, expired(1))
		if took := time.Since(began); took < 8*ms {
			r.Errorf("four times 2 ms were over after %v", took)
		}
		r.submit(timeout(1, 2*ms, 1, aioring.TimeoutMultishot))
		r.want(expired(1))
		r.submit(timeout(1, ms, 0, aioring.TimeoutMultishot)) // without end
		for range 10 {
			if c := r.reap(); c != again {
				r.Fatalf("%v, want %v", c, again)
			}
		}
		r.submit(removal(2, 1))
		for removed, ended := false, false; !removed || !ended; {
			switch c := r.reap(); c {
			case again:
			case is(2, 0):
				removed = true
			case cancelled(1):
				ended = true
			default:
				r.Fatalf("%v", c)
			}
		}
		r.quiet("it was removed")
	}},
	{name: "tmo.order", source: timeoutSource + ": what expires earlier is posted earlier", run: func(r *rig) {
		r.submit(timeout(30, 30*ms, 0, 0), timeout(10, 10*ms, 0, 0), timeout(20, 20*ms, 0, 0))
		r.want(expired(10), expired(20), expired(30))
	}},
	{name: "tmo.bad", source: "io_uring_prep_timeout(3); Linux io_uring/timeout.c, __io_timeout_prep", run: func(r *rig) {
		for _, o := range []op{
			timeout(1, -1, 0, 0),
			timeout(1, -time.Hour, 0, 0),
			timeout(1, ms, 0, 1<<20),
			timeout(1, ms, 0, aioring.TimeoutBoottime|aioring.TimeoutRealtime),
			timeout(1, ms, 0, aioring.TimeoutMultishot|aioring.TimeoutAbs),
			update(1, 9, -1, 0),
		} {
			r.submit(o)
			r.want(failed(1, unix.EINVAL))
		}
		r.submit(nop(1).link(), limit(2, -1))
		r.want(cancelled(1), failed(2, unix.EINVAL))
	}},
}
