//go:build unix

package aio_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

func TestTryRunsOneJob(t *testing.T) {
	k := sim.New(sim.Config{})
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	data, got := []byte("tried"), make([]byte, 10)
	for _, c := range []struct {
		call aio.Call
		off  int64
		buf  []byte
		n    int
	}{{aio.CallWrite, 3, data, 5}, {aio.CallFsync, 0, nil, 0}, {aio.CallRead, 3, got, 5}, {aio.CallRead, 100, got[5:], 0}} {
		n, accepted, err := aio.Try(k, c.call, fd, c.off, c.buf, time.Minute)
		if n != c.n || !accepted || err != nil {
			t.Errorf("%s: %d, %t, %v", c.call, n, accepted, err)
		}
	}
	if !bytes.Equal(got[:5], data) {
		t.Errorf("read %q", got)
	}
	if l, _ := k.Limits(); l.QueueCount != 0 {
		t.Errorf("%d jobs are left", l.QueueCount)
	}
}

func TestTryTellsRefusalFromFailure(t *testing.T) {
	k := sim.New(sim.Config{})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	buf := make([]byte, 1)
	var op *aio.OpError
	if _, accepted, err := aio.Try(k, aio.CallRead, int(null.Fd()), 0, buf, time.Minute); accepted ||
		!errors.Is(err, aio.EOPNOTSUPP) || !errors.As(err, &op) || op.Op != "aio_read" {
		t.Errorf("a device: %t, %v", accepted, err)
	}
	if _, accepted, err := aio.Try(k, aio.CallRead, int(dir.Fd()), 0, buf, time.Minute); !accepted || !errors.Is(err, aio.EISDIR) {
		t.Errorf("a directory: %t, %v", accepted, err)
	}
	if _, accepted, err := aio.Try(k, "aio_sing", int(dir.Fd()), 0, buf, time.Minute); accepted || err == nil {
		t.Errorf("no call: %t, %v", accepted, err)
	}
}

// stalled is a kernel whose jobs do not end, but by cancelling if at all.
type stalled struct {
	aio.Kernel
	status aio.CancelStatus
	woken  *int
}

func (k stalled) Read(*aio.ControlBlock) aio.Errno { return 0 }
func (k stalled) Suspend([]*aio.ControlBlock, time.Duration) aio.Errno {
	if *k.woken++; *k.woken == 1 {
		return aio.EINTR
	}
	return aio.EAGAIN
}
func (k stalled) Cancel(int, *aio.ControlBlock) (aio.CancelStatus, aio.Errno) { return k.status, 0 }
func (k stalled) Return(*aio.ControlBlock) (int, aio.Errno)                   { return -1, aio.ECANCELED }

func TestTryGivesUp(t *testing.T) {
	for status, want := range map[aio.CancelStatus]error{aio.Cancelled: aio.ECANCELED, aio.NotCancelled: aio.ErrStuck} {
		woken := 0
		n, accepted, err := aio.Try(stalled{status: status, woken: &woken}, aio.CallRead, 0, 0, make([]byte, 1), time.Nanosecond)
		if n != 0 || !accepted || !errors.Is(err, want) || woken != 2 {
			t.Errorf("%d, %t, %v after %d waits, want %v", n, accepted, err, woken, want)
		}
	}
}
