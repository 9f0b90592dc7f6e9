package ring

import "sync/atomic"

// MPSC is a bounded ring with any number of producers and one consumer.
//
// A producer claims the cells of its whole batch with one compare-and-swap on
// the tail, writes them, and publishes them all with one store: the mark of the
// first cell. The consumer goes from mark to mark as far as they are set, copies
// out what lies between, and gives the cells back with one store to the head; it
// needs no compare-and-swap.
//
// The batch of one PushN is contiguous, and the consumer sees it as a whole. A
// PopBatch with room for them never returns a part of a batch.
//
// A producer that is preempted between claim and publication holds up what was
// claimed after it, because order is kept; it does not hold up the consumer,
// which is told that there is nothing to take.
//
// The algorithm is Dmitry Vyukov's bounded queue with a sequence per cell,
// changed in three ways: batches are claimed at once; a batch is published at
// once, its sequence being where it ends; and free room is read from the head
// instead of from the cells, so the consumer stores once per batch rather than
// once per item.
//
// An item of one cache line (64 bytes), or of several, makes producers that push
// single items write lines of their own. Such cells start on a line boundary
// when the ring takes 32 KiB or more, or when T has no pointers; a smaller array
// with pointers may begin 8 bytes after one, where Go's allocator keeps a header
// (seen with Go 1.26).
type MPSC[T any] struct {
	// Never written after construction.
	cells []T
	// marks has a word for every cell. In that of the first cell of a batch is
	// the position word where the batch ends, stored by its producer after the
	// cells were written: it publishes them to the consumer. The consumer and
	// Empty read the marks of the positions where a batch begins, and nothing
	// else: there a mark is published when it lies ahead of its position. What
	// earlier laps left does not: a batch is no longer than a lap. (A mark that
	// is 2^62 items old would seem to, in a few centuries.)
	marks []atomic.Uint64
	mask  uint64
	_     pad

	// tail is where the next claim begins, and the closed flag. Producers move
	// it by compare-and-swap, Close sets the flag; it publishes nothing of the
	// cells. Read by producers, Len, Closed and Drained.
	tail atomic.Uint64
	// headSeen is a head some producer has read: never ahead of head, perhaps
	// behind it, and perhaps going back when two producers store in the other
	// order than they read. It spares producers the consumer's cache line
	// until the ring looks full. It passes on what head published: that the
	// cells before it are empty.
	headSeen atomic.Uint64
	_        pad

	// head is the next cell to take. The consumer alone stores it, after the
	// cells before it were copied out and zeroed, and so publishes to the
	// producers that they may be written again.
	head atomic.Uint64
	// frontEnd is where the batches seen by the last Front end, frontLast where what it
	// returned does. The consumer's.
	frontEnd, frontLast uint64
	_                   pad
}

// NewMPSC returns an empty ring with room for capacity items, rounded up to a
// power of two, at least 2 and at most 1<<30. The memory for all of them is
// taken at once.
func NewMPSC[T any](capacity int) *MPSC[T] {
	return newMPSCAt[T](capacity, 0)
}

// newMPSCAt starts the positions at start, so that a test reaches the places
// where counters wrap.
func newMPSCAt[T any](capacity int, start uint64) *MPSC[T] {
	n := roundCapacity(capacity)
	q := &MPSC[T]{cells: make([]T, n), marks: make([]atomic.Uint64, n), mask: uint64(n - 1)}
	for i := range q.marks { // as if everything before start had been published
		q.marks[i].Store(start * step)
	}
	q.tail.Store(start * step)
	q.headSeen.Store(start * step)
	q.head.Store(start * step)
	return q
}

// PushN pushes all items, in order and with nothing between them, or none. It
// returns OK, Full, Closed or TooBig. It is lock-free: it tries again only
// when another producer has succeeded, after a moment. The items are copied; the
// slice remains the caller's. An empty batch is OK while the ring is open, and a
// batch of one is a Push. Any goroutine may call it.
func (q *MPSC[T]) PushN(items []T) Status {
	if len(items) == 1 {
		return q.Push(items[0])
	}
	for pause := shortPause; ; pause = backOff(pause) {
		if s := q.TryPushN(items); s != Retry {
			return s
		}
	}
}

// TryPushN is PushN with a single attempt: it answers Retry when another
// producer (or Close) moved the tail first, which is neither Full nor Closed.
// Any goroutine may call it.
func (q *MPSC[T]) TryPushN(items []T) Status {
	if len(items) > len(q.cells) {
		return TooBig
	}
	t := q.tail.Load()
	if s := q.claimAt(t, len(items)); s != OK {
		return s
	}
	q.publish(t, items)
	return OK
}

// Push pushes one item. It returns OK, Full or Closed. When another producer is
// pushing at the same time it may return some microseconds after the item can be
// taken: see standAside. Any goroutine may call it.
func (q *MPSC[T]) Push(item T) Status {
	// claimAt and publish for one item, by hand: as calls they are a tenth of it.
	for pause := shortPause; ; pause = backOff(pause) {
		t := q.tail.Load()
		if t&closedBit != 0 {
			return Closed
		}
		if int64(t-q.headSeen.Load()) > int64(len(q.cells)-1)*step && !q.fits(t, 1) {
			return Full
		}
		if q.tail.CompareAndSwap(t, t+step) {
			i := t / step & q.mask
			q.cells[i] = item
			q.marks[i].Store(t + step) // publishes the item to PopBatch
			q.standAside(t)
			return OK
		}
		// Another producer went first.
	}
}

// PopBatch takes up to len(dst) items in the order of their claims and returns
// how many. It does not wait: 0 means that nothing can be taken now, because the
// ring is empty or because the producer whose turn it is has not yet published.
// The cells are zeroed, so the ring keeps nothing alive that was taken. Only
// the consumer may call it.
func (q *MPSC[T]) PopBatch(dst []T) int {
	h := q.head.Load() // our own store
	limit := h + uint64(len(dst))*step
	end := q.published(h, limit)
	if end == h {
		return 0
	}
	if int64(end-limit) > 0 {
		// A batch goes on behind what there is room for. Its rest becomes a
		// batch, so that there is a mark at the head again.
		q.mark(limit).Store(end)
		end = limit
	}
	n := int((end - h) / step)
	low, high := q.span(h, n)
	copy(dst[copy(dst, low):], high)
	clear(low)
	clear(high)
	q.head.Store(end) // publishes to fits that the cells are free
	return n
}

// published returns where the batches that begin at h and before limit end, as
// far as they are published without a gap; h when there is none.
func (q *MPSC[T]) published(h, limit uint64) uint64 {
	end := h
	for int64(limit-end) > 0 {
		next := q.mark(end).Load() // pairs with the store in publish
		if int64(next-end) <= 0 {
			break
		}
		end = next
	}
	return end
}

// Len returns how many items are in the ring, those included that are claimed
// but not yet published. It is exact for one moment during the call. Any
// goroutine may call it.
func (q *MPSC[T]) Len() int {
	h := q.head.Load()
	for {
		t := q.tail.Load()
		now := q.head.Load()
		if now == h { // so head was h when tail was read
			return int((t&^closedBit - h) / step)
		}
		h = now
	}
}

// Cap returns the capacity: the longest batch, and the most items at a time.
func (q *MPSC[T]) Cap() int { return len(q.cells) }

// Empty reports that there is nothing PopBatch could take now. Items claimed
// but not published do not count: their producer has yet to come, and to wake
// the consumer. It costs two loads. Any goroutine may call it; the consumer's
// answer of false stays true until it pops.
func (q *MPSC[T]) Empty() bool {
	// The mark at a position only ever grows. Not yet ahead of h, it says that
	// nothing is published there, so that h is still the head. Ahead of h, it
	// says that something was, while or after h was the head: perhaps it is
	// taken by now, but not before we were called.
	h := q.head.Load()
	return int64(q.mark(h).Load()-h) <= 0
}

// Close ends the intake: when it has returned, no push claims. What was claimed
// before is still delivered, even if it is published only later. It does not
// wake the consumer; wake its Parker afterwards. Closing again does nothing. Any
// goroutine may call it.
func (q *MPSC[T]) Close() {
	q.tail.Or(closedBit) // fails every claim that read the tail before
}

// Closed reports whether Close was called. There may still be items to take:
// see Drained. Any goroutine may call it.
func (q *MPSC[T]) Closed() bool { return q.tail.Load()&closedBit != 0 }

// Drained reports that the ring is closed and everything ever claimed was
// taken: the consumer may leave. Once true it stays true. Any goroutine may
// call it.
func (q *MPSC[T]) Drained() bool {
	t := q.tail.Load()
	return t&closedBit != 0 && q.head.Load() == t&^closedBit
}

// claimAt claims n cells from the tail word t, which the caller has read. OK
// makes them the caller's, who must publish every one. Full was true when t was
// read; Retry says that the tail is no longer t.
func (q *MPSC[T]) claimAt(t uint64, n int) Status {
	if t&closedBit != 0 {
		return Closed
	}
	if !q.fits(t, n) {
		return Full
	}
	// Claims and publishes nothing: the order of claims is the order of items.
	if !q.tail.CompareAndSwap(t, t+uint64(n)*step) {
		return Retry
	}
	return OK
}

// fits reports whether n more items fit behind tail t. Either head it looks at
// is at most the true one at the time of a successful claim, so a yes is safe.
// A no rests on a head read after t, so the ring was at least as full when the
// tail was t. If t is old the head may have passed it; the difference is then
// negative, the answer yes, and the claim fails.
func (q *MPSC[T]) fits(t uint64, n int) bool {
	room := int64(len(q.cells)-n) * step
	seen := q.headSeen.Load()
	if int64(t-seen) <= room {
		return true
	}
	h := q.head.Load() // pairs with the store in PopBatch
	if h != seen {     // a full ring is not worth a store per attempt
		q.headSeen.Store(h)
	}
	return int64(t-h) <= room
}

// publish writes the items into the cells claimed at t and publishes them.
func (q *MPSC[T]) publish(t uint64, items []T) {
	if len(items) == 0 {
		return // nothing was claimed: the mark at t is another's
	}
	low, high := q.span(t, len(items))
	copy(high, items[copy(low, items):])
	q.mark(t).Store(t + uint64(len(items))*step) // publishes the items to PopBatch
}

// mark returns the mark of position word w.
func (q *MPSC[T]) mark(w uint64) *atomic.Uint64 { return &q.marks[w/step&q.mask] }

// span returns the n cells from position word w on.
func (q *MPSC[T]) span(w uint64, n int) (low, high []T) {
	return span(q.cells, int(w/step&q.mask), n)
}

// While two producers claim at the same time, the cache lines of the tail and of
// the marks go to and fro between them for every item, and each item takes twice
// as long as one producer alone needs, however many push. So one of two leaves the
// tail alone for a time, in which the other makes many claims:
//
//   - One whose claim failed, for some 50 ns at first and, while it fails again,
//     up to 1 µs. That is rare: a claim is much shorter than the way of the line.
//   - One that has published a single item and finds that somebody has claimed
//     since, for some 3 µs: see standAside.
const (
	shortPause = 128 // rounds of backOff
	longPause  = 2048
	asidePause = 8192
)

// standAside is called by a producer that has published the item it claimed at t.
// If another producer is at it, every second one passes a while. Two that claim in
// turns have the odd positions and the even ones, so it is always the same one
// that does, until the other has run ahead.
func (q *MPSC[T]) standAside(t uint64) {
	if t&step != 0 && q.tail.Load()&^closedBit != t+step {
		backOff(asidePause)
	}
}

// backOff passes the time of so many rounds and returns how many to pass next.
func backOff(rounds int) int {
	var own atomic.Uint32 // on our stack: nobody's cache line but ours
	for range rounds {
		own.Load()
	}
	return min(2*rounds, longPause)
}
