//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
)

// What is alone and waited for is a call by its submitter; what is not, is not.
func TestOperationAloneIsItsSubmittersCall(t *testing.T) {
	for _, method := range []string{aioring.MethodAuto, aioring.MethodAIO, aioring.MethodPlain} {
		guard(t, time.Minute)
		r, err := aioring.New(8, aioring.WithKernel(aioring.KernelThreads), aioring.WithMethod(method))
		if err != nil {
			t.Fatal(err)
		}
		f := tempFile(t, 0)
		fd := int(f.Fd())
		want := uint64(0)
		check := func(what string, own uint64) {
			t.Helper()
			if method == aioring.MethodAuto {
				want += own
			}
			if s := r.Stats(); s.Direct != want || s.Direct+s.Plain != s.Submitted || s.Serving.Count() != s.Submitted {
				t.Errorf("%s: %s: %d by their submitters, want %d: %+v", method, what, s.Direct, want, s)
			}
		}
		var sqe aioring.SQE
		aioring.PrepWrite(&sqe, fd, []byte("some text"), 0)
		if c, err := r.Do(t.Context(), sqe); err != nil || c.Res != 9 {
			t.Fatal(c, err)
		}
		check("Do", 1)
		buf := make([]byte, 20)
		aioring.PrepRead(&sqe, fd, buf, 5)
		if c, err := r.Do(context.Background(), sqe); err != nil || c.Res != 4 || string(buf[:4]) != "text" {
			t.Fatal(c, err)
		}
		check("Do", 1)
		aioring.PrepRead(r.GetSQE(), fd, buf, 0)
		if _, err := r.SubmitAndWait(1); err != nil {
			t.Fatal(err)
		}
		if c := reap(t, r); c.Res != 9 || !bytes.Equal(buf[:9], []byte("some text")) {
			t.Fatal(c)
		}
		check("SubmitAndWait", 1)
		aioring.PrepFsync(r.GetSQE(), fd, 0)
		if _, err := r.SubmitAndWait(1); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		check("a sync", 1)

		aioring.PrepRead(r.GetSQE(), fd, buf, 0)
		submit(t, r, 1)
		reap(t, r)
		check("nobody waits", 0)
		for i := range 2 {
			aioring.PrepRead(r.GetSQE(), fd, buf[i*4:][:4], 0)
		}
		if _, err := r.SubmitAndWait(2); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		reap(t, r)
		check("two", 0)

		// With another under way it is not alone.
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		aioring.PrepRead(r.GetSQE(), int(out.Fd()), make([]byte, 1), 0)
		submit(t, r, 1)
		aioring.PrepRead(&sqe, fd, buf, 0)
		if _, err := r.Do(t.Context(), sqe); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		check("not alone", 0)

		// A pipe is never: it would block where nobody could end it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		aioring.PrepRead(&sqe, int(out.Fd()), make([]byte, 1), 0)
		if _, err := r.Do(ctx, sqe); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		if s := r.Stats(); s.Direct != want {
			t.Errorf("a pipe: %+v", s)
		}
		aioring.PrepRead(&sqe, 1<<20, buf, 0)
		if _, err := r.Do(t.Context(), sqe); !errors.Is(err, syscall.EBADF) {
			t.Error(err)
		}
		out.Close()
		in.Close()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Many take turns at being alone: every one has its own result, and none is lost.
func TestManyThatAreNowAndThenAlone(t *testing.T) {
	guard(t, time.Minute)
	r, err := aioring.New(8, aioring.WithKernel(aioring.KernelThreads))
	if err != nil {
		t.Fatal(err)
	}
	data := pattern(1<<16, 9)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			buf := make([]byte, 512)
			for i := range 500 {
				var sqe aioring.SQE
				off := (i*4 + g) % 128 * 512
				aioring.PrepRead(&sqe, int(f.Fd()), buf, int64(off))
				ctx, cancel := context.Background(), func() {}
				if i%3 == 0 {
					ctx, cancel = context.WithCancel(ctx)
					go cancel()
				}
				c, err := r.Do(ctx, sqe)
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) || err == nil && (c.Res != 512 || !bytes.Equal(buf, data[off:][:512])) {
					t.Errorf("%v, %+v", err, c)
				}
			}
		})
	}
	all.Wait()
	s := r.Stats()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if s.Direct == 0 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}
