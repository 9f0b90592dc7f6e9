package sim

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// hostWatch is two sets of epoll(7), edge-triggered: of one set for both
// directions every edge would tell of both.
type hostWatch struct {
	sets [2]int
	bell [2]int // a pipe
	buf  [64]unix.EpollEvent
}

var watchFor = [2]uint32{
	toRead:  unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET,
	toWrite: unix.EPOLLOUT | unix.EPOLLET,
}

func newHostWatch() (*hostWatch, aio.Errno) {
	w := &hostWatch{sets: [2]int{-1, -1}, bell: [2]int{-1, -1}}
	for i := range w.sets {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			w.close()
			return nil, fromHost(err)
		}
		w.sets[i] = fd
	}
	if err := unix.Pipe2(w.bell[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		w.bell = [2]int{-1, -1}
		w.close()
		return nil, fromHost(err)
	}
	return w, 0
}

func (w *hostWatch) add(fd int, dir direction) aio.Errno {
	event := unix.EpollEvent{Events: watchFor[dir], Fd: int32(fd)}
	err := unix.EpollCtl(w.sets[dir], unix.EPOLL_CTL_ADD, fd, &event)
	if err == unix.EEXIST {
		return 0
	}
	return fromHost(err)
}

// remove may find nothing: the descriptor was closed.
func (w *hostWatch) remove(fd int, dir direction) {
	_ = unix.EpollCtl(w.sets[dir], unix.EPOLL_CTL_DEL, fd, nil)
}

// sleep waits for news, and takes none of it.
func (w *hostWatch) sleep() {
	fds := [3]unix.PollFd{
		{Fd: int32(w.sets[0]), Events: unix.POLLIN},
		{Fd: int32(w.sets[1]), Events: unix.POLLIN},
		{Fd: int32(w.bell[0]), Events: unix.POLLIN},
	}
	for {
		if _, err := unix.Poll(fds[:], -1); err != unix.EINTR {
			return
		}
	}
}

func (w *hostWatch) take(events []watchEvent) []watchEvent {
	for dir, set := range w.sets {
		for {
			n, err := unix.EpollWait(set, w.buf[:], 0)
			if err == unix.EINTR {
				continue
			}
			for _, e := range w.buf[:max(n, 0)] {
				events = append(events, watchEvent{int(e.Fd), direction(dir)})
			}
			if n < len(w.buf) {
				break
			}
		}
	}
	return events
}

// wake ends a sleep, now or later.
func (w *hostWatch) wake() { _, _ = unix.Write(w.bell[1], []byte{0}) }

func (w *hostWatch) close() {
	for _, fd := range []int{w.sets[0], w.sets[1], w.bell[0], w.bell[1]} {
		drop(fd)
	}
}
