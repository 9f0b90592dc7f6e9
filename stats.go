package aioring

import "sync/atomic"

// counters is what a ring counts above the kernel.
type counters struct {
	submitted, completed atomic.Uint64
	stale                atomic.Uint64 // final CQEs of entries released
}

// Stats is a reading of a ring's counters, which count from New. The parts are
// read one after the other, not at one instant.
type Stats struct {
	Kernel string `json:"kernel"`
	// Forbidden says why auto took threads on a Linux that has io_uring, or should:
	// what io_uring_setup answered. "" if it did not.
	Forbidden string `json:"forbidden,omitempty"`
	// Stripped are the set-up flags that were asked for and kept from the kernel,
	// because they tie a ring to one thread: see [WithLockedThread].
	Stripped SetupFlags `json:"stripped,omitempty"`

	Submitted uint64 `json:"submitted"`  // operations accepted
	Completed uint64 `json:"completed"`  // final CQEs delivered, to the completion queue, to Do or to an Entry
	InFlight  int    `json:"in_flight"`  // accepted and not completed, now
	Alive     int    `json:"alive"`      // from submission until the CQE is consumed, now
	BytesHeld int64  `json:"bytes_held"` // in the buffers of those

	// What became of the operations below the engine.
	Lists     uint64 `json:"lists"`      // lio_listio calls
	Listed    uint64 `json:"listed"`     // jobs the kernel took through them
	Singles   uint64 `json:"singles"`    // submitting calls for one job: fsync, and vectors before FreeBSD 14
	Reaped    uint64 `json:"reaped"`     // jobs reaped by aio_return
	Plain     uint64 `json:"plain"`      // operations run as plain calls on workers
	Cached    uint64 `json:"cached"`     // reads on threads that the page cache answered in the submission
	Fallbacks uint64 `json:"fallbacks"`  // those of them that AIO would not take
	Held      uint64 `json:"held"`       // jobs that had to wait for room in the kernel
	Again     uint64 `json:"again"`      // jobs refused with EAGAIN and put back
	Partial   uint64 `json:"partial"`    // lists of which the kernel took only a part
	TooLong   uint64 `json:"too_long"`   // lists refused for their length
	Stale     uint64 `json:"stale"`      // events of operations gone, and final CQEs of entries released, dropped
	HighWater int    `json:"high_water"` // most jobs in the kernel at a time, all rings of the process
	Limit     int    `json:"limit"`      // most jobs the kernel allows the process

	// Where the kernel is a ring itself.
	Enters uint64 `json:"enters"` // io_uring_enter calls that submitted

	// How completions were waited for.
	Polls  uint64 `json:"polls"`  // kevent calls that did not wait
	Sleeps uint64 `json:"sleeps"` // kevent calls that did; waits for io_uring's completions
	Wakes  uint64 `json:"wakes"`  // sleepers woken by another goroutine
}

// Stats reads the counters. Any goroutine may, also after Close.
func (r *Ring) Stats() Stats {
	r.fetch()      // what the kernel has completed is not in flight
	r.cq.collect() // what was consumed is not alive
	s := Stats{
		Kernel:    r.low.name(),
		Submitted: r.stat.submitted.Load(),
		Completed: r.stat.completed.Load(),
		InFlight:  r.eng.InFlight(),
		Alive:     r.eng.Alive(),
		BytesHeld: r.eng.BytesHeld(),
	}
	r.low.stats(&s)
	s.Stale += r.stat.stale.Load()
	return s
}
