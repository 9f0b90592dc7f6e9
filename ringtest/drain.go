//go:build unix

package ringtest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// IOSQE_IO_DRAIN: barriers.

const drainSource = "io_uring_enter(2), IOSQE_IO_DRAIN; Linux io_uring/io_uring.c, io_drain_req; liburing test/defer.c"

var drainCases = []testCase{
	{name: "drain.waits", source: drainSource, run: func(r *rig) {
		f, p, q := r.file(""), r.pipe(), r.pipe()
		r.submit(p.read(1, 4), nop(2))
		r.submit(q.read(3, 4))
		r.submit(f.write(4, "late", 0).drain())
		r.want(is(2, 0))
		r.quiet("two are under way")
		p.put("1234")
		r.want(is(1, 4))
		r.quiet("one is under way")
		f.wantContent("")
		q.put("1234")
		r.want(is(3, 4), is(4, 4))
		f.wantContent("late")
		r.submit(nop(5).drain()) // nothing is before it
		r.want(is(5, 0))
		r.submit(f.write(6, "x", 0), p.write(7, "done").drain()) // it goes on with nobody at the ring
		if !r.readable(p.rd, patience) {
			r.Fatal("nobody asks the ring, and the drained one does not start")
		}
		r.want(is(6, 1), is(7, 4))
	}},
	{name: "drain.blocks_later", source: drainSource, run: func(r *rig) {
		p := r.pipe()
		r.submit(p.read(1, 4), nop(2).drain(), nop(3))
		r.submit(nop(4))
		r.submit(cancel(5, 1, 0)) // this too
		r.quiet("a drain is in their way")
		p.put("1234")
		r.first(is(1, 4), is(2, 0))
		r.wantAny(is(3, 0), is(4, 0), failed(5, unix.ENOENT))
	}},
	{name: "drain.chain", source: drainSource + "; test/link_drain.c", run: func(r *rig) {
		p := r.pipe()
		r.submit(p.read(1, 4), nop(2).link(), nop(3).drain().link(), nop(4), nop(5))
		r.quiet("the whole chain waits")
		p.put("1234")
		r.want(is(1, 4), is(2, 0), is(3, 0), is(4, 0), is(5, 0))
	}},
	{name: "drain.multishot", source: drainSource + "; test/multicqes_drain.c", run: func(r *rig) {
		r.submit(timeout(1, ms, 3, aioring.TimeoutMultishot), nop(2).drain(), nop(3))
		again := expired(1).goesOn()
		r.want(again, again, expired(1), is(2, 0), is(3, 0))
	}},
	{name: "drain.sync_cancel", source: drainSource + "; io_uring_register_sync_cancel(3)", run: func(r *rig) {
		r.submit(r.stuck(1), nop(2).drain(), nop(3))
		r.quiet("a drain is in their way")
		var which aioring.SQE
		aioring.PrepCancel(&which, 2, 0)
		if n, err := r.ring.CancelSync(r.Context(), which); n != 0 || err != unix.ENOENT {
			r.Errorf("what is drained was found: %d, %v", n, err)
		}
		aioring.PrepCancel(&which, 1, 0)
		if n, err := r.ring.CancelSync(r.Context(), which); n != 1 || err != nil {
			r.Errorf("CancelSync: %d, %v", n, err)
		}
		r.want(cancelled(1), is(2, 0), is(3, 0))
	}},
}
