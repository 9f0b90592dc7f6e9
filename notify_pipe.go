//go:build unix && !linux

package aioring

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// openEventfd takes the caller's descriptor. One that could block would hold up the
// ring.
func openEventfd(fd int) (eventfd, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	if flags&unix.O_NONBLOCK == 0 || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, unix.EINVAL
	}
	return &descriptor{write: fd}, nil
}

// newEventfd opens a pipe: of its two ends the one to read.
func newEventfd() (eventfd, int, error) {
	var p [2]int
	// The lock keeps a fork from inheriting them before they are marked.
	syscall.ForkLock.RLock()
	err := unix.Pipe(p[:])
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, -1, err
	}
	for _, fd := range p {
		if err = unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(p[0])
			_ = unix.Close(p[1])
			return nil, -1, err
		}
	}
	return &descriptor{write: p[1], owned: p[:]}, p[0], nil
}
