//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// maxTransfer is the most bytes one call moves; a longer one is short. It is
	// Linux's MAX_RW_COUNT, which keeps a count within 32 bits on every system.
	maxTransfer = 0x7ffff000
	// maxVectors is IOV_MAX, 1024 on every system.
	maxVectors = 1024
)

// Run makes a call in the calling goroutine and sets Res and Err. It does not wait
// for readiness: on a stream it is a plain read(2) or write(2), which blocks or
// gives EAGAIN as the descriptor's mode has it. Only the caller may use c
// meanwhile.
//
// Errors are those of the system's call; EINVAL also for an unknown Op, for an
// offset below -1 and for more than 1024 buffers. EINTR is not among them.
//
// Source: read(2), write(2), preadv(2), fsync(2).
func Run(c *Call) { c.settle(c.run()) }

func (c *Call) run() (int, syscall.Errno) {
	off := c.Off
	if c.Stream {
		off = -1
	}
	if c.Op.moves() && off < -1 {
		return 0, syscall.EINVAL
	}
	if c.Disk && !c.Op.moves() {
		return syncFile(c.Fd, flushDisk)
	}
	switch c.Op {
	case Read:
		return read(c.Fd, c.Buf, off)
	case Write:
		return write(c.Fd, c.Buf, off)
	case Readv, Writev:
		return vector(c, off)
	case Fsync:
		return syncFile(c.Fd, fsync)
	case Fdatasync:
		return syncFile(c.Fd, fdatasync)
	}
	return 0, syscall.EINVAL
}

func read(fd int, p []byte, off int64) (n int, errno syscall.Errno) {
	p = p[:min(len(p), maxTransfer)]
	for {
		var err error
		if off < 0 {
			n, err = unix.Read(fd, p)
		} else {
			n, err = unix.Pread(fd, p, off)
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}

func write(fd int, p []byte, off int64) (n int, errno syscall.Errno) {
	p = p[:min(len(p), maxTransfer)]
	for {
		var err error
		if off < 0 {
			n, err = unix.Write(fd, p)
		} else {
			n, err = unix.Pwrite(fd, p, off)
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}

// vector leaves to readv and writev, which each system has in its own way, only
// what needs them. One buffer or none is a plain call: macOS refuses an empty
// vector, and a bad descriptor is to be one all the same.
func vector(c *Call, off int64) (int, syscall.Errno) {
	if len(c.Bufs) > maxVectors {
		return 0, syscall.EINVAL
	}
	bufs, p := parts(c)
	switch {
	case bufs == nil && c.Op.writes():
		return write(c.Fd, p, off)
	case bufs == nil:
		return read(c.Fd, p, off)
	case c.Op.writes():
		return writev(c.Fd, bufs, off)
	}
	return readv(c.Fd, bufs, off)
}

// fitting returns the run of bufs that one call can move: from the first that is
// not empty, as many as stay within maxTransfer, at least that one. It returns none
// if all are empty.
func fitting(bufs [][]byte) [][]byte {
	for len(bufs) > 0 && len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	room := maxTransfer
	for i, b := range bufs {
		if len(b) > room {
			return bufs[:max(i, 1)]
		}
		room -= len(b)
	}
	return bufs
}

// parts returns the buffers that a call can move if they are several, else the one.
func parts(c *Call) (bufs [][]byte, p []byte) {
	if !c.Op.vectored() {
		return nil, c.Buf[:min(len(c.Buf), maxTransfer)]
	}
	switch bufs = fitting(c.Bufs); len(bufs) {
	case 0:
		return nil, nil
	case 1:
		return nil, bufs[0][:min(len(bufs[0]), maxTransfer)]
	}
	return bufs, nil
}

// syncFile makes fsync(2) or its like.
func syncFile(fd int, call func(fd int) error) (int, syscall.Errno) {
	for {
		if err := call(fd); err != unix.EINTR {
			return result(0, err)
		}
	}
}

// result turns what x/sys returns into a count, 0 with an error, and an errno.
func result(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return 0, errno
	}
	return 0, syscall.EIO // x/sys refused the arguments itself
}
