//go:build unix

package bench

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/aioring/aioring"
)

func newRing(b *testing.B, kernel string, entries int) *aioring.Ring {
	b.Helper()
	r, err := aioring.New(entries, aioring.WithKernel(kernel))
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// rounds runs round until b.N operations are through, a batch at a time, from the
// steady state on.
func rounds(b *testing.B, round func(n int)) {
	for range 50 {
		round(batch)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := b.N; n > 0; n -= batch {
		round(min(n, batch))
	}
}

// porter uses a ring as a liburing program does: entries filled, submitted, and
// their completions reaped by the batch, as raw does it.
type porter struct {
	b    *testing.B
	r    *aioring.Ring
	cqes []*aioring.CQE
}

func newPorter(b *testing.B, kernel string) porter {
	return porter{b, newRing(b, kernel, batch), make([]*aioring.CQE, batch)}
}

func (p porter) round(n int, prep func(s *aioring.SQE)) {
	for range n {
		prep(p.r.GetSQE())
	}
	if _, err := p.r.SubmitAndWait(n); err != nil {
		p.b.Fatal(err)
	}
	p.reap(n)
}

// reap takes n completions that are on their way.
func (p porter) reap(n int) {
	for n > 0 {
		k := p.r.PeekBatchCQE(p.cqes)
		for _, cqe := range p.cqes[:k] {
			if cqe.Res < 0 {
				p.b.Fatal(*cqe)
			}
		}
		p.r.CQAdvance(k)
		n -= k
	}
}

// readAt reads b.N blocks by os.File from so many goroutines.
func readAt(b *testing.B, f *os.File, goroutines int, offset func(i int) int64) {
	var next atomic.Int64
	var group sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range goroutines {
		buf := aligned(1)[0]
		group.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := f.ReadAt(buf, offset(int(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// aligned makes n blocks that direct I/O can use.
func aligned(n int) [][]byte {
	memory := make([]byte, (n+1)*blockSize)
	skip := -uintptr(unsafe.Pointer(&memory[0])) & (blockSize - 1)
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = memory[int(skip)+i*blockSize:][:blockSize:blockSize]
	}
	return bufs
}
