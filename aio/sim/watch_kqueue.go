//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sim

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// hostWatch is a kqueue of the host.
type hostWatch struct {
	set  int
	bell [2]int // a pipe
	buf  [64]unix.Kevent_t
}

var watchFor = [2]int{toRead: unix.EVFILT_READ, toWrite: unix.EVFILT_WRITE}

func newHostWatch() (*hostWatch, aio.Errno) {
	set, err := unix.Kqueue()
	if err != nil {
		return nil, fromHost(err)
	}
	unix.CloseOnExec(set)
	w := &hostWatch{set: set, bell: [2]int{-1, -1}}
	if err := unix.Pipe(w.bell[:]); err != nil {
		w.bell = [2]int{-1, -1}
		w.close()
		return nil, fromHost(err)
	}
	unix.CloseOnExec(w.bell[0])
	unix.CloseOnExec(w.bell[1])
	return w, 0
}

func (w *hostWatch) change(fd int, dir direction, flags int) error {
	var event [1]unix.Kevent_t
	unix.SetKevent(&event[0], fd, watchFor[dir], flags)
	_, err := unix.Kevent(w.set, event[:], nil, nil)
	return err
}

func (w *hostWatch) add(fd int, dir direction) aio.Errno {
	return fromHost(w.change(fd, dir, unix.EV_ADD|unix.EV_CLEAR))
}

// remove may find nothing: the descriptor was closed.
func (w *hostWatch) remove(fd int, dir direction) { _ = w.change(fd, dir, unix.EV_DELETE) }

// sleep waits for news, and takes none of it.
func (w *hostWatch) sleep() {
	fds := [2]unix.PollFd{
		{Fd: int32(w.set), Events: unix.POLLIN},
		{Fd: int32(w.bell[0]), Events: unix.POLLIN},
	}
	for {
		if _, err := unix.Poll(fds[:], -1); err != unix.EINTR {
			return
		}
	}
}

func (w *hostWatch) take(events []watchEvent) []watchEvent {
	var now unix.Timespec
	for {
		n, err := unix.Kevent(w.set, nil, w.buf[:], &now)
		if err == unix.EINTR {
			continue
		}
		for i := range w.buf[:max(n, 0)] {
			dir := toRead
			if int(w.buf[i].Filter) == watchFor[toWrite] {
				dir = toWrite
			}
			events = append(events, watchEvent{int(w.buf[i].Ident), dir})
		}
		if n < len(w.buf) {
			return events
		}
	}
}

// wake ends a sleep, now or later.
func (w *hostWatch) wake() { _, _ = unix.Write(w.bell[1], []byte{0}) }

func (w *hostWatch) close() {
	for _, fd := range []int{w.set, w.bell[0], w.bell[1]} {
		drop(fd)
	}
}
