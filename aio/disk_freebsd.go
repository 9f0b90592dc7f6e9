package aio

import "golang.org/x/sys/unix"

// What FIODTYPE asks of a character device, and the answer that makes it a disk.
// Source: FreeBSD sys/sys/filio.h, _IOR('f', 122, int); sys/sys/conf.h.
const (
	fiodtype = 0x4004667a
	dDisk    = 0x0002
)

// What asks a disk for the size of its sectors. Source: FreeBSD sys/sys/disk.h,
// _IOR('d', 128, u_int).
const diocgsectorsize = 0x40046480

// sectorSize asks the device; 512 if it does not say, which is devfs's own.
func sectorSize(fd int) int {
	n, err := unix.IoctlGetInt(fd, diocgsectorsize)
	if err != nil || int32(n) <= 0 {
		return 512
	}
	return int(int32(n))
}

// isDisk asks the device. One that knows no FIODTYPE, or is gone, is no disk.
func isDisk(fd int, mode uint32) bool {
	kind, err := unix.IoctlGetInt(fd, fiodtype)
	return err == nil && kind&dDisk != 0
}
