package engine

import "syscall"

// A completion queue that is full. Contract part 5.3. What is final is kept in a
// backlog threaded through the operations, which is the owner's; an operation that
// would go on has no place for a CQE that is not its last, and ends. Source: Linux
// io_uring/io_uring.c, io_req_post_cqe, and io_uring/timeout.c, io_timeout_complete.

// Cut ends an operation that would go on, because there is no room for its CQE: the
// CQE becomes its last. The caller delivers it as such, unless it is Silent.
func (e *Engine) Cut(op *Op) {
	if op.state != repeating {
		return
	}
	op.state = idle
	op.CQE.Flags &^= CQEMore
	e.unlead(op)
	guard := e.unguard(op)
	if breaks(op, op.CQE.Res) {
		op.fail(op.CQE.Res)
	}
	e.drain.active--
	if guard != nil {
		e.finish(guard, -int32(syscall.ECANCELED))
	}
	if op.link != nil {
		e.follow(op)
	}
	e.step()
}
