//go:build darwin || linux || openbsd

package sim

import "golang.org/x/sys/unix"

// onceVector is one vectored system call.
func (t *transfer) onceVector(v [][]byte) (n int, err error) {
	for {
		switch {
		case t.write && t.stream:
			n, err = unix.Writev(t.fd, v)
		case t.write:
			n, err = unix.Pwritev(t.fd, v, t.offset)
		case t.stream:
			n, err = unix.Readv(t.fd, v)
		default:
			n, err = unix.Preadv(t.fd, v, t.offset)
		}
		if err != unix.EINTR {
			return n, err
		}
	}
}
