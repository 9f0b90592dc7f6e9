package reactor

import "github.com/aioring/aioring/aio"

// Events is what a descriptor is watched for, and what was found: the bits of
// poll(2), which are the same on every system.
type Events uint32

const (
	In  Events = 0x01 // reading would not block: there is something, or the end
	Out Events = 0x04 // writing would not block
	Hup Events = 0x10 // found only: the other end is gone, or the descriptor has an error
)

// Watch names a watch that was added. The zero Watch names none.
type Watch struct {
	fd         int32
	generation uint32
}

// Notice is a timer that has expired, Events 0, or a descriptor that is ready.
type Notice struct {
	Token  uint64
	Events Events
}

// watch is what is asked of a descriptor.
type watch struct {
	token  uint64
	events Events // 0: nothing
	// generation tells this watch from earlier ones of the same number. It travels
	// through the kernel as udata. 0 before the first.
	generation uint32
	// notice is, in attend alone, 1 more than the index of the Notice that the first
	// of two events has made.
	notice int32
}

// AddFd has a Poll or Sleep bring a Notice with this token, once, when a descriptor
// is ready for one of events, In and Out. What cannot be watched, such as a disk, is
// ready at once, as poll(2) has it.
//
// A descriptor has one watch at a time; who waits twice for one file has a dup of it
// for each. Before the descriptor is closed the watch is to be removed, or have come:
// the kernel says nothing of a closed one.
//
// It returns the kernel's errno: EBADF, ENOMEM, and EINVAL for no or other events,
// EEXIST for a descriptor that is watched. Any goroutine may call it. Source:
// kqueue(2), EVFILT_READ and EVFILT_WRITE.
func (r *Reactor) AddFd(fd int, events Events, token uint64) (Watch, aio.Errno) {
	if events == 0 || events&^(In|Out) != 0 {
		return Watch{}, aio.EINVAL
	}
	if fd < 0 {
		return Watch{}, aio.EBADF
	}
	r.mu.Lock()
	// The table grows when the kernel knows the number, not for any that is named.
	var first watch
	w := &first
	if fd < len(r.watches) {
		w = &r.watches[fd]
	}
	if w.events != 0 {
		r.mu.Unlock()
		return Watch{}, aio.EEXIST
	}
	if w.generation++; w.generation == 0 {
		w.generation = 1
	}
	w.events, w.token = events, token
	name := Watch{int32(fd), w.generation}
	errno := r.ask(fd, w)
	atOnce := false
	switch errno {
	case 0:
	case aio.EINVAL, aio.ENODEV, aio.EOPNOTSUPP, aio.EPERM: // of a kind that has no filter
		atOnce, errno = true, 0
		r.atOnce = append(r.atOnce, name)
	default:
		w.events, name = 0, Watch{}
	}
	if errno == 0 {
		r.concerns.Add(1)
	}
	if w == &first && errno != aio.EBADF {
		for fd >= len(r.watches) {
			r.watches = append(r.watches, watch{})
		}
		r.watches[fd] = first
	}
	r.mu.Unlock()
	if atOnce {
		r.Wake()
	}
	return name, errno
}

// ask adds the kernel's events of a watch, all or none. r.mu is held.
func (r *Reactor) ask(fd int, w *watch) aio.Errno {
	if w.events&In != 0 {
		if errno := r.change(fd, aio.FilterRead, aio.EvAdd|aio.EvOneshot, aio.NoteFilePoll, w.generation); errno != 0 {
			return errno
		}
	}
	if w.events&Out != 0 {
		if errno := r.change(fd, aio.FilterWrite, aio.EvAdd|aio.EvOneshot, 0, w.generation); errno != 0 {
			r.unask(fd, w.events&In)
			return errno
		}
	}
	return 0
}

// unask deletes the kernel's events of a watch. One that is not there any more was
// fetched, and is dropped for its generation. r.mu is held.
func (r *Reactor) unask(fd int, events Events) {
	if events&In != 0 {
		_ = r.change(fd, aio.FilterRead, aio.EvDelete, 0, 0)
	}
	if events&Out != 0 {
		_ = r.change(fd, aio.FilterWrite, aio.EvDelete, 0, 0)
	}
}

func (r *Reactor) change(fd int, filter aio.Filter, flags uint16, fflags, generation uint32) aio.Errno {
	// In an array of the reactor's, for one on the stack would escape.
	r.changes[0] = aio.Kevent{
		Ident: uintptr(fd), Filter: filter, Flags: flags, Fflags: fflags, Udata: uintptr(generation),
	}
	_, errno := r.kernel.Kevent(r.kq, r.changes[:], nil, 0)
	return errno
}

// RemoveFd takes a watch back. true: no Notice of it will come, and the descriptor may
// be closed. false: it has come, or is among those that were just brought, or it was
// removed before. Any goroutine may call it.
func (r *Reactor) RemoveFd(name Watch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name.generation == 0 || int(name.fd) >= len(r.watches) {
		return false
	}
	w := &r.watches[name.fd]
	if w.generation != name.generation || w.events == 0 {
		return false
	}
	r.unask(int(name.fd), w.events)
	w.events = 0
	r.concerns.Add(-1)
	return true
}

// attend makes the notices: of descriptors among the events, and of timers, up to a
// batch of each.
func (r *Reactor) attend(events []aio.Kevent, slept bool) {
	r.notices = r.notices[:0]
	if !slept && r.concerns.Load() == 0 && !hasFd(events) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = 0
	for i := range events {
		if of := filterEvents(&events[i]); of != 0 {
			r.found(events[i].Ident, uint32(events[i].Udata), of)
		}
	}
	for i := range events {
		if fd := events[i].Ident; filterEvents(&events[i]) != 0 && fd < uintptr(len(r.watches)) {
			r.watches[fd].notice = 0
		}
	}
	for _, name := range r.atOnce {
		if w := &r.watches[name.fd]; w.generation == name.generation && w.events != 0 {
			r.end(w, w.events)
			w.notice = 0
		}
	}
	r.atOnce = r.atOnce[:0]

	for now, n := r.clock(), 0; n < batchSize; n++ {
		token, expired := r.timers.pop(now)
		if !expired {
			break
		}
		r.notices = append(r.notices, Notice{Token: token})
		r.fired.Add(1)
		r.concerns.Add(-1)
	}
}

func hasFd(events []aio.Kevent) bool {
	for i := range events {
		if filterEvents(&events[i]) != 0 {
			return true
		}
	}
	return false
}

// filterEvents is what an event says of its descriptor; 0 if it is not of one.
func filterEvents(ev *aio.Kevent) (events Events) {
	switch ev.Filter {
	case aio.FilterRead:
		events = In
	case aio.FilterWrite:
		events = Out
	default:
		return 0
	}
	if ev.Flags&aio.EvEOF != 0 {
		events |= Hup
	}
	return events
}

// found is an event of a descriptor: the end of its watch, or, when the two that were
// asked for came together, another part of it. r.mu is held.
func (r *Reactor) found(fd uintptr, generation uint32, events Events) {
	if fd >= uintptr(len(r.watches)) || r.watches[fd].generation != generation {
		r.stale.Add(1)
		return
	}
	switch w := &r.watches[fd]; {
	case w.events != 0:
		r.unask(int(fd), w.events&^events)
		r.end(w, events)
	case w.notice != 0:
		r.notices[w.notice-1].Events |= events
	default:
		r.stale.Add(1)
	}
}

// end makes the notice of a watch. r.mu is held.
func (r *Reactor) end(w *watch, events Events) {
	r.notices = append(r.notices, Notice{Token: w.token, Events: events})
	w.notice = int32(len(r.notices))
	w.events = 0
	r.readied.Add(1)
	r.concerns.Add(-1)
}
