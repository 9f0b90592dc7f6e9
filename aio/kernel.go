package aio

import "time"

// Kernel is the seam: the system calls that the library makes, and nothing
// else. [FreeBSD] answers them by making them, package aio/sim by modelling
// them. Every method keeps the errors, the order of checks and the side effects
// of the call that its comment names.
//
// All methods may be called from any number of goroutines. A method returns 0
// for success, else the errno, in FreeBSD's numbering.
type Kernel interface {
	// Name is "freebsd" or "sim".
	Name() string

	// Read, Write, Readv and Writev queue one job: aio_read(2), aio_write(2),
	// aio_readv(2), aio_writev(2). The opcode in the block does not matter.
	// From success until Return the block stays at its address, unused for
	// anything else, and its buffers stay valid.
	//
	// A disk reads into the pages that the process had at the submission. If it
	// forks before the end, os/exec's way included, and writes to such a page while
	// the child still shares it, it has another page from then on and what is read
	// is lost: nothing else may lie in the pages of a buffer that a disk reads
	// into. Seen on 13.2 and 15.
	Read(cb *ControlBlock) Errno
	Write(cb *ControlBlock) Errno
	Readv(cb *ControlBlock) Errno
	Writev(cb *ControlBlock) Errno

	// Fsync queues a sync of everything written to the open file before:
	// aio_fsync(2).
	Fsync(op SyncOp, cb *ControlBlock) Errno

	// Mlock queues the locking of the block's buffer in memory: aio_mlock(2). The
	// descriptor need not be open; only Cancel compares it.
	Mlock(cb *ControlBlock) Errno

	// ListIO queues many jobs by one call: lio_listio(2). nil entries are
	// skipped. EIO and EAGAIN mean that some entries were not accepted, and any
	// of them may be the accepted ones: ErrorWord of each tells. EINVAL for a
	// list longer than the limit leaves every block untouched.
	// list is the array that the kernel is shown: with a sig of NotifyKevent its
	// address is the event's ident, so it must stay there until its last job is
	// reaped.
	ListIO(mode ListMode, list []*ControlBlock, sig *Sigevent) Errno

	// Error answers how a job stands: EINPROGRESS, 0, or its errno. aio_error(2).
	Error(cb *ControlBlock) Errno

	// Return reaps a finished job and frees what the kernel holds for it:
	// aio_return(2). The job's own failure comes back as the errno, EINVAL also
	// means that there was nothing to reap.
	Return(cb *ControlBlock) (n int, errno Errno)

	// Suspend waits until one of the jobs has finished, and reaps none:
	// aio_suspend(2). nil entries are skipped. It is 0 at once when none of them
	// is known, EAGAIN when the time is over or the process has never used AIO,
	// EINVAL for a list longer than the limit. A negative timeout waits for
	// ever. EINTR is the caller's to repeat.
	Suspend(list []*ControlBlock, timeout time.Duration) Errno

	// WaitComplete waits for the finished job that the process has had longest,
	// whoever submitted it, and reaps it as Return does: aio_waitcomplete(2). cb
	// is nil when there was none: EAGAIN when the time is over, or EINTR. Of a job
	// that failed both cb and the errno come back. A negative timeout waits for
	// ever, zero polls. The kernel knows the block by address alone: it must
	// still be where it was.
	WaitComplete(timeout time.Duration) (cb *ControlBlock, n int, errno Errno)

	// Cancel asks for the end of a job on fd, or of all when cb is nil:
	// aio_cancel(2). fd is compared with the number the job was submitted under.
	Cancel(fd int, cb *ControlBlock) (CancelStatus, Errno)

	// Kqueue makes an event queue, closed on exec: kqueue(2).
	Kqueue() (kq int, errno Errno)

	// Kevent applies changes and fetches events: kevent(2). A negative timeout
	// waits for ever, zero polls. EINTR is the caller's to repeat (without the
	// changes: they were applied). n is 0 with every errno.
	Kevent(kq int, changes, events []Kevent, timeout time.Duration) (n int, errno Errno)

	// CloseKqueue closes an event queue. A goroutine asleep in Kevent on it is
	// not woken.
	CloseKqueue(kq int) Errno

	// Signal has every Kevent that is asleep return EINTR, in all queues of the
	// process: the only way to end one whose queue has no number any more. Other calls
	// that sleep may end likewise, or go on.
	Signal()

	// Limits reads the limits in force now. With an error come those that were
	// known before of what may not be read now, as in a sandbox: all of them may be
	// out of date, and the kernel's refusals tell.
	Limits() (Limits, error)

	// Fstat, Dup and Close are fstat(2), fcntl(F_DUPFD_CLOEXEC) and close(2) on
	// the descriptors that control blocks name.
	Fstat(fd int) (FileStat, Errno)
	Dup(fd int) (int, Errno)
	Close(fd int) Errno
}

// Limits are the numbers that bound AIO. Source: aio(4); FreeBSD
// sys/kern/vfs_aio.c and sys_socket.c. The manual page swaps two of the
// descriptions; these are the code's. p1003_1b.aio_listio_max is MaxQueuePerProc
// by another name, p1003_1b.aio_max a constant that bounds nothing.
type Limits struct {
	MaxQueue        int  // vfs.aio.max_aio_queue: jobs accepted and not reaped, whole system
	MaxQueuePerProc int  // vfs.aio.max_aio_queue_per_proc: the same for one process, and the longest list
	MaxPerProc      int  // vfs.aio.max_aio_per_proc: jobs of one process that run at once
	MaxProcs        int  // vfs.aio.max_aio_procs: daemons, whole system
	TargetProcs     int  // vfs.aio.target_aio_procs: of these, those that stay when idle
	MaxBuf          int  // vfs.aio.max_buf_aio: raw-disk requests with mapped buffers, one process, and elements of one job
	MaxSocketProcs  int  // kern.ipc.aio.max_procs: daemons for sockets, whole system
	QueueCount      int  // vfs.aio.num_queue_count: jobs accepted and not reaped now, whole system
	EnableUnsafe    bool // vfs.aio.enable_unsafe: what may block a daemon for ever is accepted
}

// FileType is what a descriptor refers to, as far as routing cares.
type FileType uint8

const (
	TypeOther     FileType = iota // a character device that is no disk, or something without a type
	TypeRegular                   // a file
	TypeDirectory                 //
	TypeDisk                      // a disk device
	TypeFIFO                      // a pipe or named pipe
	TypeSocket                    //
)

// FileStat identifies the file behind a descriptor number, so that a number
// given away and taken again is noticed. Rdev is 0 but for devices.
type FileStat struct {
	Dev, Ino, Rdev uint64
	Type           FileType
}

// AIO reports whether AIO is used for this type of file. Pipes, ttys and other
// devices would block a kernel daemon for ever.
func (s FileStat) AIO() bool {
	return s.Type == TypeRegular || s.Type == TypeDirectory || s.Type == TypeDisk
}

// Stream reports whether a call on this type of file may wait for ever, for
// somebody at the other end.
func (s FileStat) Stream() bool { return !s.AIO() }
