package aioring_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aioring/aioring"
	"golang.org/x/sys/unix"
)

// On threads a read that the page cache can answer is over when Submit returns, as it
// is on io_uring; others are the workers'.
func TestCachedReadsEndInTheSubmission(t *testing.T) {
	const size = 8192
	f, want := tempFile(t, 0), pattern(size, 1)
	if _, err := unix.Preadv2(int(f.Fd()), [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT); err != nil {
		// Not on this file system. Memory is as good.
		memory, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		f = os.NewFile(uintptr(memory), "memory")
		defer f.Close()
	}
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	fd, buf := int(f.Fd()), make([]byte, size)
	long := make([]byte, 1<<20)
	for _, c := range []struct {
		name   string
		prep   func(s *aioring.SQE)
		cached bool
		res    int32
	}{
		{"read", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, 0) }, true, size},
		{"short read", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, 4000) }, true, size - 4000},
		{"read behind the end", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, size) }, true, 0},
		{"readv", func(s *aioring.SQE) { aioring.PrepReadv(s, fd, [][]byte{buf[:10], nil, buf[10:]}, 0) }, true, size},
		{"FlagAsync", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, 0); s.Flags = aioring.FlagAsync }, false, size},
		{"the file's position", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, aioring.CurrentPosition) }, false, size},
		{"a long read", func(s *aioring.SQE) { aioring.PrepRead(s, fd, long, 0) }, false, size},
		{"an empty read", func(s *aioring.SQE) { aioring.PrepRead(s, fd, nil, 0) }, false, 0},
		{"write", func(s *aioring.SQE) { aioring.PrepWrite(s, fd, want, 0) }, false, size},
		{"fsync", func(s *aioring.SQE) { aioring.PrepFsync(s, fd, 0) }, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := variant{kernel: aioring.KernelThreads}.open(t, 4)
			clear(buf)
			if _, err := f.Seek(0, 0); err != nil {
				t.Fatal(err)
			}
			c.prep(r.GetSQE())
			submit(t, r, 1)
			if c.cached && r.CQReady() != 1 {
				t.Error("it is not over")
			}
			cqe := reap(t, r)
			if cqe.Res != c.res {
				t.Errorf("result %d (%v), want %d", cqe.Res, syscall.Errno(-cqe.Res), c.res)
			}
			s := r.Stats()
			if got, plain := s.Cached == 1, s.Plain == 1; got != c.cached || plain == got {
				t.Errorf("%d in the submission, %d by workers", s.Cached, s.Plain)
			}
			if c.name == "read" || c.name == "readv" {
				if !bytes.Equal(buf, want) {
					t.Error("the bytes are others")
				}
			}
		})
	}
}

// Reads past the cache wait for the medium whatever is asked, so nobody asks; and the
// mode is that of the moment.
func TestDirectReadsAreTheWorkers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_DIRECT, 0o600)
	if err != nil {
		t.Skip("no O_DIRECT on this file system: ", err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	r := variant{kernel: aioring.KernelThreads}.open(t, 4)
	buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	read := func() {
		t.Helper()
		aioring.PrepRead(r.GetSQE(), int(f.Fd()), buf, 4096)
		submit(t, r, 1)
		if cqe := reap(t, r); cqe.Res != 4096 {
			t.Fatal(syscall.Errno(-cqe.Res))
		}
	}
	read()
	if s := r.Stats(); s.Cached != 0 || s.Plain != 1 {
		t.Errorf("with O_DIRECT: %d in the submission, %d by workers", s.Cached, s.Plain)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(buf, 4096); err != nil { // now it is cached
		t.Fatal(err)
	}
	if _, err := unix.Preadv2(int(f.Fd()), [][]byte{buf}, 4096, unix.RWF_NOWAIT); err != nil {
		t.Skip("preadv2 with RWF_NOWAIT: ", err)
	}
	read()
	if s := r.Stats(); s.Cached != 1 || s.Plain != 1 {
		t.Errorf("without: %d in the submission, %d by workers", s.Cached, s.Plain)
	}
}
