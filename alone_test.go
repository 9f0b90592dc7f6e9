//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"errors"
	"os"
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
		aioring.PrepWritev(&sqe, fd, [][]byte{[]byte("more "), []byte("of it")}, 9)
		if c, err := r.Do(context.Background(), sqe); err != nil || c.Res != 10 {
			t.Fatal(c, err)
		}
		check("Do", 1)
		aioring.PrepWrite(r.GetSQE(), fd, []byte("Some"), 0)
		if _, err := r.SubmitAndWait(1); err != nil {
			t.Fatal(err)
		}
		if c := reap(t, r); c.Res != 4 {
			t.Fatal(c)
		}
		check("SubmitAndWait", 1)
		aioring.PrepFsync(r.GetSQE(), fd, 0)
		if _, err := r.SubmitAndWait(1); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		check("a sync", 1)
		if data, err := os.ReadFile(f.Name()); err != nil || string(data) != "Some textmore of it" {
			t.Fatalf("%q, %v", data, err)
		}

		aioring.PrepWrite(r.GetSQE(), fd, []byte("x"), 0)
		submit(t, r, 1)
		reap(t, r)
		check("nobody waits", 0)
		for i := range 2 {
			aioring.PrepWrite(r.GetSQE(), fd, []byte("x"), int64(i))
		}
		if _, err := r.SubmitAndWait(2); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		reap(t, r)
		check("two", 0)
		aioring.PrepWrite(&sqe, fd, []byte("x"), 0)
		sqe.Flags = aioring.FlagAsync
		if _, err := r.Do(t.Context(), sqe); err != nil {
			t.Fatal(err)
		}
		check("asked not to", 0)
		sqe = aioring.SQE{}

		// With another under way it is not alone.
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		aioring.PrepRead(r.GetSQE(), int(out.Fd()), make([]byte, 1), 0)
		submit(t, r, 1)
		aioring.PrepWrite(&sqe, fd, []byte("x"), 0)
		if _, err := r.Do(t.Context(), sqe); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		reap(t, r)
		check("not alone", 0)
		aioring.PrepWrite(&sqe, fd, []byte("x"), 0)
		if _, err := r.Do(t.Context(), sqe); err != nil {
			t.Fatal(err)
		}
		check("alone again", 1)

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
		aioring.PrepWrite(&sqe, 1<<20, []byte("x"), 0)
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
	const goroutines, each = 4, 500
	f := tempFile(t, 0)
	data := pattern(goroutines*each*64, 9)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range each {
				var sqe aioring.SQE
				off := (i*goroutines + g) * 64
				aioring.PrepWrite(&sqe, int(f.Fd()), data[off:][:64], int64(off))
				for {
					ctx, cancel := context.Background(), func() {}
					if i%3 == 0 {
						ctx, cancel = context.WithCancel(ctx)
						go cancel()
					}
					c, err := r.Do(ctx, sqe)
					cancel()
					if err == nil && c.Res == 64 {
						break
					}
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%v, %+v", err, c)
						break
					}
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
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v, or others", len(got), err)
	}
}
