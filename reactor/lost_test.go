//go:build unix

package reactor

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// closed closes a reactor's queue by its number, as a stranger would, and gives the
// number to another queue if it is to.
func closed(t *testing.T, k aio.Kernel, r *Reactor, reused bool) {
	t.Helper()
	if errno := k.CloseKqueue(r.Kqueue()); errno != 0 {
		t.Fatal(errno)
	}
	for reused {
		other, err := New(k)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := other.Close(); err != nil {
				t.Errorf("the other's queue was touched: %v", err)
			}
		})
		reused = other.Kqueue() != r.Kqueue()
	}
}

// A queue that somebody else has closed while a goroutine is asleep in it: the kernel
// tells nobody. The next Wake or Check finds out, and the sleeper returns, even if the
// number is another reactor's by then.
func TestLostQueueLetsItsSleeperGo(t *testing.T) {
	for _, reused := range []bool{false, true} {
		for name, notice := range map[string]func(*Reactor) error{
			"wake":  func(r *Reactor) error { r.Wake(); return nil },
			"check": func(r *Reactor) error { return r.Check() },
			"timer": func(r *Reactor) error { r.AddTimer(0, 1); return nil },
		} {
			if reused {
				name += ", number reused"
			}
			t.Run(name, func(t *testing.T) {
				eachKernel(t, func(t *testing.T, k aio.Kernel) {
					lostUnderASleeper(t, k, reused, notice)
				})
			})
		}
	}
}

func lostUnderASleeper(t *testing.T, k aio.Kernel, reused bool, notice func(*Reactor) error) {
	r, err := New(k)
	if err != nil {
		t.Fatal(err)
	}
	r.PrepareSleep()
	slept := make(chan error)
	go func() {
		r.Sleep()
		slept <- r.Err()
	}()
	for r.inside.Load() == 0 {
		runtime.Gosched()
	}
	if m, ok := k.(*sim.Kernel); ok { // which tells that it is asleep
		for m.Stats().Sleeps == 0 {
			runtime.Gosched()
		}
	}
	closed(t, k, r, reused)
	within(t, func() {
		if err := notice(r); err != nil && !errors.Is(err, aio.EBADF) && !errors.Is(err, aio.ENOENT) {
			t.Errorf("Check: %v", err)
		}
		if err := <-slept; err == nil {
			t.Error("the sleeper learned nothing")
		}
	})
	if r.Check() == nil || len(r.Poll()) != 0 || r.Err() == nil {
		t.Error("the loss is forgotten")
	}
	if err := r.Close(); err == nil {
		t.Error("Close closed the number of another queue")
	}
}

// The driver of a lost queue ends, and lets its waiters go, at the latest when it is
// shut down or its Run is to end.
func TestLostQueueEndsTheDriver(t *testing.T) {
	for name, notice := range map[string]func(d *Driver, cancel func()){
		"shutdown": func(d *Driver, _ func()) { d.Shutdown() },
		"context":  func(_ *Driver, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			eachKernel(t, func(t *testing.T, k aio.Kernel) {
				d, err := NewDriver(k)
				if err != nil {
					t.Fatal(err)
				}
				a, err := NewForAIO(d, &byHand{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ran, waited := make(chan error, 1), make(chan error, 1)
				go func() { ran <- d.Run(ctx) }()
				go func() { _, err := a.Ready(context.Background()); waited <- err }()
				for d.reactor.inside.Load() == 0 {
					runtime.Gosched()
				}
				closed(t, k, d.reactor, false)
				within(t, func() {
					notice(d, cancel)
					if err := <-ran; err == nil {
						t.Error("Run ended without an error")
					}
					if name == "context" {
						d.Shutdown()
					}
					if err := <-waited; err != ErrShutdown {
						t.Errorf("Ready: %v", err)
					}
				})
				a.Close()
				if err := d.Close(); err == nil {
					t.Error("Close closed a number that was not its own any more")
				}
			})
		})
	}
}

// Check changes nothing of a queue that is there, not even a wake-up that is under way.
func TestCheckOfAQueueThatIsThere(t *testing.T) {
	host, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	check := func(t *testing.T, r *Reactor) {
		for range 100 {
			r.PrepareSleep()
			r.Wake()
			if err := r.Check(); err != nil {
				t.Fatal(err)
			}
			within(t, func() { r.Sleep() })
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("host", func(t *testing.T) { check(t, host) })
	eachKernel(t, func(t *testing.T, k aio.Kernel) { check(t, open(t, k)) })
}
