//go:build unix

package batch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// neighbours adds n jobs of eight bytes from off on, with their buffers side by
// side or apart.
func (r *rig) neighbours(op Op, off int64, n int, apart bool) (jobs []*Job, bufs [][]byte) {
	step := 8
	if apart {
		step = 24
	}
	mem := make([]byte, n*step)
	for i := range n {
		j := r.job(op, off+int64(i)*8)
		buf := mem[i*step : i*step+8 : i*step+8]
		if op.writes() {
			copy(buf, fmt.Sprintf("%07d!", j.Off))
		}
		if j.Bufs != nil {
			j.Bufs = [][]byte{buf[:3], buf[3:]}
		} else {
			j.Buf = buf
		}
		jobs, bufs = append(jobs, j), append(bufs, buf)
		r.addJob(j)
	}
	return jobs, bufs
}

// wantBytes checks what became of such jobs.
func (r *rig) wantBytes(jobs []*Job, bufs [][]byte) {
	r.t.Helper()
	data, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, j := range jobs {
		if j.Errno != 0 || j.N != 8 || !bytes.Equal(bufs[i], data[j.Off:j.Off+8]) {
			r.t.Errorf("op %d at %d: %d, %v, %q in the buffer, %q in the file", j.Op, j.Off, j.N, j.Errno, bufs[i], data[j.Off:j.Off+8])
		}
	}
}

func TestNeighboursBecomeOneJob(t *testing.T) {
	for name, profile := range profiles {
		for _, op := range []Op{Read, Write, Readv, Writev} {
			for _, where := range []string{"side by side", "apart", "apart on a disk"} {
				if op.vector() && where != "apart" {
					continue
				}
				t.Run(fmt.Sprint(name, " op ", op, " ", where), func(t *testing.T) {
					r := mergeRig(t, sim.Config{Profile: profile}, 1<<16)
					if where == "apart on a disk" {
						r.asDisk()
					}
					jobs, bufs := r.neighbours(op, 0, 64, where != "side by side")
					r.model.Hold()
					r.Flush()
					if n := r.InKernel(); n != 1 {
						t.Errorf("%d jobs in the kernel", n)
					}
					r.model.Release()
					r.finish()
					r.wantBytes(jobs, bufs)
					s := r.Stats()
					if s.Merges != 1 || s.Members != 64 || s.Splits != 1 || (s.Bounced == 1) != (where == "apart on a disk") {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	}
}

// Added in any order, they are sorted first.
func TestNeighboursAreFoundInAnyOrder(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	r.model.Hold()
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(100) {
		r.add(Read, int64(i)*8)
	}
	r.Flush()
	if r.InKernel() != 1 {
		t.Errorf("%d jobs in the kernel", r.InKernel())
	}
	r.model.Release()
}

func TestWhatIsNotMerged(t *testing.T) {
	for _, c := range []struct {
		name   string
		merge  int
		second func(r *rig, j *Job)
		merged bool
	}{
		{"neighbours", 64, func(*rig, *Job) {}, true},
		{"a gap", 64, func(r *rig, j *Job) { j.Off++ }, false},
		{"an overlap", 64, func(r *rig, j *Job) { j.Off-- }, false},
		{"another call", 64, func(r *rig, j *Job) { j.Op, j.Bufs, j.Buf = Readv, [][]byte{j.Buf}, nil }, false},
		{"another open file", 64, func(r *rig, j *Job) { j.Fd = r.re.Kqueue() }, false},
		{"another file", 64, func(r *rig, j *Job) { j.File, _ = r.File(aio.FileStat{Ino: 1}) }, false},
		{"no file", 64, func(r *rig, j *Job) { j.File = nil }, false},
		{"nothing to read", 64, func(r *rig, j *Job) { j.Buf = nil }, false},
		{"too much", 15, func(*rig, *Job) {}, false},
		{"over a boundary", 64, func(r *rig, j *Job) { j.Buf = make([]byte, 50) }, false},
		{"up to the boundary", 64, func(r *rig, j *Job) { j.Buf = make([]byte, 48) }, true},
		{"not a sector", 64, func(r *rig, j *Job) { r.asDisk(); j.Buf = j.Buf[:7] }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mergeRig(t, sim.Config{}, c.merge)
			if c.name == "not a sector" {
				r.asDisk()
			}
			r.model.Hold()
			r.add(Read, 8)
			j := r.job(Read, 16)
			c.second(r, j)
			r.addJob(j)
			r.Flush()
			if merged := r.Stats().Merges > 0; merged != c.merged {
				t.Errorf("merged: %v", merged)
			}
			r.model.Release()
		})
	}
}

// A file's own block, if larger, is what merging fills.
func TestMergedJobsFillAFilesBlock(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 16)
	r.geo.Block = 64
	r.model.Hold()
	r.neighbours(Read, 0, 16, false)
	r.Flush()
	if r.InKernel() != 2 {
		t.Errorf("%d jobs in the kernel", r.InKernel())
	}
	r.model.Release()
}

// When the buffers for copies are used up, what is left goes unmerged.
func TestBouncesAreBounded(t *testing.T) {
	r := mergeRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1024}}, 16)
	r.asDisk()
	r.model.Hold()
	jobs, bufs := r.neighbours(Read, 0, 1024, true)
	r.Flush()
	if s := r.Stats(); s.Bounced != maxBounces || r.InKernel() != 1024-maxBounces || r.bounces.made != maxBounces {
		t.Errorf("%d in the kernel, %+v", r.InKernel(), s)
	}
	r.model.Release()
	r.finish()
	r.wantBytes(jobs, bufs)
	if len(r.bounces.free) != maxBounces {
		t.Errorf("%d of %d buffers came back", len(r.bounces.free), maxBounces)
	}
}

// A short transfer is shared out in order, whatever its length.
func TestShortTransferIsFullShortAndZeroInOrder(t *testing.T) {
	for _, op := range []Op{Read, Write} {
		for _, where := range []string{"side by side", "apart", "disk"} {
			for short := range 4*8 + 1 {
				r := mergeRig(t, sim.Config{Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.Short(short))}}, 1<<16)
				if where == "disk" {
					r.asDisk()
				}
				jobs, bufs := r.neighbours(op, 64, 4, where != "side by side")
				r.finish()
				for i, j := range jobs {
					want := min(max(0, short-8*i), 8)
					if j.N != want || j.Errno != 0 {
						t.Errorf("op %d, %d bytes %s, member %d: %d, %v", op, short, where, i, j.N, j.Errno)
					}
					if text := fmt.Sprintf("%07d.", j.Off); op == Read && string(bufs[i][:want]) != text[:want] {
						t.Errorf("%d bytes %s, member %d: %q", short, where, i, bufs[i])
					}
				}
			}
		}
	}
}

func TestReadAcrossTheEndOfTheFile(t *testing.T) {
	r := mergeRig(t, sim.Config{}, 1<<16)
	jobs, _ := r.neighbours(Read, 8192-20, 5, false)
	r.finish()
	var got []int
	for _, j := range jobs {
		got = append(got, j.N)
	}
	if !slices.Equal(got, []int{8, 8, 4, 0, 0}) || r.Stats().Merges != 1 {
		t.Errorf("%v, %+v", got, r.Stats())
	}
}

// A merged job's failure says nothing of its members: each is sent again once, and
// only those that fail by themselves fail.
func TestMembersOfAFailedJobAreReissuedOnceAlone(t *testing.T) {
	for _, point := range []sim.Point{sim.Submit, sim.Start, sim.Result} {
		for _, op := range []Op{Read, Write, Readv, Writev} {
			for bad := -1; bad < 6; bad++ {
				starts := map[int64]int{}
				r := mergeRig(t, sim.Config{}, 1<<16)
				r.model.Inject(func(o sim.Op) sim.Effect {
					if o.Point != point {
						return sim.Effect{}
					}
					starts[o.Offset]++ // the kernel's lock, or a single daemon's turn
					if o.Offset == int64(bad)*8 || starts[o.Offset] == 1 && o.Offset == 0 {
						return sim.Fail(aio.EIO)
					}
					return sim.Effect{}
				})
				r.model.SetLimits(aio.Limits{MaxPerProc: 1})
				jobs, bufs := r.neighbours(op, 0, 6, true)
				r.finish()
				for i, j := range jobs {
					want := aio.Errno(0)
					if i == bad {
						want = aio.EIO
					}
					if j.Errno != want {
						t.Errorf("point %d op %d bad %d: member %d: %v", point, op, bad, i, j.Errno)
					}
					n := 1
					if i == 0 {
						n = 2
					}
					if starts[j.Off] != n {
						t.Errorf("point %d op %d bad %d: member %d was begun %d times", point, op, bad, i, starts[j.Off])
					}
				}
				if bad < 0 {
					r.wantBytes(jobs, bufs)
				}
				if s := r.Stats(); s.Reissued != 6 {
					t.Errorf("%+v", s)
				}
			}
		}
	}
}

// One refusal at every index of lists of merged jobs.
func TestRefusalOfAMergedJobAtEveryIndex(t *testing.T) {
	for _, errno := range []aio.Errno{aio.EAGAIN, aio.EBADF, aio.EINVAL, aio.EOPNOTSUPP, aio.ENOMEM} {
		for _, op := range []Op{Read, Writev} {
			for _, n := range []int{1, 2, 3, 17, 64} {
				for k := range n {
					r := mergeRig(t, sim.Config{}, 16) // two to a job
					f := &refusals{errno: map[int64]aio.Errno{int64(k) * 16: errno}, left: map[int64]int{int64(k) * 16: 1}}
					r.model.Inject(f.fault)
					jobs, bufs := r.neighbours(op, 0, 2*n, false)
					r.finish()
					r.wantBytes(jobs, bufs)
					if s := r.Stats(); s.Merges < uint64(n) {
						t.Fatalf("%v, %d of %d: %+v", errno, k, n, s)
					}
				}
			}
		}
	}
}

func TestMembersCannotBeCancelledUnlessTheyWait(t *testing.T) {
	r := mergeRig(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 2}}, 32)
	r.model.Hold()
	in, _ := r.neighbours(Read, 0, 8, false) // two jobs of four
	out, _ := r.neighbours(Read, 512, 8, false)
	r.Flush()
	for _, j := range in {
		if got := r.Cancel(j); got != aio.NotCancelled {
			t.Errorf("member at %d: %v", j.Off, got)
		}
	}
	for _, j := range out[1:3] {
		if got := r.Cancel(j); got != aio.Cancelled || j.Errno != aio.ECANCELED {
			t.Errorf("waiting at %d: %v", j.Off, got)
		}
	}
	r.model.Release()
	r.finish()
	for _, j := range slices.Concat(in, out[:1], out[3:]) {
		if j.Errno != 0 || j.N != 8 {
			t.Errorf("at %d: %d, %v", j.Off, j.N, j.Errno)
		}
	}
}

// A random program of reads and writes comes to the same, file and results, whatever
// is merged, however long the lists are, and whatever the kernel refuses. Some bytes
// of the file are bad: calls that touch them fail.
func TestProgramsComeToTheSameHoweverTheyAreRun(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			for _, merge := range []int{0, 1, 300, 4096} {
				for _, limit := range []int{1, 7, 256} {
					program(t, seed, merge, limit, profiles[[]string{"13.2", "14.1", "15.0"}[seed%3]])
				}
			}
		})
	}
}

// programSize is the size of the rig's file.
const programSize = 8192

// badByte is the one that fails calls, which one program in four has.
func badByte(seed uint64) int64 {
	return rand.New(rand.NewPCG(seed, 8)).Int64N(4 * programSize)
}

func program(t *testing.T, seed uint64, merge, limit int, profile sim.Profile) {
	bad := badByte(seed)
	touches := func(off int64, n int) bool { return off <= bad && bad < off+int64(n) }
	r := mergeRig(t, sim.Config{
		Profile: profile,
		Limits:  aio.Limits{MaxQueuePerProc: limit},
		Faults: []sim.Fault{
			sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+uint64(limit), 0.1)), sim.Fail(aio.EAGAIN)),
			sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(seed+1+uint64(merge), 0.05)), sim.Fail(aio.ENOMEM)),
			func(o sim.Op) sim.Effect {
				if o.Point == sim.Start && touches(o.Offset, int(o.Bytes)) {
					return sim.Fail(aio.EIO)
				}
				return sim.Effect{}
			},
		},
	}, max(merge, 1))
	r.onRun = func(j *Job) aio.Errno {
		if touches(j.Off, j.bytes) {
			return aio.EIO
		}
		return 0
	}
	if seed%2 == 1 {
		r.asDisk()
		r.geo.Align = 1 + int(seed%3)
	}
	programOn(t, r, seed, merge)
}

// programOn runs the program of a seed.
func programOn(t *testing.T, r *rig, seed uint64, merge int) {
	const size = programSize
	r.cfg.Merge = merge
	limit := r.Budget().Limit()
	rnd := rand.New(rand.NewPCG(seed, 7)) // decides the program, so nothing else may draw from it
	luck := rand.New(rand.NewPCG(seed, uint64(merge*1000+limit)))
	bad := badByte(seed)
	if r.model == nil {
		bad = -1
	}
	touches := func(off int64, n int) bool { return off <= bad && bad < off+int64(n) }
	want, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		n     int
		errno aio.Errno
		read  []byte
	}
	var (
		jobs   []*Job
		wanted []outcome
		bufs   [][]byte
		off    int64
		mem    []byte
	)
	for len(jobs) < 200 {
		op := Op(rnd.IntN(4))
		run := 1
		if rnd.IntN(2) == 0 {
			run = rnd.IntN(30)
		}
		if rnd.IntN(3) == 0 {
			off = rnd.Int64N(size)
		}
		for range run {
			n := rnd.IntN(64)
			if rnd.IntN(20) == 0 {
				n = rnd.IntN(2000)
			}
			if op.writes() {
				n = min(n, int(size-min(off, size))) // the file does not grow
			}
			if len(mem) < n || rnd.IntN(4) == 0 {
				mem = make([]byte, 4096)
			}
			buf := mem[:n:n]
			mem = mem[n:]
			j := r.job(op, off)
			j.Buf, j.Bufs = nil, nil
			if op.vector() {
				cut := rnd.IntN(n + 1)
				j.Bufs = [][]byte{buf[:cut], buf[cut:]}
			} else {
				j.Buf = buf
			}
			o := outcome{n: n}
			switch {
			case touches(off, n):
				o = outcome{errno: aio.EIO}
			case op.writes():
				for i := range buf {
					buf[i] = byte(rnd.Uint32())
				}
				copy(want[min(off, size):], buf)
			default:
				o.n = int(max(0, min(int64(n), size-off)))
				if o.n > 0 {
					o.read = bytes.Clone(want[off:][:o.n])
				}
			}
			jobs, wanted, bufs = append(jobs, j), append(wanted, o), append(bufs, buf)
			r.addJob(j)
			off += int64(n)
			if off > size+200 {
				off = 0
			}
		}
		switch luck.IntN(4) {
		case 0:
			r.Flush()
		case 1:
			r.harvest()
		case 2:
			r.Flush()
			r.harvest()
		}
	}
	r.finish()
	for i, j := range jobs {
		o := wanted[i]
		if j.N != o.n || j.Errno != o.errno {
			t.Errorf("merge %d limit %d: job %d, op %d at %d of %d: %d, %v, want %d, %v", merge, limit, i, j.Op, j.Off, len(bufs[i]), j.N, j.Errno, o.n, o.errno)
		} else if o.read != nil && !bytes.Equal(bufs[i][:o.n], o.read) {
			t.Errorf("merge %d limit %d: job %d, op %d at %d of %d: other bytes", merge, limit, i, j.Op, j.Off, len(bufs[i]))
		}
	}
	got, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("merge %d limit %d: another file", merge, limit)
	}
	if t.Failed() {
		t.FailNow()
	}
}
