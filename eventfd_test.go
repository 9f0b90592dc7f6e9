//go:build unix && !linux

package aioring_test

import (
	"syscall"
	"testing"

	"github.com/aioring/aioring"
	"golang.org/x/sys/unix"
)

// ownEventfd is a descriptor for RegisterEventfd, and the one to read from.
func ownEventfd(t *testing.T) (write, read int) {
	t.Helper()
	read, write = emptyPipe(t)
	for _, fd := range []int{read, write} {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return write, read
}

// One that could block would hold up the ring, one to read from tells nobody.
func TestRegisterEventfdWantsAWriterThatDoesNotBlock(t *testing.T) {
	r := variant{kernel: aioring.KernelThreads}.open(t, 8)
	write, _ := ownEventfd(t)
	_, blocking := emptyPipe(t)
	// Not the pipe's other end: on some systems it can be written to as well.
	reading, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reading)
	for _, fd := range []int{reading, blocking} {
		if err := r.RegisterEventfd(fd); err != syscall.EINVAL {
			t.Errorf("%v", err)
		}
	}
	if err := r.RegisterEventfd(write); err != nil {
		t.Error(err)
	}
}
