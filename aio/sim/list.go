//go:build unix

package sim

import (
	"runtime"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// lio is struct aioliojob: what the kernel remembers of one list.
type lio struct {
	count    int                // accepted and not reaped, and one for the call itself while it lasts
	finished int                // of these, finished
	kevent   bool               // a list event was asked for
	signal   int32              // or this signal, 0 for none or when it is sent
	value    uintptr            // that goes with it
	posted   bool               // and has been posted: it is sticky until the last reap
	note     *knote             // the EVFILT_LIO knote
	call     uint64             // which call of the process it is
	array    **aio.ControlBlock // the caller's, held so that it lies still: its address is the ident
	next     *lio               // in System.freeLists
}

func (s *System) newList() *lio {
	l := s.freeLists
	if l == nil {
		return new(lio)
	}
	s.freeLists, l.next = l.next, nil
	return l
}

// dropList forgets a list, and its event with it, fetched or not.
func (s *System) dropList(l *lio) {
	if l.note != nil {
		l.note.drop()
	}
	*l = lio{next: s.freeLists}
	s.freeLists = l
}

// post makes the list's event ready, or sends its signal.
func (k *Kernel) post(l *lio) {
	if l.signal != 0 {
		k.raise(Signal{l.signal, l.value})
		l.signal = 0
	}
	if !l.kevent {
		return
	}
	l.posted = true
	if l.note != nil {
		l.note.activate()
	}
}

// listChunk is how many entries one hold of the lock takes, so that a long list
// neither stops the daemons nor keeps capacity from becoming free meanwhile.
const listChunk = 16

// ListIO is lio_listio(2). There is no early stop: after an EAGAIN later
// entries are still tried, and may be accepted if a slot became free.
// Source: FreeBSD sys/kern/vfs_aio.c, sys_lio_listio and kern_lio_listio.
func (k *Kernel) ListIO(mode aio.ListMode, list []*aio.ControlBlock, sig *aio.Sigevent) aio.Errno {
	s := k.sys
	s.lock()
	k.calls++
	c := call{k: k, name: "lio_listio", number: k.calls}
	errno := c.list(mode, list, sig)
	if t := s.tracer; t != nil {
		t.begin(s, k, c.name).num("list", int64(c.number)).num("mode", int64(mode)).num("n", int64(len(list))).result(0, errno).end()
	}
	fds := c.end()
	s.unlock()
	fds.close()
	return errno
}

// list is the whole call, with the lock held, which is given up meanwhile.
func (c *call) list(mode aio.ListMode, list []*aio.ControlBlock, sig *aio.Sigevent) aio.Errno {
	k := c.k
	s := k.sys
	if k.dead {
		k.afterShutdown(c.String())
		return aio.EBADF
	}
	if e := k.askHere(func() Op { return Op{Point: List, Entry: -1, Fd: -1} }); e.Errno != 0 {
		return e.Errno
	}
	if (mode != aio.ListNoWait && mode != aio.ListWait) || len(list) > s.limits.MaxQueuePerProc {
		return aio.EINVAL
	}
	k.use()
	l := s.newList()
	l.array = unsafe.SliceData(list)
	l.call = c.number
	if sig != nil && mode == aio.ListNoWait {
		if errno := c.registerList(l, sig); errno != 0 {
			s.dropList(l)
			return errno
		}
	}
	k.stats.Lists++

	// The guard: no event before all entries were tried, and no end of the
	// list by a reap in another goroutine.
	l.count = 1
	refused, again := 0, 0
	for i, cb := range list {
		if i > 0 && i%listChunk == 0 {
			s.unlock()
			if s.stepped == nil {
				runtime.Gosched() // who waits for the lock shall have it
			}
			s.lock()
		}
		if cb == nil {
			continue
		}
		switch c.queue(cb, aio.OpNop, l, i) {
		case 0:
		case aio.EAGAIN:
			again++
		default:
			refused++
		}
	}

	errno := aio.Errno(0)
	if mode == aio.ListWait {
		errno = k.waitList(l)
	} else {
		accepted := l.count - 1
		if accepted == l.finished {
			k.post(l)
		}
		k.askHere(func() Op { return Op{Point: ListPosted, Entry: -1, Fd: -1, Accepted: accepted} })
	}
	l.count--
	if l.count == 0 {
		s.dropList(l)
	}
	switch {
	case refused > 0:
		return aio.EIO
	case again > 0:
		return aio.EAGAIN
	}
	return errno
}

// registerList makes the EVFILT_LIO knote, before any entry is looked at. Its
// ident is the address of the caller's array. sigev_notify_kevent_flags do not
// count for lists.
func (c *call) registerList(l *lio, sig *aio.Sigevent) aio.Errno {
	switch sig.Notify {
	case aio.NotifyNone:
		return 0
	case aio.NotifySignal, notifyThreadID:
		if sig.Kqueue <= 0 || sig.Kqueue > maxSignal {
			return aio.EINVAL
		}
		l.signal, l.value = sends(sig), sig.Value
		return 0
	case aio.NotifyKevent:
	default:
		return aio.EINVAL
	}
	kq, errno := c.k.kqueue(int(sig.Kqueue))
	if errno != 0 {
		return errno
	}
	l.kevent = true
	kev := aio.Kevent{
		Ident:  uintptr(unsafe.Pointer(l.array)),
		Filter: aio.FilterLIO,
		Flags:  aio.EvAdd | aio.EvEnable,
		Udata:  sig.Value,
	}
	return kq.register(&kev, nil, l, c)
}

// waitList is the sleep of LIO_WAIT, for the accepted entries only. A signal
// ends it and leaves them running.
func (k *Kernel) waitList(l *lio) aio.Errno {
	for l.count-1 != l.finished {
		if e := k.askHere(func() Op { return Op{Point: ListSleep, Entry: -1, Fd: -1} }); e.Errno != 0 {
			return e.Errno
		}
		if l.count-1 == l.finished {
			break // a fault may have given up the lock
		}
		if errno, _ := k.sys.sleep(&k.listWaits, time.Time{}); errno != 0 {
			return errno
		}
	}
	return 0
}
