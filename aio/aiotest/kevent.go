//go:build unix

package aiotest

import (
	"time"

	"github.com/aioring/aioring/aio"
)

// kevent and its filters.

const (
	keventCall = "FreeBSD sys/kern/kern_event.c, kqueue_kevent"
	register   = "FreeBSD sys/kern/kern_event.c, kqueue_register"
	scan       = "FreeBSD sys/kern/kern_event.c, kqueue_scan"
	filtUser   = "FreeBSD sys/kern/kern_event.c, filt_user, filt_userattach and filt_usertouch"
	filtAIO    = "FreeBSD sys/kern/vfs_aio.c, filt_aioattach and filt_aio"
)

// Bits of EVFILT_USER and a flag that aio does not name.
// Source: FreeBSD sys/sys/event.h.
const (
	noteFFAnd   = 0x40000000
	noteFFOr    = 0x80000000
	noteFFCopy  = 0xc0000000
	evKeepUdata = 0x0200
)

func user(ident uintptr, flags uint16, fflags uint32, udata uintptr) aio.Kevent {
	return aio.Kevent{Ident: ident, Filter: aio.FilterUser, Flags: flags, Fflags: fflags, Udata: udata}
}

// addUser makes a user event.
func (r *rig) addUser(ident uintptr, flags uint16, udata uintptr) {
	r.Helper()
	r.want("add", r.change(user(ident, aio.EvAdd|flags, 0, udata)), 0)
}

func (r *rig) trigger(ident uintptr, udata uintptr) {
	r.Helper()
	r.want("trigger", r.change(user(ident, 0, aio.NoteTrigger, udata)), 0)
}

// wantUser takes the event of an ident.
func (r *rig) wantUser(ident uintptr) aio.Kevent {
	r.Helper()
	ev := r.event()
	if ev.Filter != aio.FilterUser || ev.Ident != ident {
		r.Errorf("event %+v, want that of user %d", ev, ident)
	}
	return ev
}

// finished is a finished read whose event has these flags.
func (r *rig) finished(flags uint16, udata uintptr) *job {
	r.Helper()
	j := r.notify(r.read(r.file(8), 0, 8), flags, udata)
	r.start(j)
	r.wait(j)
	return j
}

var keventCases = []testCase{
	{name: "kevent/queue that is not open: EBADF", source: keventCall, run: func(r *rig) {
		n, errno := r.k.Kevent(noFd, nil, make([]aio.Kevent, 1), 0)
		r.want("kevent", errno, aio.EBADF)
		if n != 0 {
			r.Errorf("%d events with an errno", n)
		}
	}},
	{name: "kevent/queue that is a file", source: "FreeBSD sys/kern/kern_event.c, kqueue_acquire", run: func(r *rig) {
		_, errno := r.k.Kevent(r.file(0), nil, nil, 0)
		r.want("kevent", errno, r.notKqueue())
	}},
	{name: "kevent/queue that is closed: EBADF", source: keventCall, run: func(r *rig) {
		kq, _ := r.k.Kqueue()
		r.want("close", r.k.CloseKqueue(kq), 0)
		_, errno := r.k.Kevent(kq, nil, nil, 0)
		r.want("kevent", errno, aio.EBADF)
	}},
	{name: "kevent/nothing to do: 0", source: keventCall, run: func(r *rig) {
		n, errno := r.k.Kevent(r.kq, nil, nil, -1)
		if n != 0 || errno != 0 {
			r.Errorf("kevent: %d, %s", n, errno.String())
		}
	}},
	{name: "kevent/a poll of nothing: 0", source: scan, run: func(r *rig) { r.quiet("in a new queue") }},
	{name: "kevent/time over: 0", source: scan, run: func(r *rig) {
		start := r.now()
		const wait = 20 * time.Millisecond
		if events := r.sleep(1, wait); len(events) != 0 {
			r.Errorf("events %+v", events)
		}
		if took := r.now().Sub(start); took < wait/2 {
			r.Errorf("after %v, want %v", took, wait)
		}
	}},
	{name: "kevent/delete of nothing: ENOENT", source: register, run: func(r *rig) {
		r.want("delete", r.change(user(1, aio.EvDelete, 0, 0)), aio.ENOENT)
	}},
	{name: "kevent/enable of nothing: ENOENT", source: register, run: func(r *rig) {
		r.want("enable", r.change(user(1, aio.EvEnable, 0, 0)), aio.ENOENT)
	}},
	{name: "kevent/trigger of nothing: ENOENT", source: register, run: func(r *rig) {
		r.want("trigger", r.change(user(1, 0, aio.NoteTrigger, 0)), aio.ENOENT)
	}},
	{name: "kevent/enable and disable at once: EINVAL", source: register, run: func(r *rig) {
		r.want("change", r.change(user(1, aio.EvAdd|aio.EvEnable|aio.EvDisable, 0, 0)), aio.EINVAL)
	}},
	{name: "kevent/unknown filters: EINVAL", source: register, run: func(r *rig) {
		for _, f := range []aio.Filter{1, 100, -100} {
			r.want("add", r.change(aio.Kevent{Ident: 1, Filter: f, Flags: aio.EvAdd}), aio.EINVAL)
		}
	}},
	{name: "kevent/filter 0 is skipped", source: keventCall, run: func(r *rig) {
		r.want("change", r.change(aio.Kevent{Flags: aio.EvDelete | aio.EvReceipt}), 0)
	}},
	{name: "kevent/a failure with room is reported as an event", source: keventCall, run: func(r *rig) {
		events := make([]aio.Kevent, 2)
		del := user(7, aio.EvDelete, 3, 8)
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{del}, events, -1)
		if n != 1 || errno != 0 {
			r.Fatalf("kevent: %d, %s", n, errno.String())
		}
		want := del
		want.Flags, want.Data = aio.EvError, int64(aio.ENOENT)
		want.Fflags = events[0].Fflags
		if events[0] != want {
			r.Errorf("event %+v, want %+v", events[0], want)
		}
	}},
	{name: "kevent/changes after a failure with room are applied", source: keventCall, run: func(r *rig) {
		events := make([]aio.Kevent, 2)
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{user(7, aio.EvDelete, 0, 0), user(1, aio.EvAdd, 0, 0)}, events, 0)
		if n != 1 || errno != 0 {
			r.Fatalf("kevent: %d, %s", n, errno.String())
		}
		r.trigger(1, 0)
		r.wantUser(1)
	}},
	{name: "kevent/a failure without room ends the call, and the rest is not applied", source: keventCall, run: func(r *rig) {
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{user(1, aio.EvAdd, 0, 0), user(7, aio.EvDelete, 0, 0), user(2, aio.EvAdd, 0, 0)}, nil, 0)
		if n > 0 || errno != aio.ENOENT {
			r.Errorf("kevent: %d, %s, want ENOENT", n, errno.String())
		}
		r.trigger(1, 0)
		r.wantUser(1)
		r.want("trigger of what comes after the failure", r.change(user(2, 0, aio.NoteTrigger, 0)), aio.ENOENT)
	}},
	{name: "kevent/EV_RECEIPT reports success, and no event is looked for", source: keventCall, run: func(r *rig) {
		r.addUser(1, 0, 0)
		r.trigger(1, 0)
		events := make([]aio.Kevent, 4)
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{user(2, aio.EvAdd|aio.EvReceipt, 0, 5)}, events, -1)
		if n != 1 || errno != 0 || events[0].Flags != aio.EvError || events[0].Data != 0 || events[0].Ident != 2 || events[0].Udata != 5 {
			r.Errorf("kevent: %d, %s, %+v", n, errno.String(), events[:max(n, 0)])
		}
		r.wantUser(1)
	}},
	{name: "kevent/EV_RECEIPT without room: 0, and the rest is not applied", source: keventCall, run: func(r *rig) {
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{user(1, aio.EvAdd|aio.EvReceipt, 0, 0), user(2, aio.EvAdd, 0, 0)}, nil, 0)
		if n != 0 || errno != 0 {
			r.Errorf("kevent: %d, %s", n, errno.String())
		}
		r.want("delete of the first", r.change(user(1, aio.EvDelete, 0, 0)), 0)
		r.want("delete of the second", r.change(user(2, aio.EvDelete, 0, 0)), aio.ENOENT)
	}},
	{name: "kevent/the system's flags are not let in", source: keventCall, run: func(r *rig) {
		r.want("add", r.change(user(1, aio.EvAdd|aio.EvEOF|aio.EvError, 0, 0)), 0)
		r.trigger(1, 0)
		if ev := r.wantUser(1); ev.Flags&(aio.EvEOF|aio.EvError) != 0 {
			r.Errorf("flags %#x", ev.Flags)
		}
	}},
	{name: "kevent/many changes in one call", source: keventCall, run: func(r *rig) {
		var changes []aio.Kevent
		for i := range uintptr(40) {
			changes = append(changes, user(i, aio.EvAdd|aio.EvClear, 0, i), user(i, 0, aio.NoteTrigger, i))
		}
		_, errno := r.k.Kevent(r.kq, changes, nil, 0)
		r.want("kevent", errno, 0)
		if got := len(r.poll(64)); got != 40 {
			r.Errorf("%d events, want 40", got)
		}
	}},
	{name: "kevent/changes and events in one call", source: keventCall, run: func(r *rig) {
		events := make([]aio.Kevent, 1)
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{user(1, aio.EvAdd, 0, 4), user(1, 0, aio.NoteTrigger, 4)}, events, patience)
		if n != 1 || errno != 0 || events[0].Udata != 4 {
			r.Errorf("kevent: %d, %s, %+v", n, errno.String(), events)
		}
	}},
	{name: "kevent/in order, each once in a call, the sticky go to the tail", source: scan, run: func(r *rig) {
		for i := range uintptr(3) {
			r.addUser(i, 0, 0)
			r.trigger(i, 0)
		}
		if events := r.poll(8); len(events) != 3 {
			r.Errorf("%d events, want 3", len(events))
		}
		for i := range uintptr(7) {
			r.wantUser(i % 3)
		}
	}},

	{name: "kevent/EVFILT_AIO cannot be added", source: filtAIO, run: func(r *rig) {
		r.want("add", r.change(aio.Kevent{Ident: 1, Filter: aio.FilterAIO, Flags: aio.EvAdd}), aio.EPERM)
	}},
	{name: "kevent/EVFILT_LIO cannot be added", source: "FreeBSD sys/kern/vfs_aio.c, filt_lioattach", run: func(r *rig) {
		r.want("add", r.change(aio.Kevent{Ident: 1, Filter: aio.FilterLIO, Flags: aio.EvAdd}), aio.EPERM)
	}},
	{name: "kevent/AIO without flags comes again until the reap", source: filtAIO, run: func(r *rig) {
		j := r.finished(0, 5)
		for range 3 {
			r.wantEvent(j, 0, 0, 5)
		}
		r.reap(j, 8, 0)
		r.quiet("after the reap")
	}},
	{name: "kevent/AIO EV_ONESHOT comes once", source: filtAIO, run: func(r *rig) {
		j := r.finished(aio.EvOneshot, 5)
		r.wantEvent(j, aio.EvOneshot, 0, 5)
		r.quiet("after its event")
		r.want("delete", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDelete}), aio.ENOENT)
		r.reap(j, 8, 0)
	}},
	{name: "kevent/AIO EV_CLEAR comes once and stays", source: filtAIO, run: func(r *rig) {
		j := r.finished(aio.EvClear, 5)
		r.wantEvent(j, aio.EvClear, 0, 5)
		r.quiet("after its event")
		r.want("delete", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDelete}), 0)
		r.reap(j, 8, 0)
	}},
	{name: "kevent/AIO EV_DISPATCH comes once for each enabling", source: filtAIO, run: func(r *rig) {
		j := r.finished(aio.EvDispatch, 5)
		r.wantEvent(j, aio.EvDispatch, 0, 5)
		r.quiet("after its event")
		r.want("enable", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvEnable, Udata: 6}), 0)
		r.wantEvent(j, aio.EvDispatch, 0, 6)
		r.quiet("after its second event")
		r.reap(j, 8, 0)
	}},
	{name: "kevent/AIO deleted before the end does not come", source: filtAIO, run: func(r *rig) {
		s := r.slow()
		j := r.notify(s.read(), 0, 5)
		r.start(j)
		r.want("delete", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDelete}), 0)
		s.letGo()
		r.wait(j)
		r.quiet("after the job")
		r.reap(j, 1, 0)
	}},
	{name: "kevent/AIO disabled at the end comes when enabled", source: register, run: func(r *rig) {
		s := r.slow()
		j := r.notify(s.read(), 0, 5)
		r.start(j)
		ev := aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDisable, Udata: 5}
		r.want("disable", r.change(ev), 0)
		s.letGo()
		r.wait(j)
		r.quiet("while it is disabled")
		ev.Flags = aio.EvEnable
		r.want("enable", r.change(ev), 0)
		r.wantEvent(j, 0, 0, 5)
		r.reap(j, 1, 0)
	}},
	{name: "kevent/AIO added again has the new udata", source: register, run: func(r *rig) {
		j := r.finished(0, 5)
		r.want("add", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvAdd, Udata: 6}), 0)
		r.wantEvent(j, 0, 0, 6)
		r.reap(j, 8, 0)
	}},
	{name: "kevent/AIO added again as one-shot is what it was", source: register, run: func(r *rig) {
		j := r.finished(0, 5)
		r.want("add", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvAdd | aio.EvOneshot, Udata: 5}), 0)
		r.wantEvent(j, 0, 0, 5)
		r.wantEvent(j, 0, 0, 5)
		r.reap(j, 8, 0)
	}},

	{name: "kevent/USER triggered stays", source: filtUser, run: func(r *rig) {
		r.addUser(1, 0, 5)
		r.quiet("before the trigger")
		r.trigger(1, 5)
		for range 2 {
			if ev := r.wantUser(1); ev.Udata != 5 || ev.Fflags != 0 || ev.Data != 0 {
				r.Errorf("event %+v", ev)
			}
		}
	}},
	{name: "kevent/USER EV_CLEAR comes once for any number of triggers", source: filtUser, run: func(r *rig) {
		r.addUser(1, aio.EvClear, 5)
		for range 3 {
			r.trigger(1, 5)
		}
		r.wantUser(1)
		r.quiet("after its event")
		r.trigger(1, 5)
		r.wantUser(1)
	}},
	{name: "kevent/USER triggered in the adding change does not come", source: filtUser, run: func(r *rig) {
		r.want("add", r.change(user(1, aio.EvAdd|aio.EvClear, aio.NoteTrigger, 0)), 0)
		r.quiet("after the add")
		r.trigger(1, 0)
		r.wantUser(1)
	}},
	{name: "kevent/USER triggered with EV_CLEAR does not come", source: filtUser, run: func(r *rig) {
		r.addUser(1, aio.EvClear, 0)
		r.want("trigger", r.change(user(1, aio.EvClear, aio.NoteTrigger, 0)), 0)
		r.quiet("after the trigger")
	}},
	{name: "kevent/USER reset by a change with EV_CLEAR", source: filtUser, run: func(r *rig) {
		r.addUser(1, 0, 0)
		r.trigger(1, 0)
		r.wantUser(1)
		r.want("reset", r.change(user(1, aio.EvClear, 0, 0)), 0)
		r.quiet("after the reset")
	}},
	{name: "kevent/USER a trigger brings its own udata", source: register, run: func(r *rig) {
		r.addUser(1, aio.EvClear, 5)
		r.trigger(1, 6)
		if ev := r.wantUser(1); ev.Udata != 6 {
			r.Errorf("udata %d, want 6", ev.Udata)
		}
	}},
	{name: "kevent/USER EV_KEEPUDATA", source: register, run: func(r *rig) {
		if r.target.Osreldate < 1500000 {
			r.Skip("EV_KEEPUDATA came with 15")
		}
		r.addUser(1, aio.EvClear, 5)
		r.want("trigger", r.change(user(1, evKeepUdata, aio.NoteTrigger, 6)), 0)
		if ev := r.wantUser(1); ev.Udata != 5 {
			r.Errorf("udata %d, want 5", ev.Udata)
		}
		r.want("with EV_ADD", r.change(user(2, aio.EvAdd|evKeepUdata, 0, 6)), aio.EINVAL)
	}},
	{name: "kevent/USER EV_ONESHOT comes once and is gone", source: scan, run: func(r *rig) {
		r.addUser(1, aio.EvOneshot, 0)
		r.trigger(1, 0)
		r.wantUser(1)
		r.want("trigger", r.change(user(1, 0, aio.NoteTrigger, 0)), aio.ENOENT)
	}},
	{name: "kevent/USER EV_DISPATCH comes once for each enabling", source: scan, run: func(r *rig) {
		r.addUser(1, aio.EvDispatch, 0)
		r.trigger(1, 0)
		r.wantUser(1)
		r.quiet("after its event")
		r.want("enable", r.change(user(1, aio.EvEnable, 0, 0)), 0)
		r.wantUser(1)
	}},
	{name: "kevent/USER triggered while disabled comes when enabled", source: register, run: func(r *rig) {
		r.addUser(1, aio.EvDisable, 0)
		r.trigger(1, 0)
		r.quiet("while it is disabled")
		r.want("enable", r.change(user(1, aio.EvEnable, 0, 0)), 0)
		r.wantUser(1)
	}},
	{name: "kevent/USER disabled after the trigger is held back", source: register, run: func(r *rig) {
		r.addUser(1, 0, 0)
		r.trigger(1, 0)
		r.want("disable", r.change(user(1, aio.EvDisable, 0, 0)), 0)
		r.quiet("while it is disabled")
		r.want("enable", r.change(user(1, aio.EvEnable, 0, 0)), 0)
		r.wantUser(1)
	}},
	{name: "kevent/USER added again by EV_ADD alone stays disabled", source: register, run: func(r *rig) {
		r.addUser(1, aio.EvDisable, 0)
		r.trigger(1, 0)
		r.want("add", r.change(user(1, aio.EvAdd, 0, 0)), 0)
		r.quiet("while it is disabled")
	}},
	{name: "kevent/USER deleted after the trigger does not come", source: register, run: func(r *rig) {
		r.addUser(1, 0, 0)
		r.trigger(1, 0)
		r.want("delete", r.change(user(1, aio.EvDelete, 0, 0)), 0)
		r.quiet("after the delete")
	}},
	{name: "kevent/USER copies, sets and masks the user's bits", source: filtUser, run: func(r *rig) {
		r.addUser(1, aio.EvClear, 0)
		for _, c := range []struct{ fflags, want uint32 }{
			{noteFFCopy | 0x0f, 0x0f},
			{noteFFOr | 0xf0, 0xff},
			{noteFFAnd | 0x3c, 0x3c},
			{0x01, 0x3c},
		} {
			ev := user(1, 0, c.fflags|aio.NoteTrigger, 0)
			ev.Data = int64(c.want) + 1
			r.want("trigger", r.change(ev), 0)
			if got := r.wantUser(1); got.Fflags != c.want || got.Data != int64(c.want)+1 {
				r.Errorf("event %+v, want fflags %#x", got, c.want)
			}
		}
	}},
	{name: "kevent/USER wakes a sleeper", source: filtUser, run: func(r *rig) {
		r.secondThread()
		r.addUser(1, aio.EvClear, 0)
		woken := make(chan int, 1)
		go func() {
			events := make([]aio.Kevent, 1)
			for {
				n, errno := r.k.Kevent(r.kq, nil, events, patience)
				if errno != aio.EINTR {
					woken <- n
					return
				}
			}
		}()
		r.trigger(1, 0)
		if n := <-woken; n != 1 {
			r.Errorf("%d events, want 1", n)
		}
	}},
	{name: "kevent/idents of different filters do not meet", source: register, run: func(r *rig) {
		j := r.finished(0, 5)
		r.addUser(j.ident(), aio.EvOneshot, 6)
		r.trigger(j.ident(), 6)
		if events := r.poll(4); len(events) != 2 {
			r.Errorf("events %+v, want 2", events)
		}
		r.reap(j, 8, 0)
		r.quiet("after the reap")
	}},
}
