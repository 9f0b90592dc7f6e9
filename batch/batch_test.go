//go:build unix

package batch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

var profiles = map[string]sim.Profile{"13.2": sim.V13, "14.1": sim.V14, "15.0": sim.V15}

// The rig's check is the test: each job ends once.
func TestEveryJobEndsOnceInDoneOrElsewhere(t *testing.T) {
	for name, profile := range profiles {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) {
				r := newRig(t, sim.Config{
					Profile: profile,
					Limits:  aio.Limits{MaxQueuePerProc: 20 + int(seed)*40},
					Faults: []sim.Fault{
						sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed, 0.2)), sim.Fail(aio.EAGAIN)),
						sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+1, 0.1)), sim.Fail(aio.EBADF)),
						sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+2, 0.1)), sim.Fail(aio.EOPNOTSUPP)),
						sim.If(sim.And(sim.At(sim.Start), sim.Randomly(seed+3, 0.1)), sim.Fail(aio.EIO)),
						sim.If(sim.And(sim.At(sim.Result), sim.Randomly(seed+4, 0.1)), sim.Fail(aio.EAGAIN)),
					},
				})
				rnd := rand.New(rand.NewPCG(seed, 0))
				var jobs []*Job
				for range 40 {
					for range rnd.IntN(30) {
						jobs = append(jobs, r.add(Op(rnd.IntN(6)), int64(rnd.IntN(1024))*8))
					}
					r.Flush()
					switch rnd.IntN(3) {
					case 0:
						r.harvest()
					case 1:
						if j := jobs[rnd.IntN(len(jobs)+1)%max(1, len(jobs))]; j.place != nowhere {
							r.Cancel(j)
						}
					}
				}
				r.finish()
			})
		}
	}
}

func TestResultsReachTheirJobs(t *testing.T) {
	r := newRig(t, sim.Config{})
	var jobs []*Job
	bufs := map[*Job][]byte{}
	for i := range 300 { // more than one chunk of slots
		j := r.add(Read, int64(i)*8)
		bufs[j] = j.Buf
		jobs = append(jobs, j)
	}
	w := r.add(Write, 4096)
	r.Flush()
	r.finish()
	for _, j := range jobs {
		wantRead(t, j, bufs[j])
	}
	if w.N != 8 || w.Errno != 0 {
		t.Errorf("write: %d, %v", w.N, w.Errno)
	}
	if w.Buf != nil || jobs[0].Buf != nil {
		t.Error("Settle left a buffer in its job")
	}
}

// One refusal, at every index of lists of every shape of interest.
func TestOneRefusalAtEveryIndex(t *testing.T) {
	for _, errno := range []aio.Errno{aio.EAGAIN, aio.EBADF, aio.EOPNOTSUPP, aio.ENOMEM} {
		t.Run(errno.String(), func(t *testing.T) {
			r := newRig(t, sim.Config{})
			base := 0
			for _, n := range []int{1, 2, 3, 16, 17, 33, 64} {
				for k := range n {
					f := &refusals{errno: map[int64]aio.Errno{int64(k) * 8: errno}, left: map[int64]int{int64(k) * 8: 1}}
					r.model.ClearFaults()
					r.model.Inject(f.fault)
					r.model.Hold()
					elsewhere := len(r.elsewhere)
					jobs := r.addN(n)
					before := r.Stats()
					r.Flush()
					victim := jobs[k]
					st := r.Stats()
					where := fmt.Sprintf("%d of %d", k, n)
					switch {
					case errno == aio.EAGAIN && n > 1:
						if r.Waiting() != 1 || victim.place != waiting || r.holds[victim] != 1 || r.ended[victim] != 0 || st.Again != before.Again+1 {
							t.Fatalf("%s: it does not wait, held: %+v", where, st)
						}
					case errno == aio.EBADF:
						if r.ended[victim] != 1 || victim.Errno != errno || len(r.elsewhere) != elsewhere || r.Waiting() != 0 {
							t.Fatalf("%s: not done with %v but %v", where, errno, victim.Errno)
						}
					default: // also EAGAIN with nothing in the kernel
						if len(r.elsewhere) != elsewhere+1 || r.elsewhere[elsewhere] != victim || r.Waiting() != 0 {
							t.Fatalf("%s: it did not go elsewhere", where)
						}
					}
					if n > 1 && st.Partial != before.Partial+1 || r.InKernel() != n-1 || r.Budget().Used() != n-1 || st.Listed != before.Listed+uint64(n-1) {
						t.Fatalf("%s: %d in the kernel, budget %d, %+v", where, r.InKernel(), r.Budget().Used(), st)
					}
					r.model.Release()
					r.finish()
					if base += n; len(r.ended) != base {
						t.Fatalf("%s: %d of %d ended", where, len(r.ended), base)
					}
					for i, j := range jobs {
						if i != k && (j.Errno != 0 || j.N != 8) {
							t.Fatalf("%s: job %d is %d, %v", where, i, j.N, j.Errno)
						}
					}
				}
			}
		})
	}
}

func TestMixedRefusalsInOneList(t *testing.T) {
	errnos := []aio.Errno{0, aio.EAGAIN, 0, aio.EBADF, aio.EOPNOTSUPP}
	for seed := range uint64(50) {
		r := newRig(t, sim.Config{})
		rnd := rand.New(rand.NewPCG(seed, 1))
		f := &refusals{errno: map[int64]aio.Errno{}, left: map[int64]int{}}
		n := 2 + rnd.IntN(63)
		counts := map[aio.Errno]int{}
		for i := range int64(n) {
			errno := errnos[rnd.IntN(len(errnos))]
			f.errno[i*8], f.left[i*8] = errno, 1
			counts[errno]++
		}
		if counts[0] == 0 {
			continue
		}
		r.model.Inject(f.fault)
		r.model.Hold()
		jobs := r.addN(n)
		r.Flush()
		r.wantEnds(counts[aio.EBADF], counts[aio.EOPNOTSUPP], counts[aio.EAGAIN])
		if r.InKernel() != counts[0] {
			t.Fatalf("%d in the kernel, want %d", r.InKernel(), counts[0])
		}
		r.model.Release()
		r.finish()
		r.wantEnds(n-counts[aio.EOPNOTSUPP], counts[aio.EOPNOTSUPP], 0)
		for _, j := range jobs {
			want := f.errno[j.Off]
			if want == aio.EAGAIN || want == aio.EOPNOTSUPP {
				want = 0
			}
			if j.Errno != want {
				t.Errorf("job at %d: %v, want %v", j.Off, j.Errno, want)
			}
		}
	}
}

// Whatever set of entries is refused, the next list has them in order of Add,
// before all that was added later.
func TestOrderOfAddIsKeptAcrossRequeues(t *testing.T) {
	for seed := range uint64(20) {
		const limit = 24 // some jobs are requeued, and some that Flush has not come to wait
		r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: limit}})
		rnd := rand.New(rand.NewPCG(seed, 2))
		f := &refusals{errno: map[int64]aio.Errno{}}
		r.model.Inject(f.fault)
		r.model.Hold() // what is accepted stays, so that the others wait
		var left []int64
		next := int64(0)
		refuse := func() { // another set each time
			clear(f.errno)
			for _, off := range left {
				if rnd.IntN(3) > 0 {
					f.errno[off] = aio.EAGAIN
				}
			}
		}
		for round := range 12 {
			for range rnd.IntN(8) + 1 {
				r.add(Read, next*8)
				left = append(left, next*8)
				next++
			}
			refuse()
			if round == 0 {
				clear(f.errno)
			}
			room := min(limit-r.InKernel(), len(left))
			r.Flush()
			if got := f.offsets(); !slices.Equal(got, left[:room]) {
				t.Fatalf("round %d: submitted %v, want %v", round, got, left[:room])
			}
			rest := slices.Clone(left[room:])
			left = slices.DeleteFunc(left[:room], func(off int64) bool { return f.errno[off] == 0 })
			left = append(left, rest...)
			if r.Waiting() != len(left) {
				t.Fatalf("round %d: %d wait, want %d", round, r.Waiting(), len(left))
			}
		}
		r.model.Release()
	}
}

// The model numbers jobs in the order in which it took them.
func TestKernelTakesJobsInOrderOfAdd(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 7, MaxPerProc: 1}})
	var seq []int64
	r.model.Inject(func(op sim.Op) sim.Effect {
		if op.Point == sim.Start {
			for int(op.Seq) > len(seq) {
				seq = append(seq, -1)
			}
			seq[op.Seq-1] = op.Offset
		}
		return sim.Effect{}
	})
	jobs := r.addN(100)
	r.finish()
	for i, j := range jobs {
		if seq[i] != j.Off {
			t.Fatalf("job %d of the kernel is the one at %d, want %d", i, seq[i], j.Off)
		}
	}
}

func TestHoldIsCalledOnceForAJobHoweverOftenItIsRequeued(t *testing.T) {
	r := newRig(t, sim.Config{})
	f := &refusals{errno: map[int64]aio.Errno{8: aio.EAGAIN, 16: aio.EAGAIN}, left: map[int64]int{8: 3, 16: 1}}
	r.model.Inject(f.fault)
	r.model.Hold()
	jobs := r.addN(4)
	for range 5 {
		r.Flush()
	}
	r.wantEnds(0, 0, 0)
	if got := []int{r.holds[jobs[0]], r.holds[jobs[1]], r.holds[jobs[2]], r.holds[jobs[3]]}; !slices.Equal(got, []int{0, 1, 1, 0}) {
		t.Errorf("Hold was called %v times, want [0 1 1 0]", got)
	}
	if st := r.Stats(); st.Held != 2 || st.Again != 4 || st.Requeued != 4 {
		t.Errorf("%+v, want 2 held, 4 refused, 4 requeued", st)
	}
	r.model.Release()
}

// Hold is called again for a job that is used again.
func TestHoldIsCalledAnewForAJobUsedAgain(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1}})
	first := r.add(Read, 0)
	j := r.add(Read, 8)
	for round := 1; round <= 2; round++ {
		r.Flush()
		if r.holds[j] != round {
			t.Fatalf("round %d: held %d times", round, r.holds[j])
		}
		r.finish()
		if round == 1 {
			for _, again := range []*Job{first, j} {
				delete(r.ended, again)
				r.added--
				again.Buf = make([]byte, 8)
				r.addJob(again)
			}
		}
	}
}

func TestJobThatCannotBeHeldGoesElsewhere(t *testing.T) {
	r := newRig(t, sim.Config{})
	f := &refusals{errno: map[int64]aio.Errno{8: aio.EAGAIN}}
	r.model.Inject(f.fault)
	r.model.Hold()
	r.holdErr = aio.EMFILE
	jobs := r.addN(3)
	r.Flush()
	r.wantEnds(0, 1, 0)
	if r.elsewhere[0] != jobs[1] || r.InKernel() != 2 {
		t.Errorf("job %d went elsewhere", r.elsewhere[0].ID)
	}
	r.model.Release()
	r.finish()

	// The same for what Flush had not come to.
	r.model.ClearFaults()
	r.model.SetLimits(aio.Limits{MaxQueuePerProc: 2})
	if err := r.Budget().Reread(); err != nil {
		t.Fatal(err)
	}
	r.model.Hold()
	jobs = r.addN(5)
	r.Flush()
	r.wantEnds(2, 4, 0)
	if !slices.Equal(r.elsewhere[1:], jobs[2:]) {
		t.Error("others went elsewhere than those without room")
	}
	r.model.Release()
}

// The system is full and no event of ours will ever make room.
func TestWithNoneInTheKernelTheOldest32GoElsewhere(t *testing.T) {
	sys := sim.NewSystem(aio.Limits{MaxQueue: 8})
	hog := newRig(t, sim.Config{System: sys})
	hog.model.Hold()
	hog.addN(8)
	hog.Flush()
	if hog.InKernel() != 8 {
		t.Fatal("the other process has not filled the system")
	}
	r := newRig(t, sim.Config{System: sys})
	jobs := r.addN(70)
	for i := 1; i <= 3; i++ {
		r.Flush()
		n := min(i*plainCalls, 70)
		r.wantEnds(0, n, 70-n)
		if !slices.Equal(r.elsewhere, jobs[:n]) {
			t.Fatalf("flush %d: not the oldest went elsewhere", i)
		}
	}
	if r.Stats().Elsewhere != 70 || r.Budget().Used() != 0 {
		t.Errorf("%+v, budget %d", r.Stats(), r.Budget().Used())
	}
	hog.model.Release()
	hog.finish()
}

func TestWithSomeInTheKernelTheOthersWait(t *testing.T) {
	sys := sim.NewSystem(aio.Limits{MaxQueue: 8})
	hog := newRig(t, sim.Config{System: sys})
	hog.model.Hold()
	hog.addN(7)
	hog.Flush()
	r := newRig(t, sim.Config{System: sys})
	jobs := r.addN(50)
	for range 50 {
		r.Flush()
		if r.InKernel() != 1 {
			t.Fatalf("%d in the kernel", r.InKernel())
		}
		r.quiesce()
		if r.harvest() != 1 {
			t.Fatal("no job ended")
		}
	}
	r.wantEnds(50, 0, 0)
	for _, j := range jobs[1:] {
		if r.holds[j] == 0 {
			t.Fatalf("job %d was not held", j.ID)
		}
	}
	hog.model.Release()
	hog.finish()
}

// A budget that another ring has used up is lack of room as well.
func TestBudgetUsedUpByAnotherRingSendsElsewhere(t *testing.T) {
	model := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 8}})
	a := rigOn(t, model, nil)
	b := rigOn(t, model, nil)
	model.Hold()
	a.addN(7)
	a.Flush()
	jobs := b.addN(40)
	b.Flush()
	b.wantEnds(0, 0, 39) // one is in, so the others can wait
	c := rigOn(t, model, nil)
	c.addN(40)
	c.Flush()
	c.wantEnds(0, 32, 8)
	if b.holds[jobs[39]] != 1 || a.Budget() != b.Budget() || b.Budget() != c.Budget() {
		t.Error("not one budget")
	}
	model.Release()
	a.finish()
	b.finish()
}

func TestTooLongListIsSplit(t *testing.T) {
	r := newRig(t, sim.Config{})
	f := &refusals{}
	r.model.Inject(f.fault)
	r.model.SetLimits(aio.Limits{MaxQueuePerProc: 10})
	r.model.Hold()
	jobs := r.addN(64)
	r.Flush()
	if st := r.Stats(); st.TooLong != 1 || st.Lists != 2 || st.Listed != 10 || r.Budget().Limit() != 10 {
		t.Fatalf("limit %d, %+v", r.Budget().Limit(), st)
	}
	r.wantEnds(0, 0, 54)
	r.model.Release()
	r.finish()
	r.wantEnds(64, 0, 0)
	for i, off := range f.offsets() {
		if off != jobs[i].Off {
			t.Fatalf("entry %d is the job at %d, want %d", i, off, jobs[i].Off)
		}
	}
}

// In a jail that hides the sysctl nothing says how long is too long.
func TestTooLongListIsHalvedWhenTheSysctlDoesNotSay(t *testing.T) {
	for name, limits := range map[string]func() (aio.Limits, error){
		"lies":    func() (aio.Limits, error) { return aio.Limits{MaxQueue: 64, MaxQueuePerProc: 64}, nil },
		"refuses": nil,
	} {
		t.Run(name, func(t *testing.T) {
			model := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 10}})
			var lengths []int
			k := &seam{Kernel: model}
			k.limits = func() (aio.Limits, error) { return aio.Limits{MaxQueue: 64, MaxQueuePerProc: 64}, nil }
			k.listIO = func(list []*aio.ControlBlock) aio.Errno {
				lengths = append(lengths, len(list))
				return model.ListIO(aio.ListNoWait, list, nil)
			}
			r := rigOn(t, k, model)
			if limits == nil {
				k.limits = func() (aio.Limits, error) { return aio.Limits{}, aio.ENOENT }
			}
			model.Hold()
			r.addN(100)
			r.Flush()
			if !slices.Equal(lengths, []int{64, 32, 16, 8}) || r.Budget().Limit() != 8 || r.Stats().TooLong != 3 {
				t.Errorf("lists of %v, limit %d, %+v", lengths, r.Budget().Limit(), r.Stats())
			}
			model.Release()
			r.finish()
			r.wantEnds(100, 0, 0)
		})
	}
}

// vfs.aio.max_aio_queue_per_proc may become 0, and then a list of one is too long
// too. Refusals never reach the user: such jobs are plain calls.
func TestListOfOneThatIsTooLongIsNoResult(t *testing.T) {
	for _, op := range []Op{Read, Readv} {
		model := sim.New(sim.Config{})
		k := &seam{Kernel: model}
		r := rigOn(t, k, model)
		k.limits = func() (aio.Limits, error) { return aio.Limits{}, nil }
		calls := 0
		k.listIO = func(list []*aio.ControlBlock) aio.Errno {
			if calls++; calls > 10 {
				t.Fatal("the list is tried for ever")
			}
			return aio.EINVAL // whole: no block is touched
		}
		k.single = func(cb *aio.ControlBlock) aio.Errno {
			cb.StoreWords(-1, aio.EAGAIN)
			return aio.EAGAIN
		}
		j := r.add(op, 0)
		r.Flush()
		if len(r.elsewhere) != 1 {
			t.Errorf("op %d: job done with %v, want Elsewhere", op, j.Errno)
		}
	}
}

func TestWithALimitOfOneEveryJobGoesAlone(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1}})
	for i := range 12 {
		r.add(Op(i%6), int64(i)*8)
	}
	r.finish()
	r.wantEnds(12, 0, 0)
	if st := r.model.Stats(); st.Accepted != 12 || r.Budget().HighWater() != 1 {
		t.Errorf("%+v, high water %d", st, r.Budget().HighWater())
	}
}

// What would be a list of one is a direct call.
func TestSyncGoesAloneBehindTheListBefore(t *testing.T) {
	r := newRig(t, sim.Config{})
	var asked []string
	r.model.Inject(func(op sim.Op) sim.Effect {
		if op.Point == sim.Submit {
			asked = append(asked, fmt.Sprint(op.Entry, " at ", op.Offset))
		}
		return sim.Effect{}
	})
	r.add(Write, 0)
	r.add(Write, 8)
	r.add(Fsync, 0)
	r.add(Fdatasync, 0)
	r.add(Read, 16)
	r.Flush()
	want := []string{"0 at 0", "1 at 8", "-1 at 0", "-1 at 0", "-1 at 16"}
	if !slices.Equal(asked, want) {
		t.Errorf("submitted %q, want %q", asked, want)
	}
	if st := r.Stats(); st.Lists != 1 || st.Singles != 3 || st.Listed != 2 {
		t.Errorf("%+v", st)
	}
}

// vectored adds reads and vectored reads by turns, three times, and returns
// their buffers.
func vectored(t *testing.T, r *rig) {
	t.Helper()
	for round := range 3 {
		var jobs []*Job
		bufs := map[*Job][][]byte{}
		for i := range int64(20) {
			j := r.add([]Op{Read, Readv}[i%2], i*8)
			jobs, bufs[j] = append(jobs, j), append(slices.Clone(j.Bufs), j.Buf)
		}
		r.finish()
		for _, j := range jobs {
			wantRead(t, j, slices.Concat(bufs[j]...))
		}
		w := r.add(Writev, 4096)
		r.finish()
		if w.Errno != 0 || w.N != 8 {
			t.Errorf("round %d: Writev %d, %v", round, w.N, w.Errno)
		}
	}
	if len(r.elsewhere) != 0 {
		t.Errorf("%d went elsewhere", len(r.elsewhere))
	}
}

func TestVectoredJobsGoSinglyOn13AfterTheFirstRefusal(t *testing.T) {
	r := newRig(t, sim.Config{Profile: sim.V13})
	refused := r.model.Stats
	vectored(t, r)
	// The first list was refused its vectors; no list had one again, and the reads in
	// between are lists of one: direct calls.
	if st := r.Stats(); r.vectors != no || st.Partial != 1 || st.Singles != 53 || refused().Refused != 10 {
		t.Errorf("vectors %d, %+v, %d refusals", r.vectors, st, refused().Refused)
	}
}

func TestVectoredJobsGoInListsOn14And15(t *testing.T) {
	for _, profile := range []sim.Profile{sim.V14, sim.V15} {
		r := newRig(t, sim.Config{Profile: profile})
		vectored(t, r)
		if st := r.Stats(); r.vectors != yes || st.Singles != 3 || st.Lists != 3 || st.Partial != 0 {
			t.Errorf("%v: vectors %d, %+v", profile, r.vectors, st)
		}
	}
}

// EINVAL can also be what the job deserves: an offset below 0, too many vectors.
func TestGenuineEINVALOfAVectoredJobIsItsResult(t *testing.T) {
	for name, profile := range profiles {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " known ", known), func(t *testing.T) {
				r := newRig(t, sim.Config{Profile: profile})
				if known {
					vectored(t, r)
				}
				before := r.vectors
				bad := r.add(Readv, -8)
				long := r.job(Readv, 0)
				long.Bufs = make([][]byte, aio.MaxIovecs+1)
				r.addJob(long)
				r.finish()
				if bad.Errno != aio.EINVAL || long.Errno != aio.EINVAL || r.ended[bad] != 1 || r.ended[long] != 1 {
					t.Errorf("%v and %v, want EINVAL", bad.Errno, long.Errno)
				}
				if r.vectors != before {
					t.Errorf("it taught that vectors are %d, was %d", r.vectors, before)
				}
				vectored(t, r)
			})
		}
	}
}

// A vectored job refused in a list for what it is, and then alone for want of
// room, says nothing about lists.
func TestLackOfRoomTeachesNothingAboutVectors(t *testing.T) {
	r := newRig(t, sim.Config{})
	r.model.Hold()
	r.add(Read, 0)
	r.Flush()
	r.model.Inject(sim.If(sim.And(sim.At(sim.Submit), sim.Entry(-1), sim.First(1)), sim.Fail(aio.EAGAIN)))
	bad := r.add(Readv, -8)
	r.Flush()
	if r.Waiting() != 1 {
		t.Fatal("it does not wait")
	}
	r.model.Release()
	r.finish()
	if bad.Errno != aio.EINVAL {
		t.Errorf("%v, want EINVAL", bad.Errno)
	}
	vectored(t, r)
	if r.vectors != yes {
		t.Errorf("on a 15 kernel vectored jobs go singly ever after: %+v", r.Stats())
	}
}

// On 13 the same, when the job is sound: it waits and succeeds.
func TestVectoredJobWithoutRoomOn13Waits(t *testing.T) {
	r := newRig(t, sim.Config{Profile: sim.V13})
	r.model.Hold()
	r.add(Read, 0)
	r.Flush()
	r.model.Inject(sim.If(sim.And(sim.At(sim.Submit), sim.Entry(-1), sim.First(1)), sim.Fail(aio.EAGAIN)))
	j := r.add(Readv, 8)
	buf := j.Bufs
	r.Flush()
	if r.Waiting() != 1 {
		t.Fatal("it does not wait")
	}
	r.model.Release()
	r.finish()
	wantRead(t, j, slices.Concat(buf...))
}

// event is an event of a job's block under a generation.
func (r *rig) event(j *Job, gen uint32) aio.Kevent {
	return aio.Kevent{
		Ident:  uintptr(unsafe.Pointer(r.slab.Block(int(j.slot)))),
		Filter: aio.FilterAIO, Udata: aio.Token{Slot: j.slot, Gen: gen}.Udata(),
	}
}

func TestEventsOfGenerationsGoneAreDroppedAndCounted(t *testing.T) {
	r := newRig(t, sim.Config{})
	r.add(Read, 0)
	r.finish() // so that its block is in its second generation below
	r.model.Hold()
	j := r.add(Read, 8)
	r.Flush()
	gen := r.slot(j.slot).last
	if gen != 2 {
		t.Fatalf("generation %d", gen)
	}
	foreign := r.event(j, gen)
	foreign.Ident += 1 << 30
	between := r.event(j, gen)
	between.Ident += 8
	other := r.event(j, gen)
	other.Udata = aio.Token{Slot: j.slot - 1, Gen: gen}.Udata()
	unused := r.event(&Job{slot: j.slot - 1}, 1)
	stale := []aio.Kevent{r.event(j, gen-1), r.event(j, gen+1), foreign, between, other, unused}
	if n := r.Harvest(stale); n != 0 || r.Stats().Stale != uint64(len(stale)) || r.ended[j] != 0 || r.Budget().Used() != 1 {
		t.Errorf("%d reaped, %+v, budget %d", n, r.Stats(), r.Budget().Used())
	}
	// The right one, and then again before and after Settle.
	r.model.Release()
	r.quiesce()
	ev := slices.Clone(r.re.Poll())
	if len(ev) != 1 || r.Harvest(ev) != 1 || r.Harvest(ev) != 0 {
		t.Error("an event counted twice, or not at all")
	}
	r.settle()
	if r.Harvest(ev) != 0 || r.Stats().Stale != uint64(len(stale))+2 || r.ended[j] != 1 {
		t.Errorf("%+v", r.Stats())
	}
}

func TestEventsOfOtherFiltersAreIgnored(t *testing.T) {
	r := newRig(t, sim.Config{})
	r.model.Hold()
	j := r.add(Read, 0)
	r.Flush()
	var events []aio.Kevent
	for _, f := range []aio.Filter{aio.FilterUser, aio.FilterRead, aio.FilterWrite, aio.FilterTimer, aio.FilterLIO} {
		ev := r.event(j, r.slot(j.slot).last)
		ev.Filter = f
		events = append(events, ev)
	}
	if n := r.Harvest(events); n != 0 || r.Stats().Stale != 0 || r.Stats().Harvests != 0 || len(r.ended) != 0 {
		t.Errorf("%d reaped, %+v", n, r.Stats())
	}
	r.model.Release()
}

func TestCancelInEachPlace(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 3}})
	gate := sim.NewGate()
	r.model.Inject(sim.If(sim.And(sim.At(sim.Start), sim.Offset(0, 8)), sim.HoldActive(gate)))
	active := r.add(Read, 0)
	r.Flush()
	gate.Await(1)
	r.model.Hold()
	queued := r.add(Read, 8)
	finished := r.add(Read, 16)
	waits := r.add(Read, 24)
	r.Flush()
	r.model.RunJob(r.slab.Block(int(finished.slot)))
	added := r.add(Read, 32)

	for _, c := range []struct {
		name string
		job  *Job
		want aio.CancelStatus
	}{
		{"not flushed", added, aio.NotCancelled},
		{"active", active, aio.NotCancelled},
		{"queued", queued, aio.Cancelled},
		{"finished", finished, aio.AllDone},
		{"waiting", waits, aio.Cancelled},
	} {
		if got := r.Cancel(c.job); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if r.ended[waits] != 1 || waits.Errno != aio.ECANCELED || r.Waiting() != 0 {
		t.Errorf("waiting: ended %d times with %v, %d wait", r.ended[waits], waits.Errno, r.Waiting())
	}
	if len(r.ended) != 1 {
		t.Errorf("%d jobs ended without an event", len(r.ended))
	}
	if n := r.Harvest(r.re.Poll()); n != 2 {
		t.Errorf("%d reaped, want the queued and the finished", n)
	}
	for name, j := range map[string]*Job{"done": finished, "cancelled": queued, "cancelled while it waited": waits} {
		if r.Cancel(j) == aio.Cancelled {
			t.Errorf("%s: cancelled after its end", name)
		}
	}
	r.settle()
	if r.Cancel(finished) != aio.AllDone || r.Cancel(waits) != aio.AllDone {
		t.Error("cancelled after Settle")
	}
	gate.Open()
	r.model.Release()
	r.finish()
	for name, c := range map[string]struct {
		job  *Job
		want aio.Errno
	}{
		"not flushed": {added, 0}, "active": {active, 0}, "queued": {queued, aio.ECANCELED},
		"finished": {finished, 0}, "waiting": {waits, aio.ECANCELED},
	} {
		if c.job.Errno != c.want || c.want == 0 && c.job.N != 8 || c.want != 0 && c.job.N != 0 {
			t.Errorf("%s: %d, %v, want %v", name, c.job.N, c.job.Errno, c.want)
		}
	}
	r.wantEnds(5, 0, 0)
}

// A job that was cancelled while it waited leaves the order of the others alone.
func TestCancelOfWaitingJobsKeepsTheOthersInOrder(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1}})
	r.model.Hold()
	jobs := r.addN(9)
	r.Flush()
	for i := 2; i < 9; i += 2 {
		if r.Cancel(jobs[i]) != aio.Cancelled {
			t.Fatalf("job %d", i)
		}
	}
	if r.Waiting() != 4 {
		t.Fatalf("%d wait", r.Waiting())
	}
	f := &refusals{}
	r.model.Inject(f.fault)
	r.model.Release()
	r.finish()
	if got := f.offsets(); !slices.Equal(got, []int64{8, 24, 40, 56}) {
		t.Errorf("submitted %v", got)
	}
}

func TestCloseRefusesWhileJobsAreInTheKernel(t *testing.T) {
	r := newRig(t, sim.Config{})
	r.model.Hold()
	r.addN(2)
	r.Flush()
	if r.Close() == nil {
		t.Fatal("closed with two queued")
	}
	r.model.Release()
	r.quiesce()
	if r.Close() == nil {
		t.Fatal("closed with two finished and not reaped")
	}
	r.Harvest(r.re.Poll())
	if r.Close() == nil {
		t.Fatal("closed with two done and not settled")
	}
	r.settle()
	// The rig closes it, and finds that the budget has kept its user.
	if b, err := ShareBudget(r.model); err != nil || b != r.Budget() {
		t.Error("a Close that was refused has released the budget")
	} else {
		b.Release()
	}
}

func TestBlockUsedAgainHasANewGeneration(t *testing.T) {
	r := newRig(t, sim.Config{})
	var tokens []aio.Token
	for range 5 {
		j := r.add(Read, 0)
		r.Flush()
		r.quiesce()
		ev := r.re.Poll()
		if len(ev) != 1 {
			t.Fatalf("%d events", len(ev))
		}
		token, ok := aio.TokenOf(&ev[0], r.slab)
		if !ok || token.Slot != j.slot || slices.Contains(tokens, token) {
			t.Fatalf("token %+v after %+v", token, tokens)
		}
		tokens = append(tokens, token)
		r.Harvest(ev)
		r.settle()
	}
	if tokens[4] != (aio.Token{Slot: tokens[0].Slot, Gen: 5}) {
		t.Errorf("tokens %+v", tokens)
	}
	// After the largest comes 1: 0 would be no generation.
	r.slot(tokens[0].Slot).last = 1<<32 - 1
	j := r.add(Read, 0)
	r.Flush()
	if g := r.slot(j.slot).gen.Load(); g != 1 {
		t.Errorf("generation %d after the largest", g)
	}
}

// Settle is what makes a block free, not Done: until then nobody else gets it.
func TestBlockIsNotUsedAgainBeforeSettle(t *testing.T) {
	r := newRig(t, sim.Config{})
	a := r.add(Read, 0)
	r.Flush()
	r.quiesce()
	r.Harvest(r.re.Poll())
	r.model.Hold()
	b := r.add(Read, 8)
	r.Flush()
	if a.slot == b.slot || r.InKernel() != 2 {
		t.Errorf("both use block %d, %d in the kernel", a.slot, r.InKernel())
	}
	r.model.Release()
}

// The kernel has freed a job's slot when aio_return returns, so there is room in
// the budget when Done is called: an owner that is told on its own goroutine may
// flush before the harvester goes on, and must not find the budget empty, nothing
// of its own in the kernel, and send jobs elsewhere.
func TestRoomIsThereWhenDoneIsCalled(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 4}})
	r.addN(4)
	r.Flush()
	r.quiesce()
	n := 0
	r.onDone = func(*Job) {
		if n++; n < 4 {
			return
		}
		r.onDone = nil
		owner := make(chan struct{})
		go func() { // Flush may run beside Harvest
			defer close(owner)
			r.settle()
			r.addN(4)
			r.Flush()
		}()
		<-owner
	}
	if r.Harvest(r.re.Poll()) != 4 {
		t.Fatal("not all have ended")
	}
	if len(r.elsewhere) != 0 || r.InKernel() != 4 {
		t.Errorf("%d jobs went elsewhere though the kernel has room; %d are in it", len(r.elsewhere), r.InKernel())
	}
}

// resultsLikeRefusals are errnos that a job can end with and that, left in the
// block's error word by the reap, look like refusals of the submission.
var resultsLikeRefusals = []aio.Errno{aio.EAGAIN, aio.EOPNOTSUPP, aio.EBADF, aio.EIO, aio.ENOSPC, aio.EINVAL, aio.ENOMEM}

// All accepted jobs of a partly refused list end, and are reaped, before the
// submitter comes to look at the words.
func TestReapedFailureIsNotTakenForARefusal(t *testing.T) {
	for _, result := range resultsLikeRefusals {
		for _, refusal := range []aio.Errno{aio.EAGAIN, aio.EBADF} {
			for _, op := range []Op{Read, Readv} {
				model := sim.New(sim.Config{Faults: []sim.Fault{
					sim.If(sim.At(sim.Start), sim.Fail(result)),
					sim.If(sim.And(sim.At(sim.Submit), sim.Entry(3)), sim.Fail(refusal)),
				}})
				k := &seam{Kernel: model}
				r := rigOn(t, k, model)
				k.listIO = func(list []*aio.ControlBlock) aio.Errno {
					errno := model.ListIO(aio.ListNoWait, list, nil)
					r.quiesce()
					r.Harvest(r.re.Poll())
					return errno
				}
				var jobs []*Job
				for i := range int64(6) {
					jobs = append(jobs, r.add(op, i*8))
				}
				r.Flush()
				for i, j := range jobs {
					if i != 3 && (r.ended[j] != 1 || j.Errno != result || r.holds[j] != 0) {
						t.Fatalf("result %v, refusal %v: job %d ended %d times with %v", result, refusal, i, r.ended[j], j.Errno)
					}
				}
				if r.InKernel() != 5 || r.Stats().Listed != 5 {
					t.Fatalf("%d in the kernel, %+v", r.InKernel(), r.Stats())
				}
			}
		}
	}
}

// The same by chance, for the race detector: a harvester beside the owner, jobs
// that fail at once in lists of which entries are refused.
func TestHarvestBesideFlush(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			fails := func(op sim.Op) bool { return op.Offset%16 == 0 }
			var refused atomic.Uint64
			r := newRig(t, sim.Config{Profile: profile, Limits: aio.Limits{MaxQueuePerProc: 100}, Faults: []sim.Fault{
				sim.If(sim.And(sim.At(sim.Start), fails, sim.Every(2)), sim.Fail(aio.EIO)),
				sim.If(sim.And(sim.At(sim.Start), fails), sim.Fail(aio.ENOSPC)),
				sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(1, 0.05)), sim.Fail(aio.EAGAIN)),
				func(op sim.Op) sim.Effect {
					if op.Point == sim.Submit && op.Offset == 8*40 {
						refused.Add(1)
						return sim.Fail(aio.EBADF)
					}
					return sim.Effect{}
				},
			}})
			var over atomic.Bool
			harvested := make(chan struct{})
			news := make(chan struct{}, 1)
			go func() {
				defer close(harvested)
				for !over.Load() {
					r.re.PrepareSleep()
					if over.Load() {
						r.re.CancelSleep()
						return
					}
					if r.Harvest(r.re.Sleep()) > 0 {
						select {
						case news <- struct{}{}:
						default:
						}
					}
				}
			}()
			rnd := rand.New(rand.NewPCG(7, 7))
			check := func() {
				for _, j := range r.settle() {
					want := map[bool][]aio.Errno{true: {aio.EIO, aio.ENOSPC}, false: {0}}[j.Off%16 == 0]
					if j.Off == 8*40 {
						want = []aio.Errno{aio.EBADF}
					}
					if !slices.Contains(want, j.Errno) {
						t.Fatalf("job at %d: %v, want one of %v", j.Off, j.Errno, want)
					}
				}
			}
			for range rounds {
				for range 1 + rnd.IntN(40) {
					off := int64(rnd.IntN(64)) * 8
					op := Read
					if rnd.IntN(8) == 0 {
						op = Readv
					}
					r.add(op, off)
				}
				r.Flush()
				check()
				for r.InKernel() > 60 || r.Waiting() > 60 {
					<-news
					check()
					r.Flush()
				}
			}
			for r.InKernel() > 0 || r.Waiting() > 0 {
				if r.InKernel() > 0 {
					<-news
				}
				check()
				r.Flush()
			}
			check()
			over.Store(true)
			r.re.Wake()
			<-harvested
			if refused.Load() == 0 || r.Stats().Partial == 0 || r.Stats().Stale != 0 {
				t.Errorf("%+v", r.Stats())
			}
		})
	}
}

// Jobs beyond one chunk of blocks, all in the kernel at once.
func TestBatchGrowsToTheLimit(t *testing.T) {
	r := newRig(t, sim.Config{Limits: aio.Limits{MaxQueue: 1000, MaxQueuePerProc: 1000}})
	r.model.Hold()
	jobs := r.addN(1024)
	r.Flush()
	if r.InKernel() != 1000 || r.Waiting() != 24 || r.Budget().HighWater() != 1000 || r.Stats().Lists != 1 {
		t.Errorf("%d in the kernel, %d wait, %+v", r.InKernel(), r.Waiting(), r.Stats())
	}
	slots := map[uint32]bool{}
	for _, j := range jobs[:1000] {
		slots[j.slot] = true
	}
	if len(slots) != 1000 {
		t.Errorf("%d blocks for 1000 jobs", len(slots))
	}
	r.model.Release()
}

func TestFlushOfNothingDoesNothing(t *testing.T) {
	r := newRig(t, sim.Config{})
	before := r.model.Stats()
	r.Flush()
	if r.model.Stats() != before || r.Stats() != (Stats{}) || r.Harvest(nil) != 0 {
		t.Errorf("%+v", r.Stats())
	}
}
