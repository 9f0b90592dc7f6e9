package aioring

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// notifier tells of completions those who do not wait in one of the ring's calls: by
// a descriptor that can be polled, or by a channel.
type notifier struct {
	mu      sync.Mutex
	eventfd eventfd // registered, or nil
	ch      chan struct{}

	on    atomic.Bool // there is one, and it is not silenced
	muted bool
}

// eventfd is a descriptor that becomes readable when signal was called. Closing it
// closes what the ring has opened for it.
type eventfd interface {
	signal()
	close() error
}

// fire tells of CQEs posted together.
func (n *notifier) fire() {
	if !n.on.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.muted {
		return
	}
	if n.eventfd != nil {
		n.eventfd.signal()
	}
	if n.ch != nil {
		select {
		case n.ch <- struct{}{}:
		default: // there is a signal already
		}
	}
}

// attend makes the ring fetch completions while there is somebody to be told of them.
// n.mu is held.
func (r *Ring) attend() {
	n := &r.notify
	on := (n.eventfd != nil || n.ch != nil) && !n.muted
	if n.on.Swap(on) == on {
		return
	}
	if !on {
		r.parked.Add(-1)
		return
	}
	r.parked.Add(1)
	r.ensureHarvest()
}

// Notify returns a channel that receives after CQEs were posted: at least once after
// the last of them, not once for each. So receive, and then reap until there are no
// more. It is the same channel every time; Close does not close it, but sends.
func (r *Ring) Notify() <-chan struct{} {
	n := &r.notify
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{}, 1)
		if r.closed.Load() {
			n.ch <- struct{}{}
		} else {
			r.attend()
		}
	}
	return n.ch
}

// RegisterEventfd makes the ring write to a descriptor of the caller's after CQEs were
// posted: 8 bytes, the number 1. On Linux it must be an eventfd(2). Elsewhere it must be
// non-blocking (O_NONBLOCK): the write end of a pipe, an eventfd on FreeBSD. It must stay
// open until UnregisterEventfd.
//
// Errors: EBUSY, there is one; EINVAL, not such a descriptor; EBADF; [ErrClosed].
// Source: io_uring_register_eventfd(3).
func (r *Ring) RegisterEventfd(fd int) error {
	e, err := openEventfd(fd)
	if err != nil {
		return err
	}
	return r.register(e)
}

// OpenEventfd opens a descriptor that becomes readable after CQEs were posted, for
// poll(2), kqueue(2), epoll(7): an eventfd on Linux, elsewhere a pipe. It is
// non-blocking, and the ring's, until UnregisterEventfd or Close closes it. Read from it
// until EAGAIN, and then reap until there are no more. EBUSY: there is one registered.
func (r *Ring) OpenEventfd() (fd int, err error) {
	e, fd, err := newEventfd()
	if err != nil {
		return -1, err
	}
	if err := r.register(e); err != nil {
		_ = e.close()
		return -1, err
	}
	return fd, nil
}

func (r *Ring) register(e eventfd) error {
	n := &r.notify
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case r.closed.Load():
		return ErrClosed
	case n.eventfd != nil:
		return syscall.EBUSY
	}
	n.eventfd = e
	r.attend()
	return nil
}

// UnregisterEventfd ends what RegisterEventfd or OpenEventfd began. ENXIO: there is
// none.
func (r *Ring) UnregisterEventfd() error {
	n := &r.notify
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.eventfd == nil {
		return syscall.ENXIO
	}
	e := n.eventfd
	n.eventfd = nil
	r.attend()
	return e.close()
}

// ToggleEventfd switches the notifications off and on again, those of the channel too.
// CQEs come all the same. Source: io_uring_cq_eventfd_toggle(3).
func (r *Ring) ToggleEventfd(on bool) error {
	n := &r.notify
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.closed.Load() {
		return ErrClosed
	}
	n.muted = !on
	r.attend()
	return nil
}

// close wakes those who wait to be told.
func (n *notifier) close() (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on.Store(false)
	if n.ch != nil {
		select {
		case n.ch <- struct{}{}:
		default:
		}
	}
	if n.eventfd != nil {
		n.eventfd.signal()
		err = n.eventfd.close()
		n.eventfd = nil
	}
	return err
}
