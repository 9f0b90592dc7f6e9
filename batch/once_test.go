//go:build unix

package batch

import (
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// addOnce adds n reads that are not to wait.
func (r *rig) addOnce(n int) []*Job {
	jobs := make([]*Job, n)
	for i := range jobs {
		jobs[i] = r.job(Read, int64(i)*8)
		jobs[i].Once = true
		r.addJob(jobs[i])
	}
	return jobs
}

// refused counts the jobs that were handed back, which have nothing but EAGAIN.
func refused(t *testing.T, jobs []*Job) int {
	t.Helper()
	n := 0
	for _, j := range jobs {
		if !j.Refused {
			continue
		}
		n++
		if j.Errno != aio.EAGAIN || j.N != 0 {
			t.Errorf("handed back with %d, %v", j.N, j.Errno)
		}
	}
	return n
}

func TestOnceDoesNotWait(t *testing.T) {
	for name, cfg := range map[string]sim.Config{
		"cap of three":  {Limits: aio.Limits{MaxQueuePerProc: 3}},
		"every second":  {Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.Every(2)), sim.Fail(aio.EAGAIN))}},
		"none accepted": {Faults: []sim.Fault{sim.If(sim.At(sim.Submit), sim.Fail(aio.EAGAIN))}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cfg)
			jobs := r.addOnce(8)
			r.Flush()
			n := refused(t, jobs)
			if n == 0 || r.Waiting() != 0 || len(r.holds) != 0 || len(r.elsewhere) != 0 {
				t.Errorf("%d handed back, %d wait, %d held, %d elsewhere", n, r.Waiting(), len(r.holds), len(r.elsewhere))
			}
			if got := r.InKernel() + n; got < 8 { // settled ones count as in the kernel until then
				t.Errorf("%d of 8", got)
			}
			r.finish()
			if after := refused(t, jobs); after != n {
				t.Errorf("%d handed back, later %d", n, after)
			}
			if s := r.Stats(); s.Requeued != 0 || s.Held != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A list that is longer than the limit became is refused whole, and handed back whole.
func TestOnceInAListTooLong(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 8}})
	r.model.SetLimits(aio.Limits{MaxQueuePerProc: 4})
	jobs := r.addOnce(8)
	r.Flush()
	if n := refused(t, jobs); n != 8 {
		t.Errorf("%d of 8 handed back", n)
	}
}

// Those that may wait do so beside those that may not.
func TestOnceBesideThoseThatWait(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 2}})
	r.addN(4)
	once := r.addOnce(2)
	r.Flush()
	if n := refused(t, once); n != 2 || r.Waiting() != 2 {
		t.Errorf("%d handed back, %d wait", n, r.Waiting())
	}
}

// Only want of room hands back.
func TestOnceElsewhere(t *testing.T) {
	r := newRig(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Submit), sim.Entry(1)), sim.Fail(aio.EOPNOTSUPP)),
		sim.If(sim.And(sim.At(sim.Submit), sim.Entry(2)), sim.Fail(aio.EBADF)),
	}})
	jobs := r.addOnce(4)
	r.Flush()
	if n := refused(t, jobs); n != 0 || len(r.elsewhere) != 1 || r.elsewhere[0] != jobs[1] || jobs[2].Errno != aio.EBADF {
		t.Errorf("%d handed back, %d elsewhere, %v", n, len(r.elsewhere), jobs[2].Errno)
	}
}

// Without the event queue: what is in the kernel is found by asking, each job once,
// and what is not runs elsewhere.
func TestJobsAreFoundWithoutTheirEvents(t *testing.T) {
	gate := sim.NewGate()
	r := newRig(t, sim.Config{
		Limits: aio.Limits{MaxQueuePerProc: 4},
		Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Start), sim.Offset(0, 16)), sim.HoldActive(gate))},
	})
	r.addN(7)
	r.Flush()
	r.wantEnds(0, 0, 3)
	r.Divert()
	r.wantEnds(0, 3, 0)
	r.Await(r.Unfinished())
	n := 0
	for n < 2 {
		n += r.HarvestFinished()
	}
	r.settle()
	if n != 2 || r.live != 2 || r.HarvestFinished() != 0 || len(r.Unfinished()) != 2 {
		t.Errorf("%d reaped, %d in the kernel, %d unfinished", n, r.live, len(r.Unfinished()))
	}
	gate.Open()
	for n < 4 {
		r.Await(r.Unfinished())
		n += r.HarvestFinished()
		r.settle()
	}
	r.wantEnds(4, 3, 0)
	if r.Await(r.Unfinished()); r.InKernel() != 0 {
		t.Error("something is left")
	}
}
