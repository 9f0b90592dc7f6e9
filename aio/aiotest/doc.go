// Package aiotest is the conformance suite of [aio.Kernel]: what FreeBSD's
// kernel does, as small named cases, to be run on the kernel itself and on
// whatever claims to behave as it does.
//
// Every case names the rule that it proves and where the rule comes from: a
// function of FreeBSD's sources, a page of its manual, a test of FreeBSD's or of
// a library that met the rule the hard way. A case that fails on a model is a
// mistake in the model; one that fails on a kernel is a mistake in the case, or
// a kernel that nobody has seen yet.
//
// One file holds the cases of one concern:
//
//	submit.go       the checks of one submission, in order
//	words.go        what the control block says over time; blocks submitted twice
//	reap.go         aio_error, aio_return, aio_cancel
//	wait.go         aio_suspend, aio_waitcomplete, aio_mlock
//	close.go        descriptors and queues closed under a job
//	list.go         lio_listio and its event
//	limits.go       the caps, and lists that meet them
//	sysctl.go       the gauges, and limits by their other names
//	descriptor.go   what AIO is for
//	transfer.go     results
//	fsync.go        aio_fsync
//	kevent.go       kevent and its filters
//	peer.go         what other libraries test
//	matrix.go       kinds of file by ways of waiting, as FreeBSD's own tests have them
//	socket.go       sockets: short writes, cancellation
//	disk.go         raw disks
//	readiness.go    EVFILT_READ and EVFILT_WRITE
//	timer.go        EVFILT_TIMER
//	signal.go       SIGEV_SIGNAL
//
// Cases wait for events and for jobs, with a limit, and never for time alone.
package aiotest
