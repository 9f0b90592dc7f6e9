package aio

import "syscall"

// PreadNowait reads into a buffer that is not empty, at an offset, what the page cache
// has of a file, and does not wait for more: EAGAIN if it has nothing, EOPNOTSUPP on a
// file system that cannot tell. Fewer bytes than asked for may be the end of the file,
// or of what is cached; on Linux 5.9 and 5.10 so may 0. A descriptor with O_DIRECT
// waits for the medium all the same.
//
// Source: preadv2(2), RWF_NOWAIT; Linux 4.14.
func (HostFiles) PreadNowait(fd int, p []byte, off int64) (int, Errno) {
	n, errno := preadNowait(fd, p, off)
	if errno == syscall.EAGAIN {
		return 0, EAGAIN
	}
	if errno != 0 {
		return 0, FromHost(errno)
	}
	return n, 0
}
