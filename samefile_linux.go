package aioring

import "golang.org/x/sys/unix"

// sameOpenFile reports whether two descriptors are duplicates of one another, with
// one position and one set of flags; known is false if the kernel cannot tell.
//
// Source: Linux fs/fcntl.c, f_dupfd_query; F_DUPFD_QUERY is of 6.10, before it is
// EINVAL.
func sameOpenFile(fd, other int) (same, known bool) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_QUERY, other)
	return err == nil && n == 1, err == nil || err == unix.EBADF
}
