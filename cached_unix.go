//go:build unix

package aioring

import (
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/engine"
)

// readCached makes an operation at once, as io_uring does in the submission, if it is
// a read that the page cache can answer.
func (l *kernelLower) readCached(op *engine.Op) bool {
	s := &op.SQE
	if s.Opcode != engine.OpRead && s.Opcode != engine.OpReadv || s.Off < 0 || s.Flags&engine.FlagAsync != 0 {
		return false
	}
	k := l.files.look(s.Fd)
	if k.errno != 0 || k.stat.Type != aio.TypeRegular {
		return false
	}
	n, ok := l.cache.Read(int(s.Fd), s.Buf, s.Bufs, s.Off, &k.pages)
	if !ok {
		return false
	}
	l.cached.Add(1)
	l.ring.eng.Complete(op, int32(n))
	return true
}
