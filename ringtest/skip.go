//go:build unix

package ringtest

import "golang.org/x/sys/unix"

// IOSQE_CQE_SKIP_SUCCESS: completions left out.

const skipSource = "io_uring_enter(2), IOSQE_CQE_SKIP_SUCCESS; liburing test/skip-cqe.c"

var skipCases = []testCase{
	{name: "skip.success", source: skipSource, run: func(r *rig) {
		f, p := r.file(""), r.pipe()
		r.submit(nop(1).skip(), nop(2))
		r.want(is(2, 0))
		r.submit(p.read(3, 4).skip())
		p.put("1234")
		r.quiet("a read that succeeds")
		r.submit(nop(4).skip().link(), f.write(5, "it ran", 0).skip().link(), nop(6))
		r.want(is(6, 0))
		f.wantContent("it ran")
	}},
	{name: "skip.fail", source: skipSource, run: func(r *rig) {
		r.submit(broken(1).skip())
		r.want(failed(1, unix.EBADF))
		r.submit(refused(2).skip())
		r.want(failed(2, unix.EINVAL))
	}},
	{name: "skip.chain", source: skipSource + "; Linux io_uring/timeout.c, io_fail_links: the one that fails decides for those behind it", run: func(r *rig) {
		r.submit(broken(1).skip().link(), nop(2).link(), nop(3))
		r.want(failed(1, unix.EBADF))
		r.quiet("the rest of a chain that a silent one has broken")
		r.submit(broken(1).link(), nop(2).skip().link(), nop(3))
		r.want(failed(1, unix.EBADF), cancelled(2), cancelled(3))
		r.submit(nop(1).skip().link(), broken(2).link(), nop(3))
		r.want(failed(2, unix.EBADF), cancelled(3))
	}},
	{name: "skip.drain", source: "Linux io_uring/io_uring.c, io_init_req: who skips cannot be waited for", run: func(r *rig) {
		r.submit(nop(1).drain())
		r.want(is(1, 0))
		r.put(nop(1).skip().drain(), nop(2))
		r.submits(1)
		r.want(failed(1, unix.EOPNOTSUPP))
		r.submits(1)
		r.want(is(2, 0))
		r.put(nop(1).drain(), nop(2))
		r.submits(1)
		r.want(failed(1, unix.EOPNOTSUPP))
		r.submits(1)
		r.want(is(2, 0))
	}},
}
