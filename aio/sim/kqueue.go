//go:build unix

package sim

import (
	"slices"
	"time"

	"github.com/aioring/aioring/aio"
)

// Flags of a change that aio does not name.
// Source: FreeBSD sys/sys/event.h.
const (
	evForceOneshot = 0x0100
	evKeepUdata    = 0x0200
	evSysFlags     = 0xf000

	noteFFCtrl    = 0xc0000000
	lastFilterV13 = -13 // EVFILT_EMPTY
	lastFilterV15 = -15 // EVFILT_JAILDESC
)

// kqueue is struct kqueue: knotes, and those of them that have something to say,
// in the order in which they will say it.
type kqueue struct {
	k       *Kernel
	fd      int
	refs    int // the descriptor, and each call inside
	notes   table[knote]
	ready   queue[knote]
	waiters queue[waiter]
	over    []*knote // knotes of other queues that are for this one
}

// knote is struct knote: one event that may come, named by (ident, filter).
type knote struct {
	ev       aio.Kevent // what will be delivered (kn_kevent)
	kq       *kqueue
	byID     link[knote]
	ready    seat[knote]
	active   bool // KN_ACTIVE
	disabled bool // KN_DISABLED
	job      *job // EVFILT_AIO: the job it hangs on
	lio      *lio // EVFILT_LIO: the list it hangs on

	// What the user has set: the bits of EVFILT_USER, the settings of the others.
	fflags    uint32 // kn_sfflags
	data      int64  // kn_sdata
	triggered bool   // EVFILT_USER: kn_hookid

	onFd         // EVFILT_READ and EVFILT_WRITE
	timer *timer // EVFILT_TIMER

	next *knote // in System.freeNotes
}

func noteKey(ident uintptr, f aio.Filter) uint64 { return uint64(ident)<<5 ^ uint64(-int64(f)) }

func (kq *kqueue) find(ident uintptr, f aio.Filter) *knote {
	for l := kq.notes.first(noteKey(ident, f)); l != nil; l = l.again() {
		if kn := l.v; kn.ev.Ident == ident && kn.ev.Filter == f {
			return kn
		}
	}
	return nil
}

// release drops a reference to the queue; with the last one all knotes go, and
// no event of them will ever come.
func (kq *kqueue) release() {
	kq.refs--
	if kq.refs > 0 {
		return
	}
	kq.k.orphans = slices.DeleteFunc(kq.k.orphans, func(o *kqueue) bool { return o == kq })
	for _, l := range kq.notes.buckets {
		for l != nil {
			next := l.next
			l.v.drop()
			l = next
		}
	}
	for len(kq.over) > 0 {
		kq.over[0].drop()
	}
}

// change applies a change list. Changes that fail, and those with EV_RECEIPT,
// are reported in events; when there is no room for that the call ends with
// their errno, and what follows them is not applied.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_kevent.
func (kq *kqueue) change(changes, events []aio.Kevent) (n int, errno aio.Errno, stop bool) {
	for i := range changes {
		if changes[i].Filter == 0 {
			continue
		}
		kev := changes[i]
		kev.Flags &^= evSysFlags
		errno := kq.register(&kev, nil, nil)
		if errno == 0 && kev.Flags&aio.EvReceipt == 0 {
			continue
		}
		if n == len(events) {
			return 0, errno, true // the reports that were written do not count
		}
		kev.Flags = aio.EvError
		kev.Data = int64(errno)
		events[n] = kev
		n++
	}
	return n, 0, false
}

// register is kqueue_register: one change. The kernel's own registrations name
// the job or the list that the knote shall hang on.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_register.
func (kq *kqueue) register(kev *aio.Kevent, j *job, l *lio) aio.Errno {
	k := kq.k
	if kev.Flags&(aio.EvEnable|aio.EvDisable) == aio.EvEnable|aio.EvDisable {
		return aio.EINVAL
	}
	last := aio.Filter(lastFilterV13)
	if k.feat.keepUdata {
		last = lastFilterV15
	}
	if kev.Filter >= 0 || kev.Filter < last {
		return aio.EINVAL
	}
	keep := k.feat.keepUdata && kev.Flags&evKeepUdata != 0
	if keep && kev.Flags&aio.EvAdd != 0 {
		return aio.EINVAL
	}

	if ofFd(kev.Filter) {
		if errno := kq.descriptor(kev); errno != 0 {
			return errno
		}
	}
	kn := kq.find(kev.Ident, kev.Filter)
	if kn == nil {
		if kev.Flags&aio.EvAdd == 0 {
			return aio.ENOENT
		}
		return kq.attach(kev, j, l)
	}

	// A change of what exists. For a job or a list this means that an earlier
	// one under the same address is still there: only its label changes, and
	// the newcomer gets no event.
	if j != nil {
		k.note("block %#x: its event on kqueue %d belongs to an earlier job, none will come for this one", kev.Ident, kq.fd)
	}
	if l != nil {
		k.note("list %#x: its event on kqueue %d belongs to an earlier list, none will come for this one", kev.Ident, kq.fd)
	}
	if kev.Flags&aio.EvDelete != 0 {
		kn.drop()
		return 0
	}
	if kev.Flags&evForceOneshot != 0 {
		kn.ev.Flags |= aio.EvOneshot
		kn.setActive()
	}
	if kev.Flags&aio.EvEnable != 0 {
		kn.disabled = false
	} else if kev.Flags&aio.EvDisable != 0 {
		kn.disabled = true
	}
	if !keep {
		kn.ev.Udata = kev.Udata
	}
	switch kn.ev.Filter {
	case aio.FilterUser:
		kn.touch(kev)
	case aio.FilterTimer:
		kn.touchTimer(kev)
	default:
		kn.fflags, kn.data = kev.Fflags, kev.Data
	}
	kn.retest()
	return 0
}

// attach makes a knote.
func (kq *kqueue) attach(kev *aio.Kevent, j *job, l *lio) aio.Errno {
	switch kev.Filter {
	case aio.FilterAIO:
		if j == nil {
			return aio.EPERM // programs cannot make these
		}
	case aio.FilterLIO:
		if l == nil {
			return aio.EPERM
		}
	case aio.FilterUser, aio.FilterRead, aio.FilterWrite, aio.FilterTimer:
	default:
		return aio.ENOSYS // not modelled
	}
	s := kq.k.sys
	kn := s.freeNotes
	if kn != nil {
		s.freeNotes, kn.next = kn.next, nil
	} else {
		kn = new(knote)
		kn.byID.v, kn.ready.v = kn, kn
	}
	kn.kq = kq
	kn.fflags, kn.data = kev.Fflags, kev.Data
	kev.Fflags, kev.Data = 0, 0 // so a NOTE_TRIGGER in the adding change is lost
	kn.ev = *kev
	kn.ev.Flags &^= aio.EvAdd | aio.EvDelete | aio.EvEnable | aio.EvDisable | evForceOneshot
	kn.disabled = kev.Flags&aio.EvDisable != 0
	switch {
	case j != nil:
		kn.job, j.note = j, kn
	case l != nil:
		kn.lio, l.note = l, kn
	}
	kq.notes.add(&kn.byID, noteKey(kev.Ident, kev.Filter))
	errno := aio.Errno(0)
	switch kev.Filter {
	case aio.FilterRead, aio.FilterWrite:
		errno = kn.attachFd()
	case aio.FilterTimer:
		errno = kn.attachTimer()
	}
	if errno != 0 {
		kn.drop()
		return errno
	}
	kn.retest()
	return 0
}

// drop is knote_drop: the event is gone, fetched or not.
func (kn *knote) drop() {
	kq := kn.kq
	kq.notes.remove(&kn.byID)
	if kn.ready.in != nil {
		kq.ready.remove(&kn.ready)
	}
	if kn.job != nil {
		kn.job.note = nil
	}
	if kn.lio != nil {
		kn.lio.note = nil
	}
	if kn.is {
		kn.detachFd()
	}
	if kn.timer != nil {
		kn.detachTimer()
	}
	s := kq.k.sys
	kn.ev, kn.kq, kn.job, kn.lio = aio.Kevent{}, nil, nil, nil
	kn.active, kn.disabled, kn.triggered = false, false, false
	kn.fflags, kn.data = 0, 0
	kn.next, s.freeNotes = s.freeNotes, kn
}

// test is f_event: whether the filter has something to say now.
func (kn *knote) test() bool {
	switch {
	case kn.job != nil:
		if kn.job.state != finished {
			return false
		}
		kn.ev.Data = int64(kn.job.errno)
		kn.ev.Flags |= aio.EvEOF
		return true
	case kn.lio != nil:
		return kn.lio.posted
	case kn.is:
		return kn.testFd()
	case kn.timer != nil:
		return kn.ev.Data != 0
	}
	return kn.triggered
}

// retest looks whether a changed knote is due.
func (kn *knote) retest() {
	if !kn.disabled && kn.test() {
		kn.active = true
	}
	kn.enqueue()
}

// activate is KNOTE: the job or list has news.
func (kn *knote) activate() {
	if kn.test() {
		kn.setActive()
	}
}

func (kn *knote) setActive() {
	kn.active = true
	kn.enqueue()
}

// enqueue puts an active knote at the tail of the ready queue and wakes all who
// sleep on it; those who find nothing sleep again.
func (kn *knote) enqueue() {
	if !kn.active || kn.disabled || kn.ready.in != nil {
		return
	}
	kn.kq.ready.push(&kn.ready)
	kn.kq.k.sys.wakeAll(&kn.kq.waiters, 0)
	for _, over := range kn.kq.over {
		over.activate()
	}
}

// touch is filt_usertouch, EVENT_REGISTER. A change with both NOTE_TRIGGER and
// EV_CLEAR sets the trigger and takes it back: the second trap for a wake-up,
// after the one in attach.
func (kn *knote) touch(kev *aio.Kevent) {
	if kev.Fflags&aio.NoteTrigger != 0 {
		kn.triggered = true
	}
	bits := kev.Fflags & aio.NoteFFlagsMask
	switch kev.Fflags & noteFFCtrl {
	case aio.NoteFFAnd:
		kn.fflags &= bits
	case aio.NoteFFOr:
		kn.fflags |= bits
	case aio.NoteFFCopy:
		kn.fflags = bits
	}
	kev.Fflags = bits
	kn.data = kev.Data
	if kev.Flags&aio.EvClear != 0 {
		kn.triggered = false
		kn.ev.Data, kn.ev.Fflags = 0, 0
	}
}

// fetch waits for events and takes them. The zero timeout polls, a negative one
// waits for ever.
func (kq *kqueue) fetch(events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	k := kq.k
	var deadline time.Time
	for first := true; ; first = false {
		if n := kq.scan(events); n > 0 || timeout == 0 {
			return n, 0
		}
		e := k.ask(func() Op { return Op{Point: Sleep, Entry: -1, Fd: kq.fd} })
		switch {
		case e.Errno != 0:
			return 0, e.Errno
		case e.expire:
			return 0, 0
		case k.dead:
			return 0, aio.EBADF
		}
		if first && timeout > 0 {
			deadline = time.Now().Add(timeout)
		}
		k.stats.Sleeps++
		errno, late := k.sys.sleep(&kq.waiters, deadline)
		if errno != 0 {
			return 0, errno
		}
		if late {
			return 0, 0
		}
	}
}

// scan takes events from the ready queue. A knote that stays ready goes to the
// tail; none is delivered twice by one call.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_scan.
func (kq *kqueue) scan(events []aio.Kevent) int {
	n := 0
	for left := kq.ready.n; left > 0 && n < len(events); left-- {
		kn := kq.ready.head.v
		kq.ready.remove(&kn.ready)
		if kn.disabled {
			continue // it stays active, for the day it is enabled
		}
		if kn.stale() {
			kn.drop()
			continue
		}
		if kn.ev.Flags&aio.EvOneshot != 0 {
			events[n] = kn.ev
			n++
			kn.drop()
			continue
		}
		if !kn.test() {
			kn.active = false
			continue
		}
		events[n] = kn.ev
		if kn.ev.Filter == aio.FilterUser {
			events[n].Fflags, events[n].Data = kn.fflags, kn.data
			if kn.ev.Flags&aio.EvClear != 0 {
				kn.triggered = false
			}
		}
		n++
		if kn.ev.Flags&(aio.EvClear|aio.EvDispatch) != 0 {
			kn.active = false
			if kn.ev.Flags&aio.EvClear != 0 {
				kn.ev.Data, kn.ev.Fflags = 0, 0
			}
			if kn.ev.Flags&aio.EvDispatch != 0 {
				kn.disabled = true
			}
			continue
		}
		kq.ready.push(&kn.ready)
	}
	return n
}
