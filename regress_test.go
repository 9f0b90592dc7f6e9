//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// Each test here is a bug that was. The guard ends one that hangs.

// A claim that fails must never be visible: somebody else would wait for room
// that nobody makes.
func TestDoBesidePushesThatFail(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxOps(8))
		stop := make(chan struct{})
		var pushing sync.WaitGroup
		pushing.Go(func() {
			batch := make([]aioring.SQE, 9)
			for {
				select {
				case <-stop:
					return
				default:
					if err := r.Push(batch...); err != aioring.ErrTooBig {
						t.Error(err)
						return
					}
				}
			}
		})
		for range 5000 {
			if _, err := r.Do(context.Background(), aioring.SQE{}); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		pushing.Wait()
	})
}

// Do's operation may be behind somebody else's claim when its context ends: it
// must not be started then.
func TestDoIsCancelledBeforeItIsTaken(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 32768)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		stop := make(chan struct{})
		var pushing sync.WaitGroup
		pushing.Go(func() {
			batch := make([]aioring.SQE, 8192)
			cqes := make([]*aioring.CQE, len(batch))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := r.PushContext(context.Background(), batch...); err != nil {
					t.Error(err)
					return
				}
				for r.Stats().Alive > len(batch) {
					r.CQAdvance(r.PeekBatchCQE(cqes))
					runtime.Gosched()
				}
			}
		})
		for range 60 {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
			var sqe aioring.SQE
			aioring.PrepRead(&sqe, int(rd.Fd()), make([]byte, 1), 0)
			if _, err := r.Do(ctx, sqe); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Do: %v", err)
			}
			cancel()
		}
		close(stop)
		pushing.Wait()
	})
}

// What could not be taken is not waited for.
func TestSubmitAndWaitOfAPart(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxOps(4))
		for range 8 {
			r.GetSQE()
		}
		if n, err := r.SubmitAndWait(8); n != 4 || err != nil {
			t.Errorf("SubmitAndWait = %d, %v", n, err)
		}
	})
}

// Whoever waits for more than will ever come is told so.
func TestWaitForMoreThanComesEndsWithShutdown(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		for range 3 {
			r.GetSQE()
		}
		ended := make(chan error)
		go func() { _, err := r.SubmitAndWait(5); ended <- err }()
		for r.Stats().Completed < 3 {
			runtime.Gosched()
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != aioring.ErrClosed {
			t.Errorf("SubmitAndWait: %v", err)
		}
		for range 3 {
			reap(t, r) // which are still there
		}
	})
}

func TestCloseBesideSubmit(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		for i := range 150 {
			r := v.open(t, 2)
			var submitting sync.WaitGroup
			submitting.Go(func() {
				for {
					if r.GetSQE() == nil && r.SQReady() == 0 {
						return
					}
					if _, err := r.Submit(); errors.Is(err, aioring.ErrClosed) {
						return
					}
					r.CQAdvance(9)
				}
			})
			if i%2 == 0 {
				runtime.Gosched()
			}
			r.Close()
			submitting.Wait()
		}
	})
}

func TestCloseBesideWaitAndDo(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		f := tempFile(t, 0)
		for i := range 100 {
			r := v.open(t, 2)
			var waiting sync.WaitGroup
			for range 3 {
				waiting.Go(func() { r.Wait(t.Context()) })
				waiting.Go(func() {
					var sqe aioring.SQE
					aioring.PrepRead(&sqe, int(f.Fd()), make([]byte, 1), 0)
					r.Do(t.Context(), sqe)
				})
			}
			if i%2 == 0 {
				runtime.Gosched()
			}
			r.Close()
			waiting.Wait()
		}
	})
}

// CloseContext keeps to its context even while another Close is under way.
func TestCloseContextBesideClose(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))}}, 8)
	f := tempFile(t, 0)
	aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 8), 0)
	submit(t, r, 1)
	for kernel.Stats().Active == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error)
	go func() { closed <- r.Close() }()
	for r.Push(aioring.SQE{}) == nil {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var held *aioring.HeldError
	if err := r.CloseContext(ctx); !errors.As(err, &held) || len(held.Held) != 1 {
		t.Errorf("CloseContext: %v", err)
	}
	gate.Open()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A CQE is a plain value, the user's to write to.
func TestCQEIsPlain(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		r.GetSQE().UserData = 7
		submit(t, r, 1)
		cqe, err := r.WaitCQE()
		if err != nil || cqe.UserData != 7 || cqe.Res != 0 || cqe.Flags != 0 {
			t.Fatalf("%+v, %v", cqe, err)
		}
		*cqe = aioring.CQE{}
		r.CQESeen(cqe)
		if n := r.Stats().Alive; n != 0 {
			t.Errorf("%d alive", n)
		}
	})
}

func TestOverflowFlagFallsWithTheLastOfTheBacklog(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4) // a completion queue of 8
		for range 16 {
			r.GetSQE()
			submit(t, r, 1)
		}
		for r.Stats().Completed < 16 {
			runtime.Gosched()
		}
		cqes := make([]*aioring.CQE, 8)
		r.CQAdvance(r.PeekBatchCQE(cqes))
		if n := r.PeekBatchCQE(cqes); n != 8 || r.CQHasOverflow() {
			t.Errorf("%d are there, overflow %v", n, r.CQHasOverflow())
		}
	})
}

func TestMaxBytesHoldsForBatchesToo(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxBytes(1000))
		f := tempFile(t, 0)
		var write aioring.SQE
		aioring.PrepWrite(&write, int(f.Fd()), make([]byte, 600), 0)
		if err := r.Push(write, write); err != aioring.ErrTooBig {
			t.Errorf("1200 bytes: %v", err)
		}
		if err := r.Push(write); err != nil {
			t.Error(err)
		}
		if err := r.Push(aioring.SQE{}); err != nil {
			t.Errorf("a NOP, which holds none: %v", err)
		}
		reap(t, r)
		reap(t, r)
	})
}

func TestNilOptionIsNone(t *testing.T) {
	r, err := aioring.New(8, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// noJobs is a kernel whose vfs.aio.max_aio_queue_per_proc is 0.
type noJobs struct{ *sim.Kernel }

func (noJobs) ListIO(mode aio.ListMode, list []*aio.ControlBlock, sig *aio.Sigevent) aio.Errno {
	return aio.EINVAL
}
func (noJobs) Read(*aio.ControlBlock) aio.Errno              { return aio.EAGAIN }
func (noJobs) Write(*aio.ControlBlock) aio.Errno             { return aio.EAGAIN }
func (noJobs) Readv(*aio.ControlBlock) aio.Errno             { return aio.EAGAIN }
func (noJobs) Writev(*aio.ControlBlock) aio.Errno            { return aio.EAGAIN }
func (noJobs) Fsync(aio.SyncOp, *aio.ControlBlock) aio.Errno { return aio.EAGAIN }
func (noJobs) Limits() (aio.Limits, error)                   { return aio.Limits{MaxQueue: 1024}, nil }

func TestKernelThatTakesNoJobs(t *testing.T) {
	guard(t, time.Minute)
	r, err := aioring.New(16, aioring.WithAIO(&noJobs{sim.New(sim.Config{})}))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	writeMany(t, r, 100)
	if s := r.Stats(); s.Fallbacks != 100 {
		t.Errorf("%+v", s)
	}
}

// A limit that was raised is noticed.
func TestLimitThatGrows(t *testing.T) {
	guard(t, time.Minute)
	r, kernel := modelRing(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 2}}, 64)
	kernel.SetLimits(aio.Limits{MaxQueuePerProc: 256})
	writeMany(t, r, 300)
	writeMany(t, r, 300)
	if s := r.Stats(); s.Limit != 256 {
		t.Errorf("still %d", s.Limit)
	}
}

// A descriptor that fails does not make the ring remember it.
func TestBadDescriptorsAreForgotten(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 64)
		for i := range 64 {
			aioring.PrepRead(r.GetSQE(), 1<<20+i, make([]byte, 1), 0)
		}
		submit(t, r, 64)
		for range 64 {
			if c := reap(t, r); c.Res != -int32(syscall.EBADF) {
				t.Errorf("%d", c.Res)
			}
		}
	})
}

// Where there is no room for all of a chain, none of it is taken: what is left for
// another submission would be joined to nothing.
func TestChainIsTakenWholeOrNotAtAll(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxOps(4))
		fill := func(ops, linked int) {
			t.Helper()
			for i := range ops + linked {
				sqe := r.GetSQE()
				aioring.PrepNop(sqe)
				if i >= ops && i < ops+linked-1 {
					sqe.Flags = aioring.FlagIOLink
				}
			}
		}
		fill(2, 3)
		if n, err := r.Submit(); n != 2 || err != nil {
			t.Errorf("two and a chain of three: %d, %v", n, err)
		}
		if n, err := r.Submit(); n != 0 || !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("a chain of three with room for two: %d, %v", n, err)
		}
		reap(t, r)
		if n, err := r.Submit(); n != 3 || err != nil {
			t.Errorf("a chain of three: %d, %v", n, err)
		}
		for range 4 {
			reap(t, r)
		}
		fill(0, 5)
		if n, err := r.Submit(); n != 0 || err != aioring.ErrTooBig {
			t.Errorf("a chain that never fits: %d, %v", n, err)
		}
	})
}

// Do makes the call of an operation that is alone itself, on a ring whose worker takes
// the operation: not before the worker has described it.
func TestDoAloneBesideTheWorker(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		defer r.Close()
		f := tempFile(t, 0)
		p := make([]byte, 1)
		for i := range 1000 {
			var sqe aioring.SQE
			aioring.PrepWrite(&sqe, int(f.Fd()), []byte{byte('0' + i%10)}, int64(i%7))
			if cqe, err := r.Do(context.Background(), sqe); cqe.Res != 1 || err != nil {
				t.Fatalf("%d: %+v, %v", i, cqe, err)
			}
			if _, err := f.ReadAt(p, int64(i%7)); err != nil || p[0] != byte('0'+i%10) {
				t.Fatalf("%d: %q, %v", i, p, err)
			}
		}
	})
}
