package worker

import "golang.org/x/sys/unix"

// diocgflush is _IO('d', 135). Source: FreeBSD sys/sys/disk.h.
const diocgflush = 0x20006487

// flushDisk has the device write out its cache. One that cannot says so:
// EOPNOTSUPP, ENOTTY, whatever its driver answers.
//
// Source: FreeBSD sys/geom/geom_dev.c, g_dev_ioctl (g_io_flush).
func flushDisk(fd int) error { return unix.IoctlSetInt(fd, diocgflush, 0) }
