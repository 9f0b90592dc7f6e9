//go:build unix

package ringtest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// Peeking, waiting and reaping.

const (
	cqeSource  = "io_uring_enter(2), struct io_uring_cqe"
	peekSource = "io_uring_peek_cqe(3), io_uring_peek_batch_cqe(3); liburing test/cq-peek-batch.c"
	cqWait     = "io_uring_wait_cqe_nr(3), io_uring_wait_cqe_timeout(3)"
	advance    = "io_uring_cq_advance(3), io_uring_cq_ready(3); liburing test/cq-ready.c"
)

func byData(a, b result) int { return cmp.Compare(a.data, b.data) }

var completeCases = []testCase{
	{name: "cqe.userdata", source: cqeSource, run: func(r *rig) {
		var want []result
		for _, data := range []uint64{0, 1, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, 1<<64 - 2, 5, 5, 5} {
			r.put(nop(data))
			want = append(want, is(data, 0))
		}
		r.submits(len(want))
		r.wantAny(want...)
	}},
	{name: "cqe.once", source: cqeSource, entries: 64, run: func(r *rig) {
		f, p := r.file("abcdefgh"), r.pipe()
		kinds := []func(i uint64) op{
			nop, broken, func(i uint64) op { return f.read(i, 8, 0) }, func(i uint64) op { return f.write(i, "x", 9) },
			f.sync, func(i uint64) op { return timeout(i, ms, 0, 0) }, func(i uint64) op { return p.read(i, 1) },
			func(i uint64) op { return cancel(i, 1<<40, 0) },
		}
		const each = 20
		seen := make([]int, each*len(kinds))
		for i := range seen {
			r.submit(kinds[i%len(kinds)](uint64(i)))
		}
		for range each {
			p.put("y")
		}
		for range seen {
			c := r.reap()
			if c.data >= uint64(len(seen)) || c.more {
				r.Fatalf("%v is nobody's", c)
			}
			seen[c.data]++
		}
		for i, n := range seen {
			if n != 1 {
				r.Errorf("operation %d has %d CQEs", i, n)
			}
		}
		r.quiet("all have had theirs")
	}},
	{name: "cq.peek_empty", source: peekSource, run: func(r *rig) {
		r.nothingLeft()
		r.submit(r.stuck(1))
		r.nothingLeft()
		if n := r.ring.PeekBatchCQE(make([]*aioring.CQE, 4)); n != 0 {
			r.Errorf("PeekBatchCQE: %d", n)
		}
		if c, err := r.ring.WaitCQENr(0); c != nil || err != unix.EAGAIN {
			r.Errorf("WaitCQENr(0): %v, %v", c, err)
		}
	}},
	{name: "cq.wait_nr", source: cqWait, run: func(r *rig) {
		a, b, c := r.pipe(), r.pipe(), r.pipe()
		r.submit(a.read(1, 4), b.read(2, 4), c.read(3, 4))
		a.put("1234")
		b.put("1234")
		if _, err := r.ring.WaitCQENr(2); err != nil || r.ring.CQReady() != 2 {
			r.Fatalf("two: %v, %d ready", err, r.ring.CQReady())
		}
		time.AfterFunc(pause, func() { c.put("1234") })
		if _, err := r.ring.WaitCQENr(3); err != nil || r.ring.CQReady() != 3 {
			r.Errorf("three: %v, %d ready", err, r.ring.CQReady())
		}
		r.wantAny(is(1, 4), is(2, 4), is(3, 4))
	}},
	{name: "cq.batch", source: peekSource, run: func(r *rig) {
		for i := range uint64(5) {
			r.submit(nop(i))
		}
		if _, err := r.ring.WaitCQENr(5); err != nil {
			r.Fatal(err)
		}
		for _, room := range []int{0, 1, 3, 5, 9, 3} { // the head does not move
			cqes := make([]*aioring.CQE, room)
			n := r.ring.PeekBatchCQE(cqes)
			if n != min(room, 5) {
				r.Errorf("room for %d: %d", room, n)
			}
			for i, c := range cqes[:n] {
				if resultOf(c) != is(uint64(i), 0) {
					r.Errorf("room for %d: %v at %d", room, resultOf(c), i)
				}
			}
		}
		r.want(is(0, 0), is(1, 0), is(2, 0), is(3, 0), is(4, 0))
	}},
	{name: "cq.foreach", source: "io_uring_for_each_cqe(3)", run: func(r *rig) {
		for i := range uint64(4) {
			r.submit(nop(i))
		}
		if _, err := r.ring.WaitCQENr(4); err != nil {
			r.Fatal(err)
		}
		for range 2 {
			var seen []uint64
			for c := range r.ring.ForEachCQE() {
				if len(seen) == 0 {
					r.submit(nop(9)) // what comes meanwhile is for the next time, or seen
				}
				if c.UserData != 9 {
					seen = append(seen, c.UserData)
				}
			}
			if !slices.Equal(seen, []uint64{0, 1, 2, 3}) || r.ring.CQReady() < 4 {
				r.Errorf("%v, and %d are left", seen, r.ring.CQReady())
			}
		}
		r.want(is(0, 0), is(1, 0), is(2, 0), is(3, 0), is(9, 0), is(9, 0))
		for range r.ring.ForEachCQE() {
			r.Error("there is one in an empty queue")
		}
	}},
	{name: "cq.advance", source: advance, entries: 4, run: func(r *rig) {
		for i := range uint64(8) {
			r.submit(nop(i))
		}
		cqes := make([]*aioring.CQE, 8)
		r.until("eight are there", func() bool { return r.ring.PeekBatchCQE(cqes) == 8 })
		for i := range uint64(8) { // the queue is full of what was not reaped
			r.submit(nop(100 + i))
		}
		for i, c := range cqes {
			if resultOf(c) != is(uint64(i), 0) {
				r.Errorf("%d has become %v", i, resultOf(c))
			}
		}
		r.ring.CQAdvance(3)
		r.until("three more have moved up", func() bool { _, err := r.ring.PeekCQE(); return err == nil && r.ring.CQReady() == 8 })
		for i, c := range cqes[3:] {
			if resultOf(c) != is(uint64(i+3), 0) {
				r.Errorf("%d has become %v", i+3, resultOf(c))
			}
		}
		r.ring.CQAdvance(5)
		var rest []result
		for i := range uint64(8) {
			rest = append(rest, is(100+i, 0))
		}
		r.want(rest...)
	}},
	{name: "cq.ready", source: advance, run: func(r *rig) {
		posted, seen := 0, 0
		check := func() {
			r.Helper()
			if got := r.ring.CQReady(); got != posted-seen {
				r.Errorf("%d ready, want %d", got, posted-seen)
			}
		}
		for round := range 40 {
			check()
			for range round%4 + 1 {
				r.submit(nop(0))
				posted++
			}
			if _, err := r.ring.WaitCQENr(posted - seen); err != nil {
				r.Fatal(err)
			}
			check()
			n := min(round%5+1, posted-seen)
			r.ring.CQAdvance(n)
			seen += n
			check()
		}
		r.ring.CQAdvance(posted - seen)
		r.nothingLeft()
	}},
	{name: "cq.timeout0", source: cqWait + "; liburing test/wait-timeout.c", run: func(r *rig) { r.waitsNoTime(0) }},
	{name: "cq.timeout_neg", source: cqWait + "; Linux kernel/time/hrtimer.c: a time in the past is over", run: func(r *rig) { r.waitsNoTime(-time.Second) }},
	{name: "ring.close_wakes", source: "aioring.Ring.Close", run: func(r *rig) {
		for name, wait := range map[string]func(ring *aioring.Ring) error{
			"WaitCQE":        func(ring *aioring.Ring) error { _, err := ring.WaitCQE(); return err },
			"WaitCQENr":      func(ring *aioring.Ring) error { _, err := ring.WaitCQENr(3); return err },
			"WaitCQETimeout": func(ring *aioring.Ring) error { _, err := ring.WaitCQETimeout(long); return err },
			"SubmitAndWait":  func(ring *aioring.Ring) error { _, err := ring.SubmitAndWait(1); return err },
			"Wait":           func(ring *aioring.Ring) error { _, err := ring.Wait(context.Background()); return err },
			"Wait with a context": func(ring *aioring.Ring) error {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				_, err := ring.Wait(ctx)
				return err
			},
		} {
			for _, busy := range []bool{false, true} {
				ring := r.open(4)
				if busy {
					r.submit(r.stuck(1))
				}
				woken := make(chan error, 1)
				go func() {
					err := wait(ring)
					for busy && err == nil { // the end of what was under way
						err = wait(ring)
					}
					woken <- err
				}()
				time.Sleep(ms) // it waits by now, or not yet: both must end
				if err := ring.Close(); err != nil {
					r.Errorf("%s: Close: %v", name, err)
				}
				if err := soon(r, name+" returns", woken); err != aioring.ErrClosed {
					r.Errorf("%s: %v", name, err)
				}
			}
		}
	}},
}

// waitsNoTime sees that waits for so long return at once.
func (r *rig) waitsNoTime(d time.Duration) {
	r.Helper()
	r.submit(r.stuck(1))
	began := time.Now()
	if c, err := r.ring.WaitCQETimeout(d); c != nil || err != aioring.ETIME {
		r.Errorf("WaitCQETimeout: %v, %v", c, err)
	}
	if n, err := r.ring.SubmitAndWaitTimeout(1, d); n != 0 || err != aioring.ETIME {
		r.Errorf("SubmitAndWaitTimeout: %d, %v", n, err)
	}
	r.submit(nop(2))
	if _, err := r.ring.WaitCQENr(1); err != nil {
		r.Fatal(err)
	}
	if c, err := r.ring.WaitCQETimeout(d); err != nil || resultOf(c) != is(2, 0) {
		r.Errorf("WaitCQETimeout with one there: %v", err)
	}
	if c, err := r.ring.WaitCQEs(2, d); err != nil || resultOf(c) != is(2, 0) {
		r.Errorf("WaitCQEs(2) with one there: %v", err)
	}
	if n, err := r.ring.SubmitAndWaitTimeout(2, d); n != 0 || err != nil {
		r.Errorf("SubmitAndWaitTimeout(2) with one there: %d, %v", n, err)
	}
	r.want(is(2, 0))
	if took := time.Since(began); took > patience {
		r.Errorf("they took %v", took)
	}
}
