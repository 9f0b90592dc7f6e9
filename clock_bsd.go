//go:build freebsd || darwin

package aioring

import "golang.org/x/sys/unix"

// monotonic reads CLOCK_MONOTONIC, in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it cannot fail
	return ts.Nano()
}

// boottime is monotonic: that clock goes on while these systems sleep, or they have
// none that does.
func boottime() int64 { return monotonic() }
