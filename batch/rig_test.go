//go:build unix

package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/reactor"
)

// rig is one Batch with a file, and what became of its jobs. What it checks at
// its end holds for every test: each job added ended once, in Done or Elsewhere;
// the budget is whole; the kernel has nothing to complain about.
type rig struct {
	*Batch
	t     testing.TB
	model *sim.Kernel // nil on another kernel
	re    *reactor.Reactor
	fd    int
	path  string
	stat  aio.FileStat // if set, jobs are given the File of this
	geo   Geometry
	added int

	mu        sync.Mutex // Done is called by the harvester too
	done      []*Job     // not settled
	ended     map[*Job]int
	elsewhere []*Job
	holds     map[*Job]int
	holdErr   aio.Errno  // what Hold answers
	onDone    func(*Job) // called by Done, if set
	toRun     []*Job     // Elsewhere with a File, not run
	onRun     func(*Job) aio.Errno
}

const patience = 60 * time.Second

// rigOn makes a Batch on a kernel; model is the model inside k, or nil.
func rigOn(t testing.TB, k aio.Kernel, model *sim.Kernel) *rig {
	t.Helper()
	return mergeRigOn(t, k, model, 0)
}

// mergeRigOn makes a Batch that merges; its jobs have a File.
func mergeRigOn(t testing.TB, k aio.Kernel, model *sim.Kernel, merge int) *rig {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	// Every eight bytes say where they are.
	for off := range 1024 {
		fmt.Fprintf(f, "%07d.", off*8)
	}
	f.Close()
	if f, err = os.OpenFile(f.Name(), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, model: model, fd: int(f.Fd()), path: f.Name(), ended: map[*Job]int{}, holds: map[*Job]int{}}
	budget, err := ShareBudget(k)
	if err != nil {
		t.Fatal(err)
	}
	if r.re, err = reactor.New(k); err != nil {
		t.Fatal(err)
	}
	r.Batch, err = New(Config{
		Kernel: k, Kqueue: r.re.Kqueue(), Budget: budget, Merge: merge,
		Done: r.jobDone, Hold: r.hold, Elsewhere: r.sendElsewhere,
	})
	if err != nil {
		t.Fatal(err)
	}
	if merge > 0 {
		r.withFile()
	}
	stuck := time.AfterFunc(patience, func() {
		buf := make([]byte, 1<<16)
		panic(fmt.Sprintf("%s: stuck, %d in the kernel, %d waiting, %+v\n%s", t.Name(), r.InKernel(), r.Waiting(), r.Stats(), buf[:runtime.Stack(buf, true)]))
	})
	t.Cleanup(func() {
		defer stuck.Stop()
		r.check()
		f.Close()
	})
	return r
}

// newRig makes a Batch on a model of its own.
func newRig(t testing.TB, cfg sim.Config) *rig {
	t.Helper()
	model := sim.New(cfg)
	r := rigOn(t, model, model)
	return r
}

// withFile gives the jobs made from now on the file that the rig has.
func (r *rig) withFile() {
	r.t.Helper()
	var errno aio.Errno
	if r.stat, errno = (aio.HostFiles{}).Fstat(r.fd); errno != 0 {
		r.t.Fatal(errno)
	}
}

// asDisk has the batch take the file for a disk with sectors of eight bytes.
func (r *rig) asDisk() {
	r.stat.Type = aio.TypeDisk
	r.geo = Geometry{Align: 8}
}

// mergeRig makes a Batch that merges to so many bytes, on a model of its own.
func mergeRig(t testing.TB, cfg sim.Config, merge int) *rig {
	t.Helper()
	model := sim.New(cfg)
	return mergeRigOn(t, model, model, merge)
}

func (r *rig) check() {
	if r.t.Failed() {
		r.Budget().Release() // for the tests that follow
		return               // what is left follows from the failure
	}
	if r.model != nil {
		r.model.ClearFaults()
	}
	r.finish()
	for j, n := range r.ended {
		if n != 1 {
			r.t.Errorf("job %d at %d ended %d times", j.ID, j.Off, n)
		}
	}
	if len(r.ended) != r.added {
		r.t.Errorf("%d jobs of %d ended", len(r.ended), r.added)
	}
	if n := r.Budget().Used(); n != 0 {
		r.t.Errorf("%d jobs are left in the budget", n)
	}
	if h := r.Budget().HighWater(); h > MaxJobs {
		r.t.Errorf("high water %d", h)
	}
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.re.Close(); err != nil {
		r.t.Error(err)
	}
	if r.model != nil {
		if err := r.model.Shutdown(); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) jobDone(j *Job) {
	r.mu.Lock()
	r.ended[j]++
	if r.ended[j] > 1 {
		r.t.Errorf("job %d at %d: Done again, %v", j.ID, j.Off, j.Errno)
	}
	r.done = append(r.done, j)
	f := r.onDone
	r.mu.Unlock()
	if f != nil {
		f(j)
	}
}

func (r *rig) sendElsewhere(j *Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[j]++
	if r.ended[j] > 1 {
		r.t.Errorf("job %d at %d: Elsewhere, but it had ended", j.ID, j.Off)
	}
	r.elsewhere = append(r.elsewhere, j)
	if j.File != nil {
		r.toRun = append(r.toRun, j)
	}
}

// runElsewhere makes the plain calls of the jobs that went elsewhere.
func (r *rig) runElsewhere() {
	r.mu.Lock()
	jobs := r.toRun
	r.toRun = nil
	r.mu.Unlock()
	for _, j := range jobs {
		if r.onRun != nil {
			j.Errno = r.onRun(j)
		}
		bufs := j.Bufs
		if bufs == nil {
			bufs = [][]byte{j.Buf}
		}
		off := j.Off
		for _, p := range bufs {
			if j.Errno != 0 || j.Op.syncs() {
				break
			}
			var n int
			var err error
			switch {
			case j.Op.writes() && (off < 0 || j.Append):
				n, err = unix.Write(j.Fd, p)
			case j.Op.writes():
				n, err = unix.Pwrite(j.Fd, p, off+int64(j.N))
			case off < 0:
				n, err = unix.Read(j.Fd, p)
			default:
				n, err = unix.Pread(j.Fd, p, off+int64(j.N))
			}
			if err != nil {
				r.t.Fatal(err)
			}
			j.N += n
		}
		r.Settle(j)
	}
}

func (r *rig) hold(j *Job) aio.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds[j]++
	return r.holdErr
}

// job makes a job, which add adds. Off tells tests which it is.
func (r *rig) job(op Op, off int64) *Job {
	j := &Job{ID: uint32(r.added), Op: op, Fd: r.fd, Off: off}
	if r.stat != (aio.FileStat{}) {
		var known bool
		if j.File, known = r.File(r.stat); !known {
			j.File.SetGeometry(r.geo)
		}
	}
	switch op {
	case Read:
		j.Buf = make([]byte, 8)
	case Write:
		j.Buf = fmt.Appendf(nil, "%07d.", off)
	case Readv:
		j.Bufs = [][]byte{make([]byte, 3), nil, make([]byte, 5)}
	case Writev:
		j.Bufs = [][]byte{fmt.Appendf(nil, "%07d.", off)}
	}
	return j
}

func (r *rig) add(op Op, off int64) *Job {
	j := r.job(op, off)
	r.addJob(j)
	return j
}

func (r *rig) addJob(j *Job) {
	r.added++
	r.Add(j)
}

// addN adds n reads, at 0, 8, 16 and so on.
func (r *rig) addN(n int) []*Job {
	jobs := make([]*Job, n)
	for i := range jobs {
		jobs[i] = r.add(Read, int64(i)*8)
	}
	return jobs
}

// settle settles what is done and returns it.
func (r *rig) settle() []*Job {
	r.mu.Lock()
	done := r.done
	r.done = nil
	r.mu.Unlock()
	for _, j := range done {
		r.Settle(j)
	}
	r.runElsewhere()
	return done
}

// quiesce waits until all that the model may run has run.
func (r *rig) quiesce() {
	r.t.Helper()
	if !r.model.Quiesce(patience) {
		r.t.Fatal("the model does not come to rest")
	}
}

// harvest reaps what has finished and settles it.
func (r *rig) harvest() int {
	n := 0
	for {
		ev := r.re.Poll()
		if len(ev) == 0 {
			break
		}
		n += r.Harvest(ev)
	}
	r.settle()
	return n
}

// finish runs everything that was added to its end.
func (r *rig) finish() {
	r.t.Helper()
	for {
		r.settle()
		r.Flush()
		r.settle()
		switch {
		case r.InKernel() > 0:
			r.Harvest(r.re.Sleep())
		case r.Waiting() == 0:
			return
		}
	}
}

// wantEnds checks how many jobs ended how.
func (r *rig) wantEnds(done, elsewhere, waiting int) {
	r.t.Helper()
	if d := len(r.ended) - len(r.elsewhere); d != done || len(r.elsewhere) != elsewhere || r.Waiting() != waiting {
		r.t.Fatalf("%d done, %d elsewhere, %d waiting, want %d, %d, %d", d, len(r.elsewhere), r.Waiting(), done, elsewhere, waiting)
	}
}

// wantRead checks the result of a read.
func wantRead(t testing.TB, j *Job, buf []byte) {
	t.Helper()
	if want := fmt.Sprintf("%07d.", j.Off); j.Errno != 0 || j.N != 8 || string(buf) != want {
		t.Errorf("read at %d: %d, %v, %q, want %q", j.Off, j.N, j.Errno, buf, want)
	}
}

// refusals refuses entries of the lists that carry these offsets, as often as
// left says, and writes down in which order the entries of each call came. It is
// a sim.Fault: the kernel's lock orders its calls.
type refusals struct {
	mu    sync.Mutex
	errno map[int64]aio.Errno
	left  map[int64]int // how often; missing: for ever
	asked []sim.Op
}

func (f *refusals) fault(op sim.Op) sim.Effect {
	if op.Point != sim.Submit {
		return sim.Effect{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, op)
	errno := f.errno[op.Offset]
	if n, ok := f.left[op.Offset]; ok {
		if n == 0 {
			return sim.Effect{}
		}
		f.left[op.Offset]--
	}
	return sim.Effect{Errno: errno}
}

// offsets is what was asked since last time.
func (f *refusals) offsets() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var offs []int64
	for _, op := range f.asked {
		offs = append(offs, op.Offset)
	}
	f.asked = nil
	return offs
}

// seam is a kernel of which a test changes single calls.
type seam struct {
	aio.Kernel
	limits func() (aio.Limits, error)
	listIO func([]*aio.ControlBlock) aio.Errno
	single func(*aio.ControlBlock) aio.Errno // Read, Readv; 0 goes on to the kernel
}

func (k *seam) Limits() (aio.Limits, error) {
	if k.limits != nil {
		return k.limits()
	}
	return k.Kernel.Limits()
}

func (k *seam) ListIO(mode aio.ListMode, list []*aio.ControlBlock, sig *aio.Sigevent) aio.Errno {
	if k.listIO != nil {
		return k.listIO(list)
	}
	return k.Kernel.ListIO(mode, list, sig)
}

func (k *seam) Read(cb *aio.ControlBlock) aio.Errno {
	if k.single != nil {
		if errno := k.single(cb); errno != 0 {
			return errno
		}
	}
	return k.Kernel.Read(cb)
}

func (k *seam) Readv(cb *aio.ControlBlock) aio.Errno {
	if k.single != nil {
		if errno := k.single(cb); errno != 0 {
			return errno
		}
	}
	return k.Kernel.Readv(cb)
}
