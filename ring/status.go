package ring

import "strconv"

// Status says what became of a push. Except for OK, nothing was pushed: the
// ring never takes a part of a batch.
type Status uint8

const (
	// OK: every item of the batch was taken.
	OK Status = iota
	// Full: the batch does not fit now. It will when the consumer has taken
	// enough.
	Full
	// Closed: the ring is closed. No later push will succeed.
	Closed
	// TooBig: the batch is longer than the ring's capacity and will never fit,
	// however empty the ring.
	TooBig
	// Retry: another producer claimed first. It says nothing about room; only
	// [MPSC.TryPushN] answers it.
	Retry
)

// String returns the name of the constant.
func (s Status) String() string {
	switch s {
	case OK:
		return "OK"
	case Full:
		return "Full"
	case Closed:
		return "Closed"
	case TooBig:
		return "TooBig"
	case Retry:
		return "Retry"
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}
