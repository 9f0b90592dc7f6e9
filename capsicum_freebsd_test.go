package aioring_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// A ring that was made before cap_enter(2) goes on after it, and what capability mode
// forbids is the result of the operation. The mode is for ever, so that it takes a
// process of its own.
func TestRingInCapabilityMode(t *testing.T) {
	if path := os.Getenv("AIORING_TEST_CAPSICUM"); path != "" {
		for _, err := range inCapabilityMode(path) {
			fmt.Println(err)
		}
		fmt.Println("done")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRingInCapabilityMode$")
	cmd.Env = append(os.Environ(), "AIORING_TEST_CAPSICUM="+filepath.Join(t.TempDir(), "file"))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("done\n")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// limited is another descriptor of a file, with these rights alone.
func limited(f *os.File, rights ...uint64) (int, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	r, err := unix.CapRightsInit(rights)
	if err != nil {
		return -1, err
	}
	return fd, unix.CapRightsLimit(uintptr(fd), r)
}

func inCapabilityMode(path string) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	time.AfterFunc(time.Minute, func() {
		fmt.Println("it hangs")
		os.Exit(1)
	})
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return []error{err}
	}
	readOnly, err := limited(f, unix.CAP_READ, unix.CAP_SEEK, unix.CAP_FSTAT, unix.CAP_FCNTL)
	if err != nil {
		return []error{err}
	}
	opaque, err := limited(f, unix.CAP_READ, unix.CAP_WRITE, unix.CAP_SEEK)
	if err != nil {
		return []error{err}
	}
	var rings []*aioring.Ring
	for _, kernel := range []string{aioring.KernelFreeBSD, aioring.KernelThreads} {
		r, err := aioring.New(64, aioring.WithKernel(kernel))
		if err != nil {
			return []error{err}
		}
		rings = append(rings, r)
	}
	if err := unix.CapEnter(); err != nil {
		return []error{fmt.Errorf("cap_enter: %w", err)}
	}
	if _, err := os.Open("/"); err == nil {
		fail("a path can be opened: this is no capability mode")
	}
	for _, r := range rings {
		do := func(what string, want int32, prep func(s *aioring.SQE)) {
			var sqe aioring.SQE
			prep(&sqe)
			if cqe, err := r.Do(context.Background(), sqe); cqe.Res != want {
				fail("%s: %s: %d (%v), want %d", r.Kernel(), what, cqe.Res, err, want)
			}
		}
		fd, p := int(f.Fd()), make([]byte, 512)
		content := bytes.Repeat([]byte{'c'}, 512)
		// More than there is room for at a time, so that limits are asked for again.
		for round := range 8 {
			for i := range 64 {
				sqe := r.GetSQE()
				aioring.PrepWrite(sqe, fd, content, int64(round*64+i)*512)
			}
			if _, err := r.SubmitAndWait(64); err != nil {
				fail("%s: %v", r.Kernel(), err)
			}
			for range 64 {
				cqe, err := r.PeekCQE()
				if err != nil || cqe.Res != 512 {
					fail("%s: a write: %+v, %v", r.Kernel(), cqe, err)
					return errs
				}
				r.CQESeen(cqe)
			}
		}
		do("read", 512, func(s *aioring.SQE) { aioring.PrepRead(s, fd, p, 512) })
		if !bytes.Equal(p, content) {
			fail("%s: the read has brought something else", r.Kernel())
		}
		do("readv", 512, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, [][]byte{p[:100], p[100:]}, 1024) })
		do("fsync", 0, func(s *aioring.SQE) { aioring.PrepFsync(s, fd, 0) })
		do("timeout", -int32(aioring.ETIME), func(s *aioring.SQE) { aioring.PrepTimeout(s, time.Millisecond, 0, 0) })
		do("the file's own position", 512, func(s *aioring.SQE) { aioring.PrepRead(s, fd, p, aioring.CurrentPosition) })

		const notCapable = -int32(syscall.ENOTCAPABLE)
		do("read with the right to", 512, func(s *aioring.SQE) { aioring.PrepRead(s, readOnly, p, 0) })
		do("write without", notCapable, func(s *aioring.SQE) { aioring.PrepWrite(s, readOnly, p, 0) })
		do("writev without", notCapable, func(s *aioring.SQE) { aioring.PrepWritev(s, readOnly, [][]byte{p, p}, 0) })
		do("fsync without", notCapable, func(s *aioring.SQE) { aioring.PrepFsync(s, readOnly, 0) })
		do("a file that may not be looked at", notCapable, func(s *aioring.SQE) { aioring.PrepRead(s, opaque, p, 0) })
		if err := r.Close(); err != nil {
			fail("%s: Close: %v", r.Kernel(), err)
		}
	}
	return errs
}
