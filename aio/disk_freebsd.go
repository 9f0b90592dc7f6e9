package aio

import "golang.org/x/sys/unix"

// What FIODTYPE asks of a character device, and the answer that makes it a disk.
// Source: FreeBSD sys/sys/filio.h, _IOR('f', 122, int); sys/sys/conf.h.
const (
	fiodtype = 0x4004667a
	dDisk    = 0x0002
)

// isDisk asks the device. One that knows no FIODTYPE, or is gone, is no disk.
func isDisk(fd int, mode uint32) bool {
	kind, err := unix.IoctlGetInt(fd, fiodtype)
	return err == nil && kind&dDisk != 0
}
