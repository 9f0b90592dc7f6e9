//go:build unix

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is an errno's symbol, such as ENOSPC.
func errnoName(errno syscall.Errno) string { return unix.ErrnoName(errno) }
