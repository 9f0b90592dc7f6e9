//go:build !linux && !windows && !darwin && !netbsd

package engine

import "syscall"

// Errnos that not every system has, with numbers that this one's kernel never
// answers with.
const (
	ETIME   = syscall.Errno(1062)
	EBADFD  = syscall.Errno(1077)
	ENODATA = syscall.Errno(1061)
)
