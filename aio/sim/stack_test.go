//go:build unix

package sim_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/batch"
	"github.com/aioring/aioring/reactor"
)

// The layers above run in one goroutine over a stepped kernel, faults and all, and
// a seed is a history of the whole.
func TestBatchAndReactorStepped(t *testing.T) {
	for seed := range uint64(50) {
		a, b := stack(t, seed), stack(t, seed)
		if !bytes.Equal(a, b) {
			t.Fatalf("seed %d has two histories", seed)
		}
	}
}

func stack(t *testing.T, seed uint64) []byte {
	t.Helper()
	var trace bytes.Buffer
	k := sim.New(sim.Config{
		Stepped: true, Seed: seed, Trace: &trace,
		Limits: aio.Limits{MaxQueuePerProc: 12, MaxQueue: 16},
		Faults: []sim.Fault{
			sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed, 0.2)), sim.Fail(aio.EAGAIN)),
			sim.If(sim.And(sim.At(sim.Sleep), sim.Randomly(seed+1, 0.1)), sim.Fail(aio.EINTR)),
			sim.If(sim.And(sim.At(sim.Transfer), sim.Randomly(seed+2, 0.1)), sim.Short(1)),
			sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+3, 0.1)), sim.Early()),
		},
	})
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, what, err)
		}
	}
	fd, errno := k.Open("file", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		check("open", errno)
	}
	events, err := reactor.New(k)
	check("reactor", err)
	budget, err := batch.ShareBudget(k)
	check("budget", err)
	done, elsewhere := 0, 0
	var reaped []*batch.Job
	b, err := batch.New(batch.Config{
		Kernel: k, Kqueue: events.Kqueue(), Budget: budget,
		Done: func(j *batch.Job) {
			done++
			reaped = append(reaped, j)
			fmt.Fprintln(&trace, "done", j.ID, j.N, j.Errno)
		},
		Hold:      func(j *batch.Job) (errno aio.Errno) { j.Fd, errno = k.Dup(j.Fd); return errno },
		Elsewhere: func(j *batch.Job) { elsewhere++ },
	})
	check("batch", err)
	jobs := make([]batch.Job, 40)
	for i := range jobs {
		jobs[i] = batch.Job{ID: uint32(i), Op: []batch.Op{batch.Write, batch.Read, batch.Fsync}[i%3], Fd: fd, Off: int64(i * 4)}
		if jobs[i].Op != batch.Fsync {
			jobs[i].Buf = make([]byte, 4)
		}
		b.Add(&jobs[i])
	}
	b.Flush()
	settle := func() {
		for _, j := range reaped {
			b.Settle(j)
		}
		reaped = reaped[:0]
	}
	for rounds := 0; done+elsewhere < len(jobs); rounds++ {
		if rounds > 1000 {
			t.Fatalf("seed %d: %d of %d jobs are done, and no end\n%s", seed, done+elsewhere, len(jobs), trace.Bytes())
		}
		if b.InKernel() == 0 {
			b.Flush() // what waits with nothing in the kernel gets another turn
			continue
		}
		b.Harvest(events.Sleep())
		check("sleep", events.Err())
		settle()
		b.Flush()
	}
	settle()
	check("close", events.Close())
	check("close", b.Close())
	check("shutdown", k.Shutdown())
	return trace.Bytes()
}
