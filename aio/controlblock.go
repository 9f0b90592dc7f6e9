package aio

import "unsafe"

// Opcode says what a control block asks for (aio_lio_opcode).
// Source: FreeBSD sys/sys/aio.h.
type Opcode int32

// The list opcodes. Sync and mlock have none: the kernel refuses them in a
// list, they are calls of their own.
const (
	OpNop   Opcode = 0x00
	OpWrite Opcode = 0x01
	OpRead  Opcode = 0x02
	// OpWritev and OpReadv are accepted by aio_writev(2) and aio_readv(2) on
	// 13.0 and later, in lists only on 14.0 and later (EINVAL before).
	OpWritev Opcode = 0x05
	OpReadv  Opcode = 0x06
)

// ListMode is the first argument of lio_listio(2).
type ListMode int32

const (
	ListNoWait ListMode = 0
	ListWait   ListMode = 1
)

// Notify selects the notification of a finished job (sigev_notify).
type Notify int32

const (
	NotifyNone   Notify = 0
	NotifySignal Notify = 1
	NotifyKevent Notify = 3
)

// CancelStatus is the answer of aio_cancel(2).
type CancelStatus int32

const (
	// Cancelled: the job has finished with ECANCELED, its event is posted, and
	// it must still be reaped.
	Cancelled CancelStatus = 1
	// NotCancelled: the job runs on to its normal result.
	NotCancelled CancelStatus = 2
	// AllDone: no such job was waiting.
	AllDone CancelStatus = 3
)

// SyncOp is the first argument of aio_fsync(2).
type SyncOp int32

const (
	Sync     SyncOp = 0x0080     // O_SYNC: data and metadata
	DataSync SyncOp = 0x01000000 // O_DSYNC: data and what is needed to read it back
)

// MaxIovecs is the most elements that one vectored job may have (IOV_MAX).
const MaxIovecs = 1024

// Iovec is struct iovec. It lives on the Go heap, so Base is a real pointer and
// keeps its buffer reachable.
type Iovec struct {
	Base unsafe.Pointer
	Len  uintptr
}

// Prepare fills every field of the control block for a new submission. What an
// earlier job left in it is gone, the kernel's words included.
//
// buf is the address of the data, or of an array of n [Iovec] for the vectored
// opcodes. It is moved to the heap if it would have been on a stack, whose
// addresses change; nothing here keeps it reachable. A control block lives
// outside the Go heap, so the caller must hold the buffer until the job is
// reaped.
func (cb *ControlBlock) Prepare(op Opcode, fd int, off int64, buf unsafe.Pointer, n int, ev Sigevent) {
	if never {
		escaped = buf
	}
	cb.Fd = int32(fd)
	cb.Offset = off
	cb.Buf = uintptr(buf)
	cb.Nbytes = uintptr(n)
	cb.Opcode = op
	cb.Reqprio = 0
	cb.Sigevent = ev
	cb.status.Store(0)
	cb.errno.Store(untouched)
}

// never is false, which the compiler does not know: so it must assume that
// Prepare lets the buffer's address escape, as it does, to the kernel.
var (
	never   bool
	escaped unsafe.Pointer //nolint:unused // for its effect on escape analysis
)

// untouched stands in the error word until a kernel has looked at the block: a
// list refused as a whole (EINVAL for its length, say) leaves it there.
const untouched = ^uintptr(0)

// Touched reports whether a kernel has looked at this block since Prepare.
func (cb *ControlBlock) Touched() bool { return cb.errno.Load() != untouched }

// ErrorWord is the error word in user memory. After a submitting call it is
// EINPROGRESS for an accepted job and stays so until the job is reaped, whatever
// became of it; for a refused one it is the reason; 0 means a NOP.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_aqueue (aiocb_store_error).
func (cb *ControlBlock) ErrorWord() Errno { return Errno(cb.errno.Load()) }

// StatusWord is the status word in user memory: -1 until the job is reaped, then
// its byte count, or -1 if it failed.
func (cb *ControlBlock) StatusWord() int { return int(cb.status.Load()) }

// StoreWords sets both words as a kernel does. For models of one.
func (cb *ControlBlock) StoreWords(status int, errno Errno) {
	cb.status.Store(uintptr(status))
	cb.errno.Store(uintptr(errno))
}
