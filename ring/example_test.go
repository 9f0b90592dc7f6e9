package ring_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aioring/aioring/ring"
)

// Several goroutines push batches; one takes them until the ring is closed and
// drained.
func ExampleMPSC() {
	q := ring.NewMPSC[int](64)
	p := &ring.Parker{Spin: ring.DefaultSpin}

	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			if s := q.PushN([]int{1, 2, 3}); s != ring.OK {
				fmt.Println("refused:", s)
				return
			}
			p.Wake()
		})
	}
	go func() {
		producers.Wait()
		q.Close()
		p.Wake()
	}()

	sum, dst := 0, make([]int, 16)
	for !q.Drained() {
		p.Wait(func() bool { return !q.Empty() || q.Drained() })
		for _, v := range dst[:q.PopBatch(dst)] {
			sum += v
		}
	}
	fmt.Println(sum)
	// Output: 24
}

// A batch is contiguous and is taken whole or not at all.
func ExampleMPSC_PushN() {
	q := ring.NewMPSC[string](4)
	fmt.Println(q.PushN([]string{"read", "write", "fsync"}))
	fmt.Println(q.PushN([]string{"read", "write"}))
	fmt.Println(q.Len())
	// Output:
	// OK
	// Full
	// 3
}

// One goroutine produces, another consumes.
func ExampleSPSC() {
	q := ring.NewSPSC[int](8)
	p := &ring.Parker{Spin: ring.DefaultSpin}
	go func() {
		for i := range 5 {
			q.Push(i) // never Full here: 5 of 8
			p.Wake()
		}
		q.Close()
		p.Wake()
	}()

	dst := make([]int, 8)
	for !q.Drained() {
		p.Wait(func() bool { return !q.Empty() || q.Drained() })
		for _, v := range dst[:q.PopBatch(dst)] {
			fmt.Print(v, " ")
		}
	}
	// Output: 0 1 2 3 4
}

// A wait that a context ends.
func ExampleParker_WaitContext() {
	var p ring.Parker
	q := ring.NewSPSC[int](2)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(p.WaitContext(ctx, func() bool { return !q.Empty() }))

	q.Push(1)
	fmt.Println(p.WaitContext(ctx, func() bool { return !q.Empty() }))
	// Output:
	// context deadline exceeded
	// <nil>
}

func ExampleParker() {
	var p ring.Parker // sleeps at once; set Spin to look a few times before
	q := ring.NewMPSC[string](2)
	go func() {
		q.Push("done") // first make it true,
		p.Wake()       // then wake
	}()
	p.Wait(func() bool { return !q.Empty() })
	dst := make([]string, 1)
	q.PopBatch(dst)
	fmt.Println(dst[0])
	// Output: done
}

// What a producer does with each answer.
func ExampleStatus() {
	q := ring.NewMPSC[int](2)
	try := func(items ...int) {
		switch s := q.PushN(items); s {
		case ring.OK:
			fmt.Println("taken")
		case ring.Full:
			fmt.Println("wait for the consumer")
		case ring.TooBig:
			fmt.Println("split the batch")
		case ring.Closed:
			fmt.Println("give up")
		}
	}
	try(1)
	try(2, 3)
	try(1, 2, 3)
	q.Close()
	try(4)
	// Output:
	// taken
	// wait for the consumer
	// split the batch
	// give up
}
