//go:build unix && (vectorloop || !(linux || darwin || openbsd))

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// readv and writev go buffer by buffer, for x/sys lacks the calls for FreeBSD and
// NetBSD. Unlike the system's own they are no single step: another call on the file
// may come between two buffers. The build tag vectorloop has them tested elsewhere.
func readv(fd int, bufs [][]byte, off int64) (total int, errno syscall.Errno) {
	for _, b := range bufs {
		if len(b) == 0 {
			continue // reading nothing would look like the end of the file
		}
		if total > 0 && off < 0 && !ready(fd, unix.POLLIN) {
			break // a stream gives what it has
		}
		n, err := read(fd, b, off)
		total += n
		if err != 0 || n < len(b) {
			return total, err
		}
		off = beyond(off, n)
	}
	return total, 0
}

func writev(fd int, bufs [][]byte, off int64) (total int, errno syscall.Errno) {
	// What a pipe takes whole, and an appender expects in one piece, is one write.
	var small [pipeBuf]byte
	if n, rest, _ := gather(small[:], bufs, 0); len(rest) == 0 {
		return write(fd, small[:n], off)
	}
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		n, err := write(fd, b, off)
		total += n
		if err != 0 || n < len(b) {
			return total, err
		}
		off = beyond(off, n)
	}
	return total, 0
}

// beyond is the offset n bytes on, where there is one.
func beyond(off int64, n int) int64 {
	if off < 0 {
		return off
	}
	return off + int64(n)
}
