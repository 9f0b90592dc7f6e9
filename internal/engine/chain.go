package engine

import "syscall"

// Chains: IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_CQE_SKIP_SUCCESS. Contract parts
// 3.2, 3.3, 3.4 and 3.6. Source: Linux io_uring/io_uring.c, io_submit_sqe,
// io_submit_fail_init, and io_uring/timeout.c, io_disarm_next, io_fail_links.

// assembly is the chain that is being put together.
type assembly struct{ head, last *Op }

// assemble adds an accepted operation, refused if errno is not 0, to the chain under
// way, and queues the chain when it is complete. A refused one poisons its whole
// chain, and stops a submission only where it ends a chain, or is none.
func (e *Engine) assemble(op *Op, errno syscall.Errno) (ok bool) {
	c := &e.chain
	if errno != 0 {
		op.fail(-int32(errno))
		if c.head != nil && c.head.marks&failed == 0 {
			c.head.fail(-int32(syscall.ECANCELED))
		}
	}
	linked := op.SQE.Flags&linkFlags != 0
	switch {
	case c.head != nil:
		c.last.link = op
	case linked:
		c.head = op
	default:
		e.queue(op)
		return errno == 0
	}
	if c.last = op; linked {
		return true
	}
	e.EndChain()
	return errno == 0
}

// EndChain ends the chain under way, if there is one: a link flag on the last SQE of
// a submission joins nothing.
func (e *Engine) EndChain() {
	if head := e.chain.head; head != nil {
		e.chain = assembly{}
		e.queue(head)
	}
}

// InChain reports whether a chain is under way.
func (e *Engine) InChain() bool { return e.chain.head != nil }

// dropChain ends the chain under way with ECANCELED.
func (e *Engine) dropChain() {
	if head := e.chain.head; head != nil {
		e.chain = assembly{}
		if head.marks&failed == 0 {
			head.fail(-int32(syscall.ECANCELED))
		}
		e.poison(head)
	}
}

// fail marks an operation as failed with res. Where it had asked for silence on
// success, its failure is told, and the rest of the chain is silent in its place.
func (o *Op) fail(res int32) {
	o.CQE.Res = res
	o.marks |= failed
	if o.marks&silent != 0 {
		o.marks = o.marks&^silent | silenceRest
	}
}

// poison ends a chain of which a member was refused: nothing of it runs, hard links
// or not, and no drain holds it.
func (e *Engine) poison(head *Op) {
	rest := head.link
	head.link = nil
	e.post(head, head.CQE.Res)
	e.cancelRest(head, rest, 0)
}

// follow sees to what comes after a finished operation in its chain.
func (e *Engine) follow(op *Op) {
	next := op.link
	op.link = nil
	if e.closing || op.marks&failed != 0 && op.SQE.Flags&FlagIOHardlink == 0 {
		e.cancelRest(op, next, 1)
		return
	}
	e.ready.Push(next)
}

// cancelRest ends the rest of a chain that op has broken, in chain order. active is
// what each of them counts for.
func (e *Engine) cancelRest(op, rest *Op, active int) {
	for rest != nil {
		o := rest
		rest, o.link = o.link, nil
		res := -int32(syscall.ECANCELED)
		if o.marks&failed != 0 {
			res = o.CQE.Res
		}
		o.marks &^= silent
		if op.marks&silenceRest != 0 {
			o.marks |= silent
		}
		e.post(o, res)
		e.drain.active -= active
	}
}

// breaks reports whether a result breaks a chain. Any error does, also those of the
// file operations which Linux 6.18 lets pass against its manual; and a short
// transfer does, with the end of the file.
func breaks(op *Op, res int32) bool {
	switch op.SQE.Opcode {
	case OpRead, OpWrite, OpReadv, OpWritev:
		return int64(res) < min(op.bytes, MaxTransfer)
	case OpTimeout:
		return res < 0 && !(res == -int32(ETIME) && op.SQE.OpFlags&TimeoutETimeSuccess != 0)
	case OpLinkTimeout:
		return false
	}
	return res < 0
}
