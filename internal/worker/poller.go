//go:build unix

package worker

import (
	"syscall"

	"github.com/aioring/aioring/aio"
	"golang.org/x/sys/unix"
)

// poller is the calls that wait for readiness, all in one queue of the host and one
// goroutine, which starts with the first and ends with the last. Pool.mu guards it,
// but events is the goroutine's alone.
type poller struct {
	queues  aio.HostQueues
	isOpen  bool
	kq      int
	running bool

	// calls are those that wait, by descriptor and direction: a line's head has its
	// descriptor and direction for itself.
	calls   [][2]*Call
	waiting int
	watches uint32 // the last Call.watch given out

	events [64]aio.Kevent
}

// open makes the queue if there is none yet.
func (w *poller) open() aio.Errno {
	if w.isOpen {
		return 0
	}
	kq, errno := w.queues.Kqueue()
	if errno != 0 {
		return errno
	}
	w.kq, w.isOpen = kq, true
	return w.change(aio.Kevent{Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear})
}

func (w *poller) change(kev aio.Kevent) aio.Errno {
	changes := [1]aio.Kevent{kev}
	_, errno := w.queues.Kevent(w.kq, changes[:], nil, 0)
	return errno
}

// place is where a call waits, and by which event.
func (w *poller) place(c *Call) (place **Call, kev aio.Kevent) {
	for c.Fd >= len(w.calls) {
		w.calls = append(w.calls, [2]*Call{})
	}
	kev = aio.Kevent{Ident: uintptr(c.Fd), Filter: aio.FilterRead, Udata: uintptr(c.watch)}
	if c.Op.events() == unix.POLLOUT {
		kev.Filter = aio.FilterWrite
		return &w.calls[c.Fd][1], kev
	}
	return &w.calls[c.Fd][0], kev
}

// await lets the head of a line wait for readiness. true: it must not, and is over:
// it was cancelled meanwhile, or there is no queue to be had, which is EMFILE or
// ENFILE. false: it waits and is no longer the caller's.
func (p *Pool) await(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.poller
	if c.cancelled {
		c.settle(0, syscall.ECANCELED)
		return true
	}
	errno := w.open()
	if errno == 0 {
		errno = w.add(c)
	}
	if errno != 0 {
		c.settle(0, errno.Host())
		c.state = moving
		return true
	}
	c.state = waiting
	p.waiting++
	if !w.running {
		w.running = true
		go p.watch()
	}
	return false
}

func (w *poller) add(c *Call) aio.Errno {
	w.watches++
	c.watch = w.watches
	place, kev := w.place(c)
	kev.Flags = aio.EvAdd | aio.EvOneshot
	if errno := w.change(kev); errno != 0 {
		return errno
	}
	*place = c
	w.waiting++
	return 0
}

// remove takes out a waiting call. An event of it that was fetched already is not
// taken for another's. Pool.mu is held.
func (w *poller) remove(c *Call) {
	place, kev := w.place(c)
	kev.Flags = aio.EvDelete
	_ = w.change(kev) // it may have been fetched
	*place = nil
	if w.waiting--; w.waiting == 0 {
		_ = w.change(aio.Kevent{Filter: aio.FilterUser, Fflags: aio.NoteTrigger})
	}
}

// watcher fetches events until nobody waits.
func (p *Pool) watcher() {
	w := &p.poller
	p.mu.Lock()
	for w.waiting > 0 {
		p.mu.Unlock()
		n, errno := w.queues.Kevent(w.kq, nil, w.events[:], -1)
		p.mu.Lock()
		if errno != 0 && errno != aio.EINTR {
			p.abandon(errno.Host())
		}
		p.collect(w.events[:n])
	}
	w.running = false
	p.rest()
	p.mu.Unlock()
}

// collect queues the calls that are ready. p.mu is held.
func (p *Pool) collect(events []aio.Kevent) {
	w := &p.poller
	for i := range events {
		fd, direction := events[i].Ident, 0
		switch events[i].Filter {
		case aio.FilterRead:
		case aio.FilterWrite:
			direction = 1
		default:
			continue // remove's
		}
		c := w.calls[fd][direction]
		if c == nil || uintptr(c.watch) != events[i].Udata {
			continue // it was removed meanwhile
		}
		w.calls[fd][direction] = nil
		w.waiting--
		p.waiting--
		p.enqueue(c)
	}
}

// abandon ends every wait when there is no way to wait: EINVAL if a lowered
// RLIMIT_NOFILE leaves no room for so many in poll(2), ENOMEM. That is the result of
// them all. p.mu is held.
func (p *Pool) abandon(errno syscall.Errno) {
	w := &p.poller
	for fd := range w.calls {
		for _, c := range w.calls[fd] {
			if c != nil {
				w.remove(c)
				p.waiting--
				c.fault = errno
				p.enqueue(c)
			}
		}
	}
}

// close ends the queue; the goroutine is not running.
func (w *poller) close() {
	if w.isOpen {
		_ = w.queues.CloseKqueue(w.kq)
		w.isOpen, w.calls = false, nil
	}
}
