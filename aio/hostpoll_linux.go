package aio

import (
	"time"

	"golang.org/x/sys/unix"
)

func newHostPoller() (hostPoller, Errno) { return newEpollPoller() }

// epollPoller waits by epoll(7), whose cost does not grow with the number of
// descriptors watched.
type epollPoller struct {
	epfd  int
	pipe  wakePipe
	added []bool // by descriptor: in the epoll. Guarded by hostQueue.mu

	events [epollBatch]unix.EpollEvent // who waits has it alone
}

// epollBatch is how many events one epoll_wait fetches at most.
const epollBatch = 256

func newEpollPoller() (hostPoller, Errno) {
	p := new(epollPoller)
	if errno := p.pipe.open(); errno != 0 {
		return nil, errno
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		p.epfd = epfd
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, p.pipe.read,
			&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.pipe.read)})
		if err != nil {
			_ = unix.Close(epfd)
		}
	}
	if err != nil {
		_ = p.pipe.close()
		return nil, errnoOf(err)
	}
	return p, 0
}

func (p *epollPoller) descriptor() int { return p.epfd }
func (p *epollPoller) live() bool      { return true }

// watch asks with EPOLLONESHOT: between an answer and the watch that follows it the
// descriptor is silent. Its EPERM is for regular files, and for devices without
// poll.
//
// Source: epoll_ctl(2).
func (p *epollPoller) watch(fd int, events int16, sequence uint32) Errno {
	for fd >= len(p.added) {
		p.added = append(p.added, false)
	}
	was := p.added[fd]
	p.added[fd] = false
	if events == 0 {
		if !was {
			return 0
		}
		return errnoOf(unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil))
	}
	ev := unix.EpollEvent{Events: uint32(events) | unix.EPOLLONESHOT, Fd: int32(fd), Pad: int32(sequence)}
	first, second := unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD
	if was {
		first, second = second, first
	}
	err := unix.EpollCtl(p.epfd, first, fd, &ev)
	if err == unix.EEXIST || err == unix.ENOENT {
		// The number was closed, and is another file's by now: the epoll knows files.
		err = unix.EpollCtl(p.epfd, second, fd, &ev)
	}
	p.added[fd] = err == nil
	return errnoOf(err)
}

// wait sleeps in ppoll(2) when there is an end to it: epoll_wait(2) counts in
// milliseconds.
//
// Source: epoll_wait(2), ppoll(2).
func (p *epollPoller) wait(ready []hostReady, room int, timeout time.Duration) ([]hostReady, Errno) {
	if room = min(room, epollBatch); room == 0 {
		return ready, 0
	}
	wait := -1
	if timeout >= 0 {
		wait = 0
	}
	if timeout > 0 {
		self := [1]unix.PollFd{{Fd: int32(p.epfd), Events: unix.POLLIN}}
		limit := unix.NsecToTimespec(int64(timeout))
		if _, err := unix.Ppoll(self[:], &limit, nil); err != nil {
			return ready, errnoOf(err)
		}
	}
	n, err := unix.EpollWait(p.epfd, p.events[:room], wait)
	if err != nil {
		return ready, errnoOf(err)
	}
	for _, ev := range p.events[:n] {
		if int(ev.Fd) == p.pipe.read {
			p.pipe.clear()
			continue
		}
		// The bits are those of poll(2).
		ready = append(ready, hostReady{fd: int(ev.Fd), revents: int16(ev.Events), sequence: uint32(ev.Pad)})
	}
	return ready, 0
}

func (p *epollPoller) kick() { p.pipe.ring() }

func (p *epollPoller) close() Errno {
	errno := p.pipe.close()
	if e := errnoOf(unix.Close(p.epfd)); errno == 0 {
		errno = e
	}
	return errno
}
