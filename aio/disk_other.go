//go:build unix && !freebsd

package aio

import "golang.org/x/sys/unix"

// sectorSize is the smallest that there is: only FreeBSD gives disks to AIO.
func sectorSize(int) int { return 512 }

// isDisk takes every block device for a disk.
func isDisk(fd int, mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFBLK }
