//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor is what must be known of a stream before a call on it. It is looked at
// anew before each attempt, for O_NONBLOCK may be changed at any time by whoever
// shares the open file.
type descriptor struct {
	key         lineKey
	socket      bool
	nonblocking bool // O_NONBLOCK is set
	prompt      bool // this call never waits: made at once, out of line
}

// describe looks at the descriptor of a stream call. It fails with EBADF.
//
// Source: fstat(2), fcntl(2).
func describe(c *Call) (d descriptor, errno syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(c.Fd, &st); err != nil {
		_, errno = result(0, err)
		return d, errno
	}
	flags, err := unix.FcntlInt(uintptr(c.Fd), unix.F_GETFL, 0)
	if err != nil {
		_, errno = result(0, err)
		return d, errno
	}
	kind := uint32(st.Mode) & unix.S_IFMT
	d.socket = kind == unix.S_IFSOCK
	d.nonblocking = flags&unix.O_NONBLOCK != 0
	d.key = lineKey{fd: c.Fd, out: c.Op.writes()}
	if kind == unix.S_IFIFO && st.Ino != 0 { // NetBSD and OpenBSD do not number pipes
		//nolint:unconvert // narrower on other systems
		d.key = lineKey{dev: uint64(st.Dev), ino: uint64(st.Ino), fd: -1, out: c.Op.writes()}
	}
	d.prompt = refuses(flags, c.Op) || empty(c) && !(d.socket && c.Op.writes())
	return d, 0
}

// refuses reports whether the descriptor is not open for the operation. Its
// readiness may never come, where the call says EBADF at once.
func refuses(flags int, op Op) bool {
	mode := flags & unix.O_ACCMODE
	return op.writes() && mode == unix.O_RDONLY || !op.writes() && mode == unix.O_WRONLY
}

// empty reports whether the call moves nothing or is malformed. Only a socket may
// make even that wait: an empty datagram needs room.
func empty(c *Call) bool {
	if c.Op.vectored() {
		return len(c.Bufs) > maxVectors || len(fitting(c.Bufs)) == 0
	}
	return len(c.Buf) == 0
}

// events is what poll(2) says when the operation has something to do.
func (op Op) events() int16 {
	if op.writes() {
		return unix.POLLOUT
	}
	return unix.POLLIN
}

// ready reports, without waiting, whether one of the events or a condition that
// the call will report (POLLHUP, POLLERR, POLLNVAL) is there.
func ready(fd int, events int16) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return n > 0 && err == nil
		}
	}
}
