//go:build unix

package aioring

import (
	"syscall"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/worker"
)

// modelFiles are the plain calls of a kernel whose descriptors mean nothing to the
// system, as those of a sim.Kernel over a Volume.
type modelFiles interface {
	// OwnFiles reports whether that is so.
	OwnFiles() bool
	Pread(fd int, p []byte, off int64) (int, aio.Errno)
	Pwrite(fd int, p []byte, off int64) (int, aio.Errno)
	SyncFile(fd int, op aio.SyncOp) aio.Errno
}

// plainCalls are a kernel's own, or nil when the system's will do.
func plainCalls(k aio.Kernel) modelFiles {
	if m, ok := k.(modelFiles); ok && m.OwnFiles() {
		return m
	}
	return nil
}

// runOn makes a call on such files, at once: they are in memory.
func runOn(m modelFiles, c *worker.Call) {
	done, errno := 0, aio.Errno(0)
	off := c.Off
	move := func(p []byte) bool {
		var n int
		if c.Op == worker.Read || c.Op == worker.Readv {
			n, errno = m.Pread(c.Fd, p, off)
		} else {
			n, errno = m.Pwrite(c.Fd, p, off)
		}
		if errno != 0 {
			return false
		}
		done += n
		if off != CurrentPosition {
			off += int64(n)
		}
		return n == len(p)
	}
	switch c.Op {
	case worker.Read, worker.Write:
		move(c.Buf[:min(len(c.Buf), MaxTransfer)])
	case worker.Readv, worker.Writev:
		left := MaxTransfer
		for i, p := range c.Bufs {
			if i > 0 && (len(p) == 0 || left == 0) {
				continue // the first one is tried for its errno
			}
			p = p[:min(len(p), left)]
			left -= len(p)
			if !move(p) {
				break
			}
		}
	case worker.Fsync:
		errno = m.SyncFile(c.Fd, aio.Sync)
	case worker.Fdatasync:
		errno = m.SyncFile(c.Fd, aio.DataSync)
	}
	c.Res, c.Err = done, syscall.Errno(0)
	if errno != 0 && done == 0 {
		c.Err = errno.Host()
	}
}
