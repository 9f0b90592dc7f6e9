//go:build unix

package ringtest

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// LINK_TIMEOUT: a limit on the time of the chain's member before it.

const linkTimeout = "io_uring_prep_link_timeout(3); Linux io_uring/timeout.c, io_link_timeout_fn; liburing test/link-timeout.c"

var linkTimeoutCases = []testCase{
	{name: "ltmo.fire", source: linkTimeout, run: func(r *rig) {
		began := time.Now()
		r.submit(r.stuck(1).link(), limit(2, pause))
		r.wantAny(expired(2), cancelled(1))
		if took := time.Since(began); took < pause {
			r.Errorf("%v were over after %v", pause, took)
		}
		r.submit(timeout(1, long, 0, 0).link(), limit(2, ms))
		r.wantAny(expired(2), cancelled(1))
	}},
	{name: "ltmo.nofire", source: linkTimeout, run: func(r *rig) {
		p := r.pipe()
		r.submit(nop(1).link(), limit(2, long))
		r.want(is(1, 0), cancelled(2))
		r.submit(p.read(1, 4).link(), limit(2, long))
		p.put("1234")
		r.want(is(1, 4), cancelled(2))
		r.submit(broken(1).link(), limit(2, long))
		r.want(failed(1, unix.EBADF), cancelled(2))
	}},
	{name: "ltmo.chain", source: linkTimeout, run: func(r *rig) {
		r.submit(r.stuck(1).link(), limit(2, ms).link(), nop(3))
		r.wantAny(expired(2), cancelled(1), cancelled(3))
		r.submit(r.stuck(1).hard(), limit(2, ms).link(), nop(3)) // the target's flag decides
		r.wantAny(expired(2), cancelled(1), is(3, 0))
		r.submit(nop(1).link(), limit(2, long).link(), nop(3)) // success goes on
		r.wantAny(is(1, 0), cancelled(2), is(3, 0))
		r.submit(nop(1).link(), r.stuck(2).link(), limit(3, ms)) // it watches the second
		r.wantAny(is(1, 0), expired(3), cancelled(2))
	}},
	{name: "ltmo.alone", source: linkTimeout, run: func(r *rig) {
		r.submit(limit(1, ms))
		r.want(failed(1, unix.EINVAL))
		r.submit(limit(1, ms).link(), nop(2))
		r.want(failed(1, unix.EINVAL), cancelled(2))
		r.submit(nop(1)) // does not make it a chain
		r.submit(limit(2, ms))
		r.want(is(1, 0), failed(2, unix.EINVAL))
	}},
	{name: "ltmo.double", source: linkTimeout, run: func(r *rig) {
		r.submit(nop(1).link(), limit(2, ms).link(), limit(3, ms).link(), nop(4))
		r.want(cancelled(1), cancelled(2), failed(3, unix.EINVAL), cancelled(4))
	}},
	{name: "ltmo.update", source: linkTimeout + "; io_uring_prep_timeout_update(3), IORING_LINK_TIMEOUT_UPDATE", run: func(r *rig) {
		r.submit(r.stuck(1).link(), limit(2, long))
		r.submit(update(3, 2, ms, 0)) // it is not a TIMEOUT
		r.want(failed(3, unix.ENOENT))
		r.submit(update(3, 2, ms, aioring.LinkTimeoutUpdate))
		r.wantAny(is(3, 0), expired(2), cancelled(1))
		r.submit(update(4, 2, ms, aioring.LinkTimeoutUpdate))
		r.want(failed(4, unix.ENOENT))
		r.submit(timeout(5, long, 0, 0).link(), limit(5, long)) // of two it means the LINK_TIMEOUT
		r.submit(update(6, 5, ms, aioring.LinkTimeoutUpdate))
		r.wantAny(is(6, 0), expired(5), cancelled(5))
	}},
	{name: "ltmo.cancel_target", source: linkTimeout + "; io_uring_cancelation(7)", run: func(r *rig) {
		r.submit(r.stuck(1).link(), limit(2, long))
		r.submit(cancel(3, 2, 0)) // it is not to be found itself
		r.want(failed(3, unix.ENOENT))
		r.submit(cancel(4, 1, 0))
		r.wantAny(is(4, 0), cancelled(1), cancelled(2))
	}},
}
