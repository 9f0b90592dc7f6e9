//go:build unix

package sim_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/aiotest"
	"github.com/aioring/aioring/aio/sim"
)

// The model is right where it does what the kernel does: the suite that judges
// both is in aio/aiotest.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile sim.Profile
		stall   func(k aio.Kernel, cb *aio.ControlBlock) (release func())
	}{
		{"13", sim.V13, nil},
		{"14", sim.V14, nil},
		{"15", sim.V15, nil},
		{"15 queued", sim.V15, stall},
	} {
		t.Run(c.name, func(t *testing.T) {
			aiotest.Run(t, aiotest.Target{
				New:       func(t *testing.T) aio.Kernel { return newProcess(t, c.profile) },
				Osreldate: c.profile.OSRelDate(),
				IsModel:   true,
				SetLimits: func(k aio.Kernel, l aio.Limits) error {
					k.(*sim.Kernel).SetLimits(l)
					return nil
				},
				Disk:    newDisk,
				Signals: signals,
				Stall:   c.stall,
			})
		})
	}
}

// newProcess is a process of the model for one case, on a machine of its own.
func newProcess(t *testing.T, profile sim.Profile) *sim.Kernel {
	k := sim.New(sim.Config{Profile: profile})
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

// newDisk is a disk of the process's machine.
func newDisk(t *testing.T, k aio.Kernel, kind aiotest.DiskKind) string {
	d, err := k.(*sim.Kernel).System().NewDisk(t.TempDir(), sim.DiskConfig{Size: 8 << 20, Mapped: kind == aiotest.DiskMapped})
	if err != nil {
		t.Fatal(err)
	}
	return d.Path()
}

func signals(t *testing.T, k aio.Kernel, _ ...unix.Signal) <-chan unix.Signal {
	sent, caught, done := k.(*sim.Kernel).Signals(), make(chan unix.Signal, 16), make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case s := <-sent:
				caught <- unix.Signal(s.No)
			case <-done:
				return
			}
		}
	}()
	return caught
}

func stall(k aio.Kernel, cb *aio.ControlBlock) (release func()) {
	gate := sim.NewGate()
	k.(*sim.Kernel).Inject(sim.If(sim.And(sim.At(sim.Submit), sim.Block(cb), sim.First(1)), sim.HoldQueued(gate)))
	return gate.Open
}
