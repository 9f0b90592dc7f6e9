//go:build unix && !race

package reactor

import (
	"testing"

	"github.com/aioring/aioring/aio"
)

func TestSleepWakeAndPollAllocateNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		r := open(t, k)
		if n := testing.AllocsPerRun(200, func() { r.Poll() }); n != 0 {
			t.Errorf("Poll: %v allocations", n)
		}
		if n := testing.AllocsPerRun(200, func() {
			r.PrepareSleep()
			r.Wake()
			r.Sleep()
		}); n != 0 {
			t.Errorf("Wake and Sleep: %v allocations", n)
		}
	})
}

func TestTimersAndWatchesAllocateNothing(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		k, ok := r.kernel.(aio.Kernel)
		model := ok && k.Name() == "sim" // which allocates for a descriptor's event
		in, out := pipe(t)
		say(t, out)
		if n := testing.AllocsPerRun(200, func() {
			r.AddTimer(r.Now(), 1)
			r.CancelTimer(r.AddTimer(r.Now()+1<<40, 2))
			due := 1
			if !model {
				if _, errno := r.AddFd(in, In, 3); errno != 0 {
					t.Fatal(errno)
				}
				w, _ := r.AddFd(out, Out, 4)
				r.RemoveFd(w)
				due++
			}
			for got := 0; got < due; got += len(r.Notices()) {
				r.PrepareSleep()
				r.Sleep()
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
