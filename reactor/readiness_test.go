package reactor

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// calls is a waker that remembers.
type calls struct {
	*Waker
	got []error
}

func newCalls() *calls {
	c := new(calls)
	c.Waker = NewWaker(func(err error) { c.got = append(c.got, err) })
	return c
}

func wantPending(t *testing.T, r *Readiness, w *Waker) {
	t.Helper()
	if ev, ready, err := r.PollReady(0, w); ready || err != nil || ev != (Event{}) {
		t.Fatalf("%+v, %v, %v, want pending", ev, ready, err)
	}
}

func wantReady(t *testing.T, r *Readiness) Event {
	t.Helper()
	ev, ready, err := r.PollReady(0, nil)
	if !ready || err != nil || !ev.Ready() {
		t.Fatalf("%+v, %v, %v, want ready", ev, ready, err)
	}
	return ev
}

// tokio, point 6.
func TestEventTicksAndSetsReadyAtOnce(t *testing.T) {
	var r Readiness
	for tick := range uint32(5) {
		if got := r.Poll(); got.Tick() != tick || got.Ready() != (tick > 0) {
			t.Fatalf("tick %d, ready %v before event %d", got.Tick(), got.Ready(), tick)
		}
		if !r.Complete(0) {
			t.Fatal("refused")
		}
	}
}

// tokio, points 10 and 15.
func TestPollingTwiceAnswersTwice(t *testing.T) {
	var r Readiness
	r.Complete(0)
	first := wantReady(t, &r)
	for range 1000 { // there is no budget either that polls would use up
		if wantReady(t, &r) != first {
			t.Fatal("another answer")
		}
	}
}

// tokio, point 14.
func TestClearedPendsUntilTheNextEvent(t *testing.T) {
	var r Readiness
	r.Complete(0)
	ev := wantReady(t, &r)
	if !r.Clear(ev) {
		t.Fatal("a current clear was refused")
	}
	if r.Clear(ev) {
		t.Error("a second clear by the same event")
	}
	w := newCalls()
	wantPending(t, &r, w.Waker)
	r.Complete(0)
	if len(w.got) != 1 || w.got[0] != nil {
		t.Errorf("waker got %v, want one nil", w.got)
	}
	if r.Clear(ev) {
		t.Error("a clear by the event before last")
	}
	wantReady(t, &r)
}

// tokio, point 13.
func TestStaleClearChangesNothing(t *testing.T) {
	// However the two ticks are alike in their low or high bits.
	for _, later := range []uint32{1, 2, 255, 256, 1 << 15, 1 << 16, 1 << 31, tickMask} {
		var r Readiness
		r.Complete(0)
		ev := wantReady(t, &r)
		r.word.Store(r.word.Load()&^tickMask | uint64(ev.Tick()+later))
		before := r.Poll()
		if r.Clear(ev) || r.Poll() != before {
			t.Errorf("an event %d ticks old cleared", later)
		}
	}
}

// tokio, point 16.
func TestTickWrapsWithinItsBits(t *testing.T) {
	var r Readiness
	r.Init(generationMask)
	r.word.Or(tickMask)
	if !r.Complete(generationMask) {
		t.Fatal("refused")
	}
	ev := r.Poll()
	if ev.Tick() != 0 || ev.Generation() != generationMask || !ev.Ready() || ev.Shutdown() {
		t.Fatalf("%#x after the largest tick", ev.word)
	}
	if !r.Clear(ev) {
		t.Error("tick 0 is not cleared")
	}
}

func TestClearOfAnEarlierGeneration(t *testing.T) {
	var r Readiness
	r.Complete(0)
	ev := wantReady(t, &r)
	if next := r.Release(); next != 1 {
		t.Fatalf("generation %d", next)
	}
	if r.Complete(0) {
		t.Error("a late event of the old generation")
	}
	if r.Poll().Ready() {
		t.Error("readiness outlives its generation")
	}
	r.Complete(1)
	r.word.Store(r.word.Load()&^tickMask | uint64(ev.Tick()))
	if r.Clear(ev) {
		t.Error("an event of the old generation cleared")
	}
	if _, ready, err := r.PollReady(0, newCalls().Waker); ready || err != ErrReleased {
		t.Errorf("a poll of the old generation: %v, %v", ready, err)
	}
	if _, ready, err := r.PollReady(1, nil); !ready || err != nil {
		t.Errorf("a poll of the new one: %v, %v", ready, err)
	}
}

func TestGenerationWraps(t *testing.T) {
	var r Readiness
	r.Init(generationMask)
	if next := r.Release(); next != 0 || r.Poll().word != 0 {
		t.Errorf("generation %d, word %#x", next, r.Poll().word)
	}
}

func TestZeroEventClearsNothing(t *testing.T) {
	var r Readiness
	if r.Clear(Event{}) || r.Clear(r.Poll()) {
		t.Error("cleared what was not ready")
	}
}

// tokio, point 18.
func TestClearKeepsShutdown(t *testing.T) {
	var r Readiness
	r.Complete(0)
	ev := wantReady(t, &r)
	r.Shutdown()
	if !r.Clear(ev) {
		t.Error("a current clear was refused")
	}
	if got := r.Poll(); got.Ready() || !got.Shutdown() {
		t.Errorf("%#x after the clear", got.word)
	}
	if _, _, err := r.PollReady(0, newCalls().Waker); err != ErrShutdown {
		t.Errorf("poll after the clear: %v", err)
	}
}

// tokio, point 22.
func TestShutdownIsForGood(t *testing.T) {
	var r Readiness
	w := newCalls()
	wantPending(t, &r, w.Waker)
	r.Shutdown()
	r.Shutdown()
	if len(w.got) != 1 || w.got[0] != nil {
		t.Errorf("waker got %v, want one nil", w.got)
	}
	for _, then := range []func(){func() {}, func() { r.Complete(0) }, func() { r.Clear(r.Poll()) }, func() { r.Release() }} {
		then()
		if _, ready, err := r.PollReady(r.Poll().Generation(), w.Waker); ready || err != ErrShutdown {
			t.Errorf("%v, %v", ready, err)
		}
		if _, err := r.Ready(context.Background(), r.Poll().Generation()); err != ErrShutdown {
			t.Error(err)
		}
	}
	if len(w.got) != 1 {
		t.Errorf("waker got %v", w.got)
	}
}

// tokio, point 8.
func TestLastPollerReplacesTheEarlier(t *testing.T) {
	var r Readiness
	first, second := newCalls(), newCalls()
	wantPending(t, &r, first.Waker)
	wantPending(t, &r, first.Waker)
	if len(first.got) != 0 {
		t.Fatalf("replaced by itself: %v", first.got)
	}
	wantPending(t, &r, second.Waker)
	if len(first.got) != 1 || first.got[0] != ErrReplaced {
		t.Errorf("the earlier got %v", first.got)
	}
	r.Complete(0)
	if len(first.got) != 1 || len(second.got) != 1 || second.got[0] != nil {
		t.Errorf("the earlier got %v, the last %v", first.got, second.got)
	}
}

// tokio, point 9.
func TestWakeIsOneShot(t *testing.T) {
	var r Readiness
	w := newCalls()
	wantPending(t, &r, w.Waker)
	r.Complete(0)
	r.Complete(0)
	r.Shutdown()
	if len(w.got) != 1 {
		t.Errorf("called %d times for one poll", len(w.got))
	}
}

// tokio, point 9.
func TestWakerMayUseTheEntry(t *testing.T) {
	var r Readiness
	var w *Waker
	rounds := 0
	w = NewWaker(func(error) {
		rounds++
		ev, ready, err := r.PollReady(0, nil)
		if !ready || err != nil || !r.Clear(ev) {
			t.Errorf("in the waker: %v, %v", ready, err)
		}
		if _, ready, err := r.PollReady(0, w); ready || err != nil {
			t.Errorf("after the clear: %v, %v", ready, err)
		}
	})
	wantPending(t, &r, w)
	for range 10 {
		r.Complete(0)
	}
	if rounds != 10 {
		t.Errorf("%d rounds", rounds)
	}
}

func TestReadyWaitsAsleep(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(r *Readiness)
		want error
	}{
		"event":    {func(r *Readiness) { r.Complete(0) }, nil},
		"shutdown": {func(r *Readiness) { r.Shutdown() }, ErrShutdown},
		"release":  {func(r *Readiness) { r.Release() }, ErrReleased},
		"replaced": {func(r *Readiness) { r.PollReady(0, newCalls().Waker) }, ErrReplaced},
		"context":  {func(*Readiness) {}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r Readiness
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				done := make(chan error, 1)
				go func() {
					ev, err := r.Ready(ctx, 0)
					if err == nil && (!ev.Ready() || ev.Tick() != 1) {
						t.Errorf("event %#x", ev.word)
					}
					done <- err
				}()
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("returned before there was anything: %v", err)
				default:
				}
				c.do(&r)
				if err := <-done; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if r.waker.Load() != nil && name != "replaced" {
					t.Error("a waker is left behind")
				}
			})
		})
	}
}

func TestReadyPrefersTheAnswerToTheContext(t *testing.T) {
	var r Readiness
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Ready(ctx, 0); err != context.Canceled {
		t.Errorf("pending: %v", err)
	}
	r.Complete(0)
	if _, err := r.Ready(ctx, 0); err != nil {
		t.Errorf("ready: %v", err)
	}
}

// A waiter whose call is still under way when it goes must not pass the call on to
// the next that waits.
func TestLateCallReachesNobodyElse(t *testing.T) {
	var r Readiness
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Ready(ctx, 0); err != context.Canceled {
		t.Fatal(err)
	}
	first := r.idle.Load()
	if first == nil {
		t.Fatal("the waiter is not kept")
	}
	r.idle.Store(nil)
	r.leave(0, &first.Waker)
	taken := r.waker.Swap(nil) // a poller has replaced it, and has yet to say so
	r.retire(first, r.waker.CompareAndSwap(&first.Waker, nil))
	if r.idle.Load() != nil {
		t.Error("a waiter is used again that somebody is about to call")
	}
	taken.wake(ErrReplaced)
}

// A model of the word: what polls and clears must answer.
func TestWordAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var r Readiness
		var generation, tick uint32
		var ready, shutdown bool
		events := []Event{{}}
		current := map[Event]bool{}
		for step := range 300 {
			switch rnd.IntN(12) {
			case 0, 1, 2, 3:
				g := generation - uint32(rnd.IntN(2))&generationMask
				if got, want := r.Complete(g), g == generation; got != want {
					t.Fatalf("seed %d step %d: complete %v", seed, step, got)
				}
				if g == generation {
					tick, ready = tick+1, true
					clear(current)
				}
			case 4, 5, 6:
				ev := r.Poll()
				if ev.Ready() != ready || ev.Shutdown() != shutdown || ev.Tick() != tick || ev.Generation() != generation {
					t.Fatalf("seed %d step %d: %#x", seed, step, ev.word)
				}
				_, answered, err := r.PollReady(generation, nil)
				if (err == ErrShutdown) != shutdown || answered != (ready && !shutdown) {
					t.Fatalf("seed %d step %d: poll %v %v", seed, step, answered, err)
				}
				events = append(events, ev)
				if ready {
					current[ev] = true
				}
			case 7, 8, 9, 10:
				ev := events[rnd.IntN(len(events))]
				if got := r.Clear(ev); got != current[ev] {
					t.Fatalf("seed %d step %d: clear by %#x of %#x: %v", seed, step, ev.word, r.Poll().word, got)
				} else if got {
					ready = false
					clear(current)
				}
			case 11:
				if rnd.IntN(4) == 0 {
					shutdown = true
					r.Shutdown()
				} else {
					generation, ready = r.Release(), false
					clear(current)
				}
			}
		}
	}
}

// An entry is waited for by a goroutine that sleeps, while another completes it. Each
// round is one chance to lose a wake-up, and there the test would stay. A slow machine
// has fewer rounds.
func TestNoWakeUpIsLost(t *testing.T) {
	const rounds, atLeast, enough = 350_000, 20_000, 10 * time.Second // thrice
	for _, procs := range []int{1, 2, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		var r Readiness
		submitted := make(chan int, 1)
		result := -1 // plain: written before Complete, read after Ready
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range submitted {
				result = i
				r.Complete(0)
			}
		})
		began := time.Now()
		for i := 0; i < rounds && (i < atLeast || time.Since(began) < enough); {
			within(t, func() {
				for range 1000 {
					submitted <- i
					ev, err := r.Ready(context.Background(), 0)
					if err != nil || ev.Tick() != uint32(i+1) || result != i || !r.Clear(ev) {
						close(submitted)
						t.Fatalf("GOMAXPROCS %d, round %d: tick %d, %v", procs, i, ev.Tick(), err)
					}
					i++
				}
			})
		}
		close(submitted)
		wg.Wait()
	}
}

// Completers, clearers and pollers at once: no event is wiped by a stale clear, none
// counted twice.
func TestEveryEventIsSeenOrSucceeded(t *testing.T) {
	const completers, events = 3, 20_000
	var r Readiness
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	var wg sync.WaitGroup
	for range completers {
		wg.Go(func() {
			for range events {
				r.Complete(0)
			}
		})
	}
	for last := uint32(0); last < completers*events; {
		ev, err := r.Ready(ctx, 0)
		if err != nil {
			t.Fatalf("after tick %d: %v", last, err)
		}
		if ev.Tick() < last {
			t.Fatalf("tick %d after %d", ev.Tick(), last)
		}
		last = ev.Tick()
		if r.Clear(ev) && r.Poll().Tick() == last && r.Poll() == ev {
			t.Fatal("cleared and unchanged")
		}
	}
	wg.Wait()
}

func TestReplacedAndEndedWaitersAllReturn(t *testing.T) {
	const waiters, rounds = 4, 2_000
	var r Readiness
	var wg sync.WaitGroup
	for i := range waiters {
		wg.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				if i == 0 {
					go cancel()
				}
				ev, err := r.Ready(ctx, 0)
				if err == nil {
					r.Clear(ev)
				} else if err != ErrReplaced && err != context.Canceled && err != ErrShutdown {
					t.Errorf("waiter %d: %v", i, err)
				}
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	limit := time.After(10 * patience)
	for {
		select {
		case <-done:
			return
		case <-limit:
			t.Fatal("a waiter sleeps although events come")
		default:
			r.Complete(0)
			runtime.Gosched()
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	var r Readiness
	w := NewWaker(func(error) {})
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		r.PollReady(0, w)
		r.Complete(0)
		ev, _ := r.Ready(ctx, 0)
		r.Clear(ev)
	}); n != 0 {
		t.Errorf("%v allocations for a round without waiting", n)
	}

	// With a goroutine that sleeps in Ready.
	asked, seen := make(chan struct{}), make(chan struct{})
	go func() {
		for range asked {
			for r.waker.Load() == nil {
				runtime.Gosched()
			}
			r.Complete(0)
		}
		close(seen)
	}()
	if n := testing.AllocsPerRun(1000, func() {
		asked <- struct{}{}
		ev, err := r.Ready(ctx, 0)
		if err != nil || !r.Clear(ev) {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a round with waiting", n)
	}
	close(asked)
	<-seen
}
