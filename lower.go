package aioring

import (
	"syscall"

	"github.com/aioring/aioring/internal/engine"
)

// lower is what is below the engine: it runs released operations and brings
// their results back.
//
// start, flush, settle and cancel belong to the engine's owner; poll,
// prepareSleep, cancelSleep and sleep to the harvester; the rest to anybody.
type lower interface {
	name() string

	// start takes a released operation. It reads nothing of the SQE later that the
	// user may change, and from its return the file is fixed. Nothing need happen
	// before flush.
	start(op *engine.Op)
	// flush sees to it that everything started is under way or waits for room.
	flush()
	// settle hands the engine the results that have come in.
	settle()
	// cancel asks for the end of a running operation; its result comes as any. 0:
	// that will be ECANCELED, as a rule. EALREADY: it goes on. ENOENT: it is over.
	cancel(op *engine.Op) syscall.Errno
	// open reports whether a number is a descriptor's, and uses whether a running
	// operation that named it works on the file it is a descriptor of now.
	open(fd int32) bool
	uses(op *engine.Op, fd int32) bool

	// waiting is how many operations wait for room in the kernel.
	waiting() int

	// harvests reports whether results come by harvesting. If not they come by
	// themselves, and the next five have nothing to do.
	harvests() bool
	// poll brings in the results there are and returns how many.
	poll() int
	// prepareSleep, cancelSleep and sleep are reactor.Reactor's: sleep brings in at
	// least one result unless it was woken.
	prepareSleep()
	cancelSleep()
	sleep() int
	// wake ends a sleep.
	wake()

	stats(*Stats)

	// close releases everything. No operation is running.
	close() error
}
