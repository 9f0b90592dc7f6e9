package batch

import (
	"math/bits"
	"sync/atomic"
)

// counters is what a Batch counts. The owner and the harvester write, anybody
// reads.
type counters struct {
	lists, listed, singles, partial, tooLong atomic.Uint64
	again, requeued, held, elsewhere         atomic.Uint64
	harvests, reaped, stale                  atomic.Uint64
	merges, members, bounced, splits         atomic.Uint64
	reissued, overlaps, shared               atomic.Uint64
	cuts, pieces, refusing                   atomic.Uint64

	listSizes sizes // the owner writes
	reapSizes sizes // the harvester does
}

// SizeBuckets is how many buckets Sizes has.
const SizeBuckets = 18

// Sizes is how often numbers of each magnitude were seen: Buckets[i] counts those
// from 2^(i-1) up to and without 2^i, Buckets[0] the zeros.
type Sizes struct {
	Sum     uint64
	Buckets [SizeBuckets]uint64
}

// sizes is one that a single goroutine writes.
type sizes struct {
	sum     atomic.Uint64
	buckets [SizeBuckets]atomic.Uint64
}

func (s *sizes) note(n int) {
	s.sum.Store(s.sum.Load() + uint64(n))
	b := &s.buckets[min(bits.Len(uint(n)), SizeBuckets-1)]
	b.Store(b.Load() + 1)
}

func (s *sizes) read() Sizes {
	r := Sizes{Sum: s.sum.Load()}
	for i := range s.buckets {
		r.Buckets[i] = s.buckets[i].Load()
	}
	return r
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
	Held      uint64 // jobs that had to wait for room, their file held for that
	Elsewhere uint64 // jobs that became plain calls
	Harvests  uint64 // batches of events that reaped something
	Reaped    uint64 // jobs reaped
	Stale     uint64 // events of generations gone, dropped
	Merges    uint64 // jobs of the kernel made of several
	Members   uint64 // jobs in those
	Bounced   uint64 // merged jobs that went through a copy
	Splits    uint64 // merged jobs whose result was shared out
	Reissued  uint64 // jobs sent again alone, because the merged one failed
	Overlaps  uint64 // jobs held for an earlier one on the same bytes
	Shared    uint64 // syncs that another's did for them
	Cuts      uint64 // jobs cut into pieces for their disk
	Pieces    uint64 // those pieces
	Refusing  uint64 // files that turned out not to do AIO
	ListSizes Sizes  // jobs shown in each lio_listio call
	ReapSizes Sizes  // jobs reaped by each Harvest that found any
}

// Stats reads the counters.
func (b *Batch) Stats() Stats {
	c := &b.stats
	return Stats{
		Lists: c.lists.Load(), Listed: c.listed.Load(), Singles: c.singles.Load(), Partial: c.partial.Load(), TooLong: c.tooLong.Load(),
		Again: c.again.Load(), Requeued: c.requeued.Load(), Held: c.held.Load(), Elsewhere: c.elsewhere.Load(),
		Harvests: c.harvests.Load(), Reaped: c.reaped.Load(), Stale: c.stale.Load(),
		Merges: c.merges.Load(), Members: c.members.Load(), Bounced: c.bounced.Load(), Splits: c.splits.Load(),
		Reissued: c.reissued.Load(), Overlaps: c.overlaps.Load(), Shared: c.shared.Load(),
		Cuts: c.cuts.Load(), Pieces: c.pieces.Load(), Refusing: c.refusing.Load(),
		ListSizes: c.listSizes.read(), ReapSizes: c.reapSizes.read(),
	}
}
