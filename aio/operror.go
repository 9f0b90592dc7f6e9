package aio

import "fmt"

// OpError is the failure of one call about one job, or the job's own. It unwraps to
// its [Errno], which errors.Is compares with the errors of package os, too.
type OpError struct {
	Op     string // the system call
	Fd     int
	Offset int64 // in bytes
	Err    Errno
}

func (e *OpError) Error() string {
	return fmt.Sprintf("%s fd %d at %d: %v", e.Op, e.Fd, e.Offset, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// Failed is the error of a call about this block, nil for errno 0. op is the name
// of the system call; descriptor and offset are the block's, so it must not have
// been prepared for something else since.
func (cb *ControlBlock) Failed(op string, errno Errno) error {
	if errno == 0 {
		return nil
	}
	return &OpError{Op: op, Fd: int(cb.Fd), Offset: cb.Offset, Err: errno}
}
