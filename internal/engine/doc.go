// Package engine holds io_uring's rules as a pure state machine: what may run,
// when, and with which result. It has one owner at a time and no goroutine,
// clock or system call of its own.
//
// Data goes through it like this:
//
//	Accept(sqe)  ->  NextReleased()  ->  (somebody runs it)  ->  Complete(op, res)  ->  NextCompleted()  ->  Free(op)
//
// Beside it go the time and the cancellations:
//
//	Advance(now)   ->  NextDeadline()
//	NextCancel()   ->  (whoever runs it is asked)  ->  Answer(target, errno)
//
// Each family of rules has a file: prepare.go (what is refused), chain.go, drain.go,
// timeout.go, cancel.go, overflow.go, setup.go.
//
// Only Reserve, Unreserve, Free, Op, Alive and InFlight may be called by others
// than the owner.
package engine
