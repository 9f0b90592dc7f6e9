//go:build unix

package ringtest_test

import (
	"testing"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/ringtest"
)

// The threads kernel, judged.
func ExampleRun() {
	_ = func(t *testing.T) {
		ringtest.Run(t, func(entries int, opts ...aioring.Option) (*aioring.Ring, error) {
			return aioring.New(entries, append(opts, aioring.WithKernel(aioring.KernelThreads))...)
		})
	}
}

// With a way to hold up a read, the suite also sees what is said of an operation that
// nothing stops.
func ExampleWithStall() {
	_ = func(t *testing.T) {
		model := sim.New(sim.Config{})
		ringtest.Run(t, func(entries int, opts ...aioring.Option) (*aioring.Ring, error) {
			return aioring.New(entries, append(opts, aioring.WithAIO(model))...)
		}, ringtest.WithStall(func() (running, release func()) {
			gate := sim.NewGate()
			model.Inject(sim.If(sim.And(sim.At(sim.Start), sim.Reads, sim.First(1)), sim.HoldActive(gate)))
			return func() { gate.Await(1) }, gate.Open
		}))
	}
}
