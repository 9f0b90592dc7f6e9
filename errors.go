package aioring

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/aioring/aioring/internal/engine"
)

var (
	// ErrClosed is returned by every call on a ring after [Ring.Close], and by
	// those that would start something after [Ring.Shutdown].
	ErrClosed = errors.New("aioring: ring is closed")

	// ErrFull is returned by [Ring.Push] when the submission ring, or the bound on
	// operations alive, has no room for all of a batch. Nothing of it was taken.
	ErrFull = errors.New("aioring: ring is full")

	// ErrTooBig is returned by [Ring.Push] for a batch that could never fit: more
	// SQEs than the ring has entries or may have alive, or more bytes than
	// [WithMaxBytes] allows. A single operation of any size may go alone.
	ErrTooBig = errors.New("aioring: batch is larger than the ring")

	// ErrQueueLost is returned when the kernel no longer tells of completions: somebody
	// closed the ring's kqueue, by its number. It is wrapped with the kernel's errno. The
	// ring takes nothing more; what it had taken still ends, and Close returns. The
	// kernel tells nobody of such a loss: it is noticed when the ring has to do with its
	// queue again, at the latest by the next operation that goes to AIO, or by Close.
	ErrQueueLost = errors.New("aioring: the kernel's event queue is gone")

	// ErrUnsupported is returned by [New] for a kernel that this system does not
	// have.
	ErrUnsupported = errors.ErrUnsupported
)

// Errnos that not every system has a name for. Where the system lacks one it has a
// number that its kernel never answers with.
const (
	ETIME   = engine.ETIME   // a timer went off, or a wait took too long
	EBADFD  = engine.EBADFD  // the ring is disabled, or is not any more
	ENODATA = engine.ENODATA // no such attribute
)

// OpError is the failure of one operation. It unwraps to its errno.
type OpError struct {
	Op  Opcode
	Fd  int
	Off int64 // in bytes; CurrentPosition if it had none
	Err error // a syscall.Errno
}

func (e *OpError) Error() string {
	return fmt.Sprintf("%s fd %d at %d: %v", strings.ToLower(e.Op.String()), e.Fd, e.Off, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// opError is the error in res, nil if there is none.
func opError(sqe *SQE, res int32) error {
	if res >= 0 {
		return nil
	}
	return &OpError{Op: sqe.Opcode, Fd: int(sqe.Fd), Off: sqe.Off, Err: syscall.Errno(-res)}
}

// Operation describes an operation that a ring still holds.
type Operation struct {
	Op       Opcode
	Fd       int
	Off      int64 // in bytes
	Len      int64 // in bytes
	UserData uint64
	Age      time.Duration // since it was accepted
	State    State         // where it is; "" in an error

	start int64 // when it was accepted, on the ring's clock
}

func (o Operation) String() string {
	return fmt.Sprintf("%s fd %d at %d, %d bytes, for %v",
		strings.ToLower(o.Op.String()), o.Fd, o.Off, o.Len, o.Age.Round(time.Millisecond))
}

func operation(op *engine.Op, now int64) Operation {
	return Operation{
		Op: op.SQE.Opcode, Fd: int(op.SQE.Fd), Off: op.SQE.Off, Len: op.SQE.Bytes(),
		UserData: op.SQE.UserData, Age: time.Duration(now - op.Start), start: op.Start,
	}
}

// HeldError is what [Ring.CloseContext] returns when its context ended before the
// kernel gave everything back. The buffers of the operations named may still be
// read and written by the kernel; the ring keeps them reachable for ever.
type HeldError struct {
	Held []Operation
	Err  error // the context's
}

func (e *HeldError) Error() string {
	if len(e.Held) == 0 {
		return "aioring: close: " + e.Err.Error()
	}
	return fmt.Sprintf("aioring: close: %v with %d operations held, first: %v", e.Err, len(e.Held), e.Held[0])
}

func (e *HeldError) Unwrap() error { return e.Err }
