package aioring

import (
	"sync/atomic"
	"time"
)

// counters is what a ring counts above the kernel.
type counters struct {
	submitted, completed atomic.Uint64
	stale                atomic.Uint64 // final CQEs of entries released
	errors               errnoCounts
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

	// Errors counts the final CQEs with a negative result, by the errno's name.
	Errors map[string]uint64 `json:"errors,omitempty"`
	// Oldest is the age of the operation that is longest in flight.
	Oldest time.Duration `json:"oldest_ns"`

	// What became of the operations below the engine.
	Lists     uint64 `json:"lists"`      // lio_listio calls
	Listed    uint64 `json:"listed"`     // jobs the kernel took through them
	Singles   uint64 `json:"singles"`    // submitting calls for one job: what would be a list of one, fsync, and vectors before FreeBSD 14
	Reaped    uint64 `json:"reaped"`     // jobs reaped by aio_return
	Plain     uint64 `json:"plain"`      // operations run as plain calls on workers
	Direct    uint64 `json:"direct"`     // operations that were alone, run as plain calls by their submitters
	Cached    uint64 `json:"cached"`     // reads on threads that the page cache answered in the submission
	Fallbacks uint64 `json:"fallbacks"`  // those of them that AIO would not take
	Held      uint64 `json:"held"`       // jobs that had to wait for room in the kernel
	Again     uint64 `json:"again"`      // jobs refused with EAGAIN and put back
	Partial   uint64 `json:"partial"`    // lists of which the kernel took only a part
	TooLong   uint64 `json:"too_long"`   // lists refused for their length
	Stale     uint64 `json:"stale"`      // events of operations gone, and final CQEs of entries released, dropped
	Merges    uint64 `json:"merges"`     // jobs that stood for several operations
	Members   uint64 `json:"members"`    // operations in those
	Splits    uint64 `json:"splits"`     // of those jobs, the ones whose result was shared out
	Bounces   uint64 `json:"bounces"`    // of those jobs, the ones that went through a copy: scattered buffers on a disk
	Reissued  uint64 `json:"reissued"`   // operations sent again alone, because the job that stood for them failed
	Overlaps  uint64 `json:"overlaps"`   // operations held until an earlier one on the same bytes was over
	Shared    uint64 `json:"shared"`     // FSYNCs that another's did for them
	Cuts      uint64 `json:"cuts"`       // operations cut into pieces that their disk takes
	Refusing  uint64 `json:"refusing"`   // files that turned out not to do AIO
	HighWater int    `json:"high_water"` // most jobs in the kernel at a time, all rings of the process
	Limit     int    `json:"limit"`      // most jobs the kernel allows the process

	ListSizes Histogram `json:"list_sizes"` // jobs in each list
	ReapSizes Histogram `json:"reap_sizes"` // jobs reaped at a time

	// Where the time went, in nanoseconds, unless WithLatency is off; not where the
	// kernel is a ring itself. An operation that was over before it was given to
	// anybody is in none of them.
	Queueing   Histogram `json:"queueing"`   // from acceptance until the kernel, or a worker, had it
	Serving    Histogram `json:"serving"`    // from there until it was reaped, or the call had returned
	Delivering Histogram `json:"delivering"` // from there until the CQE was made

	// Where the kernel is a ring itself.
	Enters uint64 `json:"enters"` // io_uring_enter calls that submitted
	Lost   uint64 `json:"lost"`   // completions that the kernel had no memory for: io_uring's overflow counter

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
	r.owner.Lock()
	r.cq.mu.Lock()
	s.Errors = r.stat.errors.read()
	r.cq.mu.Unlock()
	s.Oldest = r.oldestAge()
	r.low.stats(&s)
	r.owner.Unlock()
	r.drive() // what was asked for meanwhile
	s.Stale += r.stat.stale.Load()
	return s
}
