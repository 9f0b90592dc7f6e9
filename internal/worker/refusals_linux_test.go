package worker

import (
	"encoding/binary"
	"math"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminals made by one node have one inode, and are different streams.
func TestTerminalsOfOneNodeAreDifferentStreams(t *testing.T) {
	f := newFixture(t, 1)
	quiet, _ := terminal(t)
	master, slave := terminal(t)
	waits := streamCall(Read, quiet, make([]byte, 1))
	f.Submit(waits)
	f.waits(1)
	c := streamCall(Read, master, make([]byte, 10))
	f.Submit(c)
	f.waits(2)
	mustWrite(t, slave, []byte("hello"))
	f.expect(c, 5, 0)
	f.cancel(waits)

	f.do(streamCall(Write, master, []byte("a line\n")), 7, 0)
	p := make([]byte, 10)
	c = streamCall(Read, slave, p)
	f.do(c, 7, 0)
	if string(p[:7]) != "a line\n" {
		t.Errorf("%q", p)
	}
}

// terminal returns the two ends of a pseudo-terminal, in blocking mode.
func terminal(t *testing.T) (master, slave int) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	closeLater(t, master)
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	slave, err = unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	closeLater(t, slave)
	return master, slave
}

// An eventfd that can take 1 but not what is written says that it is writable and
// answers EAGAIN. Waiting for it would be a busy loop.
func TestDescriptorThatIsReadyAndRefuses(t *testing.T) {
	f := newFixture(t, 1)
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	number := func(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }
	f.do(streamCall(Write, fd, number(math.MaxUint64-5)), 8, 0)
	f.do(streamCall(Write, fd, number(5)), 0, syscall.EAGAIN)
}

// limitFiles lowers the limit on descriptors until the returned function is called,
// or the test is over.
func limitFiles(t *testing.T, n uint64) (restore func()) {
	time.Sleep(time.Nanosecond) // the runtime needs descriptors of its own from the first timer on
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	lower := unix.Rlimit{Cur: n, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lower); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// Without a descriptor for the wake pipe nothing can wait, and the call says so.
func TestNoDescriptorForTheWakePipe(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	c := streamCall(Read, r, make([]byte, 1))
	restore := limitFiles(t, 3)
	f.Submit(c)
	f.next()
	restore()
	if c.Res != 0 || c.Err != syscall.EMFILE {
		t.Fatalf("%d, %v", c.Res, c.Err)
	}
	f.Submit(c)
	f.waits(1)
	mustWrite(t, w, []byte("x"))
	f.expect(c, 1, 0)
}

// poll(2) refuses more entries than RLIMIT_NOFILE. No call is lost for that.
func TestPollFails(t *testing.T) {
	f := newFixture(t, 1)
	var calls [10]*Call
	for i := range calls {
		r, _ := pipe(t)
		calls[i] = streamCall(Read, r, make([]byte, 1))
		f.Submit(calls[i])
	}
	f.waits(len(calls))
	limitFiles(t, 5)
	// Has the poller look again, unless it just did.
	cancelled := f.Cancel(calls[0])
	for range calls {
		want := syscall.EINVAL
		c := f.next()
		if c == calls[0] && cancelled {
			want = syscall.ECANCELED
		}
		if c.Err != want {
			t.Errorf("%d, %v; want %v", c.Res, c.Err, want)
		}
	}
}
