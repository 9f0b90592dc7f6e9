//go:build unix

package sim

import (
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
	if !isOpen(fd) {
		return 0, aio.EBADF
	}
	s := k.sys
	s.lock()
	defer s.unlock()
	if k.used && s.isDisk(fd) {
		return aio.NotCancelled, 0 // whatever there is
	}
	cancelled, not := 0, 0
	for e := k.unfinished.head; e != nil; {
		next := e.next // cancel moves e to another queue
		j := e.v
		if int(j.fd) == fd && (cb == nil || j.addr == uintptr(unsafe.Pointer(cb))) {
			if k.cancel(j) {
				cancelled++
			} else {
				not++
			}
			if cb != nil {
				break
			}
		}
		e = next
	}
	switch {
	case not > 0:
		return aio.NotCancelled, 0
	case cancelled > 0:
		return aio.Cancelled, 0
	}
	return aio.AllDone, 0
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
		j.cancelled = true
		return false
	}
	k.stats.Cancelled++
	k.finish(j, -1, aio.ECANCELED)
	return true
}
