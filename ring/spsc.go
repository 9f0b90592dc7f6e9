package ring

import "sync/atomic"

// SPSC is a bounded ring with one producer and one consumer.
//
// The producer writes the items and moves the tail, which publishes the batch
// as a whole; the consumer copies items out and moves the head. Each side keeps
// the last index it read of the other and looks again only when that no longer
// suffices, so most calls touch no cache line the other side writes, except the
// items' own.
//
// The index caching is that of Erik Rigtorp's SPSCQueue. Unlike it the tail is
// moved by compare-and-swap, which costs the same as a sequentially consistent
// store on amd64 and lets any goroutine close the ring between two pushes.
type SPSC[T any] struct {
	// Never written after construction.
	cells []T
	mask  uint64
	_     pad

	// tail is where the next item goes, and the closed flag. The producer moves
	// it after writing the items, and so publishes them to the consumer; Close
	// sets the flag.
	tail atomic.Uint64
	// headSeen is the last head the producer read. The producer's alone.
	headSeen uint64
	_        pad

	// head is the next item to take. The consumer moves it after copying out
	// and zeroing, and so publishes to the producer that the cells are free.
	head atomic.Uint64
	// tailSeen is the last tail the consumer read, without the flag. The
	// consumer's alone.
	tailSeen uint64
	_        pad
}

// NewSPSC returns an empty ring with room for capacity items, rounded up to a
// power of two, at least 2 and at most 1<<30. The memory for all of them is
// taken at once.
func NewSPSC[T any](capacity int) *SPSC[T] {
	return newSPSCAt[T](capacity, 0)
}

// newSPSCAt starts the positions at start, so that a test reaches the places
// where counters wrap.
func newSPSCAt[T any](capacity int, start uint64) *SPSC[T] {
	n := roundCapacity(capacity)
	w := start * step
	q := &SPSC[T]{cells: make([]T, n), mask: uint64(n - 1), headSeen: w, tailSeen: w}
	q.tail.Store(w)
	q.head.Store(w)
	return q
}

// PushN pushes all items in order, or none. It returns OK, Full, Closed or
// TooBig. The items are copied; the slice remains the caller's. An empty batch
// is OK while the ring is open. Only the producer may call it.
func (q *SPSC[T]) PushN(items []T) Status {
	if len(items) > len(q.cells) {
		return TooBig
	}
	return q.pushAt(q.tail.Load(), items)
}

// Push pushes one item. It returns OK, Full or Closed. Only the producer may
// call it.
func (q *SPSC[T]) Push(item T) Status {
	one := [1]T{item} // on the stack: pushAt keeps nothing of the slice
	return q.pushAt(q.tail.Load(), one[:])
}

// PopBatch takes up to len(dst) items in order and returns how many; 0 means
// that the ring is empty. It does not wait. The cells are zeroed, so the ring
// keeps nothing alive that was taken. Only the consumer may call it.
func (q *SPSC[T]) PopBatch(dst []T) int {
	h := q.head.Load() // our own store
	n := int((q.tailSeen - h) / step)
	if n < len(dst) {
		q.tailSeen = q.tail.Load() &^ closedBit // pairs with the swap in pushAt
		n = int((q.tailSeen - h) / step)
	}
	n = min(n, len(dst))
	if n == 0 {
		return 0
	}
	low, high := q.span(h, n)
	copy(dst[copy(dst, low):], high)
	clear(low)
	clear(high)
	q.head.Store(h + uint64(n)*step) // publishes to fits that the cells are free
	return n
}

// Len returns how many items are in the ring. It is exact for one moment during
// the call. Any goroutine may call it.
func (q *SPSC[T]) Len() int {
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
func (q *SPSC[T]) Cap() int { return len(q.cells) }

// Empty reports that there is nothing to take now. Any goroutine may call it;
// the consumer's answer of false stays true until it pops.
func (q *SPSC[T]) Empty() bool {
	// Head first: the head never passes the tail, so if the tail read later is
	// equal, the ring was empty when it was read.
	h := q.head.Load()
	return h == q.tail.Load()&^closedBit
}

// Close ends the intake: when it has returned, no push succeeds. What was pushed
// before is still delivered. It does not wake the consumer; wake its Parker
// afterwards. Closing again does nothing. Any goroutine may call it.
func (q *SPSC[T]) Close() {
	q.tail.Or(closedBit) // fails a push that read the tail before
}

// Closed reports whether Close was called. There may still be items to take:
// see Drained. Any goroutine may call it.
func (q *SPSC[T]) Closed() bool { return q.tail.Load()&closedBit != 0 }

// Drained reports that the ring is closed and everything pushed was taken: the
// consumer may leave. Once true it stays true. Any goroutine may call it.
func (q *SPSC[T]) Drained() bool {
	t := q.tail.Load()
	return t&closedBit != 0 && q.head.Load() == t&^closedBit
}

// pushAt pushes the items at the tail word t, which the caller has read.
func (q *SPSC[T]) pushAt(t uint64, items []T) Status {
	if t&closedBit != 0 {
		return Closed
	}
	if !q.fits(t, len(items)) {
		return Full
	}
	low, high := q.span(t, len(items))
	copy(high, items[copy(low, items):])
	// Publishes the items to PopBatch, all together. It fails only when Close
	// came first, for nobody else writes the tail.
	if !q.tail.CompareAndSwap(t, t+uint64(len(items))*step) {
		clear(low) // refused: keep nothing alive
		clear(high)
		return Closed
	}
	return OK
}

// fits reports whether n more items fit behind tail t.
func (q *SPSC[T]) fits(t uint64, n int) bool {
	room := int64(len(q.cells)-n) * step
	if int64(t-q.headSeen) <= room {
		return true
	}
	q.headSeen = q.head.Load() // pairs with the store in PopBatch
	return int64(t-q.headSeen) <= room
}

// span returns the n cells from position word w on.
func (q *SPSC[T]) span(w uint64, n int) (low, high []T) {
	return span(q.cells, int(w/step&q.mask), n)
}
