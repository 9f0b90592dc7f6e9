//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// losable is a kernel whose event queues can be lost.
type losable struct {
	aio.Kernel
	lost atomic.Bool
	kq   atomic.Int64 // the last one made
}

func (k *losable) Kqueue() (int, aio.Errno) {
	kq, errno := k.Kernel.Kqueue()
	k.kq.Store(int64(kq))
	return kq, errno
}

func (k *losable) Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	if k.lost.Load() {
		return 0, aio.EBADF
	}
	return k.Kernel.Kevent(kq, changes, events, timeout)
}

// lost sees that an error is the one.
func lost(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, aioring.ErrQueueLost) || !errors.Is(err, syscall.EBADF) {
		t.Errorf("%s: %v", what, err)
	}
}

// When the kernel's event queue is gone, whoever waits for more than there is gets
// the error, and nobody spins. What was accepted ends all the same.
func TestLostQueueEndsWaits(t *testing.T) {
	for _, worker := range []bool{false, true} {
		t.Run(map[bool]string{false: "sim", true: "sim+worker"}[worker], func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { settle(t, before) })
			guard(t, time.Minute)
			lostQueueEndsWaits(t, worker)
		})
	}
}

func lostQueueEndsWaits(t *testing.T, worker bool) {
	gate := sim.NewGate()
	model := sim.New(sim.Config{
		Limits: aio.Limits{MaxQueuePerProc: 4},
		Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))},
	})
	kernel := &losable{Kernel: model}
	opts := []aioring.Option{aioring.WithAIO(kernel)}
	if worker {
		opts = append(opts, aioring.WithWorker())
	}
	r, err := aioring.New(16, opts...)
	if err != nil {
		t.Fatal(err)
	}
	f, e, idle := tempFile(t, 0), entry(t, r), entry(t, r)
	aioring.PrepWrite(e.SQE(), int(f.Fd()), make([]byte, 64), 0)
	start(t, e)
	var write aioring.SQE
	aioring.PrepWrite(&write, int(f.Fd()), make([]byte, 32), 1<<20)
	done := make(chan error)
	go func() {
		cqe, err := r.Do(context.Background(), write)
		if err == nil && cqe.Res != 32 {
			err = errors.New("another result")
		}
		done <- err
	}()
	for model.Stats().Active < 2 {
		runtime.Gosched()
	}
	for i := range 8 { // of which the kernel has room for two
		aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 128), int64(i+1)<<10)
	}
	submit(t, r, 8)
	for model.Stats().Active < 4 {
		runtime.Gosched()
	}
	woken := make(chan error, 1)
	if _, ok, err := idle.PollReady(aioring.NewWaker(func(err error) { woken <- err })); ok || err != nil {
		t.Fatal(ok, err)
	}
	waits := []func() error{
		func() error { _, err := r.SubmitAndWait(7); return err }, // six can end
		func() error { _, err := e.Ready(context.Background()); return err },
		func() error { _, err := e.Ready(t.Context()); return err },
	}
	outcomes := make(chan error)
	for _, wait := range waits[:2] {
		go func() { outcomes <- wait() }()
	}

	kernel.lost.Store(true)
	model.Signal() // who is asleep in the queue learns of it
	for range waits[:2] {
		lost(t, "a waiter", <-outcomes)
	}
	lost(t, "a later one", waits[2]())
	if err := <-woken; err != nil {
		t.Errorf("the waker was told %v", err)
	}
	_, _, err = idle.PollReady(nil)
	lost(t, "PollReady", err)
	lost(t, "Entry.Submit", idle.Submit(t.Context()))
	_, err = r.Submit()
	lost(t, "Submit", err)
	lost(t, "Push", r.Push(aioring.SQE{}))
	_, err = r.Do(t.Context(), write)
	lost(t, "Do", err)
	_, err = r.NewEntry()
	lost(t, "NewEntry", err)
	for range 6 { // what had no room yet runs as plain calls
		for r.CQReady() == 0 {
			runtime.Gosched()
		}
		if c := reap(t, r); c.Res != 128 {
			t.Errorf("%+v", c)
		}
	}
	_, err = r.WaitCQE()
	lost(t, "WaitCQE", err)

	// It costs nothing while the kernel has the rest.
	used := cpuTime(t)
	time.Sleep(200 * time.Millisecond)
	if used = cpuTime(t) - used; used > 50*time.Millisecond {
		t.Errorf("%v of processor time in 200ms", used)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var held *aioring.HeldError
	if err := r.CloseContext(ctx); !errors.As(err, &held) || len(held.Held) != 4 {
		t.Errorf("CloseContext: %v", err)
	}
	gate.Open()
	if err := <-done; err != nil {
		t.Errorf("Do: %v", err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	ready(t, e, 64)
	if s := r.Stats(); s.InFlight != 0 || s.Completed != 10 || s.Reaped != 4 || s.Plain != 6 {
		t.Errorf("%+v", s)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := r.Push(aioring.SQE{}); err != aioring.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	if errno := model.CloseKqueue(int(kernel.kq.Load())); errno != 0 {
		t.Errorf("the ring closed the number of a queue that it had lost: %v", errno)
	}
	if err := model.Shutdown(); err != nil {
		t.Errorf("the model saw: %v", err)
	}
}

func TestQueueClosedFromOutside(t *testing.T) { queueClosedFromOutside(t, sim.New(sim.Config{})) }

// queueClosedFromOutside closes a ring's kqueue by its number while a job is in the
// kernel and nobody is asleep there.
func queueClosedFromOutside(t *testing.T, k aio.Kernel) {
	guard(t, time.Minute)
	kernel := &losable{Kernel: k}
	r, err := aioring.New(8, aioring.WithAIO(kernel))
	if err != nil {
		t.Fatal(err)
	}
	f := tempFile(t, 0)
	aioring.PrepWrite(r.GetSQE(), int(f.Fd()), pattern(4096, 1), 0)
	submit(t, r, 1)
	if errno := k.CloseKqueue(int(kernel.kq.Load())); errno != 0 {
		t.Fatal(errno)
	}
	_, err = r.SubmitAndWait(2)
	lost(t, "SubmitAndWait", err)
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if cqe, err := r.PeekCQE(); err != nil || cqe.Res != 4096 {
		t.Errorf("what was accepted: %+v, %v", cqe, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestQueueLostUnderASleeper(t *testing.T) { queueLostUnderASleeper(t, sim.New(sim.Config{})) }

// queueLostUnderASleeper closes a ring's kqueue by its number while somebody is
// asleep there and nothing is under way, of which nobody is told. The ring finds out
// when it has to do with the queue, and the sleeper returns.
func queueLostUnderASleeper(t *testing.T, k aio.Kernel) {
	for name, notice := range map[string]func(t *testing.T, r *aioring.Ring, asleep chan outcome){
		"an operation": func(t *testing.T, r *aioring.Ring, asleep chan outcome) {
			// It does not fail for the queue: its file is all right.
			var write aioring.SQE
			aioring.PrepWrite(&write, int(tempFile(t, 0).Fd()), pattern(4096, 1), 0)
			if err := r.Push(write); err != nil {
				t.Fatal(err)
			}
			ended(t, r, <-asleep)
			if cqe := reap(t, r); cqe.Res != 4096 {
				t.Errorf("%+v", cqe)
			}
			if _, err := r.WaitCQE(); !errors.Is(err, aioring.ErrQueueLost) && err != aioring.ErrClosed {
				t.Errorf("a later one: %v", err)
			}
			if err := r.Push(write); !errors.Is(err, aioring.ErrQueueLost) {
				t.Errorf("Push: %v", err)
			}
		},
		"a list": func(t *testing.T, r *aioring.Ring, asleep chan outcome) {
			f := tempFile(t, 0)
			for i := range 4 {
				aioring.PrepWrite(r.GetSQE(), int(f.Fd()), pattern(512, 1), int64(i)*512)
			}
			aioring.PrepWrite(r.GetSQE(), -1, pattern(512, 1), 0)
			submit(t, r, 5)
			f.Close() // the files are fixed
			ended(t, r, <-asleep)
			bad := 0
			for range 5 {
				if cqe := reap(t, r); cqe.Res == -int32(syscall.EBADF) {
					bad++
				} else if cqe.Res != 512 {
					t.Errorf("%+v", cqe)
				}
			}
			if bad != 1 {
				t.Errorf("%d bad descriptors, want the one", bad)
			}
		},
		"Close": func(t *testing.T, r *aioring.Ring, asleep chan outcome) {
			// Who is asleep tells of it, or Close itself.
			if err := r.Close(); err != nil && !errors.Is(err, aioring.ErrQueueLost) {
				t.Error(err)
			}
			if o := <-asleep; o.err != aioring.ErrClosed && !errors.Is(o.err, aioring.ErrQueueLost) {
				t.Errorf("the sleeper got %+v", o)
			}
		},
		"Shutdown": func(t *testing.T, r *aioring.Ring, asleep chan outcome) {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if o := <-asleep; o.err != aioring.ErrClosed && !errors.Is(o.err, aioring.ErrQueueLost) {
				t.Errorf("the sleeper got %+v", o)
			}
		},
		"something that the ring does without the kernel": func(t *testing.T, r *aioring.Ring, asleep chan outcome) {
			if err := r.Push(aioring.SQE{UserData: 7}); err != nil {
				t.Fatal(err)
			}
			if o := <-asleep; o.err != nil || o.cqe.UserData != 7 {
				t.Errorf("the sleeper got %+v", o)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { settle(t, before) })
			guard(t, time.Minute)
			kernel := &losable{Kernel: k}
			r, err := aioring.New(8, aioring.WithAIO(kernel))
			if err != nil {
				t.Fatal(err)
			}
			asleep := make(chan outcome, 1)
			go func() {
				cqe, err := r.WaitCQE()
				o := outcome{err: err}
				if err == nil {
					o.cqe = *cqe
				}
				asleep <- o
			}()
			for r.Stats().Sleeps == 0 {
				runtime.Gosched()
			}
			if errno := k.CloseKqueue(int(kernel.kq.Load())); errno != 0 {
				t.Fatal(errno)
			}
			notice(t, r, asleep)
			if err := r.Close(); err != nil && !errors.Is(err, aioring.ErrQueueLost) {
				t.Error(err)
			}
		})
	}
}

type outcome struct {
	cqe aioring.CQE
	err error
}

// ended sees what a waiter was told when the queue was lost with operations under
// way, an end or the loss, and waits for the others.
func ended(t *testing.T, r *aioring.Ring, o outcome) {
	t.Helper()
	if o.err != nil && !errors.Is(o.err, aioring.ErrQueueLost) {
		t.Errorf("the sleeper got %v", o.err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
