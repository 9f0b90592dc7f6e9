package aioring

import (
	"context"
	"syscall"

	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/ring"
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
	// EINPROGRESS: its result, which is not far, will show.
	cancel(op *engine.Op) syscall.Errno
	// open reports whether a number is a descriptor's, and uses whether a running
	// operation that named it works on the file it is a descriptor of now.
	open(fd int32) bool
	uses(op *engine.Op, fd int32) bool

	// inKernel is how many operations are where only harvesting brings them from.
	inKernel() int
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

// direct is a lower that is a ring itself, with io_uring's rules its own. Nothing
// is released to it by the engine, which only knows what is alive.
type direct interface {
	lower

	// push publishes n operations, from this one on, that were lent and filled, for
	// takePushed: all of them or none. Anybody calls it, and the next three.
	push(op *engine.Op, n int) ring.Status
	// roomy reports whether so much of that was taken that those who wait for room
	// should try again.
	roomy() bool
	// untaken reports whether there is something left that was pushed, or is being
	// pushed.
	untaken() bool
	// stop ends the intake.
	stop()
	// takePushed hands down up to so many of the SQEs pushed, and chains whole. The
	// engine's owner calls it, and the next four.
	takePushed(sqes int)
	// acceptOwn hands down the private entries, up to a bad one.
	acceptOwn() (n int, stopped bool, err error)
	// quiesce takes what is still being pushed after stop. The engine takes no more.
	quiesce()
	// has reports whether reap would find something, and crowded whether the owner
	// should not leave that to others.
	has() bool
	crowded() bool

	// reap delivers what the kernel has completed and returns how much that was,
	// and woken with those added who wait for it: up to the first that takes the
	// engine's owner, if the caller is not. completionQueue.mu is held.
	reap(woken wakeList, owner bool) (wakeList, uint64)
	// ruled reports whether there is such a one. Anybody calls it.
	ruled() bool
	// busy reports whether somebody is submitting, so that completions may come
	// soon. Anybody calls it.
	busy() bool
	// block sleeps in the kernel, with its thread, until w is fired or has what it
	// needs, or anything else ends the sleep. The harvester calls it.
	block(w *waiter)
	// alert ends such a sleep if it is for more than one completion. Anybody calls
	// it, on a ring that is not closed.
	alert()
	// cancelSync is Ring.CancelSync. Anybody calls it.
	cancelSync(ctx context.Context, sqe *SQE) (int, error)
	// features are the kernel's, and supports says whether it has an operation.
	features() Features
	supports(op Opcode) bool
	// adopt ties the ring to the calling goroutine's thread, for ever.
	adopt() error
}
