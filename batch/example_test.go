//go:build unix

package batch_test

import (
	"fmt"
	"os"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/batch"
	"github.com/aioring/aioring/reactor"
)

// The whole way of a few jobs: Add, Flush, Harvest, Settle.
func Example() {
	f, err := os.CreateTemp("", "batch")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(f.Name())
	defer f.Close()
	f.WriteString("one two three ")

	k := sim.New(sim.Config{})
	defer k.Shutdown()
	events, err := reactor.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer events.Close()
	budget, err := batch.ShareBudget(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	var done []*batch.Job
	b, err := batch.New(batch.Config{
		Kernel: k, Kqueue: events.Kqueue(), Budget: budget,
		Done:      func(j *batch.Job) { done = append(done, j) },
		Hold:      func(j *batch.Job) aio.Errno { return aio.EMFILE }, // not needed for two jobs
		Elsewhere: func(j *batch.Job) { fmt.Println("job", j.ID, "needs a plain call") },
	})
	if err != nil {
		budget.Release()
		fmt.Println(err)
		return
	}
	defer b.Close()

	jobs := []batch.Job{
		{ID: 1, Op: batch.Read, Fd: int(f.Fd()), Off: 0, Buf: make([]byte, 3)},
		{ID: 2, Op: batch.Read, Fd: int(f.Fd()), Off: 4, Buf: make([]byte, 3)},
	}
	for i := range jobs {
		b.Add(&jobs[i])
	}
	b.Flush()
	for len(done) < len(jobs) {
		b.Harvest(events.Sleep())
	}
	for i := range jobs {
		fmt.Printf("job %d: %d bytes, %q\n", jobs[i].ID, jobs[i].N, jobs[i].Buf)
		b.Settle(&jobs[i]) // which lets go of Buf
	}
	fmt.Println("lists:", b.Stats().Lists)
	// Output:
	// job 1: 3 bytes, "one"
	// job 2: 3 bytes, "two"
	// lists: 1
}

// All users of one kernel share one Budget.
func ExampleShareBudget() {
	k := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 100}})
	defer k.Shutdown()
	a, _ := batch.ShareBudget(k)
	b, _ := batch.ShareBudget(k)
	fmt.Println(a == b, a.Limit(), a.Used())
	a.Release()
	b.Release()
	// Output: true 100 0
}
