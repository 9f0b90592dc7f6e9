//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
	"golang.org/x/sys/unix"
)

// The rules where the kernel below has its say: jobs of AIO that are queued, that run and
// cannot be stopped, and that have ended.

// writeAt writes 8 bytes, of which the tests hold those at an offset of 4096 and more.
func writeAt(f interface{ Fd() uintptr }, data uint64, flags uint8, off int64) aioring.SQE {
	return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepWrite(s, int(f.Fd()), make([]byte, 8), off) })
}

// heldRing is a ring over a model that holds such jobs while they run.
func heldRing(t *testing.T, opts ...aioring.Option) (*aioring.Ring, *sim.Kernel, *sim.Gate) {
	t.Helper()
	guard(t, time.Minute)
	gate := sim.NewGate()
	kernel := sim.New(sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Start), sim.Offset(4096, 1<<40)), sim.HoldActive(gate)),
	}})
	r, err := aioring.New(16, append(opts, aioring.WithAIO(kernel))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gate.Open()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := kernel.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return r, kernel, gate
}

// aio_cancel's three answers are a cancellation's.
func TestCancelSaysWhatTheKernelSays(t *testing.T) { // checks 94 to 96
	ealready, enoent := -int32(syscall.EALREADY), -int32(syscall.ENOENT)
	cancel := func(data, which uint64, flags uint32) aioring.SQE {
		return entryOf(data, 0, func(s *aioring.SQE) { aioring.PrepCancel(s, which, flags) })
	}
	r, kernel, gate := heldRing(t)
	f := tempFile(t, 0)
	submitAll(t, r, writeAt(f, 1, 0, 4096))
	gate.Await(1)
	submitAll(t, r, cancel(2, 1, 0), cancel(3, 1, aioring.CancelAll))
	wantSet(t, r, is(2, ealready), is(3, 0)) // it runs: all that were stopped are none
	kernel.Hold()
	submitAll(t, r, writeAt(f, 4, 0, 0))
	submitAll(t, r, cancel(5, 4, 0))
	wantSet(t, r, is(4, cancelled), is(5, 0)) // it was queued
	kernel.Release()
	done := kernel.Stats().Done
	submitAll(t, r, writeAt(f, 6, 0, 0))
	for kernel.Stats().Done == done {
		time.Sleep(time.Millisecond) // it has ended, and nobody has fetched that
	}
	submitAll(t, r, cancel(7, 6, 0))
	wantSet(t, r, is(6, 8), is(7, enoent))
	gate.Open()
	wantResults(t, r, is(1, 8)) // what was asked to end and did not tells what it did
}

// The time of what cannot be stopped is over: it goes on, and so does its chain.
func TestLinkTimeoutOfWhatCannotBeStopped(t *testing.T) {
	r, _, gate := heldRing(t)
	f := tempFile(t, 0)
	submitAll(t, r, writeAt(f, 1, aioring.FlagIOLink, 4096),
		entryOf(2, aioring.FlagIOLink, func(s *aioring.SQE) { aioring.PrepLinkTimeout(s, time.Hour, 0) }), nop(3, 0))
	gate.Await(1)
	submitAll(t, r, entryOf(4, 0, func(s *aioring.SQE) { aioring.PrepTimeoutUpdate(s, time.Millisecond, 2, aioring.LinkTimeoutUpdate) }))
	wantResults(t, r, is(4, 0), is(2, -int32(syscall.EALREADY)))
	gate.Open()
	wantResults(t, r, is(1, 8), is(3, 0))
}

// CancelSync waits for what it has found, stopped or not, and no longer than its context.
func TestCancelSyncWaits(t *testing.T) { // check 97
	r, _, gate := heldRing(t)
	f := tempFile(t, 0)
	submitAll(t, r, writeAt(f, 1, 0, 4096))
	gate.Await(1)
	var who aioring.SQE
	aioring.PrepCancel(&who, 1, 0)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer stop()
	if n, err := r.CancelSync(ctx, who); n != 0 || err != context.DeadlineExceeded {
		t.Errorf("%d, %v", n, err)
	}
	over := make(chan error)
	go func() {
		n, err := r.CancelSync(context.Background(), who)
		if n != 0 {
			t.Errorf("%d stopped", n)
		}
		over <- err
	}()
	select {
	case err := <-over:
		t.Errorf("it has not waited: %v", err)
	case <-time.After(5 * time.Millisecond):
	}
	gate.Open()
	if err := <-over; err != nil {
		t.Error(err)
	}
	wantResults(t, r, is(1, 8))
	if _, err := r.CancelSync(t.Context(), who); err != syscall.ENOENT {
		t.Errorf("when there is none: %v", err)
	}
}

// With one operation that never ends Shutdown and CloseContext return with their
// contexts. All that waits for it has ended by then, or will with it.
func TestEndWithAnOperationThatDoesNot(t *testing.T) { // check 99
	for _, worker := range []bool{false, true} {
		t.Run(map[bool]string{false: "sim", true: "sim+worker"}[worker], func(t *testing.T) {
			var opts []aioring.Option
			if worker {
				opts = append(opts, aioring.WithWorker())
			}
			r, _, gate := heldRing(t, opts...)
			f := tempFile(t, 0)
			pending, _ := pendingRead(t, 6, 0)
			submitAll(t, r, writeAt(f, 1, aioring.FlagIOHardlink, 4096), writeAt(f, 2, 0, 0),
				timeout(3, 0, time.Hour, 0, 0), pending, nop(4, aioring.FlagIODrain), writeAt(f, 5, 0, 4096))
			gate.Await(1)
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer stop()
			if err := r.Shutdown(ctx); err != context.DeadlineExceeded {
				t.Errorf("Shutdown: %v", err)
			}
			if s := r.Stats(); s.InFlight != 6 {
				t.Errorf("Shutdown has ended some: %+v", s)
			}
			var held *aioring.HeldError
			if err := r.CloseContext(ctx); !errors.As(err, &held) || len(held.Held) != 1 || held.Held[0].UserData != 1 {
				t.Errorf("CloseContext: %v", err)
			}
			if s := r.Stats(); s.InFlight != 2 {
				t.Errorf("%d in flight, not the one and what follows it", s.InFlight)
			}
			gate.Open()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if s := r.Stats(); s.InFlight != 0 || s.Completed != 6 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Shutdown lets everything end by itself: what drains, what is linked, what is timed.
func TestShutdownCancelsNothing(t *testing.T) {
	r, _, gate := heldRing(t)
	f := tempFile(t, 0)
	submitAll(t, r, writeAt(f, 1, aioring.FlagIOLink, 4096), writeAt(f, 2, 0, 0), writeAt(f, 3, aioring.FlagIODrain, 4096),
		timeout(4, 0, time.Millisecond, 0, 0))
	gate.Await(1)
	over := make(chan error)
	go func() { over <- r.Shutdown(context.Background()) }()
	for r.Push() == nil {
		runtime.Gosched() // until the intake has ended
	}
	gate.Open()
	if err := <-over; err != nil {
		t.Error(err)
	}
	for _, want := range []string{is(1, 8), is(2, 8), is(3, 8), is(4, etime)} {
		c, err := r.WaitCQE()
		if err != nil || is(c.UserData, c.Res) != want {
			t.Fatalf("%v, %v, want %v", c, err, want)
		}
		r.CQESeen(c)
	}
	if _, err := r.WaitCQE(); err != aioring.ErrClosed {
		t.Errorf("after the last: %v", err)
	}
}

// What waits for others goes on though nobody waits at the ring: its effect may be
// awaited elsewhere.
func TestChainsGoOnByThemselves(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		f := tempFile(t, 0)
		rd, wr := emptyPipe(t)
		tell := func(flags uint8) aioring.SQE {
			return entryOf(9, flags, func(s *aioring.SQE) {
				aioring.PrepWrite(s, wr, []byte("x"), aioring.CurrentPosition)
			})
		}
		told := func(what string) {
			p := []unix.PollFd{{Fd: int32(rd), Events: unix.POLLIN}}
			if n, err := unix.Poll(p, 20_000); n != 1 {
				t.Fatalf("%s: nobody tells: %v", what, err)
			}
			if _, err := unix.Read(rd, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			submitAll(t, r, writeAt(f, 1, aioring.FlagIOLink, 0), writeAt(f, 2, aioring.FlagIOLink, 0), tell(0))
			told("chain")
			submitAll(t, r, writeAt(f, 4, 0, 0), tell(aioring.FlagIODrain))
			told("drain")
			if err := r.Push(writeAt(f, 6, aioring.FlagIOHardlink, 0), tell(0)); err != nil {
				t.Fatal(err)
			}
			told("push")
			submitAll(t, r, nop(8, 0))
			for range 8 {
				reap(t, r)
			}
			put(t, r, nop(1, 0), writeAt(f, 2, aioring.FlagIOLink, 0), tell(0))
			if n, err := r.SubmitAndWait(1); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			told("submitted by one who has waited")
			for range 3 {
				reap(t, r)
			}
		}
	})
}
