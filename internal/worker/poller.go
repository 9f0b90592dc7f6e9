//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// poller is the calls that wait for readiness, all in one poll(2) of one goroutine,
// which starts with the first and ends with the last. Pool.mu guards it, but fds is
// the goroutine's alone.
type poller struct {
	running  bool
	arrivals list // not in the poll yet

	// A call has seat i: its entry is fds[i], and calls[i] is the call, or nil if it
	// was cancelled since the poll began. Seat 0 is the wake pipe's.
	calls []*Call
	fds   []unix.PollFd

	wake wakePipe
}

// await lets the head of a line wait for readiness. true: it must not, and is over:
// it was cancelled meanwhile, or there is no wake pipe to be had, which is EMFILE
// or ENFILE. false: it waits and is no longer the caller's.
func (p *Pool) await(c *Call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.poller
	if c.cancelled {
		c.settle(0, syscall.ECANCELED)
		return true
	}
	if errno := w.wake.open(); errno != 0 {
		c.settle(0, errno)
		return true
	}
	c.state = waiting
	w.arrivals.push(c)
	p.waiting++
	if w.running {
		w.wake.ring()
	} else {
		w.running = true
		go p.watch()
	}
	return false
}

// watcher polls until nobody waits.
func (p *Pool) watcher() {
	w := &p.poller
	p.mu.Lock()
	for w.admit() {
		p.mu.Unlock()
		errno := w.poll()
		p.mu.Lock()
		p.collect(errno)
	}
	w.running = false
	p.rest()
	p.mu.Unlock()
}

// admit gives the arrivals their seats and reports whether anybody waits.
func (w *poller) admit() bool {
	if len(w.fds) == 0 {
		w.calls = append(w.calls, nil)
		w.fds = append(w.fds, unix.PollFd{Fd: int32(w.wake.read), Events: unix.POLLIN})
	}
	for c := w.arrivals.pop(); c != nil; c = w.arrivals.pop() {
		c.seat = len(w.calls)
		w.calls = append(w.calls, c)
		w.fds = append(w.fds, unix.PollFd{Fd: int32(c.Fd), Events: c.Op.events()})
	}
	return len(w.calls) > 1
}

// poll waits for readiness or the wake pipe. It fails with EINVAL if a lowered
// RLIMIT_NOFILE leaves no room for so many, and if the kernel has no memory.
//
// Source: poll(2).
func (w *poller) poll() syscall.Errno {
	for {
		_, err := unix.Poll(w.fds, -1)
		if err != unix.EINTR {
			_, errno := result(0, err)
			return errno
		}
	}
}

// collect queues the calls that are ready. If the poll failed there is no way to
// wait, and that is the result of them all. p.mu is held.
func (p *Pool) collect(errno syscall.Errno) {
	w := &p.poller
	w.wake.clear()
	for i := len(w.calls) - 1; i > 0; i-- {
		c := w.calls[i]
		if c != nil && errno == 0 && w.fds[i].Revents == 0 {
			continue
		}
		w.vacate(i)
		if c != nil {
			c.seat, c.fault = 0, errno
			p.waiting--
			p.enqueue(c)
		}
	}
}

// vacate gives a seat to the last call.
func (w *poller) vacate(i int) {
	last := len(w.calls) - 1
	w.fds[i] = w.fds[last]
	if c := w.calls[last]; c != nil {
		w.calls[i], c.seat = c, i
	} else {
		w.calls[i] = nil
	}
	w.calls[last] = nil
	w.calls, w.fds = w.calls[:last], w.fds[:last]
}

// remove takes out a waiting call. The poll that is under way may look at its
// descriptor until it has seen the wake pipe, and no longer. Pool.mu is held.
func (w *poller) remove(c *Call) {
	if c.seat == 0 {
		w.arrivals.remove(c)
		return
	}
	w.calls[c.seat], c.seat = nil, 0
	w.wake.ring()
}

// close ends the wake pipe; the goroutine is not running.
func (w *poller) close() {
	w.wake.close()
	w.calls, w.fds = nil, nil
}
