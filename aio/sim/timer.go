//go:build unix

package sim

import (
	"math"
	"time"

	"github.com/aioring/aioring/aio"
)

// EVFILT_TIMER.

// maxTimers is kern.kq_calloutmax, the most timers of the whole system.
const maxTimers = 4096

// timer is struct kq_timer_cb_data: the running timer of a knote. A knote that is
// set anew gets another one, so that an old one that comes late is known for it.
type timer struct {
	clock  *time.Timer
	next   time.Time     // when it expires
	period time.Duration // 0: once
}

// timerUnits are the units of a timer's Data.
var timerUnits = map[uint32]time.Duration{
	0:                time.Millisecond,
	aio.NoteSeconds:  time.Second,
	aio.NoteMseconds: time.Millisecond,
	aio.NoteUseconds: time.Microsecond,
	aio.NoteNseconds: time.Nanosecond,
}

// timerAt is when a timer with these settings expires first, and its period.
// Source: FreeBSD sys/kern/kern_event.c, filt_timervalidate and timer2sbintime.
func timerAt(fflags uint32, data int64, once bool) (at time.Time, period time.Duration, errno aio.Errno) {
	const units = aio.NoteSeconds | aio.NoteMseconds | aio.NoteUseconds | aio.NoteNseconds
	if data < 0 || fflags&^(units|aio.NoteAbstime) != 0 {
		return at, 0, aio.EINVAL
	}
	unit, ok := timerUnits[fflags&units]
	if !ok {
		return at, 0, aio.EINVAL
	}
	if data == 0 && !once {
		data = 1
	}
	period = time.Duration(math.MaxInt64)
	if data <= int64(period/unit) {
		period = time.Duration(data) * unit
	}
	if fflags&aio.NoteAbstime != 0 {
		return time.Unix(0, 0).Add(period), 0, 0
	}
	return time.Now().Add(period), period, 0
}

// attachTimer is filt_timerattach.
func (kn *knote) attachTimer() aio.Errno {
	at, period, errno := timerAt(kn.fflags, kn.data, kn.ev.Flags&aio.EvOneshot != 0)
	if errno != 0 {
		return errno
	}
	s := kn.kq.k.sys
	if s.timers == maxTimers {
		return aio.ENOMEM
	}
	s.timers++
	if kn.fflags&aio.NoteAbstime == 0 {
		kn.ev.Flags |= aio.EvClear
	}
	kn.startTimer(at, period)
	return 0
}

func (kn *knote) startTimer(at time.Time, period time.Duration) {
	s := kn.kq.k.sys
	tm := &timer{next: at, period: period}
	kn.timer = tm
	tm.clock = time.AfterFunc(time.Until(at), func() {
		s.lock()
		if kn.timer == tm {
			kn.expire()
		}
		s.unlock()
	})
}

// detachTimer is filt_timerdetach.
func (kn *knote) detachTimer() {
	kn.timer.clock.Stop()
	kn.timer = nil
	kn.kq.k.sys.timers--
}

// expire is filt_timerexpire: it counts the periods that are over.
func (kn *knote) expire() {
	tm := kn.timer
	if kn.ev.Flags&aio.EvOneshot != 0 || tm.period == 0 {
		kn.ev.Data++
		kn.setActive()
		return
	}
	now := time.Now()
	if over := now.Sub(tm.next); over >= 0 {
		n := max(1, int64(over/tm.period))
		kn.ev.Data += n
		tm.next = tm.next.Add(time.Duration(n) * tm.period)
		if !now.Before(tm.next) {
			tm.next = now.Add(tm.period)
		}
		kn.setActive()
	}
	tm.clock.Reset(time.Until(tm.next))
}

// touchTimer is filt_timertouch, EVENT_REGISTER: EV_ADD starts the timer again,
// and what has expired is forgotten. Settings that it cannot have become an event
// that says so; the change itself succeeds.
func (kn *knote) touchTimer(kev *aio.Kevent) {
	if kev.Flags&aio.EvAdd == 0 {
		return
	}
	kn.timer.clock.Stop()
	if kn.ready.in != nil {
		kn.kq.ready.remove(&kn.ready)
	}
	kn.active = false
	kn.ev.Data = 0
	kn.fflags, kn.data = kev.Fflags, kev.Data
	at, period, errno := timerAt(kn.fflags, kn.data, kn.ev.Flags&aio.EvOneshot != 0)
	if errno != 0 {
		kn.ev.Flags |= aio.EvError
		kn.ev.Data = int64(errno)
		kn.timer = &timer{clock: kn.timer.clock}
		return
	}
	kn.startTimer(at, period)
}
