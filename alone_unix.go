//go:build unix

package aioring

import (
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/worker"
)

// ownCall is the plain call of an operation that is alone. There is one at a time, as
// it is alone.
type ownCall struct {
	low  *kernelLower
	task *task
}

// startOwn has an operation's submitter make its call, if it is alone and he offers.
// The file is held as for any plain call.
func (l *kernelLower) startOwn(t *task, stat aio.FileStat) bool {
	if !l.callsOwn || t.op.SQE.Flags&engine.FlagAsync != 0 || !stat.AIO() || l.ring.eng.InFlight() != 1 || l.own.task != nil {
		return false
	}
	c, _ := t.op.Owner.(*call)
	if c == nil && (t.op.Owner != nil || !l.ring.sq.alone) {
		return false
	}
	if l.hold(t) != 0 {
		return false
	}
	t.began, t.doneAt = 0, 0
	s := &t.op.SQE
	t.call = worker.Call{
		Op: callOp(s), Fd: t.file.fd, Off: s.Off, Buf: s.Buf, Bufs: s.Bufs,
		ID: t.op.Slot(), Disk: stat.Type == aio.TypeDisk,
	}
	t.plain, t.own = true, true
	l.own = ownCall{l, t}
	// Publishes all of that to whoever makes the call, who may begin at once.
	if c != nil && !c.offer.accept(&l.own) {
		l.endOwn(t)
		return false
	}
	l.direct.Add(1)
	if c == nil {
		l.ring.sq.own = &l.own
	}
	return true
}

// run makes the call. The submitter calls it, who is not the engine's owner.
func (o *ownCall) run() {
	l, t := o.low, o.task
	if l.clock != nil {
		t.began = l.clock()
	}
	worker.Run(&t.call)
	l.called(&t.call)
}

// endOwn makes room for the next. The engine's owner calls it.
func (l *kernelLower) endOwn(t *task) {
	t.own = false
	l.own.task = nil
}
