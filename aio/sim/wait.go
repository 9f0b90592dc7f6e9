//go:build unix

package sim

import (
	"time"

	"github.com/aioring/aioring/aio"
)

// Suspend is aio_suspend(2).
// Source: FreeBSD sys/kern/vfs_aio.c, sys_aio_suspend and kern_aio_suspend.
func (k *Kernel) Suspend(list []*aio.ControlBlock, timeout time.Duration) aio.Errno {
	s := k.sys
	s.lock()
	defer s.unlock()
	switch {
	case len(list) > s.limits.MaxQueuePerProc:
		return aio.EINVAL
	case !k.used:
		return aio.EAGAIN
	}
	deadline := deadlineOf(timeout)
	for {
		known := false
		for _, cb := range list {
			for l := k.byAddr.first(key(cb)); l != nil; l = l.again() {
				if l.v.state == finished {
					return 0
				}
				known = true
			}
		}
		if !known {
			return 0 // all of them are reaped, or never were
		}
		if errno := k.awaitFinish(timeout, deadline); errno != 0 {
			return errno
		}
	}
}

// WaitComplete is aio_waitcomplete(2).
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_waitcomplete.
func (k *Kernel) WaitComplete(timeout time.Duration) (*aio.ControlBlock, int, aio.Errno) {
	s := k.sys
	s.lock()
	k.used = true
	deadline := deadlineOf(timeout)
	for k.done.head == nil {
		if errno := k.awaitFinish(timeout, deadline); errno != 0 {
			s.unlock()
			return nil, -1, errno
		}
	}
	j := k.done.head.v
	cb := j.cb
	n, errno := k.reap(j, cb)
	return cb, n, errno
}

// deadlineOf is zero for a timeout that is none.
func deadlineOf(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// awaitFinish sleeps until some job of the process has finished. EAGAIN: the
// time is over.
func (k *Kernel) awaitFinish(timeout time.Duration, deadline time.Time) aio.Errno {
	if k.dead {
		return aio.EBADF
	}
	if timeout == 0 {
		return aio.EAGAIN
	}
	errno, late := k.sys.sleep(&k.listWaits, deadline)
	if late {
		return aio.EAGAIN
	}
	return errno
}
