//go:build unix && !linux

package aioring

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic reads CLOCK_MONOTONIC, in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return int64(time.Since(began))
	}
	return ts.Nano()
}

// boottime is monotonic: that clock goes on while these systems sleep, or they have
// none that does.
func boottime() int64 { return monotonic() }

var began = time.Now()
