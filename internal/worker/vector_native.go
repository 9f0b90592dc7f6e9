//go:build (linux || darwin || openbsd) && !vectorloop

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// readv and writev are the system's own: one step, as one read or write is.
//
// Source: readv(2), preadv(2).
func readv(fd int, bufs [][]byte, off int64) (n int, errno syscall.Errno) {
	for {
		var err error
		if off < 0 {
			n, err = unix.Readv(fd, bufs)
		} else {
			n, err = unix.Preadv(fd, bufs, off)
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}

func writev(fd int, bufs [][]byte, off int64) (n int, errno syscall.Errno) {
	for {
		var err error
		if off < 0 {
			n, err = unix.Writev(fd, bufs)
		} else {
			n, err = unix.Pwritev(fd, bufs, off)
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}
