package aioring

import "golang.org/x/sys/unix"

// monotonic reads CLOCK_MONOTONIC, in nanoseconds.
func monotonic() int64 { return readClock(unix.CLOCK_MONOTONIC) }

// boottime reads CLOCK_BOOTTIME, in nanoseconds.
func boottime() int64 { return readClock(unix.CLOCK_BOOTTIME) }

func readClock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // these two cannot fail
	return ts.Nano()
}
