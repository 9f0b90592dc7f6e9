package aioring_test

import (
	"os"
	"testing"

	"github.com/aioring/aioring"
	"golang.org/x/sys/unix"
)

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Operations that wait have one private descriptor for each open file, however they
// were submitted.
func TestWaitingOperationsShareADescriptor(t *testing.T) {
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	if _, err := unix.FcntlInt(rd.Fd(), unix.F_DUPFD_QUERY, int(rd.Fd())); err == unix.EINVAL {
		t.Skip("F_DUPFD_QUERY is of Linux 6.10")
	}
	r := variant{kernel: aioring.KernelThreads}.open(t, 128)
	const n = 100
	buf := make([]byte, n)
	read := func(i int) {
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), buf[i:][:1], 0)
		submit(t, r, 1)
	}
	read(0)
	before := openFiles(t)
	for i := range n - 1 {
		read(i + 1)
	}
	// What waits for readiness may take a few, once.
	if more := openFiles(t) - before; more > 5 {
		t.Errorf("%d descriptors more for %d operations more", more, n-1)
	}
	if _, err := wr.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	for range n {
		if c := reap(t, r); c.Res != 1 {
			t.Fatal(c)
		}
	}
}
