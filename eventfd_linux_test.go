package aioring_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// ownEventfd is a descriptor for RegisterEventfd, and the one to read from.
func ownEventfd(t *testing.T) (write, read int) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd, fd
}
