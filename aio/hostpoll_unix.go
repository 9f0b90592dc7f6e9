//go:build unix

package aio

import (
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollPoller waits by poll(2), which every Unix has. Its cost grows with the number
// of descriptors watched.
type pollPoller struct {
	pipe wakePipe

	mu      sync.Mutex
	watched []unix.PollFd
	numbers []uint32 // the sequence of each
	seats   []int32  // by descriptor: its index in watched plus 1; 0 is none

	// Who waits has these alone: what was watched when it began.
	polled   []unix.PollFd
	sequence []uint32
}

func newPollPoller() (hostPoller, Errno) {
	p := new(pollPoller)
	if errno := p.pipe.open(); errno != 0 {
		return nil, errno
	}
	return p, 0
}

func (p *pollPoller) descriptor() int { return p.pipe.read }
func (p *pollPoller) live() bool      { return false }

func (p *pollPoller) watch(fd int, events int16, sequence uint32) Errno {
	p.mu.Lock()
	defer p.mu.Unlock()
	for fd >= len(p.seats) {
		p.seats = append(p.seats, 0)
	}
	seat := p.seats[fd]
	switch {
	case events == 0 && seat != 0:
		last := len(p.watched) - 1
		p.watched[seat-1], p.numbers[seat-1] = p.watched[last], p.numbers[last]
		p.seats[p.watched[last].Fd] = seat
		p.seats[fd] = 0
		p.watched, p.numbers = p.watched[:last], p.numbers[:last]
	case events != 0 && seat == 0:
		// poll(2) would say POLLNVAL, but only to who waits.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return errnoOf(err)
		}
		p.watched = append(p.watched, unix.PollFd{Fd: int32(fd), Events: events})
		p.numbers = append(p.numbers, sequence)
		p.seats[fd] = int32(len(p.watched))
	case events != 0:
		p.watched[seat-1].Events, p.numbers[seat-1] = events, sequence
	}
	return 0
}

// Source: poll(2).
func (p *pollPoller) wait(ready []hostReady, room int, timeout time.Duration) ([]hostReady, Errno) {
	p.mu.Lock()
	p.polled = append(p.polled[:0], unix.PollFd{Fd: int32(p.pipe.read), Events: unix.POLLIN})
	p.polled = append(p.polled, p.watched...)
	p.sequence = append(p.sequence[:0], p.numbers...)
	p.mu.Unlock()
	if _, err := unix.Poll(p.polled, milliseconds(timeout)); err != nil {
		return ready, errnoOf(err)
	}
	if p.polled[0].Revents != 0 {
		p.pipe.clear()
	}
	// Who found no room comes first the next time: begin where the last one ended.
	for i := range p.sequence {
		if len(ready) == room {
			p.rotate()
			break
		}
		if f := &p.polled[i+1]; f.Revents != 0 {
			ready = append(ready, hostReady{fd: int(f.Fd), revents: f.Revents, sequence: p.sequence[i]})
		}
	}
	return ready, 0
}

// rotate turns the order round, so that the first are not always the same.
func (p *pollPoller) rotate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Reverse(p.watched)
	slices.Reverse(p.numbers)
	for i := range p.watched {
		p.seats[p.watched[i].Fd] = int32(i + 1)
	}
}

func (p *pollPoller) kick() { p.pipe.ring() }

func (p *pollPoller) close() Errno { return p.pipe.close() }

// milliseconds is a timeout for poll(2) and epoll_wait(2): never shorter, -1 for
// ever.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int(min((timeout+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}

// wakePipe ends a wait for descriptors of which its reading end is one.
type wakePipe struct{ read, write int }

// open makes the pipe. Neither end ever blocks.
//
// Source: pipe(2). x/sys has no pipe2(2) for macOS, so ForkLock keeps the ends from
// a child that starts in between.
func (w *wakePipe) open() Errno {
	var ends [2]int
	syscall.ForkLock.RLock()
	err := unix.Pipe(ends[:])
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return errnoOf(err)
	}
	w.read, w.write = ends[0], ends[1]
	for _, end := range ends {
		if err := unix.SetNonblock(end, true); err != nil {
			_ = w.close()
			return errnoOf(err)
		}
	}
	return 0
}

// ring puts a byte in. A full pipe wakes as well.
func (w *wakePipe) ring() {
	for {
		if _, err := unix.Write(w.write, wakeByte[:]); err != unix.EINTR {
			return
		}
	}
}

// clear takes out what is in it.
func (w *wakePipe) clear() {
	var b [16]byte
	for {
		n, err := unix.Read(w.read, b[:])
		if err != unix.EINTR && n < len(b) {
			return
		}
	}
}

func (w *wakePipe) close() Errno {
	errno := errnoOf(unix.Close(w.read))
	if e := errnoOf(unix.Close(w.write)); errno == 0 {
		errno = e
	}
	return errno
}

var wakeByte [1]byte
