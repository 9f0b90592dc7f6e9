//go:build unix

package aiotest

import (
	"time"

	"github.com/aioring/aioring/aio"
)

// EVFILT_TIMER.

const filtTimer = "FreeBSD sys/kern/kern_event.c, filt_timerattach, filt_timerexpire and filt_timertouch"

// aYear is a period that never ends here.
const aYear = 365 * 24 * 3600

func timer(flags uint16, fflags uint32, data int64) aio.Kevent {
	return aio.Kevent{Ident: 3, Filter: aio.FilterTimer, Flags: flags, Fflags: fflags, Data: data, Udata: 5}
}

// wantTimer takes the timer's event, which has these flags.
func (r *rig) wantTimer(flags uint16) aio.Kevent {
	r.Helper()
	ev := r.event()
	if ev.Ident != 3 || ev.Filter != aio.FilterTimer || ev.Flags != flags || ev.Data < 1 || ev.Udata != 5 {
		r.Errorf("event %+v, want that of the timer, flags %#x", ev, flags)
	}
	return ev
}

var timerCases = []testCase{
	{name: "timer/once", source: filtTimer, run: func(r *rig) {
		start := time.Now()
		r.want("add", r.change(timer(aio.EvAdd|aio.EvOneshot, 0, 20)), 0)
		if ev := r.wantTimer(aio.EvOneshot | aio.EvClear); ev.Data != 1 {
			r.Errorf("data %d, want 1", ev.Data)
		}
		if took := time.Since(start); took < 15*time.Millisecond {
			r.Errorf("after %v", took)
		}
		r.want("delete", r.change(timer(aio.EvDelete, 0, 0)), aio.ENOENT)
	}},
	{name: "timer/again and again", source: filtTimer, run: func(r *rig) {
		start := time.Now()
		r.want("add", r.change(timer(aio.EvAdd, aio.NoteMseconds, 2)), 0)
		total := int64(0)
		for total < 10 {
			total += r.wantTimer(aio.EvClear).Data
		}
		if most := time.Since(start).Milliseconds()/2 + 1; total > most {
			r.Errorf("%d expirations, at most %d periods", total, most)
		}
		r.want("delete", r.change(timer(aio.EvDelete, 0, 0)), 0)
		r.quiet("after the delete")
	}},
	{name: "timer/data is how often it has expired since it was fetched", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd|aio.EvDisable, aio.NoteUseconds, 500)), 0)
		for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
			r.sleep(1, time.Millisecond)
		}
		r.want("enable", r.change(timer(aio.EvEnable, 0, 0)), 0)
		if ev := r.wantTimer(aio.EvClear); ev.Data < 5 {
			r.Errorf("data %d after many periods", ev.Data)
		}
	}},
	{name: "timer/units", source: filtTimer, run: func(r *rig) {
		for _, c := range []struct {
			unit uint32
			data int64
		}{{0, 1}, {aio.NoteMseconds, 1}, {aio.NoteUseconds, 1000}, {aio.NoteNseconds, 1e6}} {
			r.want("add", r.change(timer(aio.EvAdd|aio.EvOneshot, c.unit, c.data)), 0)
			r.wantTimer(aio.EvOneshot | aio.EvClear)
		}
		r.want("add", r.change(timer(aio.EvAdd, aio.NoteSeconds, aYear)), 0)
		r.quiet("a year before its time")
	}},
	{name: "timer/two units, or bits that it has not: EINVAL", source: filtTimer, run: func(r *rig) {
		for _, fflags := range []uint32{aio.NoteSeconds | aio.NoteUseconds, 0x20, 0x80000000} {
			r.want("add", r.change(timer(aio.EvAdd, fflags, 1)), aio.EINVAL)
		}
		r.want("delete", r.change(timer(aio.EvDelete, 0, 0)), aio.ENOENT)
	}},
	{name: "timer/a negative period: EINVAL", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd, 0, -1)), aio.EINVAL)
	}},
	{name: "timer/period 0, once: at once", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd|aio.EvOneshot, 0, 0)), 0)
		r.wantTimer(aio.EvOneshot | aio.EvClear)
	}},
	{name: "timer/period 0 is one unit", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd, 0, 0)), 0)
		r.wantTimer(aio.EvClear)
		r.wantTimer(aio.EvClear)
	}},
	{name: "timer/NOTE_ABSTIME that is past: at once, and it stays", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd, aio.NoteAbstime|aio.NoteSeconds, 1)), 0)
		for range 3 {
			if ev := r.wantTimer(0); ev.Data != 1 {
				r.Errorf("data %d, want 1", ev.Data)
			}
		}
	}},
	{name: "timer/NOTE_ABSTIME, EV_ONESHOT and EV_CLEAR: once", source: filtTimer, run: func(r *rig) {
		at := time.Now().Add(10 * time.Millisecond).UnixMilli()
		r.want("add", r.change(timer(aio.EvAdd|aio.EvOneshot, aio.NoteAbstime, at)), 0)
		r.wantTimer(aio.EvOneshot)
		r.quiet("after its event")
		if time.Now().UnixMilli() < at-1 {
			r.Error("before its time")
		}
		r.want("add", r.change(timer(aio.EvAdd|aio.EvClear, aio.NoteAbstime, at)), 0)
		r.wantTimer(aio.EvClear)
		r.quiet("after its event")
		r.want("delete", r.change(timer(aio.EvDelete, 0, 0)), 0)
	}},
	{name: "timer/NOTE_ABSTIME in a year: not now", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd, aio.NoteAbstime|aio.NoteSeconds, time.Now().Unix()+aYear)), 0)
		r.quiet("a year before its time")
	}},
	{name: "timer/added again: starts again, and what has expired is forgotten", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd|aio.EvDisable, 0, 1)), 0)
		r.sleep(1, 10*time.Millisecond)
		r.want("add", r.change(timer(aio.EvAdd|aio.EvEnable, aio.NoteSeconds, aYear)), 0)
		r.quiet("after it was set anew")
		r.want("add", r.change(timer(aio.EvAdd, 0, 1)), 0)
		r.wantTimer(aio.EvClear)
	}},
	{name: "timer/added again with a bad period: 0, and an event that says EINVAL", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd, aio.NoteSeconds, aYear)), 0)
		r.want("add", r.change(timer(aio.EvAdd, 0, -1)), 0)
		if ev := r.event(); ev.Filter != aio.FilterTimer || ev.Flags != aio.EvError|aio.EvClear || ev.Data != int64(aio.EINVAL) {
			r.Errorf("event %+v", ev)
		}
	}},
	{name: "timer/enabled: the period stays", source: filtTimer, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd|aio.EvDisable, 0, 1)), 0)
		r.want("enable", r.change(timer(aio.EvEnable, aio.NoteSeconds, aYear)), 0)
		r.wantTimer(aio.EvClear)
		r.wantTimer(aio.EvClear)
	}},
	{name: "timer/EV_DISPATCH: once for each enabling", source: scan, run: func(r *rig) {
		r.want("add", r.change(timer(aio.EvAdd|aio.EvDispatch, 0, 1)), 0)
		r.wantTimer(aio.EvDispatch | aio.EvClear)
		if events := r.sleep(1, 10*time.Millisecond); len(events) != 0 {
			r.Errorf("events %+v while it is disabled", events)
		}
		r.want("enable", r.change(timer(aio.EvEnable, 0, 0)), 0)
		r.wantTimer(aio.EvDispatch | aio.EvClear)
	}},
	{name: "timer/wakes a sleeper, and not before its time", source: filtTimer, run: func(r *rig) {
		start := time.Now()
		r.want("add", r.change(timer(aio.EvAdd|aio.EvOneshot, 0, 30)), 0)
		r.wantTimer(aio.EvOneshot | aio.EvClear)
		if took := time.Since(start); took < 25*time.Millisecond {
			r.Errorf("after %v", took)
		}
	}},
}
