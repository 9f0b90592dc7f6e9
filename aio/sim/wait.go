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
	errno := k.suspend(list, timeout)
	if t := s.tracer; t != nil {
		t.begin(s, k, "aio_suspend").num("n", int64(len(list))).num("timeout", int64(timeout)).result(0, errno).end()
	}
	s.unlock()
	return errno
}

func (k *Kernel) suspend(list []*aio.ControlBlock, timeout time.Duration) aio.Errno {
	s := k.sys
	switch {
	case len(list) > s.limits.MaxQueuePerProc:
		return aio.EINVAL
	case !k.used:
		return aio.EAGAIN
	}
	deadline := s.deadline(timeout)
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
		if errno := k.awaitFinish(SuspendSleep, timeout, deadline); errno != 0 {
			return errno
		}
	}
}

// WaitComplete is aio_waitcomplete(2).
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_waitcomplete.
func (k *Kernel) WaitComplete(timeout time.Duration) (*aio.ControlBlock, int, aio.Errno) {
	s := k.sys
	s.lock()
	k.use()
	deadline := s.deadline(timeout)
	for k.done.head == nil {
		if errno := k.awaitFinish(WaitSleep, timeout, deadline); errno != 0 {
			if t := s.tracer; t != nil {
				t.begin(s, k, "aio_waitcomplete").num("timeout", int64(timeout)).result(-1, errno).end()
			}
			s.unlock()
			return nil, -1, errno
		}
	}
	j := k.done.head.v
	cb := j.cb
	n, errno := k.reap("aio_waitcomplete", j)
	return cb, n, errno
}

// deadline is zero for a timeout that is none.
func (s *System) deadline(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return s.now().Add(timeout)
}

// awaitFinish sleeps until some job of the process has finished. EAGAIN: the
// time is over.
func (k *Kernel) awaitFinish(at Point, timeout time.Duration, deadline time.Time) aio.Errno {
	if k.dead {
		return aio.EBADF
	}
	if timeout == 0 {
		return aio.EAGAIN
	}
	done := k.done.n
	if e := k.askHere(func() Op { return Op{Point: at, Entry: -1, Fd: -1} }); e.Errno != 0 {
		return e.Errno
	}
	if k.done.n != done {
		return 0 // a fault had given up the lock
	}
	errno, late := k.sys.sleep(&k.listWaits, deadline)
	if late {
		return aio.EAGAIN
	}
	return errno
}
