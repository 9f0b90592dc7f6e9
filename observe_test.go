//go:build unix

package aioring_test

import (
	"encoding/json"
	"expvar"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

var _ expvar.Var = aioring.Var{}

// logged takes the log's lines until the test ends.
func logged(t *testing.T) *lines {
	t.Helper()
	log := &lines{}
	log.more.L = &log.mu
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return log
}

type lines struct {
	mu   sync.Mutex
	more sync.Cond
	all  []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	l.more.Broadcast()
	return len(p), nil
}

// await waits until n lines have this in them, and returns those.
func (l *lines) await(part string, n int) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		found = nil
		for _, line := range l.all {
			if strings.Contains(line, part) {
				found = append(found, line)
			}
		}
		if len(found) >= n {
			return found
		}
		l.more.Wait()
	}
}

// Every operation under way is listed, with where it is.
func TestInFlightNamesEachOperationAndWhereItIs(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, _ := modelRing(t, sim.Config{
		Limits: aio.Limits{MaxQueuePerProc: 2},
		Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))},
	}, 16)
	f := tempFile(t, 0)
	fd := int(f.Fd())
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	for i, off := range []int64{0, 4096, 8192, 64} {
		sqe := r.GetSQE()
		aioring.PrepWrite(sqe, fd, make([]byte, 128), off)
		sqe.UserData = uint64(i)
	}
	sqe := r.GetSQE()
	aioring.PrepRead(sqe, int(out.Fd()), make([]byte, 8), 0)
	sqe.UserData = 4
	sqe = r.GetSQE()
	aioring.PrepTimeout(sqe, time.Hour, 0, 0)
	sqe.UserData = 5
	submit(t, r, 6)
	gate.Await(2)
	got := map[uint64]aioring.State{}
	for op := range r.InFlight() {
		got[op.UserData] = op.State
		if op.UserData < 4 && (op.Fd != fd || op.Len != 128 || op.Op != aioring.OpWrite || op.Age <= 0) {
			t.Errorf("%+v", op)
		}
	}
	want := map[uint64]aioring.State{
		0: aioring.StateKernel, 1: aioring.StateKernel, 2: aioring.StateWaiting, 3: aioring.StateHeld,
		4: aioring.StateCalling, 5: aioring.StateTimer,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for range r.InFlight() {
		break // early
	}
	if s := r.Stats(); s.Oldest <= 0 || s.InFlight != 6 {
		t.Errorf("oldest %v, %d in flight", s.Oldest, s.InFlight)
	}
	gate.Open()
	if _, err := in.Write(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		reap(t, r)
	}
	for op := range r.InFlight() {
		if op.UserData != 5 {
			t.Errorf("still there: %+v", op)
		}
	}
}

// Errors are counted by name, sizes and latencies in histograms, and both forms of
// them are there for others.
func TestStatsCountErrorsSizesAndLatency(t *testing.T) {
	for _, on := range []bool{true, false} {
		r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
			sim.If(sim.And(sim.At(sim.Start), sim.Offset(512, 513)), sim.Fail(aio.EIO)),
		}}, 64, aioring.WithLatency(on))
		f := tempFile(t, 0)
		for i := range 40 {
			aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 512), int64(i)*512)
		}
		aioring.PrepRead(r.GetSQE(), 1<<20, make([]byte, 1), 0)
		submit(t, r, 41)
		for range 41 {
			reap(t, r)
		}
		s := r.Stats()
		if want := map[string]uint64{"EIO": 1, "EBADF": 1}; !maps.Equal(s.Errors, want) {
			t.Errorf("%v, want %v", s.Errors, want)
		}
		if s.ListSizes.Count() != 1 || s.ListSizes.Sum != 40 || s.ListSizes.Quantile(1) != 63 {
			t.Errorf("lists: %+v", s.ListSizes)
		}
		if s.ReapSizes.Sum != 40 {
			t.Errorf("reaps: %+v", s.ReapSizes)
		}
		for name, h := range map[string]aioring.Histogram{"queueing": s.Queueing, "serving": s.Serving, "delivering": s.Delivering} {
			if want := map[bool]uint64{true: 40}[on]; h.Count() != want || on && h.Quantile(1) == 0 {
				t.Errorf("%s: %+v", name, h)
			}
			if strings.Contains(s.String(), name) != on {
				t.Errorf("%s in\n%s", name, s)
			}
		}
		for _, part := range []string{"kernel", "sim", "EIO", "EBADF", "in lists", "list sizes"} {
			if !strings.Contains(s.String(), part) {
				t.Errorf("no %q in\n%s", part, s)
			}
		}
		var back aioring.Stats
		if err := json.Unmarshal([]byte(r.Var().String()), &back); err != nil {
			t.Fatal(err)
		}
		if back.Submitted != 41 || back.Serving != s.Serving || !maps.Equal(back.Errors, s.Errors) {
			t.Errorf("%+v", back)
		}
	}
}

// Plain calls have their latency too.
func TestPlainCallsAreTimed(t *testing.T) {
	r, err := aioring.New(8, aioring.WithKernel(aioring.KernelThreads))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := tempFile(t, 0)
	for i := range 8 {
		aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 512), int64(i)*512)
	}
	submit(t, r, 8)
	for range 8 {
		reap(t, r)
	}
	if s := r.Stats(); s.Serving.Count() != 8 || s.Queueing.Count() != 8 || s.Delivering.Count() != 8 {
		t.Errorf("%+v", s)
	}
}

// What takes longer than WithSlow is logged, once each; a timer is not.
func TestSlowOperationsAreLoggedOnce(t *testing.T) {
	guard(t, time.Minute)
	log := logged(t)
	gate := sim.NewGate()
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Start), sim.Offset(1<<16, 1<<30)), sim.HoldActive(gate)),
	}}, 16, aioring.WithSlow(20*time.Millisecond))
	f := tempFile(t, 0)
	for i := range 3 {
		aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 1024), 1<<16+int64(i)<<12)
	}
	aioring.PrepTimeout(r.GetSQE(), time.Hour, 0, 0)
	submit(t, r, 4)
	for range 10 { // others, in the same time
		aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 512), 0)
		submit(t, r, 1)
		if c := reap(t, r); c.Res != 512 {
			t.Fatal(syscall.Errno(-c.Res))
		}
	}
	log.await("len=1024", 3)
	// One more becomes slow after them: when it is logged, they were not again.
	aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 1024), 1<<20)
	submit(t, r, 1)
	log.await("off=1048576", 1)
	gate.Open()
	for range 4 {
		reap(t, r)
	}
	if n := len(log.await("len=1024", 4)); n != 4 {
		t.Errorf("%d lines for four", n)
	}
	if n := len(log.await("in the kernel", 4)); n < 4 {
		t.Errorf("%d were in the kernel", n)
	}
	if all := strings.Join(log.await("", 0), ""); strings.Contains(all, "TIMEOUT") {
		t.Error(all)
	}
}

func TestBadOptionsOfWatching(t *testing.T) {
	if _, err := aioring.New(8, aioring.WithSlow(-1)); err == nil {
		t.Error("a negative time")
	}
}

func TestHistogram(t *testing.T) {
	var h aioring.Histogram
	if h.Count() != 0 || h.Mean() != 0 || h.Quantile(0.5) != 0 {
		t.Errorf("empty: %d, %v, %d", h.Count(), h.Mean(), h.Quantile(0.5))
	}
	h = aioring.Histogram{Sum: 100}
	h.Buckets[0], h.Buckets[1], h.Buckets[5] = 50, 49, 1
	for q, want := range map[float64]uint64{0: 0, 0.5: 0, 0.51: 1, 0.99: 1, 1: 31} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if h.Count() != 100 || h.Mean() != 1 {
		t.Errorf("%d, %v", h.Count(), h.Mean())
	}
}

// On every kernel an operation that waits for somebody is listed until it is over.
func TestInFlightOnEveryKernel(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		defer in.Close()
		aioring.PrepRead(r.GetSQE(), int(out.Fd()), make([]byte, 8), 0)
		submit(t, r, 1)
		for r.Stats().InFlight == 0 {
			runtime.Gosched()
		}
		var ops []aioring.Operation
		for op := range r.InFlight() {
			ops = append(ops, op)
		}
		if len(ops) != 1 || ops[0].Fd != int(out.Fd()) || ops[0].Op != aioring.OpRead || ops[0].Len != 8 || ops[0].State == "" {
			t.Errorf("%+v", ops)
		}
		if _, err := in.Write(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if c := reap(t, r); c.Res != 8 {
			t.Errorf("%+v", c)
		}
		for op := range r.InFlight() {
			t.Errorf("still there: %+v", op)
		}
		if s := r.Stats(); s.Oldest != 0 {
			t.Errorf("oldest: %v", s.Oldest)
		}
	})
}

// Errors are counted on every kernel, by the errno's name.
func TestErrorsAreCountedOnEveryKernel(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		for range 3 {
			aioring.PrepRead(r.GetSQE(), 1<<20, make([]byte, 8), 0)
			submit(t, r, 1)
			if c := reap(t, r); c.Res != -int32(syscall.EBADF) {
				t.Errorf("%+v", c)
			}
		}
		if s := r.Stats(); !maps.Equal(s.Errors, map[string]uint64{"EBADF": 3}) {
			t.Errorf("%v", s.Errors)
		}
	})
}
