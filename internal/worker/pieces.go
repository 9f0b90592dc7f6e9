//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// writePieces writes to a descriptor in blocking mode for as long as there is room.
// poll(2) promises room for pipeBuf bytes and no more, so that much is written at a
// time. A call of no more than pipeBuf bytes is one write(2), vectored or not, which
// a pipe takes whole.
//
// A terminal may promise more room than it has, and then blocks while its output is
// stopped.
//
// Source: pipe(7); POSIX, write, on PIPE_BUF.
func writePieces(c *Call) (total int, errno syscall.Errno) {
	bufs, p := parts(c)
	one := [1][]byte{p}
	if bufs == nil {
		bufs = one[:]
	}
	var piece [pipeBuf]byte
	for off := 0; ; {
		var want int
		want, bufs, off = gather(piece[:], bufs, off)
		n, errno := write(c.Fd, piece[:want], -1)
		total += n
		if errno != 0 || n < want || len(bufs) == 0 || !ready(c.Fd, unix.POLLOUT) {
			return total, errno
		}
	}
}

// gather copies what fits from bufs, beginning at off in the first. It returns how
// much that was and where the next begins; no buffers are left when all was copied.
func gather(to []byte, bufs [][]byte, off int) (n int, rest [][]byte, restOff int) {
	for len(bufs) > 0 {
		k := copy(to[n:], bufs[0][off:])
		n, off = n+k, off+k
		if off < len(bufs[0]) {
			return n, bufs, off
		}
		bufs, off = bufs[1:], 0
	}
	return n, nil, 0
}
