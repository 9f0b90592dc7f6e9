package engine

import "syscall"

// prepare finds what io_uring refuses before anything runs: it looks at the SQE
// alone. What only running it can tell (a bad descriptor) is not looked at.
// Source: Linux io_uring/io_uring.c, io_init_req, and the prep function of each
// operation.
func (e *Engine) prepare(op *Op) syscall.Errno {
	s := &op.SQE
	if s.Flags != 0 {
		if s.Flags&FlagCQESkip != 0 {
			op.marks |= silent
		}
		if !Supported(s.Opcode) {
			return syscall.EINVAL
		}
		if errno := e.prepareFlags(op); errno != 0 {
			return errno
		}
	}
	if s.IOPrio != 0 && !transfers(s.Opcode) {
		return syscall.EINVAL
	}
	if s.Time != 0 && (s.Opcode < OpTimeout || s.Opcode > OpLinkTimeout || s.Opcode == OpAsyncCancel) {
		if _, personality, _ := s.Rest(); personality != 0 {
			return syscall.EINVAL // none is registered
		}
	}
	switch s.Opcode {
	case OpNop:
		if s.OpFlags&^NopInjectResult != 0 {
			return syscall.EINVAL
		}
	case OpRead, OpWrite:
		if s.Off < CurrentPosition {
			return syscall.EINVAL
		}
	case OpReadv, OpWritev:
		if s.Off < CurrentPosition || len(s.Bufs) > MaxVectors {
			return syscall.EINVAL
		}
		op.keepVector()
	case OpFsync:
		if s.OpFlags&^FsyncDatasync != 0 {
			return syscall.EINVAL
		}
	case OpTimeout, OpLinkTimeout:
		return e.prepareTimeout(op)
	case OpTimeoutRemove:
		return e.prepareRemove(s)
	case OpAsyncCancel:
		return prepareCancel(s)
	default:
		return syscall.EINVAL
	}
	return 0
}

// transfers reports whether an operation reads or writes: the others have no priority.
func transfers(op Opcode) bool {
	return op == OpRead || op == OpWrite || op == OpReadv || op == OpWritev
}

func (e *Engine) prepareFlags(op *Op) syscall.Errno {
	flags := op.SQE.Flags
	if flags&^validFlags != 0 {
		return syscall.EINVAL
	}
	if flags&FlagBufferSelect != 0 && op.SQE.Opcode != OpRead && op.SQE.Opcode != OpReadv {
		return syscall.EOPNOTSUPP
	}
	if flags&FlagCQESkip != 0 {
		// Who waits for all before it could not tell any more when that is over.
		e.drain.disabled = true
	}
	if flags&FlagIODrain != 0 && e.drain.disabled {
		return syscall.EOPNOTSUPP
	}
	return 0
}

// vectorKept is the longest vector whose room an operation keeps for the next.
const vectorKept = 16

// keepVector copies the slice of buffers: it may be used again when Submit returns.
func (o *Op) keepVector() {
	o.vector = append(o.vector[:0], o.SQE.Bufs...)
	o.SQE.Bufs = o.vector
}

// dropVector lets go of the buffers.
func (o *Op) dropVector() {
	clear(o.vector)
	if cap(o.vector) > vectorKept {
		o.vector = nil
	}
}

// Supported reports whether an opcode is one that prepare knows.
func Supported(op Opcode) bool {
	switch op {
	case OpNop, OpRead, OpWrite, OpReadv, OpWritev, OpFsync, OpTimeout, OpTimeoutRemove, OpAsyncCancel, OpLinkTimeout:
		return true
	}
	return false
}
