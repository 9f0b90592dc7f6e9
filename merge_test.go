//go:build unix

package aioring_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// Every kernel that this system has, but for those that are rings themselves.
func eachKernel(t *testing.T, f func(t *testing.T, kernel string), more ...string) {
	for _, kernel := range append(more, aioring.KernelFreeBSD, aioring.KernelThreads, aioring.KernelSim) {
		r, err := aioring.New(1, aioring.WithKernel(kernel))
		if err != nil {
			continue
		}
		r.Close()
		t.Run(kernel, func(t *testing.T) { f(t, kernel) })
	}
}

// submitEach submits n operations, as many at a time as the ring has entries, and
// gives each CQE to check.
func submitEach(t *testing.T, r *aioring.Ring, n, entries int, prep func(sqe *aioring.SQE, i int), check func(i int, res int32)) {
	t.Helper()
	seen := 0
	for i := 0; i < n; {
		m := min(entries, n-i)
		for range m {
			sqe := r.GetSQE()
			prep(sqe, i)
			sqe.UserData = uint64(i)
			i++
		}
		if _, err := r.SubmitAndWait(m); err != nil {
			t.Fatal(err)
		}
		for range m {
			cqe, err := r.PeekCQE()
			if err != nil {
				t.Fatal(err)
			}
			check(int(cqe.UserData), cqe.Res)
			r.CQESeen(cqe)
			seen++
		}
	}
	if seen != n {
		t.Fatalf("%d of %d", seen, n)
	}
}

// Neighbours go as one and each has its own result; without merging they are as many
// jobs, with the same results.
func TestMergedOperationsHaveTheirOwnResults(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernel string) {
		for _, merge := range []int{0, aioring.DefaultMerge} {
			r, err := aioring.New(64, aioring.WithKernel(kernel), aioring.WithMerge(merge))
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			data := make([]byte, 60*100+50)
			for i := range data {
				data[i] = byte(i * 7)
			}
			submitEach(t, r, 61, 64, func(sqe *aioring.SQE, i int) {
				aioring.PrepWrite(sqe, int(f.Fd()), data[i*100:min(i*100+100, len(data))], int64(i*100))
			}, func(i int, res int32) {
				if want := min(100, len(data)-i*100); int(res) != want {
					t.Errorf("write %d: %d", i, res)
				}
			})
			got := make([]byte, 64*100)
			submitEach(t, r, 64, 64, func(sqe *aioring.SQE, i int) {
				aioring.PrepRead(sqe, int(f.Fd()), got[i*100:][:100], int64(i*100))
			}, func(i int, res int32) {
				if want := max(0, min(100, len(data)-i*100)); int(res) != want {
					t.Errorf("read %d: %d", i, res)
				}
			})
			if !bytes.Equal(got[:len(data)], data) {
				t.Error("other bytes")
			}
			s := r.Stats()
			if merges := merge > 0 && kernel != aioring.KernelThreads; merges != (s.Merges == 2 && s.Members == 125) || !merges && s.Merges != 0 {
				t.Errorf("merge %d: %+v", merge, s)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Records through an appending descriptor, and at the file's own position, come out
// in the order of submission. On io_uring that is the kernel's doing, which makes such
// writes within the submission.
func TestAppendedRecordsComeOutInOrder(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5000
	}
	eachKernel(t, func(t *testing.T, kernel string) {
		for name, flags := range map[string]int{"O_APPEND": os.O_APPEND, "position": 0} {
			t.Run(name, func(t *testing.T) {
				off := int64(0)
				if flags == 0 {
					off = -1
				}
				path := filepath.Join(t.TempDir(), "log")
				f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|flags, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				r, err := aioring.New(256, aioring.WithKernel(kernel))
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var want []byte
				submitEach(t, r, n, 256, func(sqe *aioring.SQE, i int) {
					record := fmt.Appendf(nil, "record %d\n", i)
					want = append(want, record...)
					aioring.PrepWrite(sqe, int(f.Fd()), record, off)
				}, func(i int, res int32) {
					if int(res) != len(fmt.Sprintf("record %d\n", i)) {
						t.Fatalf("record %d: %d", i, res)
					}
				})
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes, want %d, or not in order", len(got), len(want))
				}
			})
		}
	}, aioring.KernelURing)
}

// Close in the middle of a lane ends every operation once.
func TestCloseAmidALane(t *testing.T) {
	eachKernel(t, func(t *testing.T, kernel string) {
		f, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 50 {
			r, err := aioring.New(64, aioring.WithKernel(kernel))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 64 {
				off := int64(0)
				if i%2 == 0 {
					off = -1
				}
				aioring.PrepWrite(r.GetSQE(), int(f.Fd()), make([]byte, 100), off)
			}
			if _, err := r.Submit(); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if s := r.Stats(); s.Completed != 64 {
				t.Fatalf("%d of 64 completed", s.Completed)
			}
		}
	})
}

func TestOptionsOfMergingAndMethod(t *testing.T) {
	for _, c := range []struct {
		opts   []aioring.Option
		env    map[string]string
		fails  bool
		merges bool
	}{
		{merges: true},
		{opts: []aioring.Option{aioring.WithMerge(0)}},
		{opts: []aioring.Option{aioring.WithMerge(-1)}, fails: true},
		{opts: []aioring.Option{aioring.WithMerge(1 << 30)}, fails: true},
		{opts: []aioring.Option{aioring.WithMethod(aioring.MethodPlain)}},
		{opts: []aioring.Option{aioring.WithMethod("best")}, fails: true},
		{env: map[string]string{"AIORING_MERGE": "0"}},
		{env: map[string]string{"AIORING_MERGE": "4096"}, opts: []aioring.Option{aioring.WithMerge(0)}, merges: true},
		{env: map[string]string{"AIORING_MERGE": "much"}, fails: true},
		{env: map[string]string{"AIORING_METHOD": "plain"}},
		{env: map[string]string{"AIORING_METHOD": "auto"}, opts: []aioring.Option{aioring.WithMethod(aioring.MethodPlain)}, merges: true},
		{env: map[string]string{"AIORING_METHOD": "?"}, fails: true},
		{env: map[string]string{"AIORING_METHOD": "", "AIORING_MERGE": ""}, merges: true},
	} {
		t.Run(fmt.Sprint(c.env, len(c.opts)), func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			r, err := aioring.New(8, append(c.opts, aioring.WithKernel(aioring.KernelSim))...)
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			defer r.Close()
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			submitEach(t, r, 8, 8, func(sqe *aioring.SQE, i int) {
				aioring.PrepWrite(sqe, int(f.Fd()), make([]byte, 64), int64(i*64))
			}, func(i int, res int32) {
				if res != 64 {
					t.Errorf("%d: %v", i, syscall.Errno(-res))
				}
			})
			if s := r.Stats(); s.Merges > 0 != c.merges {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A member of a merged job cannot be called off alone: EALREADY. One that is not
// submitted yet can.
func TestCancelOfAMergedOperation(t *testing.T) {
	guard(t, time.Minute)
	r, kernel := modelRing(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1}}, 32, aioring.WithMerge(4096))
	f := tempFile(t, 0)
	kernel.Hold()
	for i := range 16 { // two stretches, so two jobs, of which the second waits
		sqe := r.GetSQE()
		aioring.PrepWrite(sqe, int(f.Fd()), make([]byte, 512), int64(i)*512+int64(i/8)<<20)
		sqe.UserData = uint64(i)
	}
	submit(t, r, 16)
	for _, victim := range []uint64{3, 12} {
		sqe := r.GetSQE()
		aioring.PrepCancel(sqe, victim, 0)
		sqe.UserData = 100 + victim
	}
	submit(t, r, 2)
	kernel.Release()
	got := map[uint64]int32{}
	for range 18 {
		c := reap(t, r)
		got[c.UserData] = c.Res
	}
	for data, res := range got {
		want := int32(512)
		switch data {
		case 103:
			want = -int32(syscall.EALREADY)
		case 112:
			want = 0
		case 12:
			want = -int32(syscall.ECANCELED)
		}
		if res != want {
			t.Errorf("%d: %d, want %d", data, res, want)
		}
	}
}

// What a merged job may have written in part, and is written again, can no longer be
// cancelled: that would say that nothing was done.
func TestReissuedWriteThatIsCancelled(t *testing.T) {
	guard(t, 8*time.Second)
	gate := sim.NewGate()
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Result), sim.Writes, sim.Nth(1)), sim.Fail(aio.EIO)),
		sim.If(sim.And(sim.At(sim.Submit), sim.Not(sim.First(1))), sim.HoldQueued(gate)),
	}}, 8, aioring.WithMerge(1<<16))
	defer gate.Open()
	f := tempFile(t, 0)
	var a, b aioring.SQE
	aioring.PrepWrite(&a, int(f.Fd()), []byte("aaaa"), 0)
	aioring.PrepWrite(&b, int(f.Fd()), []byte("bbbb"), 4)
	if err := r.Push(a, b); err != nil {
		t.Fatal(err)
	}
	for r.Stats().Reissued < 2 {
		r.PeekCQE() // looks
	}
	var c aioring.SQE
	aioring.PrepCancel(&c, 0, aioring.CancelAny)
	c.UserData = 9
	if err := r.Push(c); err != nil {
		t.Fatal(err)
	}
	answer := reap(t, r)
	gate.Open()
	x, y := reap(t, r), reap(t, r)
	got, _ := os.ReadFile(f.Name())
	if answer.UserData != 9 || answer.Res != 0 || x.Res != 4 || y.Res != 4 || string(got) != "aaaabbbb" {
		t.Errorf("%+v; %d and %d; the file has %q", answer, x.Res, y.Res, got)
	}
}
