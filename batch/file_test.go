//go:build unix

package batch

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// What shares bytes with an earlier write, or writes over an earlier read, is not
// submitted before that is settled; merged or not.
func TestOverlappingJobsAreHeldUntilTheEarlierIsSettled(t *testing.T) {
	for _, merge := range []int{0, 1 << 16} {
		for _, c := range []struct {
			first, second Op
			off           int64
			held          bool
		}{
			{Write, Write, 104, true},
			{Write, Read, 104, true},
			{Read, Write, 104, true},
			{Readv, Writev, 97, true},
			{Read, Read, 104, false},
			{Write, Write, 96, false},
			{Write, Write, 112, false},
			{Write, Write, 111, true},
			{Write, Write, 97, true},
		} {
			t.Run(fmt.Sprint(merge, " ", c), func(t *testing.T) {
				gate := sim.NewGate()
				r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Start), sim.Offset(104, 105), sim.Nth(1)), sim.HoldActive(gate))}}, 1<<16)
				r.cfg.Merge = merge
				r.add(c.first, 104)
				r.Flush()
				gate.Await(1)
				second := r.job(c.second, c.off)
				r.addJob(second)
				r.Flush()
				if held := second.place == barred; held != c.held || r.Waiting() != map[bool]int{true: 1}[held] || r.holds[second] != r.Waiting() {
					t.Errorf("held: %v, %d wait", held, r.Waiting())
				}
				gate.Open()
				for r.InKernel() > 0 && second.place == barred {
					r.Harvest(r.re.Sleep())
					r.mu.Lock()
					done := r.done
					r.mu.Unlock()
					if len(done) > 0 && second.place != barred {
						t.Error("let go before the earlier is settled")
					}
					r.settle()
				}
				if c.held && (second.place != waiting || !r.Ready()) {
					t.Error("not let go on when the earlier is settled")
				}
				r.finish()
			})
		}
	}
}

// Many on one place happen in their order, and one that is cancelled while it is held
// holds up nobody.
func TestWritesOfOnePlaceHappenInOrder(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	var jobs []*Job
	for i := range 50 {
		j := r.job(Write, 8)
		copy(j.Buf, fmt.Sprintf("%08d", i))
		jobs = append(jobs, j)
		r.addJob(j)
	}
	r.Flush()
	for i := 1; i < 50; i += 2 {
		if r.Cancel(jobs[i]) != aio.Cancelled {
			t.Errorf("job %d", i)
		}
	}
	r.finish()
	data, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if string(data[8:16]) != "00000048" {
		t.Errorf("%q", data[8:16])
	}
}

// A job whose earlier one went elsewhere waits for the end of that.
func TestWhatWentElsewhereStillHoldsItsBytes(t *testing.T) {
	r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.First(1)), sim.Fail(aio.EOPNOTSUPP))}}, 1<<16)
	r.asDisk() // of a file all would go there
	first, second := r.add(Write, 8), r.add(Read, 8)
	r.Flush()
	if len(r.elsewhere) != 1 || r.elsewhere[0] != first || second.place != barred {
		t.Fatalf("%d elsewhere", len(r.elsewhere))
	}
	r.settle()
	if second.place != waiting {
		t.Error("still held")
	}
}

// Without a descriptor for it a job cannot wait, and goes.
func TestOverlapThatCannotBeHeldGoes(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	r.holdErr = aio.EMFILE
	r.model.Hold()
	r.add(Write, 8)
	r.add(Write, 8)
	r.Flush()
	if r.InKernel() != 2 || r.Stats().Overlaps != 0 {
		t.Errorf("%d in the kernel", r.InKernel())
	}
	r.model.Release()
}

// One job alone on its file, and any number of reads, cost no tree.
func TestAloneOnTheFileBypassesTheTrees(t *testing.T) {
	for _, merge := range []int{0, 1 << 16} {
		r := mergeRig(t, sim.Config{}, 1<<16)
		r.cfg.Merge = merge
		for range 3 {
			r.add(Write, 0)
			if r.ranges.Len() != 0 {
				t.Error("one write is in the index")
			}
			r.finish()
			for i := range 20 {
				r.add(Read, int64(i)*16)
			}
			if r.ranges.Len() != 0 || r.waiting.Len() != 0 {
				t.Error("reads are in a tree")
			}
			r.add(Write, 4096)
			if r.ranges.Len() != 21 {
				t.Errorf("%d in the index", r.ranges.Len())
			}
			r.finish()
			if r.ranges.Len() != 0 {
				t.Errorf("%d left in the index", r.ranges.Len())
			}
		}
	}
}

// appender opens the rig's file for appending, empty.
func (r *rig) appender() (fd int) {
	r.t.Helper()
	fd, err := unix.Open(r.path, unix.O_RDWR|unix.O_APPEND|unix.O_TRUNC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func (r *rig) append(fd int, text string) *Job {
	j := r.job(Write, 0)
	j.Fd, j.Append, j.Buf = fd, true, []byte(text)
	r.addJob(j)
	return j
}

func (r *rig) wantRecords(n int, skip func(int) bool) {
	r.t.Helper()
	got, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	var want []byte
	for i := range n {
		if skip == nil || !skip(i) {
			want = fmt.Appendf(want, "record %d\n", i)
		}
	}
	if !bytes.Equal(got, want) {
		for i := range got {
			if i >= len(want) || got[i] != want[i] {
				r.t.Fatalf("%d bytes, want %d; from %d on: %.40q", len(got), len(want), i, got[max(0, i-20):])
			}
		}
		r.t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
}

// Records come out in the order of Add, one job at a time, whatever the kernel
// refuses and however many daemons there are.
func TestAppendsKeepTheirOrder(t *testing.T) {
	for _, merge := range []int{0, 64, 1 << 16} {
		for seed := range uint64(4) {
			r := mergeRig(t, sim.Config{
				Limits: aio.Limits{MaxQueuePerProc: 16},
				Faults: []sim.Fault{
					sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed, 0.1)), sim.Fail(aio.EAGAIN)),
					sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+1, 0.05)), sim.Fail(aio.ENOMEM)),
					sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+2, 0.05), sim.Reads), sim.Fail(aio.EBADF)),
				},
			}, 1<<16)
			r.cfg.Merge = merge
			fd := r.appender()
			n := 0
			for range 60 {
				for range 1 + n%37 {
					r.append(fd, fmt.Sprintf("record %d\n", n))
					r.add(Read, int64(n%500)*8)
					n++
				}
				r.Flush()
				if n%3 == 0 {
					r.harvest()
				}
			}
			r.finish()
			r.wantRecords(n, nil)
			if s := r.Stats(); merge > 0 && s.Members < uint64(n)/2 {
				t.Errorf("%d records, %+v", n, s)
			}
		}
	}
}

func TestHundredThousandAppendsKeepTheirOrder(t *testing.T) {
	appends(t, mergeRig(t, sim.Config{}, 1<<16))
}

func appends(t *testing.T, r *rig) {
	fd := r.appender()
	n := 100_000
	if testing.Short() {
		n = 5000
	}
	for i := range n {
		r.append(fd, fmt.Sprintf("record %d\n", i))
		if i%100 == 99 {
			r.Flush()
			r.harvest()
		}
	}
	r.finish()
	r.wantRecords(n, nil)
}

// A merged append that fails is sent again record by record, and its lane keeps its
// order: what was added meanwhile comes behind. Those that are cancelled while they
// wait are left out.
func TestFailedAppendsAreReissuedInOrder(t *testing.T) {
	r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Start), sim.Writes, sim.Nth(1)), sim.Fail(aio.ENOSPC))}}, 1<<16)
	fd := r.appender()
	for i := range 20 {
		r.append(fd, fmt.Sprintf("record %d\n", i))
	}
	r.Flush()
	for i := 20; i < 40; i++ {
		j := r.append(fd, fmt.Sprintf("record %d\n", i))
		if i%4 == 0 && r.Cancel(j) != aio.Cancelled {
			t.Errorf("record %d", i)
		}
	}
	r.finish()
	r.wantRecords(40, func(i int) bool { return i >= 20 && i%4 == 0 })
	if s := r.Stats(); s.Reissued != 20 {
		t.Errorf("%+v", s)
	}
}

// At the file's own position AIO cannot work. Those jobs go elsewhere, one by one, in
// the lane that appending shares.
func TestJobsAtThePositionGoElsewhereOneByOne(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	fd := r.appender()
	var jobs []*Job
	for i := range 30 {
		if i%3 > 0 {
			jobs = append(jobs, r.append(fd, fmt.Sprintf("record %d\n", i)))
			continue
		}
		j := r.job(Write, Position)
		j.Fd, j.Append, j.Buf = fd, i%2 == 0, fmt.Appendf(nil, "record %d\n", i)
		r.addJob(j)
		jobs = append(jobs, j)
	}
	for len(r.ended) < 30 {
		r.Flush()
		if n := r.InKernel() + len(r.toRun); n > 1 {
			t.Fatalf("%d at a time", n)
		}
		if r.InKernel() > 0 {
			r.Harvest(r.re.Sleep())
		}
		r.settle()
	}
	r.wantRecords(30, nil)
	if len(r.elsewhere) != 10 {
		t.Errorf("%d went elsewhere", len(r.elsewhere))
	}
	for _, j := range jobs {
		if j.N == 0 || j.Errno != 0 {
			t.Errorf("%d, %v", j.N, j.Errno)
		}
	}
}

// Without a descriptor to wait with, a record fails: it must not overtake another.
func TestAppendThatCannotBeHeldFails(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	fd := r.appender()
	r.append(fd, "record 0\n")
	r.holdErr = aio.EMFILE
	bad := r.append(fd, "record 1\n")
	r.holdErr = 0
	r.append(fd, "record 2\n")
	r.finish()
	if bad.Errno != aio.EMFILE {
		t.Errorf("%v", bad.Errno)
	}
	r.wantRecords(3, func(i int) bool { return i == 1 })
}

// syncs counts those that the kernel begins.
func syncs(n *int) sim.Fault {
	return func(o sim.Op) sim.Effect {
		if o.Point == sim.Submit && sim.Syncs(o) {
			*n++
		}
		return sim.Effect{}
	}
}

// While one sync is in the kernel others wait, and the next, which starts after the
// last of them was added, is for all. Each has its own end.
func TestSyncsThatWaitTogetherShareOne(t *testing.T) {
	for _, errno := range []aio.Errno{0, aio.EIO} {
		n := 0
		gate := sim.NewGate()
		r := mergeRig(t, sim.Config{Faults: []sim.Fault{
			syncs(&n),
			sim.If(sim.And(sim.At(sim.Start), sim.Syncs, sim.Nth(1)), sim.HoldActive(gate)),
			sim.If(sim.And(sim.At(sim.Start), sim.Syncs), sim.Fail(errno)),
		}}, 1<<16)
		jobs := []*Job{r.add(Fsync, 0)}
		r.Flush()
		gate.Await(1)
		for range 63 {
			jobs = append(jobs, r.add(Fsync, 0))
			r.Flush()
		}
		if n != 1 || r.Waiting() != 63 {
			t.Errorf("%d begun, %d wait", n, r.Waiting())
		}
		gone := r.add(Fsync, 0)
		if r.Cancel(gone) != aio.Cancelled {
			t.Error("a waiting sync was not cancelled")
		}
		gate.Open()
		r.finish()
		if n != 2 || r.Stats().Shared != 62 {
			t.Errorf("%d syncs for 64, %+v", n, r.Stats())
		}
		for i, j := range jobs {
			if j.Errno != errno {
				t.Errorf("sync %d: %v", i, j.Errno)
			}
		}
	}
}

func TestWhatSyncsAreNotShared(t *testing.T) {
	n := 0
	r := mergeRig(t, sim.Config{Faults: []sim.Fault{syncs(&n)}}, 1<<16)
	r.model.Hold()
	r.add(Fsync, 0)
	r.add(Fdatasync, 0) // another strength
	r.add(Fsync, 0)
	r.add(Fdatasync, 0)
	other := r.job(Fsync, 0) // another open file
	fd, err := unix.Open(r.path, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	other.Fd = fd
	r.addJob(other)
	r.Flush()
	if n != 2 {
		t.Errorf("%d syncs for two strengths", n)
	}
	r.model.Release()
	r.finish()
	if n != 3 {
		t.Errorf("%d syncs, want the other open file's own", n)
	}

	n = 0
	r.cfg.Merge = 0
	for range 5 {
		r.add(Fsync, 0)
	}
	r.finish()
	if n != 5 {
		t.Errorf("%d syncs without sharing", n)
	}
}

// A shared sync that is refused: for want of room its members wait, otherwise all
// have the refusal, or go elsewhere.
func TestRefusalOfASharedSync(t *testing.T) {
	for errno, want := range map[aio.Errno]aio.Errno{aio.EAGAIN: 0, aio.EOPNOTSUPP: 0, aio.EIO: aio.EIO} {
		r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.Syncs, sim.First(1)), sim.Fail(errno))}}, 1<<16)
		jobs := []*Job{r.add(Fsync, 0), r.add(Fsync, 0), r.add(Fsync, 0)}
		r.model.Hold()
		r.add(Read, 0) // so that they can wait
		r.Flush()
		r.model.Release()
		r.finish()
		for _, j := range jobs {
			if j.Errno != want {
				t.Errorf("%v: %v", errno, j.Errno)
			}
		}
		if len(r.elsewhere) != map[aio.Errno]int{aio.EOPNOTSUPP: 3}[errno] {
			t.Errorf("%v: %d elsewhere", errno, len(r.elsewhere))
		}
	}
}

// The kernel refuses one job again and again and takes all others: how many may pass
// it is bounded.
func TestHowManyMayPassOneThatWaits(t *testing.T) {
	for _, merge := range []int{0, 16} {
		for _, listLength := range []int{2, 16, 64} {
			gate := sim.NewGate()
			refuse := true
			passed := 0
			r := mergeRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1024, MaxPerProc: 64, MaxProcs: 64}}, 16)
			r.cfg.Merge = merge
			victim := int64(4096)
			r.model.Inject(
				func(o sim.Op) sim.Effect {
					if o.Point != sim.Submit {
						return sim.Effect{}
					}
					if o.Offset == victim && refuse {
						return sim.Fail(aio.EAGAIN)
					}
					if o.Offset > victim {
						passed++
					}
					return sim.Effect{}
				},
				sim.If(sim.And(sim.At(sim.Start), sim.Offset(0, 1)), sim.HoldActive(gate)),
			)
			r.add(Read, 0) // stays in the kernel, so that the victim can wait
			v := r.add(Read, victim)
			jobs := 0
			for range 3000 / listLength {
				for range listLength {
					r.add(Read, victim+16+int64(jobs%200)*24)
					jobs++
				}
				r.Flush()
				r.harvest()
			}
			if bound := passLimit + listLength; passed > bound || passed < passLimit {
				t.Errorf("merge %d, lists of %d: %d passed, bound %d", merge, listLength, passed, bound)
			}
			if v.place != waiting {
				t.Fatal("it does not wait")
			}
			refuse = false
			r.Flush()
			if v.place != inKernel {
				t.Error("it did not go first")
			}
			gate.Open()
		}
	}
}

// Nothing that waits is lost when the event queue is.
func TestDivertTakesWhatIsHeldToo(t *testing.T) {
	gate := sim.NewGate()
	r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.And(sim.At(sim.Start), sim.Offset(8, 9)), sim.HoldActive(gate))}}, 1<<16)
	r.add(Write, 8)
	r.Flush()
	gate.Await(1)
	for range 5 {
		r.add(Write, 8)
		r.add(Fsync, 0)
	}
	fd := r.appender()
	for i := range 10 {
		r.append(fd, fmt.Sprintf("record %d\n", i))
	}
	gate.Open()
	for len(r.ended) < 21 {
		r.Divert()
		r.HarvestFinished()
		r.settle()
	}
	if len(r.elsewhere) < 20 || r.Waiting() != 0 {
		t.Errorf("%d elsewhere, %d wait", len(r.elsewhere), r.Waiting())
	}
}

// What is known of files is bounded, but for those with jobs.
func TestIdleFilesAreForgotten(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	gate := sim.NewGate()
	r.model.Inject(sim.If(sim.At(sim.Start), sim.HoldActive(gate)))
	j := r.add(Read, 0)
	r.Flush()
	file := j.File
	for i := range 3 * idleFiles {
		r.File(aio.FileStat{Ino: uint64(i) + 1<<40})
	}
	r.add(Read, 8)
	r.Flush()
	if len(r.files) > idleFiles {
		t.Errorf("%d files", len(r.files))
	}
	if f, known := r.File(r.stat); !known || f != file {
		t.Error("a file with jobs was forgotten")
	}
	gate.Open()
}

func TestJobsQueue(t *testing.T) {
	all := make([]Job, 6)
	for n := range 6 {
		for k := range n {
			var q jobs
			for i := range n {
				q.push(&all[i])
			}
			q.remove(&all[k])
			var p jobs
			p.push(&all[5])
			q.prepend(&p)
			want := []*Job{&all[5]}
			for i := range n {
				if i != k {
					want = append(want, &all[i])
				}
			}
			q.push(&all[k])
			want = append(want, &all[k])
			var got []*Job
			for q.n > 0 {
				got = append(got, q.pop())
			}
			if !slices.Equal(got, want) || q.head != nil || q.tail != nil {
				t.Errorf("%d without %d", n, k)
			}
		}
	}
}
