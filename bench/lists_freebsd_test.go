package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
)

// These compare the ring with a loop written by hand for FreeBSD's AIO: lists of 64,
// an event for each entry, all reaped before the next list. It uses package aio for
// the bare calls, and nothing else of the library. Both take turns in one run, and
// the metric x is how many times the loop's rate the ring has.
//
// The raw disk is the one that AIORING_TEST_DISK names. What is on it is lost.

// byHand is that loop.
type byHand struct {
	k      *aio.FreeBSD
	kq     int
	slab   *aio.Slab
	list   []*aio.ControlBlock
	events []aio.Kevent
}

func newByHand(b *testing.B) *byHand {
	b.Helper()
	k, err := aio.NewFreeBSD()
	if err != nil {
		b.Fatal(err)
	}
	h := &byHand{k: k, list: make([]*aio.ControlBlock, batch), events: make([]aio.Kevent, batch)}
	var errno aio.Errno
	if h.kq, errno = k.Kqueue(); errno != 0 {
		b.Fatal(errno)
	}
	if h.slab, err = aio.NewSlab(256); err != nil {
		b.Fatal(err)
	}
	if _, err := h.slab.Grow(); err != nil {
		b.Fatal(err)
	}
	for i := range h.list {
		h.list[i] = h.slab.Block(i)
	}
	b.Cleanup(func() {
		k.CloseKqueue(h.kq)
		_ = h.slab.Release()
	})
	return h
}

// round moves one block for each entry, at off of it.
func (h *byHand) round(b *testing.B, op aio.Opcode, fd int, buf func(int) []byte, off func(int) int64, first int) {
	for i, cb := range h.list {
		p := buf(first + i)
		cb.Prepare(op, fd, off(first+i), unsafe.Pointer(unsafe.SliceData(p)), len(p), aio.Sigevent{
			Notify: aio.NotifyKevent, Kqueue: int32(h.kq), Value: uintptr(i), KeventFlags: aio.EvOneshot,
		})
	}
	if errno := h.k.ListIO(aio.ListNoWait, h.list, nil); errno != 0 {
		b.Fatal(errno)
	}
	for left := len(h.list); left > 0; {
		n, errno := h.k.Kevent(h.kq, nil, h.events, -1)
		if errno == aio.EINTR {
			continue
		}
		if errno != 0 {
			b.Fatal(errno)
		}
		for _, ev := range h.events[:n] {
			if n, errno := h.k.Return(h.list[ev.Udata]); n != blockSize || errno != 0 {
				b.Fatal(n, errno)
			}
		}
		left -= n
	}
}

// target is a file to work on.
type target struct {
	name string
	file *os.File
	size int64
}

func targets(b *testing.B) []target {
	b.Helper()
	ts := []target{{"ufs", dataFile(b), fileSize}}
	if name := os.Getenv("AIORING_TEST_DISK"); name != "" {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		ts = append(ts, target{"raw", f, fileSize})
	}
	return ts
}

// contest runs rounds of both in turns and reports the ratio of their rates: that of the
// quicker tenth of the rounds, because what else the machine does only makes rounds
// slower, and that of all.
func contest(b *testing.B, hand, ring func(first int)) {
	for i := range 20 {
		hand(i * batch)
		ring(i * batch)
	}
	inHand, inRing := make([]time.Duration, b.N), make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		hand(i * batch)
		middle := time.Now()
		ring(i * batch)
		inHand[i], inRing[i] = middle.Sub(start), time.Since(middle)
	}
	b.StopTimer()
	quick := func(all []time.Duration) (tenth, mean float64) {
		for _, d := range all {
			mean += d.Seconds() / float64(len(all))
		}
		slices.Sort(all)
		return all[len(all)/10].Seconds(), mean
	}
	handTenth, handMean := quick(inHand)
	ringTenth, ringMean := quick(inRing)
	b.ReportMetric(batch/handTenth/1000, "hand-kops/s")
	b.ReportMetric(batch/ringTenth/1000, "ring-kops/s")
	b.ReportMetric(handTenth/ringTenth, "x")
	b.ReportMetric(handMean/ringMean, "x-of-all")
}

func versus(b *testing.B, off func(int) int64, apart bool, opts ...aioring.Option) {
	mem := make([]byte, 2*batch*blockSize+blockSize)
	step := blockSize
	if apart {
		step = 2 * blockSize
	}
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) & (blockSize - 1)
	buf := func(i int) []byte { return mem[skip+i%batch*step:][:blockSize:blockSize] }
	for _, t := range targets(b) {
		for _, op := range []string{"read", "write"} {
			b.Run(t.name+"/"+op, func(b *testing.B) {
				h := newByHand(b)
				r, err := aioring.New(batch, append(opts, aioring.WithKernel(aioring.KernelFreeBSD))...)
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				fd := int(t.file.Fd())
				opcode, prep := aio.OpRead, aioring.PrepRead
				if op == "write" {
					opcode, prep = aio.OpWrite, aioring.PrepWrite
				}
				before := r.Stats()
				defer func() {
					s := r.Stats()
					rounds := float64(b.N + 20)
					b.ReportMetric(float64(s.Polls-before.Polls)/rounds, "polls")
					b.ReportMetric(float64(s.Sleeps-before.Sleeps)/rounds, "sleeps")
				}()
				contest(b,
					func(first int) { h.round(b, opcode, fd, buf, off, first) },
					func(first int) {
						for i := range batch {
							prep(r.GetSQE(), fd, buf(first+i), off(first+i))
						}
						if _, err := r.SubmitAndWait(batch); err != nil {
							b.Fatal(err)
						}
						for range batch {
							cqe, err := r.PeekCQE()
							if err != nil || cqe.Res != blockSize {
								b.Fatal(cqe, err)
							}
							r.CQESeen(cqe)
						}
					})
			})
		}
	}
}

func inOrder(i int) int64 { return int64(i%(fileSize/blockSize)) * blockSize }

// BenchmarkFreeBSDRandom: the ring without merging, whose price is to be small.
func BenchmarkFreeBSDRandom(b *testing.B) { versus(b, offset, false, aioring.WithMerge(0)) }

// BenchmarkFreeBSDRandomMerge: merging finds nothing here; what looking costs.
func BenchmarkFreeBSDRandomMerge(b *testing.B) { versus(b, offset, false) }

// BenchmarkFreeBSDSequential: neighbours side by side in memory.
func BenchmarkFreeBSDSequential(b *testing.B) { versus(b, inOrder, false) }

// BenchmarkFreeBSDScattered: neighbours apart in memory.
func BenchmarkFreeBSDScattered(b *testing.B) { versus(b, inOrder, true) }

// BenchmarkFreeBSDCommit has 64 committers write and sync one file, with shared syncs
// and without. x is the ratio of the commits.
func BenchmarkFreeBSDCommit(b *testing.B) {
	const committers = 64
	run := func(b *testing.B, commits int64, opts ...aioring.Option) time.Duration {
		r, err := aioring.New(committers*2, append(opts, aioring.WithKernel(aioring.KernelFreeBSD))...)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		f, err := os.Create(filepath.Join(b.TempDir(), "log"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		var next atomic.Int64
		var all sync.WaitGroup
		start := time.Now()
		for range committers {
			all.Go(func() {
				record := make([]byte, 512)
				for i := next.Add(1) - 1; i < commits; i = next.Add(1) - 1 {
					var sqe aioring.SQE
					aioring.PrepWrite(&sqe, int(f.Fd()), record, i*int64(len(record)))
					_, err := r.Do(context.Background(), sqe)
					if err == nil {
						sqe = aioring.SQE{}
						aioring.PrepFsync(&sqe, int(f.Fd()), 0)
						_, err = r.Do(context.Background(), sqe)
					}
					if err != nil {
						panic(fmt.Sprint("commit: ", err))
					}
				}
			})
		}
		all.Wait()
		return time.Since(start)
	}
	for range b.N {
		const commits = 512
		alone := run(b, commits, aioring.WithMerge(0))
		shared := run(b, commits)
		b.ReportMetric(commits/alone.Seconds(), "alone-commits/s")
		b.ReportMetric(commits/shared.Seconds(), "shared-commits/s")
		b.ReportMetric(alone.Seconds()/shared.Seconds(), "x")
	}
}
