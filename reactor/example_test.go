//go:build unix

package reactor_test

import (
	"fmt"
	"sync/atomic"

	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/reactor"
)

// A sleeper announces its sleep, looks once more, and sleeps; whoever has news
// makes it visible first and calls Wake second. So no wake-up is lost.
func Example() {
	k := sim.New(sim.Config{})
	defer k.Shutdown()
	r, err := reactor.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()

	var news atomic.Bool
	go func() {
		news.Store(true)
		r.Wake()
	}()
	for !news.Load() {
		r.PrepareSleep()
		if news.Load() {
			r.CancelSleep()
			break
		}
		for _, ev := range r.Sleep() {
			fmt.Println("job", ev.Ident) // the wake-up itself is not among them
		}
	}
	fmt.Println("awake")
	// Output: awake
}

// Stats tells how often it was worth asking.
func ExampleReactor_Stats() {
	k := sim.New(sim.Config{})
	defer k.Shutdown()
	r, err := reactor.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()

	r.Poll()
	r.Wake() // nobody sleeps: no system call
	fmt.Printf("%+v\n", r.Stats())
	// Output: {Polls:1 Sleeps:0 Wakes:0 Events:0 Timers:0 Fds:0 Stale:0}
}
