//go:build unix

package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// step is one operation of a program.
type step struct {
	write, vector bool
	off, n        int
	apart         bool // its buffer is not the neighbour of the one before
	submit        bool // everything so far goes after it
}

const programFile = 8192

// programs draws runs of neighbours, with jumps between them.
func programs(t *rapid.T) (steps []step) {
	off := 0
	for range rapid.IntRange(1, 60).Draw(t, "runs") {
		s := step{
			write:  rapid.Bool().Draw(t, "write"),
			vector: rapid.IntRange(0, 3).Draw(t, "vector") == 0,
			apart:  rapid.Bool().Draw(t, "apart"),
		}
		if rapid.IntRange(0, 2).Draw(t, "jump") == 0 {
			off = rapid.IntRange(0, programFile+64).Draw(t, "to")
		}
		for range rapid.IntRange(1, 12).Draw(t, "members") {
			s.off, s.n = off, rapid.IntRange(0, 80).Draw(t, "bytes")
			if s.write {
				s.n = max(0, min(s.n, programFile-off)) // the file keeps its size
			}
			s.submit = rapid.IntRange(0, 7).Draw(t, "submit") == 0
			steps = append(steps, s)
			off += s.n
		}
	}
	return steps
}

// settings are how a program is run.
type settings struct {
	merge, limit   int
	profile        sim.Profile
	again, refused float64
	seed           uint64
}

// TestProgramsComeToTheSameHoweverTheyRun runs a random program of reads and writes
// with and without merging, with lists of any size, and with a kernel that refuses now
// this and now that: the file and every result are what one call after the other gives.
func TestProgramsComeToTheSameHoweverTheyRun(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		steps := programs(t)
		want, results := model(steps)
		for _, merge := range []int{0, rapid.SampledFrom([]int{1, 100, 4096, aioring.DefaultMerge}).Draw(t, "merge")} {
			s := settings{
				merge: merge, limit: rapid.IntRange(1, 256).Draw(t, "limit"), seed: rapid.Uint64().Draw(t, "seed"),
				profile: rapid.SampledFrom([]sim.Profile{sim.V13, sim.V14, sim.V15}).Draw(t, "kernel"),
				again:   rapid.SampledFrom([]float64{0, 0.05, 0.5}).Draw(t, "again"),
				refused: rapid.SampledFrom([]float64{0, 0.02, 0.5}).Draw(t, "refused"),
			}
			file, got := run(t, filepath.Join(dir, "file"), steps, s)
			for i := range steps {
				if got[i].res != results[i].res || !bytes.Equal(got[i].read, results[i].read) {
					t.Fatalf("%+v: step %d %+v: %d %x, want %d %x", s, i, steps[i], got[i].res, got[i].read, results[i].res, results[i].read)
				}
			}
			if !bytes.Equal(file, want) {
				t.Fatalf("%+v: another file", s)
			}
		}
	})
}

// result is what a step came to.
type result struct {
	res  int32
	read []byte
}

func startFile() []byte {
	file := make([]byte, programFile)
	for i := range file {
		file[i] = byte(i * 31 >> 3)
	}
	return file
}

// bytesOf is what a step writes.
func bytesOf(i, n int) []byte {
	p := make([]byte, n)
	for k := range p {
		p[k] = byte(i*7 + k + 1)
	}
	return p
}

// model runs a program on a slice.
func model(steps []step) (file []byte, results []result) {
	file = startFile()
	for i, s := range steps {
		switch {
		case s.write:
			if s.n > 0 {
				copy(file[s.off:], bytesOf(i, s.n))
			}
			results = append(results, result{res: int32(s.n)})
		default:
			part := file[min(s.off, len(file)):min(s.off+s.n, len(file))]
			results = append(results, result{int32(len(part)), bytes.Clone(part)})
		}
	}
	return file, results
}

// run runs a program on a ring.
func run(t *rapid.T, path string, steps []step, s settings) (file []byte, results []result) {
	if err := os.WriteFile(path, startFile(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	submit := sim.At(sim.Submit)
	kernel := sim.New(sim.Config{
		Profile: s.profile, Limits: aio.Limits{MaxQueuePerProc: s.limit},
		Faults: []sim.Fault{
			sim.If(sim.And(submit, sim.Randomly(s.seed, s.again)), sim.Fail(aio.EAGAIN)),
			sim.If(sim.And(submit, sim.Randomly(s.seed+1, s.refused)), sim.Fail(aio.ENOMEM)),
		},
	})
	r, err := aioring.New(64, aioring.WithAIO(kernel), aioring.WithMerge(s.merge))
	if err != nil {
		t.Fatal(err)
	}
	bufs := make([][]byte, len(steps))
	results = make([]result, len(steps))
	under := 0
	flush := func() {
		if _, err := r.SubmitAndWait(under); err != nil {
			t.Fatal(err)
		}
		for ; under > 0; under-- {
			cqe, err := r.PeekCQE()
			if err != nil {
				t.Fatal(err)
			}
			i := int(cqe.UserData)
			results[i].res = cqe.Res
			if !steps[i].write && cqe.Res >= 0 {
				results[i].read = bufs[i][:cqe.Res]
			}
			r.CQESeen(cqe)
		}
	}
	var mem []byte
	for i, st := range steps {
		if st.apart || len(mem) < st.n {
			mem = make([]byte, 4096)
		}
		bufs[i], mem = mem[:st.n:st.n], mem[st.n:]
		if st.write {
			copy(bufs[i], bytesOf(i, st.n))
		}
		sqe := r.GetSQE()
		parts := [][]byte{bufs[i][:st.n/3], bufs[i][st.n/3:]}
		switch {
		case st.vector && st.write:
			aioring.PrepWritev(sqe, int(f.Fd()), parts, int64(st.off))
		case st.vector:
			aioring.PrepReadv(sqe, int(f.Fd()), parts, int64(st.off))
		case st.write:
			aioring.PrepWrite(sqe, int(f.Fd()), bufs[i], int64(st.off))
		default:
			aioring.PrepRead(sqe, int(f.Fd()), bufs[i], int64(st.off))
		}
		sqe.UserData = uint64(i)
		if under++; st.submit || under == 64 {
			flush()
		}
	}
	flush()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := kernel.Shutdown(); err != nil {
		t.Fatal(fmt.Errorf("the model saw: %w", err))
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, results
}
