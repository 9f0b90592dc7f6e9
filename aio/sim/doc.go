// Package sim models FreeBSD's POSIX AIO and kqueue inside the process: an
// [aio.Kernel] for tests, on every Unix.
//
// It keeps the order of checks, the words in user memory, the caps, the list
// rules, the life of knotes and the answers of cancel and return that
// sys/kern/vfs_aio.c and sys/kern/kern_event.c have, over real descriptors of
// the host, and it can refuse, shorten, fail, delay and hold jobs on request.
// It also watches its caller: what a kernel would silently suffer (a block
// submitted twice, a job never reaped) is written down, see [Kernel.Misuse].
//
// One file holds one concern:
//
//	system.go   what all processes of one machine share: caps, run queue, the lock
//	kernel.go   one process: the methods of aio.Kernel
//	submit.go   the checks of one submission, in order
//	list.go     lio_listio
//	daemon.go   the aiod pool
//	host.go     descriptors and transfers of the host
//	file.go     the open files that jobs hold
//	kqueue.go   event queues, knotes, filters
//	cancel.go   aio_cancel
//	wait.go     aio_suspend, aio_waitcomplete
//	profile.go  what differs between kernel versions
//	fault.go    injected faults
//	gate.go     holding and stepping jobs
//	misuse.go   what the caller did wrong, and the exit of the process
//	table.go    the intrusive containers
//	socket.go   streams: sockets, pipes, ttys
//	disk.go     raw disks, their request rules and their volatile cache
//	filter.go, level.go, timer.go, watch.go
//	            EVFILT_READ and WRITE, EVFILT_TIMER, and what watches the host for them
//	signal.go   SIGEV_SIGNAL
//	step.go, clock.go, process.go, trace.go, memory.go, own.go
//	            the stepped mode: seeded scheduler, virtual clock, history, and files
//	            of the model's own
//	sysctl.go   limits that change at run time
//
// In the threaded mode daemons are goroutines and time is the host's. In the
// stepped mode nothing happens but by a step of one seeded scheduler, in the
// caller's goroutine, and the same seed gives the same history; sockets and
// EVFILT_TIMER belong to the threaded mode.
//
// Where the model knowingly differs from the kernel: which open file a number
// has is told by number, file and flags (see file); a daemon ends as soon as
// nothing is queued; a job's reference to its open file is a descriptor of the
// process, so a submission may be refused with EMFILE, and closing the last one
// of a file drops the process's POSIX locks on it.
package sim
