//go:build unix

package batch

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

func share(t testing.TB, k aio.Kernel) *Budget {
	t.Helper()
	b, err := ShareBudget(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBudgetIsOneForAllUsersOfAKernelUntilTheLastGoes(t *testing.T) {
	k, other := sim.New(sim.Config{}), sim.New(sim.Config{})
	a, b, c := share(t, k), share(t, k), share(t, other)
	if a != b || a == c {
		t.Fatal("budgets are shared by those of one kernel only")
	}
	a.take(3)
	b.Release()
	if d := share(t, k); d != a || d.Used() != 3 {
		t.Error("the budget went while it had a user")
	} else {
		d.Release()
	}
	a.Release()
	if len(budgets.of) != 1 {
		t.Errorf("%d budgets are kept, want the other kernel's", len(budgets.of))
	}
	d := share(t, k)
	if d == a || d.Used() != 0 {
		t.Error("the budget outlived its last user")
	}
	d.Release()
	c.Release()
	if len(budgets.of) != 0 {
		t.Errorf("%d budgets are kept", len(budgets.of))
	}
}

func TestBudgetIsSharedAndReleasedByManyAtOnce(t *testing.T) {
	k := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 8}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				b, err := ShareBudget(k)
				if err != nil {
					t.Error(err)
					return
				}
				b.give(b.take(2))
				b.Release()
			}
		})
	}
	wg.Wait()
	if len(budgets.of) != 0 {
		t.Errorf("%d budgets are kept", len(budgets.of))
	}
}

func TestBudgetThatCannotReadTheLimitsIsNotMade(t *testing.T) {
	k := &seam{Kernel: sim.New(sim.Config{})}
	k.limits = func() (aio.Limits, error) { return aio.Limits{}, aio.EPERM }
	if b, err := ShareBudget(k); b != nil || !errors.Is(err, aio.EPERM) {
		t.Errorf("%v, %v", b, err)
	}
	k.limits = nil
	share(t, k).Release()
}

// In a sandbox the kernel says what it knew before. What is learned from a refusal
// counts for more.
func TestBudgetInASandboxKeepsWhatIsKnown(t *testing.T) {
	k := &seam{limits: func() (aio.Limits, error) {
		return aio.Limits{MaxQueue: 1024, MaxQueuePerProc: 256}, aio.EPERM
	}}
	b := share(t, k)
	defer b.Release()
	if b.Limit() != 256 {
		t.Errorf("limit %d at the start, want 256", b.Limit())
	}
	b.tooLong(200)
	if err := b.Reread(); !errors.Is(err, aio.EPERM) || b.Limit() != 100 {
		t.Errorf("%v, limit %d, want 100, half of what was refused", err, b.Limit())
	}
	b.take(b.take(1000)) // finds no room, so the limit is read again when nothing is used
	b.give(b.Used())
	b.take(1)
	if b.Limit() != 100 {
		t.Errorf("limit %d, want 100 still", b.Limit())
	}
}

func TestLimitIsTheSmallerSysctlAndAtLeastOne(t *testing.T) {
	for _, c := range []struct{ queue, perProc, want int }{
		{1024, 256, 256}, {100, 256, 100}, {0, 256, 1}, {256, 0, 1}, {-1, 256, 1}, {1, 1, 1},
	} {
		k := &seam{limits: func() (aio.Limits, error) { return aio.Limits{MaxQueue: c.queue, MaxQueuePerProc: c.perProc}, nil }}
		b := share(t, k)
		if b.Limit() != c.want {
			t.Errorf("%+v: limit %d", c, b.Limit())
		}
		b.Release()
	}
}

func TestTakeAndGiveStayWithinTheLimit(t *testing.T) {
	const limit = 10
	b := share(t, sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: limit}}))
	defer b.Release()
	for _, c := range []struct{ want, got int }{{4, 4}, {10, 6}, {1, 0}, {0, 0}} {
		if got := b.take(c.want); got != c.got {
			t.Errorf("take(%d) is %d with %d used", c.want, got, b.Used())
		}
	}
	b.give(10)
	if b.Used() != 0 || b.HighWater() != limit {
		t.Errorf("used %d, high water %d", b.Used(), b.HighWater())
	}

	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(w, 0))
			for range 30000 {
				n := b.take(rnd.IntN(limit + 3))
				if used := b.Used(); used < n || used > limit {
					t.Errorf("used %d while %d are ours", used, n)
				}
				b.give(n)
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.HighWater() != limit {
		t.Errorf("used %d, high water %d", b.Used(), b.HighWater())
	}
}

func TestRereadFollowsTheSysctls(t *testing.T) {
	k := sim.New(sim.Config{})
	b := share(t, k)
	defer b.Release()
	if b.Limit() != 256 || b.take(200) != 200 {
		t.Fatalf("limit %d", b.Limit())
	}
	k.SetLimits(aio.Limits{MaxQueuePerProc: 100})
	if b.Limit() != 256 {
		t.Error("the limit changed by itself")
	}
	if err := b.Reread(); err != nil || b.Limit() != 100 {
		t.Errorf("limit %d, %v", b.Limit(), err)
	}
	if n := b.take(1); n != 0 { // more are used than there may be
		t.Errorf("took %d", n)
	}
	b.give(150)
	if n := b.take(100); n != 50 {
		t.Errorf("took %d, want 50", n)
	}
	k.SetLimits(aio.Limits{MaxQueuePerProc: 300})
	if err := b.Reread(); err != nil || b.Limit() != 300 {
		t.Errorf("limit %d, %v", b.Limit(), err)
	}
}

func TestTooLongBelievesASmallerSysctlElseHalves(t *testing.T) {
	k := &seam{}
	now, failure := 256, error(nil)
	k.limits = func() (aio.Limits, error) { return aio.Limits{MaxQueue: 1024, MaxQueuePerProc: now}, failure }
	b := share(t, k)
	defer b.Release()
	for _, c := range []struct {
		sysctl  int
		failure error
		n, want int
	}{
		{100, nil, 256, 100},
		{256, nil, 256, 128},
		{256, nil, 7, 3},
		{7, nil, 7, 3},
		{6, nil, 7, 6},
		{256, nil, 1, 1},
		{256, errors.New("hidden"), 64, 32},
		{256, errors.New("hidden"), 1, 1},
	} {
		now, failure = c.sysctl, c.failure
		b.tooLong(c.n)
		if b.Limit() != c.want {
			t.Errorf("%+v: limit %d", c, b.Limit())
		}
	}
}

// Several rings fill one budget, and the kernel never refuses one of them.
func TestRingsOfOneProcessNeverExceedItsLimit(t *testing.T) {
	model := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 16}})
	rigs := make([]*rig, 3)
	for i := range rigs {
		rigs[i] = rigOn(t, model, nil)
	}
	var wg sync.WaitGroup
	for _, r := range rigs {
		wg.Go(func() {
			for range 200 {
				r.addN(7)
				r.finish()
			}
		})
	}
	wg.Wait()
	for i, r := range rigs {
		if st := r.Stats(); st.Again != 0 {
			t.Errorf("ring %d: %+v", i, st)
		}
	}
	if h := rigs[0].Budget().HighWater(); h > 16 {
		t.Errorf("high water %d", h)
	}
}
