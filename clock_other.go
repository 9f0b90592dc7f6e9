//go:build !linux && !freebsd && !darwin

package aioring

import "time"

var began = time.Now()

// monotonic is the time since the process began, in nanoseconds.
func monotonic() int64 { return int64(time.Since(began)) }

func boottime() int64 { return monotonic() }
