//go:build unix

package ringtest

import (
	"reflect"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// The submission queue, as GetSQE hands it out.

const getSQE = "io_uring_get_sqe(3); liburing src/include/liburing.h"

var queueCases = []testCase{
	{name: "sq.full", source: getSQE + "; test/sq-full.c", entries: 4, run: func(r *rig) {
		for round := range 3 {
			r.put(nop(1), nop(2), nop(3), nop(4))
			if r.ring.GetSQE() != nil {
				r.Fatalf("round %d: a fifth entry of four", round)
			}
			r.submits(4)
			r.want(is(1, 0), is(2, 0), is(3, 0), is(4, 0))
		}
	}},
	{name: "sq.space", source: "io_uring_sq_space_left(3); liburing test/sq-space_left.c", entries: 8, run: func(r *rig) {
		check := func(filled int) {
			r.Helper()
			if ready, left := r.ring.SQReady(), r.ring.SQSpaceLeft(); ready != filled || ready+left != 8 {
				r.Errorf("%d filled: %d ready and %d left", filled, ready, left)
			}
		}
		for n := range 9 {
			for i := range n {
				check(i)
				r.put(nop(uint64(i)))
			}
			check(n)
			r.submits(n)
			check(0)
			r.reapN(n)
			check(0)
		}
		r.put(refused(1), nop(2), nop(3))
		r.submits(1)
		check(2) // stopped after the bad one
		r.submits(2)
		check(0)
		r.reapN(3)
	}},
	{name: "sq.wrap", source: "io_uring_setup(2): indexes run freely and are masked; liburing test/submit-reuse.c", bare: true, run: func(r *rig) {
		r.open(4, aioring.WithFirstIndex(1<<32-6))
		next, seen := uint64(0), uint64(0)
		for round := range 40 {
			n := round%4 + 1
			for range n {
				r.put(nop(next))
				next++
			}
			if left := r.ring.SQSpaceLeft(); left != 4-n {
				r.Fatalf("round %d: room for %d, want %d", round, left, 4-n)
			}
			r.submits(n)
			for range n {
				if c := r.reap(); c != is(seen, 0) {
					r.Fatalf("round %d: %v, want %v", round, c, is(seen, 0))
				}
				seen++
			}
		}
		r.nothingLeft()
	}},
	{name: "sq.clean", source: getSQE + ": io_uring_initialize_sqe", entries: 2, run: func(r *rig) {
		f := r.file("abcdef")
		for range 4 { // each place more than once
			for range 2 {
				r.submit(refusedWithEverything())
				r.want(failed(99, unix.EINVAL))
			}
			for range 2 {
				sqe := r.ring.GetSQE()
				if v := reflect.ValueOf(sqe).Elem(); !v.IsZero() {
					r.Errorf("a reused entry has %+v", v)
				}
				aioring.PrepRead(sqe, f.fd, make([]byte, 3), 3)
			}
			r.submits(2)
			r.wantAny(is(0, 3), is(0, 3))
		}
	}},
	{name: "sq.partial_fill", source: getSQE + ": an entry not prepared is a NOP", entries: 4, run: func(r *rig) {
		r.put(nop(7))
		if r.ring.GetSQE() == nil {
			r.Fatal("no entry")
		}
		r.put(nop(8))
		r.submits(3)
		r.wantAny(is(7, 0), is(0, 0), is(8, 0))
	}},
}

// refusedWithEverything has something in every field.
func refusedWithEverything() op {
	o := refused(99)
	o.Flags = aioring.FlagAsync
	o.Fd, o.OpFlags, o.Len, o.Off = 1, 2, 3, 4
	o.Addr, o.Time = 5, 6
	o.Buf, o.Bufs, o.Keep = make([]byte, 7), make([][]byte, 8), unix.EIO
	return o
}
