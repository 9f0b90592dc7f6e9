//go:build darwin || netbsd

package engine

import "syscall"

// Errnos that not every system has. Above 1000 are those that this one lacks: its
// kernel never answers with them.
const (
	ETIME   = syscall.ETIME
	EBADFD  = syscall.Errno(1077)
	ENODATA = syscall.ENODATA
)
