//go:build unix

package worker

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns the ends of a pipe in blocking mode, closed with the test.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	closeLater(t, ends[:]...)
	return ends[0], ends[1]
}

// socketpair returns connected sockets in blocking mode.
func socketpair(t testing.TB, kind int) (a, b int) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, ends[:]...)
	return ends[0], ends[1]
}

// tempFile returns an empty file, open for reading and writing.
func tempFile(t testing.TB) int {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT)
}

func open(t testing.TB, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(&os.PathError{Op: "open", Path: name, Err: err})
	}
	closeLater(t, fd)
	return fd
}

// dup returns another descriptor of the same open file.
func dup(t testing.TB, fd int) int {
	t.Helper()
	other, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, other)
	return other
}

// closeLater closes descriptors at the end, unless the test has.
func closeLater(t testing.TB, fds ...int) {
	t.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
}

func nonblocking(t testing.TB, fd int) {
	t.Helper()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t testing.TB, fd int, p []byte) {
	t.Helper()
	if n, errno := write(fd, p, -1); n != len(p) || errno != 0 {
		t.Fatalf("write: %d, %v", n, errno)
	}
}

// mustRead reads exactly n bytes.
func mustRead(t testing.TB, fd, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	for have := 0; have < n; {
		k, errno := read(fd, p[have:], -1)
		if k == 0 || errno != 0 {
			t.Fatalf("read: %d of %d, %v", have, n, errno)
		}
		have += k
	}
	return p
}

// fill writes to a descriptor until it has no more room, and returns how much that
// was. The descriptor is in blocking mode afterwards.
func fill(t testing.TB, fd int) (total int) {
	t.Helper()
	nonblocking(t, fd)
	defer unix.SetNonblock(fd, false)
	for p := pattern(pipeBuf); len(p) > 0; {
		n, errno := write(fd, p, -1)
		if total += n; errno == unix.EAGAIN {
			p = p[:len(p)/2]
		} else if errno != 0 {
			t.Fatal(errno)
		}
	}
	return total
}

// pattern returns n bytes that tell where they belong.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return p
}
