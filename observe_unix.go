//go:build unix

package aioring

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/batch"
	"github.com/aioring/aioring/internal/engine"
)

func errnoName(errno syscall.Errno) string { return unix.ErrnoName(errno) }

// state says where an operation is.
func (l *kernelLower) state(op *engine.Op) State {
	t := l.task(op.Slot())
	switch {
	case t.op != op:
		return StateQueued
	case t.queued:
		return StateHeld
	case t.plain:
		return StateCalling
	}
	switch t.job.State() {
	case batch.WaitsRoom:
		return StateWaiting
	case batch.WaitsOthers:
		return StateHeld
	case batch.InKernel:
		return StateKernel
	}
	return StateQueued
}

// latency is where the time of operations went. It is the engine's owner's.
type latency struct{ queued, served, delivered Histogram }

// note counts a task that has its result.
func (l *latency) note(t *task, now int64) {
	began, ended := t.job.Began, t.job.Ended
	if t.plain {
		began, ended = t.began, t.doneAt
	}
	if began == 0 || ended == 0 {
		return
	}
	l.queued.noteNanos(began - t.op.Start)
	l.served.noteNanos(ended - began)
	l.delivered.noteNanos(now - ended)
}

func histogramOf(s batch.Sizes) Histogram {
	h := Histogram{Sum: s.Sum}
	copy(h.Buckets[:], s.Buckets[:])
	return h
}
