//go:build unix

package aioring

import (
	"syscall"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/worker"
)

// lane are the operations on one file that are made at its own position, or write at
// its end, where they are plain calls: one at a time, in order of submission. Where
// there is AIO, package batch has the like. All of it is the engine's owner's.
type lane struct {
	stat       aio.FileStat
	head, tail *task // those behind the one under way
}

// inLane reports whether an operation keeps the order of its file's lane.
func (l *kernelLower) inLane(s *engine.SQE, stat aio.FileStat) bool {
	switch s.Opcode {
	case engine.OpWrite, engine.OpWritev:
		return stat.AIO() && (s.Off == engine.CurrentPosition || l.files.appends(s.Fd))
	case engine.OpRead, engine.OpReadv:
		return stat.AIO() && s.Off == engine.CurrentPosition
	}
	return false
}

// startInLane starts an operation, or has it wait for those before it.
func (l *kernelLower) startInLane(t *task, stat aio.FileStat) {
	n := l.lanes[stat]
	if n == nil {
		n = &lane{stat: stat}
		if len(l.spareLanes) > 0 {
			n, l.spareLanes = l.spareLanes[len(l.spareLanes)-1], l.spareLanes[:len(l.spareLanes)-1]
			*n = lane{stat: stat}
		}
		l.lanes[stat] = n
		t.lane = n
		l.startPlain(t, stat)
		return
	}
	t.plain = true
	if errno := l.hold(t); errno != 0 {
		// It cannot wait, and out of its turn it must not go.
		l.endPlain(t, errno.Host())
		return
	}
	t.lane, t.queued = n, true
	if n.tail == nil {
		n.head = t
	} else {
		n.tail.behind = t
	}
	n.tail = t
}

// nextInLane starts what is behind an operation that is over.
func (l *kernelLower) nextInLane(t *task) {
	n := t.lane
	t.lane = nil
	next := n.head
	if next == nil {
		delete(l.lanes, n.stat)
		l.spareLanes = append(l.spareLanes, n)
		return
	}
	if n.head = next.behind; n.head == nil {
		n.tail = nil
	}
	next.behind, next.queued = nil, false
	l.startPlain(next, n.stat)
	l.ring.again.Store(true) // it wants a flush
}

// cancelInLane ends an operation that waits in its lane.
func (l *kernelLower) cancelInLane(t *task) {
	n := t.lane
	var before *task
	for k := n.head; k != t; k = k.behind {
		before = k
	}
	if before == nil {
		n.head = t.behind
	} else {
		before.behind = t.behind
	}
	if n.tail == t {
		n.tail = before
	}
	t.lane, t.behind, t.queued = nil, nil, false
	l.endPlain(t, syscall.ECANCELED)
}

// endPlain gives an operation that was to be a plain call its result.
func (l *kernelLower) endPlain(t *task, errno syscall.Errno) {
	t.call = worker.Call{Err: errno}
	l.push(t)
	l.ring.again.Store(true) // what waits for its end gets another turn
}
