//go:build unix

package aio

import (
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// HostQueues are event queues for systems that have no kqueue of FreeBSD's kind:
// kqueue(2) and kevent(2) for three filters, in the words of [Kernel], over
// epoll(7) on Linux and poll(2) elsewhere. AIO has no part in it.
//
//   - FilterRead and FilterWrite with EvAdd and EvOneshot: one event when reading or
//     writing would not block. EvEOF says that the other end is gone or the
//     descriptor has an error, and Data is 0. What cannot be watched, a regular file
//     say, is ready at once. Without EvOneshot they are EINVAL.
//   - FilterUser, as there; EvClear is implied.
//
// An event of a descriptor that is closed meanwhile may come, with EvEOF, or not; as
// with kqueue it is better to delete it before. Changes are not reported in events:
// the first that fails ends the call. Any goroutine may call all methods, but one at
// a time fetches.
type HostQueues struct {
	// Poll asks for poll(2) where epoll(7) would be taken. Set it before the first
	// use.
	Poll bool

	mu     sync.Mutex
	queues map[int]*hostQueue
}

// hostQueue is one queue. Its number is its poller's descriptor.
type hostQueue struct {
	poller hostPoller

	mu        sync.Mutex  // guards the rest; not held while the poller waits
	files     []hostFile  // by descriptor
	always    []hostReady // registered, and cannot be watched: ready at once
	user      Kevent      // the one EVFILT_USER event, if Filter is set
	triggered bool
	waiting   bool // in the poller, or about to be

	ready []hostReady // who fetches has it alone
}

// hostFile is what is asked of a descriptor.
type hostFile struct {
	read, write bool
	readUdata   uintptr
	writeUdata  uintptr
	// sequence tells this registration from earlier ones of the same number.
	sequence uint32
}

// hostReady is what a poller found.
type hostReady struct {
	fd       int
	revents  int16
	sequence uint32
}

// hostPoller waits for descriptors. watch and kick may be called while wait waits.
type hostPoller interface {
	descriptor() int
	// live reports whether a watch takes effect in a wait that is under way.
	live() bool
	// watch replaces what is asked of fd: 0 is nothing. A later wait answers with
	// this sequence, once or until watch takes it back.
	watch(fd int, events int16, sequence uint32) Errno
	// wait appends what is ready, at most room of them; none when it was kicked or
	// the time is over.
	wait(ready []hostReady, room int, timeout time.Duration) ([]hostReady, Errno)
	// kick ends the wait under way, or else the next.
	kick()
	close() Errno
}

// readable and writable are the answers of poll(2) that concern each filter.
const (
	hostEOF  = unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
	readable = unix.POLLIN | hostEOF
	writable = unix.POLLOUT | hostEOF
)

func (f *hostFile) events() (events int16) {
	if f.read {
		events |= unix.POLLIN
	}
	if f.write {
		events |= unix.POLLOUT
	}
	return events
}

// Kqueue makes a queue. Its number is good for Kevent and CloseKqueue alone.
func (h *HostQueues) Kqueue() (kq int, errno Errno) {
	open := newHostPoller
	if h.Poll {
		open = newPollPoller
	}
	p, errno := open()
	if errno != 0 {
		return -1, errno
	}
	h.add(p)
	return p.descriptor(), 0
}

func (h *HostQueues) add(p hostPoller) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queues == nil {
		h.queues = make(map[int]*hostQueue)
	}
	h.queues[p.descriptor()] = &hostQueue{poller: p}
}

// Kevent applies changes, and then fetches events if there is room for any.
func (h *HostQueues) Kevent(kq int, changes, events []Kevent, timeout time.Duration) (n int, errno Errno) {
	h.mu.Lock()
	q := h.queues[kq]
	h.mu.Unlock()
	if q == nil {
		return 0, EBADF
	}
	for i := range changes {
		if errno := q.change(&changes[i]); errno != 0 {
			return 0, errno
		}
	}
	if len(events) == 0 {
		return 0, 0
	}
	return q.fetch(events, timeout)
}

// CloseKqueue closes a queue. Nobody may be in Kevent with it.
func (h *HostQueues) CloseKqueue(kq int) Errno {
	h.mu.Lock()
	q := h.queues[kq]
	delete(h.queues, kq)
	h.mu.Unlock()
	if q == nil {
		return EBADF
	}
	return q.poller.close()
}

func (q *hostQueue) change(kev *Kevent) Errno {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch kev.Filter {
	case FilterUser:
		return q.changeUser(kev)
	case FilterRead, FilterWrite:
	default:
		return EINVAL
	}
	if kev.Ident > math.MaxInt32 {
		return EBADF
	}
	fd := int(kev.Ident)
	if kev.Flags&EvDelete != 0 {
		return q.drop(fd, kev.Filter)
	}
	if kev.Flags&(EvAdd|EvOneshot) != EvAdd|EvOneshot {
		return EINVAL
	}
	if fd >= len(q.files) {
		// The table grows for what is open, not for any number that is named.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return errnoOf(err)
		}
		for fd >= len(q.files) {
			q.files = append(q.files, hostFile{})
		}
	}
	f := &q.files[fd]
	was := *f
	if f.events() == 0 {
		f.sequence++
	}
	if kev.Filter == FilterRead {
		f.read, f.readUdata = true, kev.Udata
	} else {
		f.write, f.writeUdata = true, kev.Udata
	}
	switch errno := q.poller.watch(fd, f.events(), f.sequence); errno {
	case 0:
		if q.poller.live() {
			return 0
		}
	case EPERM: // poll(2) says of such that they are ready
		q.always = append(q.always, hostReady{fd: fd, revents: unix.POLLIN | unix.POLLOUT, sequence: f.sequence})
	default:
		was.sequence = f.sequence
		*f = was
		return errno
	}
	q.rouse()
	return 0
}

// drop forgets one of the two events of a descriptor.
func (q *hostQueue) drop(fd int, filter Filter) Errno {
	if fd >= len(q.files) {
		return ENOENT
	}
	f := &q.files[fd]
	asked := &f.read
	if filter == FilterWrite {
		asked = &f.write
	}
	if !*asked {
		return ENOENT
	}
	*asked = false
	// It fails when the file was closed, which has ended the watch as well.
	_ = q.poller.watch(fd, f.events(), f.sequence)
	if !q.poller.live() {
		q.rouse() // or poll(2) keeps the file until it returns
	}
	return 0
}

func (q *hostQueue) changeUser(kev *Kevent) Errno {
	switch {
	case kev.Flags&EvAdd != 0:
		q.user = Kevent{Ident: kev.Ident, Filter: FilterUser, Flags: EvClear, Udata: kev.Udata}
		return 0
	case q.user.Filter == 0 || q.user.Ident != kev.Ident:
		return ENOENT
	case kev.Flags&EvDelete != 0:
		q.user, q.triggered = Kevent{}, false
		return 0
	}
	if kev.Fflags&NoteTrigger != 0 {
		q.triggered = true
		q.rouse()
	}
	return 0
}

// rouse makes who fetches look again.
func (q *hostQueue) rouse() {
	if q.waiting {
		q.waiting = false // one kick is enough
		q.poller.kick()
	}
}

// fetch waits for events. A kick, which a change makes too, is no reason to return
// without any.
func (q *hostQueue) fetch(events []Kevent, timeout time.Duration) (int, Errno) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for {
		q.mu.Lock()
		n := q.takeUser(events)
		for len(q.always) > 0 && n < len(events) {
			last := len(q.always) - 1
			r := q.always[last]
			q.always = q.always[:last]
			n += q.take(r, events[n:])
		}
		if n > 0 {
			timeout = 0
		}
		q.waiting = timeout != 0
		q.mu.Unlock()

		var errno Errno
		q.ready, errno = q.poller.wait(q.ready[:0], len(events)-n, timeout)

		q.mu.Lock()
		q.waiting = false
		for _, r := range q.ready {
			n += q.take(r, events[n:])
		}
		n += q.takeUser(events[n:])
		q.mu.Unlock()
		switch {
		case n > 0 || timeout == 0:
			return n, 0
		case errno != 0:
			return 0, errno
		case timeout > 0:
			if timeout = time.Until(deadline); timeout <= 0 {
				return 0, 0
			}
		}
	}
}

// takeUser takes the user event if it is there. q.mu is held.
func (q *hostQueue) takeUser(events []Kevent) int {
	if !q.triggered || len(events) == 0 {
		return 0
	}
	q.triggered = false
	events[0] = q.user
	return 1
}

// take turns what a poller found into events, as far as there is room and somebody
// still asks for it. q.mu is held.
func (q *hostQueue) take(r hostReady, events []Kevent) (n int) {
	f := &q.files[r.fd]
	if f.sequence != r.sequence {
		return 0 // of an earlier registration; the present one is watched by itself
	}
	flags := uint16(EvOneshot)
	if r.revents&hostEOF != 0 {
		flags |= EvEOF
	}
	if f.read && r.revents&readable != 0 && n < len(events) {
		events[n] = Kevent{Ident: uintptr(r.fd), Filter: FilterRead, Flags: flags, Udata: f.readUdata}
		f.read = false
		n++
	}
	if f.write && r.revents&writable != 0 && n < len(events) {
		events[n] = Kevent{Ident: uintptr(r.fd), Filter: FilterWrite, Flags: flags, Udata: f.writeUdata}
		f.write = false
		n++
	}
	// Watched anew for what was not there, or for which there was no room.
	if q.poller.watch(r.fd, f.events(), f.sequence) == EPERM {
		q.always = append(q.always, r)
	}
	return n
}
