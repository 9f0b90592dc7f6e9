package ring

// Claimed are cells of an MPSC that one producer has claimed and not published.
type Claimed[T any] struct {
	// Low and High are the cells, in this order: High is where they go on after the
	// end of the array. They carry what they had before: write all of each.
	Low, High []T

	ring *MPSC[T]
	at   uint64 // position word of the first
}

// Claim is a PushN whose items are written in place: it claims n cells, which the
// caller fills and must publish soon, for they hold up what is claimed after them.
// The status is PushN's; unless it is OK nothing was claimed. A claim of none, or of
// fewer, claims nothing, and its Publish does nothing. Any goroutine may call it.
func (q *MPSC[T]) Claim(n int) (Claimed[T], Status) {
	n = max(n, 0)
	if n > len(q.cells) {
		return Claimed[T]{}, TooBig
	}
	for pause := shortPause; ; pause = backOff(pause) {
		t := q.tail.Load()
		switch s := q.claimAt(t, n); s {
		case OK:
			low, high := q.span(t, n)
			return Claimed[T]{low, high, q, t}, OK
		case Retry:
		default:
			return Claimed[T]{}, s
		}
	}
}

// Publish gives the cells to the consumer. They must not be touched after it.
func (c Claimed[T]) Publish() {
	n := uint64(len(c.Low) + len(c.High))
	if n == 0 {
		return
	}
	c.ring.mark(c.at).Store(c.at + n*step) // publishes the items to PopBatch and Front
}

// Front returns up to limit of the oldest items in place, as far as they lie in
// one piece; none when none can be taken now. They are the consumer's until
// [MPSC.Advance]. Only the consumer may call it.
func (q *MPSC[T]) Front(limit int) []T {
	h := q.head.Load() // our own store
	first := int(h / step & q.mask)
	limit = min(max(limit, 0), len(q.cells)-first)
	end := q.published(h, h+uint64(limit)*step)
	q.frontEnd = end
	n := min(limit, int((end-h)/step))
	q.frontLast = h + uint64(n)*step
	return q.cells[first : first+n]
}

// Advance takes n of the items that the last Front returned; if it returned fewer,
// those. Their cells are not zeroed: it is for items without pointers. Only the consumer may
// call it.
func (q *MPSC[T]) Advance(n int) {
	h := q.head.Load()
	n = min(n, int(int64(q.frontLast-h)/step))
	if n <= 0 {
		return
	}
	next := h + uint64(n)*step
	if next != q.frontEnd {
		// What Front saw beyond becomes a batch, so that there is a mark at the head.
		q.mark(next).Store(q.frontEnd)
	}
	q.head.Store(next) // publishes to fits that the cells are free
}
