// Package sim models FreeBSD's POSIX AIO and kqueue inside the process: an
// [aio.Kernel] for tests, on every Unix.
//
// It keeps the order of checks, the words in user memory, the caps, the list
// rules, the life of knotes and the answers of cancel and return that
// sys/kern/vfs_aio.c and sys/kern/kern_event.c have, over real descriptors of
// the host, and it can refuse, shorten, fail, delay and hold jobs on request.
// It also watches its caller: what a kernel would silently suffer (a block
// submitted twice, a buffer changed in flight, a job never reaped) is written down
// with the call that did it, see [Kernel.Misuse].
//
// In threaded mode, which is the usual one, daemons are goroutines, files are the
// host's, time is real. In stepped mode (Config.Stepped) nothing happens but in
// [System.Step]: one scheduler chooses by a seed what comes next, on a virtual
// clock, over files in memory. The same calls under the same seed give the same
// history, to the byte. A call that would sleep steps until it is woken or its
// time is over, and answers EDEADLK where nothing could ever wake it. So all that
// stands on an [aio.Kernel] runs in one goroutine, and a failure is a seed.
//
//	k := sim.New(sim.Config{Stepped: true, Seed: 7, Trace: w})
//	fd, _ := k.Open("file", os.O_RDWR|os.O_CREATE)
//	k.System().After(time.Second, k.Signal)
//	for k.Step() {
//	}
//
// For programs whose files must survive a power cut there is [Disk], and [EachCrash]
// which cuts the power at every point of a run.
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
//	process.go  fork, exec, the end of all jobs
//	soaiod.go   the daemons of sockets
//	step.go     stepped mode: the scheduler
//	clock.go    real and virtual time, alarms
//	own.go      descriptors of the model's own, and plain calls on them
//	memory.go   Volume, what they lie on; files in memory
//	disk.go     Disk, a Volume with directories that a power cut treats as it likes:
//	            inode.go its files, diskfile.go calls as package os has them,
//	            crash.go what a power cut leaves, and tests of a program against it
//	sysctl.go   the sysctls, by name
//	trace.go    histories
//	socket.go, device.go, watch.go, level.go  what is no file
//	filter.go, timer.go, signal.go            the other filters, and SIGEV_SIGNAL
//	table.go    the intrusive containers
//
// Block devices of the host count as character devices; disks are those of
// [System.NewDevice]. In memory there are regular files, directories on a [Disk], and
// things that never say anything ([Kernel.OpenMute]).
//
// Where the model knowingly differs from the kernel, over descriptors of the host:
// which open file a number has is told by number, file and flags (see file); in
// threaded mode a daemon ends as soon as nothing is queued; a job's reference to its open file is a descriptor of the
// process, so a submission may be refused with EMFILE, and closing the last one
// of a file drops the process's POSIX locks on it.
package sim
