//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/reactor"
)

// block is a source: one control block. Registering it fills in the sigevent.
type block struct{ aio.ControlBlock }

func (b *block) Register(kq int, token uintptr) {
	b.Sigevent = aio.Sigevent{
		Notify:      aio.NotifyKevent,
		Kqueue:      int32(kq),
		Value:       token,
		KeventFlags: aio.EvOneshot,
	}
}

func (b *block) Deregister() { b.Sigevent = aio.Sigevent{} }

// A write, submitted and reaped by hand, its end awaited.
func ExampleAio() {
	f, err := os.CreateTemp("", "aioring")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()

	kernel := sim.New(sim.Config{}) // on FreeBSD: aio.NewFreeBSD()
	driver, err := reactor.NewDriver(kernel)
	if err != nil {
		log.Fatal(err)
	}
	defer driver.Close()
	go driver.Run(context.Background())

	write, err := reactor.NewForAIO(driver, new(block))
	if err != nil {
		log.Fatal(err)
	}
	defer write.Close()

	data := []byte("hello")
	cb := &write.Source().ControlBlock
	for off := int64(0); off < 15; off += 5 {
		cb.Prepare(aio.OpWrite, int(f.Fd()), off, unsafe.Pointer(&data[0]), len(data), cb.Sigevent)
		if errno := kernel.Write(cb); errno != 0 {
			log.Fatal(errno)
		}
		event, err := write.Ready(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		n, errno := kernel.Return(cb)
		fmt.Println(event.Tick(), n, errno == 0, write.ClearReady(event))
	}
	// Output:
	// 1 5 true true
	// 2 5 true true
	// 3 5 true true
}

// Without a goroutine of its own: whoever has time takes a turn.
func ExampleDriver_Turn() {
	driver, err := reactor.NewDriver(sim.New(sim.Config{}))
	if err != nil {
		log.Fatal(err)
	}
	defer driver.Close()
	idle, err := reactor.NewForAIO(driver, new(block))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(driver.Turn())
	_, ready, err := idle.PollReady(nil)
	fmt.Println(ready, err)

	driver.Shutdown()
	_, ready, err = idle.PollReady(nil)
	fmt.Println(ready, errors.Is(err, reactor.ErrShutdown))
	idle.Close()
	// Output:
	// 0 <nil>
	// false <nil>
	// false true
}

func ExampleReadiness() {
	var r reactor.Readiness
	_, ready, _ := r.PollReady(0, reactor.NewWaker(func(error) { fmt.Println("poll again") }))
	fmt.Println(ready)

	r.Complete(0)
	event, _, _ := r.PollReady(0, nil)
	fmt.Println(event.Ready(), event.Tick())

	r.Complete(0) // another, before the clear
	fmt.Println("stale:", r.Clear(event))
	fmt.Println("current:", r.Clear(r.Poll()))
	// Output:
	// false
	// poll again
	// true 1
	// stale: false
	// current: true
}

// A waker is told when it is time to poll, or that a later poller has the place.
func ExampleWaker() {
	var r reactor.Readiness
	for _, name := range []string{"first", "second"} {
		_, _, _ = r.PollReady(0, reactor.NewWaker(func(err error) { fmt.Println(name, err) }))
	}
	r.Complete(0)
	// Output:
	// first reactor: a later poller has taken the place of this one
	// second <nil>
}

// An Event is one state of one entry. It clears no other.
func ExampleEvent() {
	var r reactor.Readiness
	r.Complete(0)
	event := r.Poll()
	fmt.Println(event.Ready(), event.Shutdown(), event.Generation(), event.Tick())

	next := r.Release()
	r.Complete(next)
	fmt.Println(r.Clear(event), r.Clear(r.Poll()))
	// Output:
	// true false 0 1
	// false true
}

// The bare queue: events in batches, and a sleep that any goroutine ends.
func ExampleReactor() {
	r, err := reactor.New(sim.New(sim.Config{}))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	go func() {
		for r.Stats().Wakes == 0 { // what wakes nobody is not kept
			r.Wake()
			runtime.Gosched()
		}
	}()
	r.PrepareSleep()
	fmt.Println(len(r.Sleep()), "events")
	// Output: 0 events
}
