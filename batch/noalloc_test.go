//go:build unix && !race

package batch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/reactor"
)

// Jobs that go in lists, alone, or have to wait first.
func TestSteadyStateAllocatesNothing(t *testing.T) { steadyState(t, 0, aio.TypeRegular) }

// The same with what merging takes: neighbours, apart and together, jobs that overlap,
// syncs that are shared, a lane.
func TestMergingAllocatesNothing(t *testing.T) {
	steadyState(t, 1<<16, aio.TypeRegular)
	steadyState(t, 1<<16, aio.TypeDisk)
}

func steadyState(t *testing.T, merge int, file aio.FileType) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat, errno := (aio.HostFiles{}).Fstat(int(f.Fd()))
	if errno != 0 {
		t.Fatal(errno)
	}
	stat.Type = file
	for name, limit := range map[string]int{"all at once": 256, "most wait": 16, "alone": 1} {
		t.Run(name, func(t *testing.T) {
			k := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: limit}})
			re, err := reactor.New(k)
			if err != nil {
				t.Fatal(err)
			}
			var done [64]*Job
			n := 0
			b, err := New(Config{
				Kernel: k, Kqueue: re.Kqueue(), Budget: share(t, k), Merge: merge,
				Done:      func(j *Job) { done[n] = j; n++ },
				Hold:      func(*Job) aio.Errno { return 0 },
				Elsewhere: func(j *Job) { t.Error("a job went elsewhere") },
			})
			if err != nil {
				t.Fatal(err)
			}
			jobs := make([]Job, 64)
			buf := make([]byte, 80)
			bufs := [][]byte{buf[:32], buf[32:64]}
			round := func() {
				for i := range jobs {
					j := &jobs[i]
					j.Op, j.Fd, j.Off = Op(i%6), int(f.Fd()), int64(i)
					j.Buf, j.Bufs = buf, bufs
					if merge > 0 {
						j.File, _ = b.File(stat)
						switch {
						case i%16 == 15:
							j.Append = j.Op.writes()
						case i < 32: // neighbours
							j.Op, j.Off, j.Buf, j.Append = Write, int64(i*8), buf[i*2%64:][:8:8], false
							if i < 16 {
								j.Op = Read
							}
						}
					}
					b.Add(j)
				}
				for ended := 0; ended < len(jobs); {
					b.Flush()
					b.Harvest(re.Sleep())
					ended += n
					for _, j := range done[:n] {
						b.Settle(j)
					}
					n = 0
				}
			}
			for range 20 {
				round()
			}
			// A daemon of the model, a goroutine, may be new now and then. One
			// allocation for each job would be 64.
			if n := testing.AllocsPerRun(50, round); n > 1 {
				t.Errorf("%v allocations for 64 jobs", n)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if err := re.Close(); err != nil {
				t.Error(err)
			}
			if err := k.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
}
