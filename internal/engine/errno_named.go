//go:build linux || windows

package engine

import "syscall"

// Errnos that not every system has.
const (
	ETIME   = syscall.ETIME
	EBADFD  = syscall.EBADFD
	ENODATA = syscall.ENODATA
)
