//go:build unix

package worker

import "syscall"

// maxRefusals is how often a descriptor may say in poll(2) that it is ready and
// then answer EAGAIN before that is the call's result. Waiting for such a one would
// be a busy loop. BSD datagram sockets do it when they have some room but not
// enough; io_uring gives up after as many (APOLL_MAX_RETRY).
const maxRefusals = 128

// ready reports whether attempt may be called.
func (d descriptor) ready(c *Call) bool { return !d.blocks() || ready(c.Fd, c.Op.events()) }

// attempt makes a stream call that is ready, if that does not block. It reports
// whether the call is over; if not, nothing was moved and it has to wait for
// readiness.
//
// One race remains. On a descriptor in blocking mode that is no socket, somebody
// outside this pool may take what poll(2) promised, before read(2) or write(2) gets
// it; so may a call of this pool on another descriptor of the same terminal or
// device. The call then blocks as any other does, cannot be cancelled, and occupies
// a goroutine. No call that all systems have would help, and O_NONBLOCK is not ours
// to set: it belongs to all who share the open file. A call on a device that poll(2)
// does not support (POLLNVAL) is made at once, and may block in the same way.
func (d descriptor) attempt(c *Call) bool {
	for range maxRefusals {
		n, errno := d.move(c)
		if n > 0 || errno != syscall.EAGAIN {
			c.settle(n, errno)
			return true
		}
		if !ready(c.Fd, c.Op.events()) {
			return false
		}
	}
	c.settle(0, syscall.EAGAIN)
	return true
}

// blocks reports whether a call on the descriptor blocks when there is nothing to
// do. Sockets can be told not to, for one call.
func (d descriptor) blocks() bool { return !d.socket && !d.nonblocking }

// move makes the call in the way that blocks least.
func (d descriptor) move(c *Call) (int, syscall.Errno) {
	switch {
	case d.socket && c.Op.writes():
		return send(c)
	case d.socket:
		return receive(c)
	case d.blocks() && c.Op.writes():
		return writePieces(c)
	}
	return c.run()
}
