package aiotest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// diskEnd asks a disk for its size.
// Source: FreeBSD sys/sys/disk.h, DIOCGMEDIASIZE, _IOR('d', 129, off_t).
func diskEnd(fd int) int64 {
	const diocgmediasize = 0x40086481
	var size int64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), diocgmediasize, uintptr(unsafe.Pointer(&size))); errno != 0 {
		return 0
	}
	return size
}
