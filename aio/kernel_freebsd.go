package aio

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls, by number: the same on every FreeBSD since 13.0 and on every
// processor. The older numbers 318 to 320 (aio of FreeBSD 6) and 363 (kevent of
// FreeBSD 11) take other structures. kqueuex(2), 583, is never made: a kernel
// that lacks it kills the process with SIGSYS, and in a jail the release that
// could warn of that may be made up.
// Source: FreeBSD sys/sys/syscall.h.
const (
	sysAioRead         = 255
	sysAioWrite        = 256
	sysLioListio       = 257
	sysAioReturn       = 314
	sysAioSuspend      = 315
	sysAioCancel       = 316
	sysAioError        = 317
	sysAioWaitcomplete = 359
	sysThrKill         = 433
	sysAioFsync        = 465
	sysAioMlock        = 543
	sysKevent          = 560
	sysAioWritev       = 578
	sysAioReadv        = 579
)

// FreeBSD is the real [Kernel]: every method makes the system call that the
// interface names, once, and says what came back.
//
// All of them go through the call that tells Go's scheduler, although that costs
// a few tens of nanoseconds. Submitting sleeps for kernel memory and, the first
// time in a process, until daemons have started; aio_return may drop the last
// reference to a file and so close it; kevent with a zero timeout waits while
// another thread has a knote in flux; fstat waits for the vnode's lock. A raw
// call asleep in the kernel would hold up every garbage collection, and reaping
// by raw calls was measured to gain nothing. aio_error alone never sleeps, see
// Error.
type FreeBSD struct {
	HostFiles
	osreldate uint32
	known     atomic.Pointer[Limits] // what Limits has read last, for where it may not
}

var _ Kernel = (*FreeBSD)(nil)

// NewFreeBSD answers for the running kernel, which must be FreeBSD 13.2 or later:
// on 12 the vectored calls would kill the process. That is not checked, because
// in a jail kern.osreldate is whatever the jail's creator made it.
func NewFreeBSD() (*FreeBSD, error) {
	osreldate, err := unix.SysctlUint32("kern.osreldate")
	if err != nil {
		return nil, fmt.Errorf("aio: sysctl kern.osreldate: %w", err)
	}
	k := &FreeBSD{osreldate: osreldate}
	_, _ = k.Limits() // now, before the process gives up its right to ask
	return k, nil
}

func (k *FreeBSD) Name() string { return "freebsd" }

// Osreldate is kern.osreldate at the time of NewFreeBSD: major release times
// 100000 and more. It is for people to read. In a jail its creator may have set
// it, so nothing is decided by it.
func (k *FreeBSD) Osreldate() int { return int(k.osreldate) }

func (k *FreeBSD) Read(cb *ControlBlock) Errno {
	return submit(sysAioRead, uintptr(unsafe.Pointer(cb)))
}

func (k *FreeBSD) Write(cb *ControlBlock) Errno {
	return submit(sysAioWrite, uintptr(unsafe.Pointer(cb)))
}

func (k *FreeBSD) Readv(cb *ControlBlock) Errno {
	return submit(sysAioReadv, uintptr(unsafe.Pointer(cb)))
}

func (k *FreeBSD) Writev(cb *ControlBlock) Errno {
	return submit(sysAioWritev, uintptr(unsafe.Pointer(cb)))
}

func (k *FreeBSD) Mlock(cb *ControlBlock) Errno {
	return submit(sysAioMlock, uintptr(unsafe.Pointer(cb)))
}

// submit queues one job.
//
// The directive keeps a control block alive for the call and, more, off the
// goroutine's stack, whose addresses change: the kernel knows the job by this
// address until it is reaped.
//
//go:uintptrescapes
func submit(trap, cb uintptr) Errno {
	_, _, errno := unix.Syscall(trap, cb, 0, 0)
	return Errno(errno)
}

func (k *FreeBSD) Fsync(op SyncOp, cb *ControlBlock) Errno {
	return fsync(uintptr(op), uintptr(unsafe.Pointer(cb)))
}

//go:uintptrescapes
func fsync(op, cb uintptr) Errno {
	_, _, errno := unix.Syscall(sysAioFsync, op, cb, 0)
	return Errno(errno)
}

func (k *FreeBSD) ListIO(mode ListMode, list []*ControlBlock, sig *Sigevent) Errno {
	return listIO(uintptr(mode), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)),
		uintptr(unsafe.Pointer(sig)))
}

// listIO queues a list. Like a control block, the array may not be on a stack:
// its address is the ident of the list's event. The kernel has copied sig when
// the call returns.
//
//go:uintptrescapes
func listIO(mode, list, nent, sig uintptr) Errno {
	_, _, errno := unix.Syscall6(sysLioListio, mode, list, nent, sig, 0, 0)
	return Errno(errno)
}

// Error asks aio_error(2), which answers in the result register: the call as
// such does not fail, except that it answers -1 for memory it cannot read.
//
// The call may be raw: it scans a list under a mutex that nobody sleeps with,
// and reads the two words of a job it does not know.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_error.
func (k *FreeBSD) Error(cb *ControlBlock) Errno {
	// The conversion in the argument list keeps cb alive, as unsafe.Pointer's
	// rule for system calls says.
	answer, _, errno := unix.RawSyscall(sysAioError, uintptr(unsafe.Pointer(cb)), 0, 0)
	if errno != 0 {
		return Errno(errno)
	}
	return Errno(int32(answer))
}

// Return answers n = -1 with every errno, as the call does.
func (k *FreeBSD) Return(cb *ControlBlock) (n int, errno Errno) {
	count, _, e := unix.Syscall(sysAioReturn, uintptr(unsafe.Pointer(cb)), 0, 0)
	if e != 0 {
		return -1, Errno(e)
	}
	return int(count), 0
}

func (k *FreeBSD) Suspend(list []*ControlBlock, timeout time.Duration) Errno {
	// The kernel copies the array and compares the addresses in it with those it
	// has.
	var wait unix.Timespec
	_, _, errno := unix.Syscall(sysAioSuspend, uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)),
		uintptr(unsafe.Pointer(limitOf(&wait, timeout))))
	return Errno(errno)
}

// WaitComplete answers n = -1 with every errno, as the call does.
func (k *FreeBSD) WaitComplete(timeout time.Duration) (cb *ControlBlock, n int, errno Errno) {
	// The kernel stores the address that a submission named, of a block that the
	// submitter keeps in place until it is reaped, here. Nothing else knows the
	// variable during the call.
	var wait unix.Timespec
	count, _, e := unix.Syscall(sysAioWaitcomplete, uintptr(unsafe.Pointer(&cb)),
		uintptr(unsafe.Pointer(limitOf(&wait, timeout))), 0)
	if e != 0 {
		return cb, -1, Errno(e)
	}
	return cb, int(count), 0
}

func (k *FreeBSD) Cancel(fd int, cb *ControlBlock) (CancelStatus, Errno) {
	status, _, errno := unix.Syscall(sysAioCancel, uintptr(fd), uintptr(unsafe.Pointer(cb)), 0)
	if errno != 0 {
		return 0, Errno(errno)
	}
	return CancelStatus(status), 0
}

// Kqueue makes the queue and sets close-on-exec under the lock that Go's fork
// takes, so that no child started meanwhile inherits the number.
func (k *FreeBSD) Kqueue() (kq int, errno Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	kq, err := unix.Kqueue()
	if err != nil {
		return -1, errnoOf(err)
	}
	unix.CloseOnExec(kq)
	return kq, 0
}

func (k *FreeBSD) Kevent(kq int, changes, events []Kevent, timeout time.Duration) (n int, errno Errno) {
	// The kernel reads all three while the call lasts and keeps none of them;
	// a goroutine's stack does not move during its system call.
	var wait unix.Timespec
	got, _, e := unix.Syscall6(sysKevent, uintptr(kq),
		uintptr(unsafe.Pointer(unsafe.SliceData(changes))), uintptr(len(changes)),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)),
		uintptr(unsafe.Pointer(limitOf(&wait, timeout))))
	if e != 0 {
		return 0, Errno(e)
	}
	return int(got), 0
}

// limitOf puts a timeout into wait, for the kernel: nil for ever, zero to poll.
func limitOf(wait *unix.Timespec, timeout time.Duration) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	// Beyond 2^31 seconds kevent waits for ever, and on 386 they would not fit.
	*wait = unix.NsecToTimespec(int64(min(timeout, math.MaxInt32*time.Second)))
	return wait
}

func (k *FreeBSD) CloseKqueue(kq int) Errno { return errnoOf(unix.Close(kq)) }
