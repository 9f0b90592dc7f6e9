package aioring_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
)

// hogs is how many processes fill the system's queue: as many as that takes with the
// sysctls as they come, and one more.
const hogs = 5

// hogVariable makes this program a process that fills the queue.
const hogVariable = "AIORING_TEST_HOG"

// TestHog is no test but that process: it submits reads of a socket to which nobody
// writes, until the kernel takes no more, says how many, and goes when its input ends.
func TestHog(t *testing.T) {
	if os.Getenv(hogVariable) == "" {
		t.Skip("it is run by TestAnotherProcessFillsTheQueue")
	}
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	slab, err := aio.NewSlab(4096)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	n := 0
	for errno := aio.Errno(0); errno == 0; n++ {
		if n == slab.Len() {
			if _, err := slab.Grow(); err != nil {
				t.Fatal(err)
			}
		}
		cb := slab.Block(n)
		cb.Prepare(aio.OpRead, pair[0], 0, unsafe.Pointer(&buf[0]), 1, aio.Sigevent{})
		if errno = k.Read(cb); errno != 0 && errno != aio.EAGAIN {
			t.Fatal(errno)
		}
	}
	fmt.Printf("hog: %d\n", n-1)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // the kernel takes the jobs back
}

// startHogs fills the queue, and returns what empties it.
func startHogs(t *testing.T) (held int, stop func()) {
	t.Helper()
	var stops []func()
	for range hogs {
		c := exec.Command(os.Args[0], "-test.run", "^TestHog$")
		c.Env = append(os.Environ(), hogVariable+"=1")
		c.Stderr = os.Stderr
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, func() {
			in.Close()
			_ = c.Wait() // how it went is said already
		})
		lines, n := bufio.NewScanner(out), -1
		for n < 0 && lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "hog: %d", &n)
		}
		if n < 0 {
			t.Fatal("a hog said nothing")
		}
		held += n
	}
	return held, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// copyFile copies a file through the ring, sixteen blocks at a time, and verifies it.
func copyFile(t *testing.T, r *aioring.Ring, dir string, size int) (operations int) {
	t.Helper()
	const block, depth = 4096, 16
	data := pattern(size, 3)
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, data, 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	buf := make([]byte, depth*block)
	for off := 0; off < size; off += len(buf) {
		for _, write := range []bool{false, true} {
			for i := range depth {
				sqe, p, at := r.GetSQE(), buf[i*block:][:block], int64(off+i*block)
				if write {
					aioring.PrepWrite(sqe, int(dst.Fd()), p, at)
				} else {
					aioring.PrepRead(sqe, int(src.Fd()), p, at)
				}
			}
			submit(t, r, depth)
			for range depth {
				if c := reap(t, r); c.Res != block {
					t.Fatalf("%+v", c)
				}
				operations++
			}
		}
	}
	aioring.PrepFsync(r.GetSQE(), int(dst.Fd()), 0)
	submit(t, r, 1)
	if c := reap(t, r); c.Res != 0 {
		t.Fatalf("fsync: %+v", c)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("another file: %v", err)
	}
	return operations + 1
}

// Other processes hold every job that the system allows. A copy still finishes and
// verifies, by plain calls, without turning round and round; when they are gone it
// goes by AIO again.
func TestAnotherProcessFillsTheQueue(t *testing.T) {
	guard(t, 3*time.Minute)
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	r, err := aioring.New(64, aioring.WithMerge(0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	held, stop := startHogs(t)
	defer stop()
	l, err := k.Limits()
	if err != nil || held < l.MaxQueue || l.QueueCount < l.MaxQueue {
		t.Fatalf("%d jobs are held, %+v, %v", held, l, err)
	}
	n := copyFile(t, r, t.TempDir(), 1<<20)
	s := r.Stats()
	if s.Fallbacks != uint64(n) || s.Listed+s.Singles-s.Again > 0 && s.Reaped != 0 {
		t.Errorf("%d operations, %+v", n, s)
	}
	if turns := s.Polls + s.Sleeps + s.Again; turns > uint64(20*n) {
		t.Errorf("%d calls for %d operations", turns, n)
	}
	stop()
	before := r.Stats()
	n = copyFile(t, r, t.TempDir(), 1<<20)
	if s := r.Stats(); s.Fallbacks != before.Fallbacks || s.Reaped-before.Reaped != uint64(n) {
		t.Errorf("with room again: %d operations, %+v", n, s)
	}
}
