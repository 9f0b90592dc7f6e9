package aioring

import (
	"math/bits"
	"time"
)

// HistogramBuckets is how many buckets a [Histogram] has. The last reaches from nine
// minutes on, in nanoseconds.
const HistogramBuckets = 40

// Histogram is how often values of each magnitude were seen. Buckets[i] counts those
// from 2^(i-1) up to and without 2^i, Buckets[0] the zeros, the last bucket also all
// that is larger.
type Histogram struct {
	Sum     uint64                   `json:"sum"` // of all values
	Buckets [HistogramBuckets]uint64 `json:"buckets"`
}

// Bound is the largest value that Buckets[i] counts, but for the last, which has none.
func (h *Histogram) Bound(i int) uint64 { return 1<<i - 1 }

// Count is how many values there were.
func (h *Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h.Buckets {
		n += c
	}
	return n
}

// Mean is the mean of the values, 0 if there were none.
func (h *Histogram) Mean() float64 {
	n := h.Count()
	if n == 0 {
		return 0
	}
	return float64(h.Sum) / float64(n)
}

// Quantile bounds the value below which a share q of them is, 0 to 1, from above:
// it is the bound of its bucket. 0 if there were none.
func (h *Histogram) Quantile(q float64) uint64 {
	n := h.Count()
	if n == 0 {
		return 0
	}
	// Not fewer than one: the smallest value is below every quantile.
	rank, seen := max(1, min(n, uint64(q*float64(n)+0.5))), uint64(0)
	for i, c := range h.Buckets {
		if seen += c; seen >= rank {
			return h.Bound(i)
		}
	}
	return h.Bound(HistogramBuckets - 1)
}

// note counts one value.
func (h *Histogram) note(v uint64) {
	h.Sum += v
	h.Buckets[min(bits.Len64(v), HistogramBuckets-1)]++
}

// noteNanos counts a duration; a clock that was read the other way round gives 0.
func (h *Histogram) noteNanos(d int64) { h.note(uint64(max(0, d))) }

// quantileTime is a quantile of durations.
func (h *Histogram) quantileTime(q float64) time.Duration {
	return time.Duration(h.Quantile(q)).Round(time.Microsecond / 10)
}
