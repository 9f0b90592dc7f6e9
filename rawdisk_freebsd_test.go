package aioring_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
)

// A sync, a short read and a long one take nothing from the reads that AIO is for.
// The disk is the one that AIORING_TEST_DISK names. What is on it is lost.
func TestRawDiskGoesByAIO(t *testing.T) {
	name := os.Getenv("AIORING_TEST_DISK")
	if name == "" {
		t.Skip("AIORING_TEST_DISK names no disk that may be overwritten")
	}
	guard(t, time.Minute)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := pattern(4<<20, 5)
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	for _, merge := range []int{0, aioring.DefaultMerge} {
		r, err := aioring.New(1024, aioring.WithMerge(merge))
		if err != nil {
			t.Fatal(err)
		}
		fd := int(f.Fd())
		one := func(prep func(sqe *aioring.SQE)) int32 {
			prep(r.GetSQE())
			submit(t, r, 1)
			return reap(t, r).Res
		}
		if res := one(func(sqe *aioring.SQE) { aioring.PrepFsync(sqe, fd, 0) }); res != 0 {
			t.Errorf("fsync: %v", syscall.Errno(-res))
		}
		// As read(2) of the device has it.
		if res := one(func(sqe *aioring.SQE) { aioring.PrepRead(sqe, fd, make([]byte, 100), 0) }); res != -int32(syscall.EINVAL) {
			t.Errorf("100 bytes: %d", res)
		}
		before := r.Stats()
		if before.Plain != 2 || before.Reaped != 0 {
			t.Errorf("%+v", before)
		}
		long := make([]byte, 4<<20)
		if res := one(func(sqe *aioring.SQE) { aioring.PrepRead(sqe, fd, long, 0) }); res != 4<<20 || !bytes.Equal(long, data) {
			t.Errorf("4 MiB: %d", res)
		}
		arena, err := aioring.NewArena(1000, 4096)
		if err != nil {
			t.Fatal(err)
		}
		var bufs [1000][]byte
		for i := range bufs {
			bufs[i] = arena.Get()
			aioring.PrepRead(r.GetSQE(), fd, bufs[i], int64(i)*4096)
		}
		submit(t, r, 1000)
		for range bufs {
			if c := reap(t, r); c.Res != 4096 {
				t.Fatalf("%+v", c)
			}
		}
		for i, buf := range bufs {
			if !bytes.Equal(buf, data[i*4096:][:4096]) {
				t.Fatalf("block %d is wrong", i)
			}
			if err := arena.Put(buf); err != nil {
				t.Fatal(err)
			}
		}
		if s := r.Stats(); s.Plain != 2 || s.Cuts != 1 || merge == 0 && s.Reaped < 1000+4 {
			t.Errorf("merge %d: %+v", merge, s)
		}
		t.Logf("merge %d:\n%v", merge, r.Stats())
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := arena.Close(); err != nil {
			t.Error(err)
		}
	}
}
