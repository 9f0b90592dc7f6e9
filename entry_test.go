//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
)

// The cases of tokio's io_poll_aio.rs and mio's aio.rs by their names, and the
// points of tokio's semantics one by one, at the level of the ring.

// entry makes a kept entry that is released when the test ends.
func entry(t *testing.T, r *aioring.Ring) *aioring.Entry {
	t.Helper()
	e, err := r.NewEntry()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Release)
	return e
}

// pends sees that an entry is not ready.
func pends(t *testing.T, e *aioring.Entry) {
	t.Helper()
	if cqe, ready, err := e.PollReady(nil); ready || err != nil {
		t.Fatalf("it does not pend: %+v, %v, %v", cqe, ready, err)
	}
}

// start submits what the entry has prepared.
func start(t *testing.T, e *aioring.Entry) {
	t.Helper()
	if err := e.Submit(t.Context()); err != nil {
		t.Fatalf("Submit: %v", err)
	}
}

// ready waits for the entry and expects a result.
func ready(t *testing.T, e *aioring.Entry, res int) aioring.CQE {
	t.Helper()
	cqe, err := e.Ready(t.Context())
	if err != nil || int(cqe.Res) != res {
		t.Fatalf("Ready = %+v, %v, want %d", cqe, err, res)
	}
	return cqe
}

// stalled is a pipe: a read of it is under way until a byte is written.
type stalled struct{ rd, wr *os.File }

func newStalled(t *testing.T) stalled {
	t.Helper()
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rd.Close(); wr.Close() })
	return stalled{rd, wr}
}

func (s stalled) prep(e *aioring.Entry, buf []byte) {
	aioring.PrepRead(e.SQE(), int(s.rd.Fd()), buf, 0)
}

func (s stalled) finish(t *testing.T) {
	t.Helper()
	if _, err := s.wr.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

// tokio aio::fsync, and mio's aio smoke test: one event, with a clean result.
func TestEntryFsync(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		pends(t, e)
		aioring.PrepFsync(e.SQE(), int(tempFile(t, 0).Fd()), 0)
		e.SQE().UserData = 42
		start(t, e)
		if cqe := ready(t, e, 0); cqe.UserData != 42 || cqe.Flags != 0 {
			t.Errorf("%+v", cqe)
		}
		// To the entry, and not to the completion queue too.
		if r.CQReady() != 0 {
			t.Error("there is a CQE as well")
		}
		if s := r.Stats(); s.Submitted != 1 || s.Completed != 1 || s.Alive != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// tokio aio::ll_fsync: cleared before anything else is done with the result.
func TestEntryFsyncClearedFirst(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		aioring.PrepFsync(e.SQE(), int(tempFile(t, 0).Fd()), aioring.FsyncDatasync)
		start(t, e)
		cqe, err := e.Ready(t.Context())
		if err != nil || !r.ClearReady(cqe.Event()) {
			t.Fatalf("Ready: %v, or a current clear was refused", err)
		}
		if cqe.Res != 0 {
			t.Errorf("%+v", cqe)
		}
		pends(t, e)
	})
}

// tokio aio::reuse: cleared it pends, submitted again it becomes ready again.
func TestEntryReuse(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		f := tempFile(t, 0)
		for i := range 50 {
			aioring.PrepWrite(e.SQE(), int(f.Fd()), pattern(64+i, uint64(i)), int64(i)*128)
			e.SQE().UserData = uint64(i)
			pends(t, e)
			start(t, e)
			cqe := ready(t, e, 64+i)
			if cqe.UserData != uint64(i) || !r.ClearReady(cqe.Event()) {
				t.Fatalf("round %d: %+v, or a current clear was refused", i, cqe)
			}
		}
		pends(t, e)
		if s := r.Stats(); s.Submitted != 50 || s.Completed != 50 || s.Alive != 0 {
			t.Errorf("each submission is an operation of its own: %+v", s)
		}
	})
}

// Points 6 and 13: the tick counts this entry's completions, and a clear that is not
// of the last changes nothing.
func TestEntryStaleClear(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, other := entry(t, r), entry(t, r)
		var events []aioring.Event
		for range 300 { // beyond the 8 bits that tokio's event had: flaw 16
			start(t, e)
			events = append(events, ready(t, e, 0).Event())
			for _, ev := range events[:len(events)-1] {
				if r.ClearReady(ev) {
					t.Fatal("a stale clear was taken")
				}
			}
			last := events[len(events)-1]
			if len(events) < 300 && !r.ClearReady(last) {
				t.Fatal("a current clear was refused")
			}
		}
		start(t, other)
		cqe := ready(t, other, 0)
		if !r.ClearReady(cqe.Event()) || r.ClearReady(cqe.Event()) {
			t.Error("a clear is good once")
		}
		ready(t, e, 0) // which the other's did not touch
		if r.ClearReady(aioring.Event{}) {
			t.Error("the zero Event clears something")
		}
		if v.open(t, 8).ClearReady(events[299]) {
			t.Error("another ring cleared it")
		}
		if !r.ClearReady(events[299]) {
			t.Error("a current clear was refused")
		}
	})
}

// Points 10 and 12.
func TestEntryReadyUntilCleared(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		for range 3 {
			pends(t, e) // never submitted
		}
		start(t, e)
		first := ready(t, e, 0)
		for range 3 {
			if again, ok, err := e.PollReady(nil); !ok || err != nil || again != first {
				t.Fatalf("%+v, %v, %v", again, ok, err)
			}
			ready(t, e, 0)
		}
	})
}

// Point 11: ready means ended, well or badly. Errors are the ring's.
func TestEntryReadyMeansEndedWellOrBadly(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		aioring.PrepRead(e.SQE(), 1<<20, make([]byte, 8), 0)
		start(t, e)
		r.ClearReady(ready(t, e, -int(syscall.EBADF)).Event())
		e.SQE().Opcode = 200
		start(t, e)
		ready(t, e, -int(syscall.EINVAL))
	})
}

// Point 14: a clear is due before the next Submit.
func TestEntryBusyUntilCleared(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, pipe := entry(t, r), newStalled(t)
		pipe.prep(e, make([]byte, 1))
		start(t, e)
		if err := e.Submit(t.Context()); err != aioring.ErrBusy {
			t.Errorf("Submit of one under way: %v", err)
		}
		pipe.finish(t)
		cqe := ready(t, e, 1)
		if err := e.Submit(t.Context()); err != aioring.ErrBusy {
			t.Errorf("Submit of one not cleared: %v", err)
		}
		r.ClearReady(cqe.Event())
		pends(t, e)
		start(t, e)
		pipe.finish(t)
		ready(t, e, 1)
		if n := r.Stats().Submitted; n != 2 {
			t.Errorf("%d operations", n)
		}
	})
}

// Points 8 and 9: the last poller has the place and the one before is told. Wakers
// are called with no lock held, once.
func TestEntryLastWakerReplaces(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, pipe := entry(t, r), newStalled(t)
		pipe.prep(e, make([]byte, 1))
		start(t, e)
		told := make(chan error, 4)
		w := aioring.NewWaker(func(err error) { told <- err })
		if _, ok, err := e.PollReady(w); ok || err != nil {
			t.Fatal(ok, err)
		}
		woken := make(chan aioring.CQE, 4)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok, err := e.PollReady(aioring.NewWaker(func(err error) {
			// Every lock of the ring can be had here: Wait takes the queue's, even if it
			// is over at once.
			if _, err := r.Wait(ended); err != context.Canceled {
				t.Errorf("Wait: %v", err)
			}
			cqe, ok, pollErr := e.PollReady(nil)
			if err != nil || !ok || pollErr != nil {
				t.Errorf("the waker was called with %v; then %v, %v", err, ok, pollErr)
			}
			r.ClearReady(cqe.Event())
			r.Push(aioring.SQE{UserData: 7})
			r.Stats()
			woken <- cqe
		})); ok || err != nil {
			t.Fatal(ok, err)
		}
		if err := <-told; err != aioring.ErrReplaced {
			t.Errorf("the one replaced was told %v", err)
		}
		pipe.finish(t)
		if cqe := <-woken; cqe.Res != 1 {
			t.Errorf("%+v", cqe)
		}
		if c := reap(t, r); c.UserData != 7 {
			t.Errorf("%+v", c)
		}
		if len(told) != 0 || len(woken) != 0 {
			t.Error("a waker was called twice")
		}
		// A waiting goroutine is replaced likewise.
		start(t, e)
		waited := make(chan error)
		go func() { _, err := e.Ready(t.Context()); waited <- err }()
		for {
			if _, ok, err := e.PollReady(w); ok || err != nil {
				t.Fatal(ok, err)
			}
			select {
			case err := <-waited:
				if err != aioring.ErrReplaced {
					t.Errorf("Ready: %v", err)
				}
				pipe.finish(t)
				for err := range told { // it may have been replaced itself before
					if err == nil {
						return
					}
				}
			default:
				runtime.Gosched()
			}
		}
	})
}

// A waker that was left is woken though nobody waits in any call: on the kernels with
// events somebody has to fetch them.
func TestEntryWakerIsWokenThoughNobodyWaits(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, f := entry(t, r), tempFile(t, 0)
		for i := range 40 {
			aioring.PrepWrite(e.SQE(), int(f.Fd()), pattern(512, uint64(i)), 0)
			woken := make(chan error, 1)
			w := aioring.NewWaker(func(err error) { woken <- err })
			left := false
			if i%2 == 0 { // before the Submit
				if _, ok, err := e.PollReady(w); ok || err != nil {
					t.Fatal(ok, err)
				}
				left = true
			}
			start(t, e)
			if !left {
				_, ok, err := e.PollReady(w)
				if err != nil {
					t.Fatal(err)
				}
				left = !ok
			}
			if left {
				if err := <-woken; err != nil {
					t.Fatal(err)
				}
			}
			cqe, ok, err := e.PollReady(nil)
			if !ok || err != nil || cqe.Res != 512 || !r.ClearReady(cqe.Event()) {
				t.Fatalf("woken, and then %+v, %v, %v", cqe, ok, err)
			}
		}
	})
}

// The wait ends with its context. The operation goes on and can be awaited again, by
// a later Ready as by a waker.
func TestEntryReadyEndsWithItsContext(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, pipe := entry(t, r), newStalled(t)
		pipe.prep(e, make([]byte, 1))
		start(t, e)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := e.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Ready: %v", err)
			}
			cancel()
		}
		if s := r.Stats(); s.Alive != 1 {
			t.Errorf("%+v", s)
		}
		pipe.finish(t)
		cqe := ready(t, e, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if again, err := e.Ready(ctx); err != nil || again != cqe {
			t.Errorf("an answer that is there goes first: %+v, %v", again, err)
		}
	})
}

// By default an entry is its CQE's place: ready while the CQE is there, cleared once,
// gone with it.
func TestEntryOfACQEEndsWhenItIsConsumed(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4) // a completion queue of 8, which goes round
		var old []aioring.Event
		for range 10 {
			for range 3 {
				r.GetSQE()
			}
			submit(t, r, 3)
			for range 3 {
				cqe, err := r.WaitCQE()
				if err != nil {
					t.Fatal(err)
				}
				for _, ev := range old {
					if r.ClearReady(ev) {
						t.Fatal("the event of a consumed CQE clears")
					}
				}
				ev := cqe.Event()
				if len(old)%2 == 0 && (!r.ClearReady(ev) || r.ClearReady(ev)) {
					t.Fatal("a clear is good once")
				}
				r.CQESeen(cqe)
				if r.ClearReady(ev) {
					t.Fatal("consumed, it still clears")
				}
				old = append(old, ev)
			}
		}
		r.GetSQE()
		submit(t, r, 1)
		cqe, err := r.Wait(t.Context())
		if err != nil || r.ClearReady(cqe.Event()) {
			t.Errorf("a CQE by value is consumed: %v", err)
		}
		cqe, err = r.Do(t.Context(), aioring.SQE{})
		if err != nil || r.ClearReady(cqe.Event()) {
			t.Errorf("Do's entry is over: %v", err)
		}
	})
}

// An operation is delivered to the completion queue or to its entry, never to both.
func TestEntryOrQueueNeverBoth(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		const each = 200
		r := v.open(t, 16)
		var group sync.WaitGroup
		group.Go(func() {
			e, err := r.NewEntry()
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Release()
			for i := range each {
				e.SQE().UserData = uint64(1000 + i)
				if err := e.Submit(t.Context()); err != nil {
					t.Error(err)
				}
				cqe, err := e.Ready(t.Context())
				if err != nil || cqe.UserData != uint64(1000+i) || !r.ClearReady(cqe.Event()) {
					t.Errorf("%+v, %v", cqe, err)
				}
			}
		})
		group.Go(func() {
			for range each {
				if err := r.PushContext(t.Context(), aioring.SQE{UserData: 1}); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for range each {
				if cqe, err := r.Wait(t.Context()); err != nil || cqe.UserData != 1 {
					t.Errorf("the queue has %+v, %v", cqe, err)
				}
			}
		})
		group.Wait()
		if err := r.Shutdown(t.Context()); err != nil { // until it is counted, too
			t.Error(err)
		}
		if s := r.Stats(); s.Completed != 2*each || s.Alive != 0 || r.CQReady() != 0 {
			t.Errorf("%+v, %d left", s, r.CQReady())
		}
	})
}

// Points 18, 21 and 22: Shutdown lets what is under way finish, and be had; then it
// wakes who waits, for good, and a clear does not undo that.
func TestEntryShutdown(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		idle, done, running := entry(t, r), entry(t, r), entry(t, r)
		start(t, done)
		cqe := ready(t, done, 0)
		pipe := newStalled(t)
		pipe.prep(running, make([]byte, 1))
		start(t, running)
		woken := make(chan error, 1)
		if _, ok, err := idle.PollReady(aioring.NewWaker(func(err error) { woken <- err })); ok || err != nil {
			t.Fatal(ok, err)
		}
		waited := make(chan error)
		go func() {
			cqe, err := running.Ready(context.Background())
			if err == nil && cqe.Res != 1 {
				err = errors.New("another result")
			}
			waited <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Shutdown: %v", err)
		}
		if err := idle.Submit(t.Context()); err != aioring.ErrClosed {
			t.Errorf("Submit: %v", err)
		}
		if _, err := r.NewEntry(); err != aioring.ErrClosed {
			t.Errorf("NewEntry: %v", err)
		}
		pipe.finish(t)
		if err := <-waited; err != nil {
			t.Errorf("the one under way: %v", err)
		}
		if err := <-woken; err != nil {
			t.Errorf("the waker was told %v", err)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, _, err := idle.PollReady(nil); err != aioring.ErrClosed {
				t.Errorf("idle: %v", err)
			}
			if _, err := idle.Ready(context.Background()); err != aioring.ErrClosed {
				t.Errorf("idle: %v", err)
			}
			ready(t, done, 0)
			ready(t, running, 1)
		}
		if !r.ClearReady(cqe.Event()) {
			t.Error("a current clear was refused")
		}
		if _, _, err := done.PollReady(nil); err != aioring.ErrClosed {
			t.Errorf("cleared after Shutdown: %v", err)
		}
		if err := done.Submit(t.Context()); err != aioring.ErrClosed {
			t.Errorf("Submit: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		// Closed, even what was ready is gone.
		if _, ok, err := running.PollReady(nil); ok || err != aioring.ErrClosed {
			t.Errorf("ready before Close: %v, %v", ok, err)
		}
		if _, err := r.NewEntry(); err != aioring.ErrClosed {
			t.Errorf("NewEntry: %v", err)
		}
	})
}

func TestEntryCloseWakesEverybody(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		pipe := newStalled(t)
		var errs [4]chan error
		for i := range errs {
			errs[i] = make(chan error, 2)
			e := entry(t, r)
			if i%2 == 0 {
				pipe.prep(e, make([]byte, 1))
				start(t, e)
			}
			if i < 2 {
				if _, ok, err := e.PollReady(aioring.NewWaker(func(err error) { errs[i] <- err })); ok || err != nil {
					t.Fatal(ok, err)
				}
				continue
			}
			go func() {
				// What is under way is cancelled: it ends so, or with the ring.
				cqe, err := e.Ready(context.Background())
				if err == nil && cqe.Res == -int32(syscall.ECANCELED) {
					err = aioring.ErrClosed
				}
				errs[i] <- err
			}()
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range errs {
			if err := <-errs[i]; i < 2 && err != nil || i >= 2 && err != aioring.ErrClosed {
				t.Errorf("waiter %d ended with %v", i, err)
			}
		}
	})
}

// A released entry is another's generation: who holds on to it gets an error, and
// what it had under way is dropped and counted.
func TestEntryRelease(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, pipe := entry(t, r), newStalled(t)
		start(t, e)
		old := ready(t, e, 0).Event()
		e.Release()
		e.Release()
		if r.ClearReady(old) {
			t.Error("an event of a released entry clears")
		}
		check := func() {
			t.Helper()
			if _, _, err := e.PollReady(nil); err != aioring.ErrReleased {
				t.Errorf("PollReady: %v", err)
			}
			if _, err := e.Ready(t.Context()); err != aioring.ErrReleased {
				t.Errorf("Ready: %v", err)
			}
			if err := e.Submit(t.Context()); err != aioring.ErrReleased {
				t.Errorf("Submit: %v", err)
			}
		}
		check()
		if s := r.Stats(); s.Stale != 0 {
			t.Errorf("%+v", s)
		}

		e = entry(t, r)
		pipe.prep(e, make([]byte, 1))
		start(t, e)
		waited := make(chan error)
		go func() { _, err := e.Ready(context.Background()); waited <- err }()
		runtime.Gosched()
		e.Release()
		if err := <-waited; err != aioring.ErrReleased {
			t.Errorf("the waiter: %v", err)
		}
		check()
		if s := r.Stats(); s.Alive != 1 || s.Stale != 0 {
			t.Errorf("%+v", s)
		}
		pipe.finish(t)
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		check()
		if s := r.Stats(); s.Alive != 0 || s.Stale != 1 || r.CQReady() != 0 {
			t.Errorf("%+v, %d CQEs", s, r.CQReady())
		}
	})
}

// Point 19: an entry that is forgotten is released, with what it holds; but not while
// somebody waits at it.
func TestEntryForgottenIsReleased(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		pipe := newStalled(t)
		woken := make(chan error, 1)
		freed := make(chan bool, 2)
		func() {
			e, err := r.NewEntry()
			if err != nil {
				t.Fatal(err)
			}
			kept := new([64]int)
			runtime.AddCleanup(kept, func(bool) { freed <- true }, true)
			e.SQE().Keep = kept
			if _, ok, err := e.PollReady(aioring.NewWaker(func(err error) { woken <- err })); ok || err != nil {
				t.Fatal(ok, err)
			}
		}()
		collect(t, woken) // its waiter is told
		collect(t, freed)

		e, err := r.NewEntry()
		if err != nil {
			t.Fatal(err)
		}
		pipe.prep(e, make([]byte, 1))
		start(t, e)
		waited := make(chan error)
		go func(e *aioring.Entry) { _, err := e.Ready(t.Context()); waited <- err }(e)
		for range 5 { // e is not used any more but by the one who waits
			runtime.GC()
		}
		pipe.finish(t)
		if err := <-waited; err != nil {
			t.Errorf("an entry somebody waits at: %v", err)
		}
	})
}

// collect runs the collector until something comes.
func collect[T any](t *testing.T, c chan T) T {
	t.Helper()
	for {
		runtime.GC()
		select {
		case x := <-c:
			return x
		case <-time.After(time.Millisecond):
		}
	}
}

// A kept entry holds its buffer, and an operation its own, until the release.
func TestEntryHoldsItsBuffer(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, f := entry(t, r), tempFile(t, 0)
		freed := make(chan bool, 1)
		func() {
			buf := new([4096]byte)
			runtime.AddCleanup(buf, func(bool) { freed <- true }, true)
			copy(buf[:], pattern(4096, 1))
			aioring.PrepWrite(e.SQE(), int(f.Fd()), buf[:], 0)
		}()
		for range 3 {
			runtime.GC()
			start(t, e)
			r.ClearReady(ready(t, e, 4096).Event())
		}
		select {
		case <-freed:
			t.Error("the buffer of a kept entry was collected")
		default:
		}
		got := make([]byte, 4096)
		if _, err := f.ReadAt(got, 0); err != nil || string(got) != string(pattern(4096, 1)) {
			t.Errorf("other bytes were written: %v", err)
		}
		e.Release()
		collect(t, freed)
	})
}

// While there is no room, Submit waits for some, or for its context.
func TestEntrySubmitWaitsForRoom(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxOps(1))
		e := entry(t, r)
		r.GetSQE()
		submit(t, r, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if err := e.Submit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Submit: %v", err)
		}
		pends(t, e)
		submitted := make(chan error)
		go func() { submitted <- e.Submit(t.Context()) }()
		reap(t, r)
		if err := <-submitted; err != nil {
			t.Fatal(err)
		}
		ready(t, e, 0)
	})
}

// CloseContext names what an entry has under way, and keeps it.
func TestEntryHeldAtClose(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))}}, 8)
	e := entry(t, r)
	aioring.PrepWrite(e.SQE(), int(tempFile(t, 0).Fd()), make([]byte, 8), 512)
	e.SQE().UserData = 9
	start(t, e)
	for kernel.Stats().Active == 0 {
		runtime.Gosched()
	}
	waited := make(chan error)
	go func() { _, err := e.Ready(context.Background()); waited <- err }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var held *aioring.HeldError
	if err := r.CloseContext(ctx); !errors.As(err, &held) || len(held.Held) != 1 || held.Held[0].UserData != 9 || held.Held[0].Off != 512 {
		t.Fatalf("CloseContext: %v", err)
	}
	if err := <-waited; err != aioring.ErrClosed {
		t.Errorf("the waiter: %v", err)
	}
	e.Release() // its buffer is the kernel's still
	gate.Open()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := r.Stats().Stale; n != 1 {
		t.Errorf("%d dropped", n)
	}
}

// Entries, lists, pushes, contexts that end and the collector, with Close in the
// middle: nothing hangs, nothing is seen twice.
func TestEntryStress(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		f, pipe := tempFile(t, 0), newStalled(t)
		for range 3 {
			r := v.open(t, 64)
			var group sync.WaitGroup
			var done atomic.Int64
			enough, collect := make(chan struct{}), make(chan struct{}, 1)
			over := func(err error) bool {
				if err != nil && !errors.Is(err, aioring.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				return errors.Is(err, aioring.ErrClosed)
			}
			for g := range 6 {
				group.Go(func() {
					e, err := r.NewEntry()
					if over(err) {
						return
					}
					defer e.Release()
					for i := 0; ; i++ {
						want := int32(32)
						if g%3 == 0 {
							sqes := make([]aioring.SQE, 1+i%5)
							for j := range sqes {
								aioring.PrepWrite(&sqes[j], int(f.Fd()), pattern(32, uint64(j)), int64(g*5+j)*32)
							}
							want = int32(len(sqes))
							aioring.PrepList(e, sqes)
						} else {
							aioring.PrepWrite(e.SQE(), int(f.Fd()), pattern(32, 1), int64(g)*32)
						}
						e.SQE().UserData = uint64(i)
						if over(e.Submit(context.Background())) {
							return
						}
						patience := time.Duration(i%4) * 10 * time.Microsecond // at first
						for {
							ctx, cancel := context.WithTimeout(context.Background(), patience)
							patience = 2*patience + 10*time.Microsecond
							cqe, err := e.Ready(ctx)
							cancel()
							if over(err) {
								return
							}
							if err != nil {
								continue
							}
							if cqe.UserData != uint64(i) || cqe.Res != want && cqe.Res != -int32(syscall.ECANCELED) {
								t.Errorf("%+v, want %d of %d", cqe, want, i)
							}
							if !r.ClearReady(cqe.Event()) {
								t.Error("a current clear was refused")
							}
							if done.Add(1) == 120 {
								close(enough)
							}
							select {
							case collect <- struct{}{}:
							default: // it is at it
							}
							break
						}
					}
				})
			}
			group.Go(func() { // some of them hang until Close
				for {
					e, err := r.NewEntry()
					if over(err) {
						return
					}
					pipe.prep(e, make([]byte, 1))
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					over(e.Submit(ctx))
					_, ok, err := e.PollReady(aioring.NewWaker(func(error) {}))
					if ok || err != nil && err != aioring.ErrClosed {
						t.Errorf("a read of nothing: %v, %v", ok, err)
					}
					e.Release()
					cancel()
					if r.Stats().InFlight > 40 {
						return
					}
				}
			})
			storm := sync.WaitGroup{}
			storm.Go(func() {
				for range collect {
					runtime.GC()
				}
			})
			<-enough
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			group.Wait()
			close(collect)
			storm.Wait()
		}
	})
}

// Whoever clears an entry may submit it again, though the Submit before has yet to
// return in another goroutine. Each Submit has one completion.
func TestEntrySubmittedInTurns(t *testing.T) {
	guard(t, time.Minute)
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		aioring.PrepNop(e.SQE())
		start(t, e)
		var turns sync.WaitGroup
		for range 3 {
			turns.Go(func() {
				for range 5000 {
					cqe, ready, err := e.PollReady(nil)
					if err != nil {
						t.Error(err)
						return
					}
					if !ready || !r.ClearReady(cqe.Event()) {
						runtime.Gosched()
						continue
					}
					aioring.PrepNop(e.SQE())
					if err := e.Submit(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		turns.Wait()
	})
}
