package aioring

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openEventfd takes the caller's eventfd.
func openEventfd(fd int) (eventfd, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, err
	}
	if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && name != "anon_inode:[eventfd]" {
		return nil, unix.EINVAL
	}
	return &descriptor{write: fd}, nil
}

// newEventfd opens one.
func newEventfd() (eventfd, int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, -1, err
	}
	return &descriptor{write: fd, owned: []int{fd}}, fd, nil
}
