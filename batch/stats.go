package batch

import "sync/atomic"

// counters is what a Batch counts. The owner and the harvester write, anybody
// reads.
type counters struct {
	lists, listed, singles, partial, tooLong atomic.Uint64
	again, requeued, held, elsewhere         atomic.Uint64
	harvests, reaped, stale                  atomic.Uint64
}

// Stats is a reading of a Batch's counters.
type Stats struct {
	Lists     uint64 // lio_listio calls
	Listed    uint64 // jobs accepted through them
	Singles   uint64 // calls for one job
	Partial   uint64 // lists of which some entries were refused
	TooLong   uint64 // lists refused whole for their length
	Again     uint64 // EAGAIN refusals of a job
	Requeued  uint64 // jobs put back to wait
	Held      uint64 // jobs that had to wait for room, their file held
	Elsewhere uint64 // jobs that became plain calls
	Harvests  uint64 // batches of events that reaped something
	Reaped    uint64 // jobs reaped
	Stale     uint64 // events of generations gone, dropped
}

// Stats reads the counters.
func (b *Batch) Stats() Stats {
	c := &b.stats
	return Stats{
		Lists: c.lists.Load(), Listed: c.listed.Load(), Singles: c.singles.Load(), Partial: c.partial.Load(), TooLong: c.tooLong.Load(),
		Again: c.again.Load(), Requeued: c.requeued.Load(), Held: c.held.Load(), Elsewhere: c.elsewhere.Load(),
		Harvests: c.harvests.Load(), Reaped: c.reaped.Load(), Stale: c.stale.Load(),
	}
}
