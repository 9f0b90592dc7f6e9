//go:build unix

package sim_test

import (
	"fmt"
	"testing"
	"time"

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
				New:       func(t *testing.T) aio.Kernel { return newProcess(t, sim.Config{Profile: c.profile}) },
				Osreldate: c.profile.OSRelDate(),
				IsModel:   true,
				SetLimits: func(k aio.Kernel, l aio.Limits) error {
					k.(*sim.Kernel).SetLimits(l)
					return nil
				},
				Sysctl:  sysctl,
				Disk:    newDisk,
				Signals: signals,
				Stall:   c.stall,
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
						Sysctl:   sysctl,
						Stall:    stall,
						Progress: func(k aio.Kernel) { k.(*sim.Kernel).Step() },
						Now:      func(k aio.Kernel) time.Time { return k.(*sim.Kernel).System().Time() },
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

func sysctl(k aio.Kernel, name string) (int, error) {
	v, errno := k.(*sim.Kernel).System().Sysctl(name)
	if errno != 0 {
		return 0, errno
	}
	return v, nil
}

// newDisk is a disk of the process's machine.
func newDisk(t *testing.T, k aio.Kernel, kind aiotest.DiskKind) string {
	d, err := k.(*sim.Kernel).System().NewDevice(t.TempDir(), sim.DeviceConfig{Size: 8 << 20, Mapped: kind == aiotest.DiskMapped})
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
