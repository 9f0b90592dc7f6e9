package worker

import "golang.org/x/sys/unix"

// fsync is what os.File.Sync does: fsync(2) leaves the data in the drive's cache
// here, F_FULLFSYNC does not, and file systems that lack it answer ENOTSUP.
//
// Source: fsync(2), fcntl(2); Go issues 26650 and 64215.
func fsync(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
	if err == unix.ENOTSUP {
		return unix.Fsync(fd)
	}
	return err
}

// fdatasync promises as much of the data as fsync does.
func fdatasync(fd int) error { return fsync(fd) }
