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
