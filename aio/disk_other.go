//go:build unix && !freebsd

package aio

import "golang.org/x/sys/unix"

// isDisk takes every block device for a disk.
func isDisk(fd int, mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFBLK }
