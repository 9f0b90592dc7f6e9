package ring

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The condition becomes true, and Wake is called, during the k-th look, which
// itself still answers false: every place where a wake-up could fall between
// looking and sleeping. In a bubble a lost wake-up is a deadlock, reported at
// once.
func TestWakeDuringAnyLookIsNotLost(t *testing.T) {
	for _, spin := range []int{-1, 0, 1, 3} {
		for k := 1; k <= max(spin, 0)+2; k++ { // the first, Spin more, the one behind the flag
			t.Run(fmt.Sprintf("spin=%d/look=%d", spin, k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := Parker{Spin: spin}
					looks, done := 0, false
					p.Wait(func() bool {
						looks++
						if looks == k {
							done = true
							p.Wake()
							return false
						}
						return done
					})
					if looks <= k {
						t.Errorf("returned after %d looks", looks)
					}
					if p.asleep.Load() {
						t.Error("awake with the flag set")
					}
				})
			})
		}
	}
}

func TestReadyReturnsWithoutSleeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Parker
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		yes := func() bool { return true }
		p.Wait(yes)
		if err := p.WaitContext(ctx, yes); err != nil {
			t.Errorf("ready and cancelled: %v, want nil", err)
		}
		if p.token != nil {
			t.Error("prepared to sleep")
		}
	})
}

func TestSpinLooksSpinTimesMore(t *testing.T) {
	for _, c := range []struct{ spin, looks int }{{-5, 1}, {0, 1}, {1, 2}, {64, 65}} {
		looks := 0
		p := Parker{Spin: c.spin}
		p.spin(func() bool { looks++; return false })
		if looks != c.looks {
			t.Errorf("Spin %d: %d looks, want %d", c.spin, looks, c.looks)
		}
	}
}

// The waiter sleeps on a channel and nothing else: it is durably blocked, the
// bubble's clock stands still, and one Wake ends it.
func TestSleepingWaiterUsesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMPSC[int](4)
		p := Parker{Spin: DefaultSpin}
		began := time.Now()
		var awake atomic.Bool
		go func() {
			p.Wait(func() bool { return !q.Empty() })
			awake.Store(true)
		}()
		synctest.Wait()
		if !p.asleep.Load() || awake.Load() {
			t.Fatal("not asleep")
		}
		q.Push(1)
		synctest.Wait()
		if awake.Load() {
			t.Fatal("awake without Wake: something polls")
		}
		p.Wake()
		synctest.Wait()
		if !awake.Load() || p.asleep.Load() {
			t.Fatal("still asleep after Wake")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the clock moved by %v", d)
		}
	})
}

// A producer preempted between claim and publication does not make the consumer burn
// CPU: it sleeps, though others push and wake it behind that claim, and it is woken by
// the publication.
func TestConsumerSleepsOnAnUnpublishedClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMPSC[int](8)
		p := Parker{Spin: DefaultSpin}
		tail := q.tail.Load()
		if s := q.claimAt(tail, 1); s != OK {
			t.Fatal(s)
		}
		var looks atomic.Int32
		got := make(chan []int, 1)
		go func() {
			p.Wait(func() bool { looks.Add(1); return !q.Empty() })
			dst := make([]int, 8)
			got <- dst[:q.PopBatch(dst)]
		}()
		for i := range 3 {
			q.Push(2 + i)
			p.Wake()
			synctest.Wait() // durably blocked
			if len(got) != 0 || !p.asleep.Load() {
				t.Fatal("not asleep")
			}
		}
		// Before each sleep: once, Spin times, once behind the flag.
		if n := looks.Load(); n > 4*(DefaultSpin+2) {
			t.Errorf("%d looks", n)
		}
		q.publish(tail, []int{1})
		p.Wake()
		if items := <-got; !slices.Equal(items, upTo(1, 4)) {
			t.Errorf("took %v", items)
		}
	})
}

func TestWakeWithNobodyAsleepLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Parker
		p.Wake() // before the first wait: no channel yet
		var done atomic.Bool
		go p.Wait(done.Load)
		synctest.Wait()
		done.Store(true)
		p.Wake()
		synctest.Wait()
		for range 3 {
			p.Wake()
		}
		if len(p.token) != 0 {
			t.Error("a token was left")
		}
	})
}

// Many wakes during one sleep send one token and cost the waiter one round, not
// many. They come during the look behind the flag, when the waiter counts as
// asleep but cannot yet take a token and sleep again in between.
func TestWakesCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Parker
		var looks atomic.Int32
		var done, awake atomic.Bool
		go func() {
			p.Wait(func() bool {
				if looks.Add(1) == 2 {
					for range 100 {
						p.Wake()
						if p.asleep.Load() { // the first has taken the flag: the others pay one load
							t.Error("a wake left the flag set")
						}
					}
					if len(p.token) != 1 {
						t.Errorf("%d tokens for 100 wakes", len(p.token))
					}
				}
				return done.Load()
			})
			awake.Store(true)
		}()
		synctest.Wait()
		// Two looks, the token, two looks, asleep.
		if n := looks.Load(); n != 4 || !p.asleep.Load() || len(p.token) != 0 {
			t.Errorf("%d looks; asleep %v, %d tokens", n, p.asleep.Load(), len(p.token))
		}
		done.Store(true)
		p.Wake()
		synctest.Wait()
		if !awake.Load() {
			t.Error("still asleep")
		}
	})
}

// A waker that was preempted between taking the flag and sending: its token
// arrives late, in a later wait, and harms nothing.
func TestLateTokenIsOnlyASpuriousLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Parker
		late := func() { // rouse, cut in two
			if !p.asleep.CompareAndSwap(true, false) {
				t.Error("nobody asleep")
			}
		}
		looks := 0
		p.Wait(func() bool {
			if looks++; looks == 2 { // behind the flag
				late()
				return true
			}
			return false
		})
		p.token <- struct{}{} // the late half

		// It comes where a third look is about to succeed: nobody takes the flag,
		// so the waiter itself must.
		looks = 0
		p.Wait(func() bool { looks++; return looks == 3 })
		if p.asleep.Load() || len(p.token) != 0 {
			t.Errorf("awake with the flag %v and %d tokens", p.asleep.Load(), len(p.token))
		}

		// It comes where nothing is ready: asleep again, and still to be woken.
		p.token <- struct{}{}
		var done, awake atomic.Bool
		go func() {
			p.Wait(done.Load)
			awake.Store(true)
		}()
		synctest.Wait()
		if awake.Load() || !p.asleep.Load() || len(p.token) != 0 {
			t.Fatalf("awake %v, asleep flag %v, %d tokens", awake.Load(), p.asleep.Load(), len(p.token))
		}
		done.Store(true)
		p.Wake()
		synctest.Wait()
		if !awake.Load() {
			t.Error("still asleep")
		}
	})
}

func TestWaitContextEndsWithItsContext(t *testing.T) {
	never := func() bool { return false }
	for _, c := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want error
		took time.Duration
	}{
		{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled, 0},
		{"cancelled asleep", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled, time.Second},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		}, context.DeadlineExceeded, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := Parker{Spin: 2}
				ctx, cancel := c.ctx(t.Context())
				defer cancel()
				began := time.Now()
				if err := p.WaitContext(ctx, never); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if d := time.Since(began); d != c.took {
					t.Errorf("after %v, want %v", d, c.took)
				}
				if p.asleep.Load() {
					t.Error("left with the flag set")
				}
				// The Parker serves the next wait.
				var done atomic.Bool
				go func() { done.Store(true); p.Wake() }()
				if err := p.WaitContext(t.Context(), done.Load); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Nil means ready: a condition that came true together with the context's end
// counts.
func TestWaitContextLooksOnceMoreAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Parker
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Bool
		go func() { done.Store(true); cancel() }() // no Wake
		if err := p.WaitContext(ctx, done.Load); err != nil {
			t.Error(err)
		}
	})
}

// Ping-pong by single items: each side sleeps as soon as it has nothing, so
// nearly every push is a chance to lose a wake-up.
func TestNoWakeUpIsLostUnderLoad(t *testing.T) {
	rounds := 50_000
	if testing.Short() {
		rounds = 5_000
	}
	for _, procs := range []int{1, 2, 4} {
		for _, spin := range []int{0, 1} {
			t.Run(fmt.Sprintf("procs=%d/spin=%d", procs, spin), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				there, back := NewMPSC[int](2), NewSPSC[int](2)
				atThere, atBack := &Parker{Spin: spin}, &Parker{Spin: spin}
				echo := func() {
					dst := make([]int, 2)
					for range rounds {
						atThere.Wait(func() bool { return !there.Empty() })
						there.PopBatch(dst[:1])
						back.Push(dst[0])
						atBack.Wake()
					}
				}
				within(t, func() {
					go echo()
					dst := make([]int, 2)
					for i := range rounds {
						there.Push(i)
						atThere.Wake()
						if err := atBack.WaitContext(context.Background(), func() bool { return !back.Empty() }); err != nil {
							t.Error(err)
						}
						if back.PopBatch(dst) != 1 || dst[0] != i {
							t.Errorf("sent %d, got %d", i, dst[0])
							return
						}
					}
				})
			})
		}
	}
}

// Several wakers and a condition each of them completes a part of: the last
// part's wake must get through whatever the others do with flag and token.
func TestManyWakersNeverLeaveTheWaiterAsleep(t *testing.T) {
	const wakers = 4
	rounds := 3_000
	if testing.Short() {
		rounds = 300
	}
	var p Parker
	within(t, func() {
		for range rounds {
			var parts atomic.Int32
			var wg sync.WaitGroup
			for range wakers {
				wg.Go(func() {
					parts.Add(1)
					p.Wake()
				})
			}
			p.Wait(func() bool { return parts.Load() == wakers })
			if p.asleep.Load() {
				t.Error("awake with the flag set")
			}
			wg.Wait()
		}
	})
}

func TestWaitAndWakeDoNotAllocate(t *testing.T) {
	p := Parker{Spin: 1}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(200, func() {
		looks := 0
		// Spins, sets the flag, wakes itself, sleeps, and finds the token.
		err := p.WaitContext(ctx, func() bool { looks++; return wakeSelf(&p, looks) })
		if err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// wakeSelf wakes p during the look behind the flag (the third, with Spin 1) and
// is ready from the fourth on.
func wakeSelf(p *Parker, look int) bool {
	if look == 3 {
		p.Wake()
	}
	return look > 3
}

// Producers sleep in turns while there is no room, the consumer while there is
// nothing, and none of them for ever.
func TestProducersWaitForRoomInTurns(t *testing.T) {
	const producers, capacity = 4, 8
	each := 10_000
	if testing.Short() {
		each = 1_000
	}
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			q := NewMPSC[int](capacity)
			var some, room Parker
			var turn sync.Mutex
			for range producers {
				go func() {
					for i := range each {
						for q.Push(i+1) != OK {
							turn.Lock()
							room.Wait(func() bool { return q.Len() <= capacity/2 })
							turn.Unlock()
						}
						some.Wake()
					}
				}()
			}
			within(t, func() {
				sum, taken, dst := 0, 0, make([]int, 3)
				for left := producers * each; left > 0; {
					n := q.PopBatch(dst)
					if taken += n; n == 0 || taken >= capacity/2 {
						taken = 0
						room.Wake()
					}
					if n == 0 {
						some.Wait(func() bool { return !q.Empty() })
					}
					for _, item := range dst[:n] {
						sum += item
					}
					left -= n
				}
				if want := producers * each * (each + 1) / 2; sum != want {
					t.Errorf("sum %d, want %d", sum, want)
				}
			})
		})
	}
}
