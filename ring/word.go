package ring

import "math/bits"

// Head and tail are position words: a position counted in steps of two, which
// leaves the low bit for one flag. In the tail the flag is closedBit, so that
// one compare-and-swap both claims room and finds the ring open: a close that
// came between makes the claim fail.
//
// Words wrap at 2^64 and are compared by their signed difference, which is
// right as long as two words compared are less than 2^63 apart; they are never
// further apart than the capacity, or than what other goroutines push between
// two loads of one call.
const (
	step      = 2
	closedBit = 1
)

// maxCapacity keeps a position difference and an index inside an int on 32-bit
// machines.
const maxCapacity = 1 << 30

// pad keeps what one side writes off the cache lines of the other. It is two
// lines of 64 bytes because amd64's spatial prefetcher fetches lines in pairs
// and some arm64 processors have lines of 128. A pad stands between fields, so
// the distance holds wherever the structure itself begins.
type pad [128]byte

// roundCapacity returns the capacity used for the one asked for: the next
// power of two, so that a mask finds the cell, between 2 and maxCapacity.
func roundCapacity(capacity int) int {
	if capacity <= 2 {
		return 2
	}
	if capacity >= maxCapacity {
		return maxCapacity
	}
	return 1 << bits.Len(uint(capacity-1))
}

// span returns n cells from index i on: those up to the end of the array, and
// those that continue at its beginning.
func span[T any](cells []T, i, n int) (low, high []T) {
	if i+n <= len(cells) {
		return cells[i : i+n], nil
	}
	return cells[i:], cells[:i+n-len(cells)]
}
