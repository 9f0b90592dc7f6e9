//go:build unix

package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/aiotest"
	"github.com/aioring/aioring/aio/sim"
)

// The model is right where it does what the kernel does: the suite that judges
// both is in aio/aiotest.
func TestConformance(t *testing.T) {
	for name, profile := range map[string]sim.Profile{"13": sim.V13, "14": sim.V14, "15": sim.V15} {
		t.Run(name, func(t *testing.T) {
			aiotest.Run(t, aiotest.Target{
				New:       func(t *testing.T) aio.Kernel { return newProcess(t, sim.Config{Profile: profile}) },
				Osreldate: profile.OSRelDate(),
				IsModel:   true,
				SetLimits: func(k aio.Kernel, l aio.Limits) error {
					k.(*sim.Kernel).SetLimits(l)
					return nil
				},
				Stall: stall,
			})
		})
	}
}

// In stepped mode the same rules hold, under every schedule. Descriptors are the
// host's here, for the cases open their own.
func TestConformanceStepped(t *testing.T) {
	for name, profile := range map[string]sim.Profile{"13": sim.V13, "14": sim.V14, "15": sim.V15} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					aiotest.Run(t, aiotest.Target{
						New: func(t *testing.T) aio.Kernel {
							return newProcess(t, sim.Config{Profile: profile, Stepped: true, Seed: seed, HostFiles: true})
						},
						Osreldate: profile.OSRelDate(),
						IsModel:   true,
						SetLimits: func(k aio.Kernel, l aio.Limits) error {
							k.(*sim.Kernel).SetLimits(l)
							return nil
						},
						Stall:    stall,
						Progress: func(k aio.Kernel) { k.(*sim.Kernel).Step() },
						Now:      func(k aio.Kernel) time.Time { return time.Unix(0, 0).Add(k.(*sim.Kernel).Now()) },
					})
				})
			}
		})
	}
}

// newProcess is a process of the model for one case, on a machine of its own.
func newProcess(t *testing.T, cfg sim.Config) *sim.Kernel {
	k := sim.New(cfg)
	t.Cleanup(func() {
		// What the model calls misuse is what many cases are about. What must not
		// be is a job that was left.
		if st := k.Stats(); st.Unfinished != 0 || st.Done != 0 {
			t.Errorf("jobs are left: %+v", st)
		}
		_ = k.Shutdown()
	})
	return k
}

func stall(k aio.Kernel, cb *aio.ControlBlock) (release func()) {
	gate := sim.NewGate()
	k.(*sim.Kernel).Inject(sim.If(sim.And(sim.At(sim.Submit), sim.Block(cb), sim.First(1)), sim.HoldQueued(gate)))
	return gate.Open
}
