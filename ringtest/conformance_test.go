//go:build unix

package ringtest_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/ringtest"
)

// Every kernel of this system.
func TestConformance(t *testing.T) {
	kernels := []string{aioring.KernelSim, aioring.KernelThreads}
	switch runtime.GOOS {
	case "freebsd":
		kernels = append(kernels, aioring.KernelFreeBSD)
	case "linux":
		kernels = append(kernels, aioring.KernelURing)
	}
	for _, kernel := range kernels {
		t.Run(kernel, func(t *testing.T) {
			before := runtime.NumGoroutine()
			if kernel == aioring.KernelSim {
				model := sim.New(sim.Config{})
				ringtest.Run(t, factory(aioring.WithAIO(model)), ringtest.WithStall(stall(model)))
				if err := model.Shutdown(); err != nil {
					t.Error(err)
				}
			} else {
				ringtest.Run(t, factory(aioring.WithKernel(kernel)))
			}
			wantGoroutines(t, before)
		})
	}
}

// factory makes rings on one kernel.
func factory(kernel aioring.Option) ringtest.Factory {
	return func(entries int, opts ...aioring.Option) (*aioring.Ring, error) {
		return aioring.New(entries, append(opts, kernel)...)
	}
}

// stall holds the next read in the model.
func stall(k *sim.Kernel) ringtest.Stall {
	return func() (running, release func()) {
		gate := sim.NewGate()
		k.Inject(sim.If(sim.And(sim.At(sim.Start), sim.Reads, sim.First(1)), sim.HoldActive(gate)))
		return func() { gate.Await(1) }, gate.Open
	}
}

// wantGoroutines waits until there are no more than before.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
