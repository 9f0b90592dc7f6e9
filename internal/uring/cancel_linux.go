package uring

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TimeAddress is where a time is, for an SQE. It must stay there until the kernel has
// taken the entry.
func TimeAddress(ts *Timespec) uint64 { return uint64(uintptr(unsafe.Pointer(ts))) }

// CancelNow is SyncCancel for every key that OpAsyncCancel has: flags are of Cancel*,
// and say which of userData, fd and op count. It returns how many were cancelled, at
// most 1 without CancelAll and CancelAny.
//
// Errors: ENOENT, nothing matched, without CancelAll and CancelAny; EALREADY, what
// matched runs in a call and was interrupted; EBADF, fd is none; EINVAL, Linux is
// older than 6.0.
//
// Source: Linux io_uring/cancel.c, io_sync_cancel.
func (r *Ring) CancelNow(userData uint64, fd int32, op uint8, flags uint32) (int, syscall.Errno) {
	arg := syncCancel{addr: userData, fd: fd, flags: flags, opcode: op}
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerSyncCancel, uintptr(unsafe.Pointer(&arg)), 1, 0, 0)
	switch errno {
	case 0:
		if flags&(CancelAll|CancelAny) == 0 {
			return 1, 0
		}
		return int(n), 0
	case unix.ETIME, unix.EINTR: // it had begun to wait for it
		return 0, unix.EALREADY
	}
	return 0, errno
}
