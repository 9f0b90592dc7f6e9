//go:build unix

package sim

import (
	"sync/atomic"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Cancel is aio_cancel(2). It matches jobs by the descriptor number they were
// submitted under, so a number used again reaches the old file's jobs. With a
// block only the first match is tried. An answer of Cancelled means that the
// job has finished with ECANCELED, that its event is posted, and that it must
// still be reaped.
// Source: FreeBSD sys/kern/vfs_aio.c, sys_aio_cancel and aio_cancel_job.
func (k *Kernel) Cancel(fd int, cb *aio.ControlBlock) (aio.CancelStatus, aio.Errno) {
	s := k.sys
	s.lock()
	status, errno := k.cancelAll(fd, cb)
	if t := s.tracer; t != nil {
		var j *job
		if l := k.byAddr.first(key(cb)); cb != nil && l != nil {
			j = l.v
		}
		t.begin(s, k, "aio_cancel").job(j).num("fd", int64(fd)).result(int(status), errno).end()
	}
	s.unlock()
	return status, errno
}

func (k *Kernel) cancelAll(fd int, cb *aio.ControlBlock) (aio.CancelStatus, aio.Errno) {
	if !k.isOpen(fd) {
		return 0, aio.EBADF
	}
	e := k.askHere(func() Op { return Op{Point: Cancel, Entry: -1, Fd: fd, Addr: uintptr(key(cb))} })
	if e.early {
		k.finishFirst(fd, cb)
	}
	if k.used && k.table == nil && k.sys.isDisk(fd) {
		return aio.NotCancelled, 0 // whatever there is
	}
	cancelled, not := 0, 0
	for at := k.unfinished.head; at != nil; {
		next := at.next // cancel moves it to another queue
		j := at.v
		if j.matches(fd, cb) {
			if e.refused {
				j.mark()
				not++
			} else if k.cancel(j) {
				cancelled++
			} else {
				not++
			}
			k.sys.scribble(j, &e)
			if cb != nil {
				break
			}
		}
		at = next
	}
	switch {
	case not > 0:
		return aio.NotCancelled, 0
	case cancelled > 0:
		return aio.Cancelled, 0
	}
	return aio.AllDone, 0
}

// mark says that Cancel came too late for a job.
func (j *job) mark() {
	j.cancelled = true
	atomic.StoreUint32(&j.marked, 1)
}

func (j *job) matches(fd int, cb *aio.ControlBlock) bool {
	return int(j.fd) == fd && (cb == nil || j.addr == uintptr(unsafe.Pointer(cb)))
}

// finishFirst runs those to their end that a cancel would find waiting.
func (k *Kernel) finishFirst(fd int, cb *aio.ControlBlock) {
	s := k.sys
	for {
		e := s.runq.head
		for e != nil && (e.v.k != k || !e.v.matches(fd, cb) || e.v.gate.holds(s)) {
			e = e.next
		}
		if e == nil {
			return
		}
		s.runHere(e.v)
	}
}

// cancel ends a job that nobody has begun; one that runs is only marked. One on a
// socket that has moved bytes ends too, but with success.
func (k *Kernel) cancel(j *job) bool {
	if j.cancelled && !k.dead {
		return false
	}
	switch j.state {
	case endless:
		if !k.dead {
			return false
		}
	case onSocket:
		return j.cancelOnSocket()
	case queued:
		k.sys.runq.remove(&j.run)
	case syncing:
		k.syncq.remove(&j.run)
	default:
		j.mark()
		return false
	}
	k.stats.Cancelled++
	k.finish(j, -1, aio.ECANCELED)
	return true
}
