//go:build unix

package sim

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// level is what a filter sees of a descriptor: whether it is ready, whether the
// other side has ended, and how much there is. None of the host's calls that ask
// for it sleeps, so they are made with the lock held.
type level struct {
	ready, eof bool
	data       int64
}

// pipeBuf is how much room makes a pipe ready for writing (PIPE_BUF).
const pipeBuf = 512

// pollNow is poll(2) of one descriptor.
func pollNow(fd int, events int16) int16 {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds[:], 0)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return 0
		default:
			return fds[0].Revents
		}
	}
}

// readable is how many bytes there are to read; 0 if the host does not say.
func readable(fd int) int64 {
	n, err := unix.IoctlGetInt(fd, askReadable)
	if err != nil {
		return 0
	}
	return int64(n)
}

// unsent is how many bytes a socket holds that it has not sent; 0 if the host does
// not say.
func unsent(fd int) int64 {
	n, err := unix.IoctlGetInt(fd, askUnsent)
	if err != nil {
		return 0
	}
	return int64(n)
}

// levelOf looks at a descriptor as EVFILT_READ or EVFILT_WRITE does. flags and
// lowat are the knote's own.
// Source: FreeBSD sys/kern/uipc_socket.c, filt_soread and filt_sowrite;
// sys_pipe.c, filt_piperead and filt_pipewrite; vfs_subr.c, filt_vfsread.
func levelOf(fd int, st *hostStat, dir direction, flags uint32, lowat int64) level {
	switch {
	case st.safe && dir == toRead:
		return fileLevel(fd, flags)
	case st.safe:
		return level{ready: true}
	case st.Type == aio.TypeSocket:
		return socketLevel(fd, dir, flags, lowat)
	case dir == toRead:
		// A pipe or a terminal.
		e := pollNow(fd, unix.POLLIN)
		l := level{eof: e&(unix.POLLHUP|unix.POLLERR) != 0, data: readable(fd)}
		l.ready = l.eof || l.data > 0
		return l
	}
	e := pollNow(fd, unix.POLLOUT)
	l := level{eof: e&(unix.POLLHUP|unix.POLLERR) != 0}
	l.ready = l.eof || e&unix.POLLOUT != 0
	if e&unix.POLLOUT != 0 {
		l.data = pipeBuf
	}
	return l
}

// fileLevel: what is left of a file from the descriptor's own offset on, which
// is negative beyond its end.
func fileLevel(fd int, flags uint32) level {
	var u unix.Stat_t
	if err := unix.Fstat(fd, &u); err != nil {
		return level{}
	}
	at, err := unix.Seek(fd, 0, 1)
	if err != nil {
		return level{}
	}
	l := level{data: u.Size - at}
	l.ready = l.data != 0 || flags&aio.NoteFilePoll != 0
	return l
}

func socketLevel(fd int, dir direction, flags uint32, lowat int64) level {
	listening := isListening(fd)
	if dir == toRead {
		e := pollNow(fd, unix.POLLIN|pollReadEnd)
		if listening {
			l := level{ready: e&unix.POLLIN != 0}
			if l.ready {
				l.data = pendingConnections(fd)
			}
			return l
		}
		l := level{data: readable(fd)}
		l.eof = e&(pollReadEnd|unix.POLLHUP) != 0 ||
			e&unix.POLLIN != 0 && l.data == 0 && isStream(fd)
		enough := e&unix.POLLIN != 0
		if flags&aio.NoteLowat != 0 {
			enough = l.data >= lowat
		}
		l.ready = l.eof || enough || e&unix.POLLERR != 0
		return l
	}
	if listening {
		return level{}
	}
	e := pollNow(fd, unix.POLLOUT)
	if e&unix.POLLERR == 0 && isStream(fd) {
		if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
			return level{}
		}
	}
	l := level{eof: e&unix.POLLHUP != 0 || e&unix.POLLERR == 0 && isStream(fd) && cannotSend(fd)}
	if size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
		l.data = max(0, int64(size)-unsent(fd))
	}
	enough := e&unix.POLLOUT != 0
	if flags&aio.NoteLowat != 0 {
		enough = enough && l.data >= lowat
	}
	l.ready = l.eof || enough || e&unix.POLLERR != 0
	return l
}

func isListening(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v != 0
}

func isStream(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && v == unix.SOCK_STREAM
}

// isLocalStream reports whether a socket is of the local kind and a stream.
func isLocalStream(fd int) bool {
	if !isStream(fd) {
		return false
	}
	at, err := unix.Getsockname(fd)
	_, local := at.(*unix.SockaddrUnix)
	return err == nil && local
}

// cannotSend reports whether a stream socket was shut down for writing. Sending
// nothing tells.
func cannotSend(fd int) bool {
	_, err := unix.SendmsgN(fd, nil, nil, nil, unix.MSG_DONTWAIT|noSignal)
	return err == unix.EPIPE
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	return err == nil
}
