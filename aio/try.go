package aio

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Call is a submitting system call for one job.
type Call string

const (
	CallRead  Call = "aio_read"
	CallWrite Call = "aio_write"
	CallFsync Call = "aio_fsync" // with O_SYNC
)

// ErrStuck says that a job did not end in time and could not be cancelled. Its
// block and buffer are never used again, and the process's exit waits for it.
var ErrStuck = errors.New("aio: a job does not end")

// stuck keeps what the kernel still has: blocks, and the buffers they name.
var stuck sync.Map

// Try runs one job to its end, to see whether the kernel takes it: no event queue,
// no list. accepted is false when the kernel refused it at submission, and err
// then is the [*OpError] that says why, EOPNOTSUPP for what AIO does not do; else n
// and err are the job's own. Any goroutine may call it. buf is the caller's again
// on return, unless err is [ErrStuck].
//
// Only files, directories and disks should be tried ([FileStat.AIO]): where
// vfs.aio.enable_unsafe is set a job on anything else may never end.
func Try(k Kernel, call Call, fd int, off int64, buf []byte, timeout time.Duration) (n int, accepted bool, err error) {
	slab, err := NewSlab(1)
	if err != nil {
		return 0, false, err
	}
	if _, err := slab.Grow(); err != nil {
		return 0, false, errors.Join(err, slab.Release())
	}
	cb := slab.Block(0)
	// Safe: Prepare moves the buffer to the heap, and it is kept alive below.
	cb.Prepare(OpNop, fd, off, unsafe.Pointer(unsafe.SliceData(buf)), len(buf), Sigevent{})
	var errno Errno
	switch call {
	case CallRead:
		errno = k.Read(cb)
	case CallWrite:
		errno = k.Write(cb)
	case CallFsync:
		errno = k.Fsync(Sync, cb)
	default:
		return 0, false, errors.Join(fmt.Errorf("aio: no call %q for one job", call), slab.Release())
	}
	if errno != 0 {
		return 0, false, errors.Join(cb.Failed(string(call), errno), slab.Release())
	}
	if err := await(k, cb, timeout); err != nil {
		stuck.Store(cb, buf) // the kernel may still write there
		return 0, true, err
	}
	n, errno = k.Return(cb)
	runtime.KeepAlive(buf)
	return max(n, 0), true, errors.Join(cb.Failed(string(call), errno), slab.Release())
}

// await waits until the job has finished, and cancels it when time is over.
func await(k Kernel, cb *ControlBlock, timeout time.Duration) error {
	list := []*ControlBlock{cb}
	deadline := time.Now().Add(timeout)
	for {
		switch k.Suspend(list, max(0, time.Until(deadline))) {
		case EINTR:
			continue
		case 0:
			return nil
		}
		status, errno := k.Cancel(int(cb.Fd), cb)
		if errno == 0 && status != NotCancelled {
			return nil // finished, or finished by this
		}
		return ErrStuck
	}
}
