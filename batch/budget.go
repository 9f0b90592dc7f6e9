package batch

import (
	"sync"
	"sync/atomic"

	"github.com/aioring/aioring/aio"
)

// Budget shares one process's AIO jobs among its rings: the kernel counts them
// for the process, accepted and not reaped.
type Budget struct {
	kernel aio.Kernel
	used   atomic.Int64
	high   atomic.Int64
	limit  atomic.Int64
	users  int // guarded by budgets

	// hungry is set when somebody found no room. When nothing is in the kernel
	// after that, the limit is read anew: it may have been raised.
	hungry atomic.Bool
}

// budgets holds one Budget for each kernel in use.
var budgets struct {
	sync.Mutex
	of map[aio.Kernel]*Budget
}

// ShareBudget returns the Budget of a kernel, the same for all that ask while one
// of them has not called Release. A kernel that may not read its limits but knows
// what they were is believed.
func ShareBudget(k aio.Kernel) (*Budget, error) {
	budgets.Lock()
	defer budgets.Unlock()
	if b := budgets.of[k]; b != nil {
		b.users++
		return b, nil
	}
	b := &Budget{kernel: k, users: 1}
	l, err := k.Limits()
	if err != nil && l == (aio.Limits{}) {
		return nil, err
	}
	b.limit.Store(limitOf(l))
	if budgets.of == nil {
		budgets.of = make(map[aio.Kernel]*Budget)
	}
	budgets.of[k] = b
	return b, nil
}

// Release ends one user's share.
func (b *Budget) Release() {
	budgets.Lock()
	defer budgets.Unlock()
	if b.users--; b.users == 0 {
		delete(budgets.of, b.kernel)
	}
}

// Reread asks the kernel for its limits again. When that fails, as it may in a
// sandbox, the limit stays: it may have been learned from a refusal.
func (b *Budget) Reread() error {
	l, err := b.kernel.Limits()
	if err != nil {
		return err
	}
	b.limit.Store(limitOf(l))
	return nil
}

func limitOf(l aio.Limits) int64 { return int64(max(1, min(l.MaxQueuePerProc, l.MaxQueue))) }

// tooLong learns from the refusal of a list of n jobs: the limit is lower now. If
// the sysctls do not say so, or cannot be read (in a sandbox), half of n it is.
func (b *Budget) tooLong(n int) {
	if err := b.Reread(); err != nil || b.Limit() >= n {
		b.limit.Store(int64(max(1, n/2)))
	}
}

// Limit is the most jobs the process may have unreaped, and the longest list.
func (b *Budget) Limit() int { return int(b.limit.Load()) }

// Used is how many jobs the process's rings have in the kernel now.
func (b *Budget) Used() int { return int(b.used.Load()) }

// HighWater is the most that Used ever was.
func (b *Budget) HighWater() int { return int(b.high.Load()) }

// take claims up to n jobs and returns how many it got.
func (b *Budget) take(n int) int {
	if b.hungry.Load() && b.used.Load() == 0 && b.hungry.CompareAndSwap(true, false) {
		_ = b.Reread() // where the sysctls cannot be read, what is known holds
	}
	for {
		used := b.used.Load()
		got := min(int64(n), b.limit.Load()-used)
		if got < int64(n) {
			b.hungry.Store(true)
		}
		if got <= 0 {
			return 0
		}
		if b.used.CompareAndSwap(used, used+got) {
			for high := b.high.Load(); used+got > high && !b.high.CompareAndSwap(high, used+got); high = b.high.Load() {
			}
			return int(got)
		}
	}
}

// give returns what take claimed.
func (b *Budget) give(n int) { b.used.Add(-int64(n)) }
