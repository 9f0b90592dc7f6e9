//go:build unix

package ringtest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// A completion queue that is full.

const overflowSource = "io_uring_setup(2), IORING_FEAT_NODROP; Linux io_uring/io_uring.c, __io_cqring_overflow_flush; liburing test/cq-overflow.c"

// crowd completes so many NOPs without reaping.
func (r *rig) crowd(n int) (want []result) {
	r.Helper()
	for i := range uint64(n) {
		r.submit(nop(i))
		want = append(want, is(i, 0))
	}
	return want
}

var overflowCases = []testCase{
	{name: "overflow.nodrop", source: overflowSource, entries: 4, run: func(r *rig) {
		r.want(r.crowd(21)...)
		r.want(r.crowd(8)...)
		r.want(r.crowd(9)...)
		want := append(r.crowd(12)[2:], is(99, 0))
		r.ring.CQAdvance(2) // there is room, and some wait for it
		r.submit(nop(99))
		r.want(want...)
	}},
	{name: "overflow.flag", source: overflowSource + "; io_uring_cq_has_overflow(3)", entries: 4, run: func(r *rig) {
		r.crowd(8)
		if r.ring.CQHasOverflow() {
			r.Error("eight fit, and there is a backlog")
		}
		for i := range uint64(3) {
			r.submit(nop(8 + i))
		}
		backlog := func(when string, want bool) {
			r.Helper()
			if has := r.ring.CQHasOverflow(); has != want {
				r.Errorf("%s: a backlog: %v", when, has)
			}
		}
		backlog("three too many", true)
		r.first(is(0, 0), is(1, 0)) // the second made the first of the three move up
		backlog("one has moved up", true)
		r.first(is(2, 0), is(3, 0))
		backlog("all have moved up", false)
		r.want(is(4, 0), is(5, 0), is(6, 0), is(7, 0), is(8, 0), is(9, 0), is(10, 0))
		backlog("nothing is left", false)
	}},
	{name: "overflow.counter", source: overflowSource + ": the counter counts what is lost", entries: 4, run: func(r *rig) {
		before := r.ring.Stats()
		r.crowd(50)
		r.reapN(50)
		r.nothingLeft()
		after := r.ring.Stats()
		if s, c := after.Submitted-before.Submitted, after.Completed-before.Completed; s != 50 || c != 50 {
			r.Errorf("50 submitted and reaped, and counted are %d and %d", s, c)
		}
		if after.Alive != 0 || after.Lost != 0 {
			r.Errorf("%d operations are alive, %d CQEs are lost", after.Alive, after.Lost)
		}
	}},
	{name: "overflow.needs_enter", source: overflowSource, entries: 4, run: func(r *rig) {
		r.crowd(20)
		if n := r.ring.CQReady(); n != 8 {
			r.Errorf("%d ready, want 8", n)
		}
		r.ring.CQAdvance(8)
		if n := r.ring.CQReady(); n != 0 || !r.ring.CQHasOverflow() {
			r.Errorf("advanced: %d ready, a backlog: %v", n, r.ring.CQHasOverflow())
		}
		if c, err := r.ring.PeekCQE(); err != nil || resultOf(c) != is(8, 0) {
			r.Fatalf("PeekCQE: %v", err)
		}
		if n := r.ring.CQReady(); n != 8 || !r.ring.CQHasOverflow() {
			r.Errorf("peeked: %d ready, a backlog: %v", n, r.ring.CQHasOverflow())
		}
		r.ring.CQAdvance(8)
		r.want(is(16, 0), is(17, 0), is(18, 0), is(19, 0))
	}},
	{name: "overflow.multishot", source: "Linux io_uring/timeout.c, io_timeout_complete, and io_uring/poll.c: one that cannot post ends; liburing test/poll-mshot-overflow.c", entries: 2, run: func(r *rig) {
		r.submit(timeout(1, ms, 0, aioring.TimeoutMultishot))
		r.until("the fifth of four", r.ring.CQHasOverflow)
		again := expired(1).goesOn()
		r.want(again, again, again, again, expired(1))
		r.submit(removal(2, 1)) // it is gone
		r.want(failed(2, unix.ENOENT))
	}},
}
