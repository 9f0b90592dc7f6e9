//go:build unix

package aioring

import (
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/worker"
)

// readCached makes an operation at once, as io_uring does in the submission, if it is
// a read that the page cache can answer.
func (l *kernelLower) readCached(op *engine.Op) bool {
	s := &op.SQE
	if s.Opcode != engine.OpRead && s.Opcode != engine.OpReadv || s.Off < 0 ||
		s.Flags&engine.FlagAsync != 0 || !l.files.cached(s.Fd) {
		return false
	}
	n, ok := l.cache.Read(int(s.Fd), s.Buf, s.Bufs, s.Off)
	if !ok {
		return false
	}
	l.cached.Add(1)
	l.ring.eng.Complete(op, int32(n))
	return true
}

// cached reports whether the page cache may answer reads through a number.
func (c *fileCache) cached(fd int32) bool {
	k := c.look(fd)
	if k.errno != 0 || k.stat.Type != aio.TypeRegular {
		return false
	}
	if !k.asked {
		k.asked, k.direct = true, worker.Direct(int(fd))
	}
	return !k.direct
}
