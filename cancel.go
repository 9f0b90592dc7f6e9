package aioring

import (
	"context"
	"syscall"

	"github.com/aioring/aioring/internal/engine"
)

// Flags of PrepCancel. Source: io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_*.
const (
	CancelAll      = engine.CancelAll      // all that match; the result is their number
	CancelFd       = engine.CancelFd       // by descriptor; set by PrepCancelFd
	CancelAny      = engine.CancelAny      // everything
	CancelFdFixed  = engine.CancelFdFixed  // the descriptor is an index into the table of registered files
	CancelUserData = engine.CancelUserData // by user data too
	CancelOp       = engine.CancelOp       // by opcode; set by PrepCancelOp
)

// PrepCancel prepares the end of the operation with this user data. The result is 0,
// and the operation ends with ECANCELED, or with what it had done; or ENOENT when
// there is none under way; or EALREADY when it can no longer be stopped. With
// CancelAll or CancelAny the result is how many were stopped.
//
// What has not started, behind a drain or in a chain, is not found. Neither is a
// LINK_TIMEOUT.
func PrepCancel(sqe *SQE, userData uint64, flags uint32) {
	prep(sqe, OpAsyncCancel, -1, 0)
	sqe.Addr, sqe.OpFlags = userData, flags
}

// PrepCancelFd is PrepCancel for the operations on the file that fd is a descriptor
// of, as far as they were submitted with that number. EBADF: it is none.
func PrepCancelFd(sqe *SQE, fd int, flags uint32) {
	prep(sqe, OpAsyncCancel, fd, 0)
	sqe.OpFlags = flags | CancelFd
}

// PrepCancelOp is PrepCancel for operations of one kind.
func PrepCancelOp(sqe *SQE, op Opcode, flags uint32) {
	prep(sqe, OpAsyncCancel, -1, 0)
	sqe.Len, sqe.OpFlags = uint32(op), flags|CancelOp
}

// CancelSync cancels what the SQE of a PrepCancel function means, without submitting
// it: no drain holds it, and it is not counted anywhere. When it returns, what it
// found is over. It returns how many were stopped.
//
// Errors: ENOENT when nothing was found, without CancelAll or CancelAny; EBADF and
// EINVAL as from the operation; ctx's error when that ends before what was found does.
// Any goroutine may call it. Source: io_uring_register_sync_cancel(3).
func (r *Ring) CancelSync(ctx context.Context, sqe SQE) (int, error) {
	c, err := engine.NewCancel(sqe)
	if err != nil {
		return 0, err
	}
	if r.direct != nil {
		return r.direct.cancelSync(ctx, &sqe)
	}
	byFd := sqe.OpFlags&CancelFd != 0
	if byFd && (sqe.OpFlags&CancelFdFixed != 0 || sqe.Flags&FlagFixedFile != 0) {
		return 0, syscall.EBADF
	}
	known := true
	r.own(func() {
		if known = !byFd || r.low.open(sqe.Fd); known && !r.closed.Load() {
			r.eng.Cancel(c)
		}
	})
	if !known {
		return 0, syscall.EBADF
	}
	// Counted first: whose turn ends the last of it sees that somebody waits.
	r.cq.turning.Add(1)
	defer r.cq.turning.Add(-1)
	for {
		seen := r.cq.turned.Load()
		r.owner.Lock()
		remains := !c.Over() || r.eng.Remains(c)
		r.owner.Unlock()
		r.drive()
		if !remains || r.closed.Load() {
			break
		}
		if err := r.awaitTurn(ctx, seen); err != nil {
			return 0, err
		}
	}
	switch res := c.CQE.Res; {
	case r.closed.Load():
		return 0, ErrClosed
	case sqe.OpFlags&(CancelAll|CancelAny) != 0:
		return int(res), nil
	case res == 0:
		return 1, nil
	case res != -int32(syscall.EALREADY):
		return 0, syscall.Errno(-res)
	}
	return 0, nil // it could not be stopped, and is over by itself
}

// seek finds out whether an ASYNC_CANCEL names a file. The owner calls it.
func (r *Ring) seek(op *engine.Op) {
	if !r.low.open(op.SQE.Fd) {
		r.eng.Complete(op, -int32(syscall.EBADF))
		return
	}
	r.eng.Seek(op)
}

// cancelTargets asks for the end of what cancellations have found. The owner calls it.
func (r *Ring) cancelTargets() {
	for {
		target, by := r.eng.NextCancel()
		if target == nil {
			return
		}
		errno := syscall.ENOENT // the number was another file's
		if by.SQE.Opcode != OpAsyncCancel || by.SQE.OpFlags&CancelFd == 0 || r.low.uses(target, by.SQE.Fd) {
			errno = r.low.cancel(target)
		}
		if errno != syscall.EINPROGRESS {
			r.eng.Answer(target, errno)
		}
	}
}
