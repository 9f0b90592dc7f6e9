package bench

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/internal/uring"
	"golang.org/x/sys/unix"
)

// raw is the least that a program can do with io_uring: it fills entries, enters,
// and looks at results. It keeps no buffer alive, knows no operation, serves one
// goroutine and stops at the first surprise.
type raw struct {
	b *testing.B
	u *uring.Ring
}

func newRaw(b *testing.B, entries uint32) raw {
	b.Helper()
	u, err := uring.Setup(entries, &uring.Params{})
	if err != nil {
		b.Skip("no io_uring here: ", err)
	}
	b.Cleanup(func() { u.Close() })
	return raw{b, u}
}

// round submits n entries filled by prep and reaps their completions.
func (r raw) round(n int, prep func(s *uring.SQE)) {
	for range n {
		prep(r.u.NextSQE())
	}
	if got, errno := r.u.Enter(uint32(n), false); got != uint32(n) || errno != 0 {
		r.b.Fatal(got, errno)
	}
	r.reap(n)
}

// reap waits for n completions.
func (r raw) reap(n int) {
	for n > 0 {
		cqes := r.u.Peek()
		if cqes == nil {
			if errno := r.u.Wait(uint32(n), nil); errno != 0 && errno != unix.EINTR {
				r.b.Fatal(errno)
			}
			continue
		}
		for i := range cqes {
			if cqes[i].Res < 0 {
				r.b.Fatal(cqes[i])
			}
		}
		n -= len(cqes)
		r.u.Advance(uint32(len(cqes)))
	}
}

// BenchmarkUringNop is what a ring costs beside the least that can be done, in
// batches of 64: by GetSQE and Submit, and by Push.
func BenchmarkUringNop(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		r := newRaw(b, batch)
		rounds(b, func(n int) { r.round(n, func(s *uring.SQE) { *s = uring.SQE{} }) })
	})
	b.Run("submit", func(b *testing.B) {
		p := newPorter(b, aioring.KernelURing)
		rounds(b, func(n int) { p.round(n, aioring.PrepNop) })
	})
	b.Run("push", func(b *testing.B) {
		p := newPorter(b, aioring.KernelURing)
		sqes := make([]aioring.SQE, batch)
		rounds(b, func(n int) {
			for i := range n {
				aioring.PrepNop(&sqes[i])
			}
			if err := p.r.Push(sqes[:n]...); err != nil {
				b.Fatal(err)
			}
			p.reap(n)
		})
	})
}

// BenchmarkUringRead4k reads random blocks from the page cache, 64 at a time, and
// by os.File one at a time, from 1 and from 64 goroutines.
func BenchmarkUringRead4k(b *testing.B) {
	var bufs [batch][blockSize]byte
	b.Run("raw", func(b *testing.B) {
		f, r, i := dataFile(b), newRaw(b, batch), 0
		fd := int32(f.Fd())
		rounds(b, func(n int) {
			r.round(n, func(s *uring.SQE) {
				*s = uring.SQE{
					Opcode: uring.OpRead, Fd: fd, Off: uint64(offset(i)),
					Addr: uint64(uintptr(unsafe.Pointer(&bufs[i%batch]))), Len: blockSize,
				}
				i++
			})
		})
	})
	b.Run("ring", func(b *testing.B) {
		f, p, i := dataFile(b), newPorter(b, aioring.KernelURing), 0
		fd := int(f.Fd())
		rounds(b, func(n int) {
			p.round(n, func(s *aioring.SQE) {
				aioring.PrepRead(s, fd, bufs[i%batch][:], offset(i))
				i++
			})
		})
	})
	b.Run("osfile1", func(b *testing.B) { readAt(b, dataFile(b), 1, offset) })
	b.Run("osfile64", func(b *testing.B) { readAt(b, dataFile(b), 64, offset) })
}

// BenchmarkUringDirect4k reads random blocks from the device, past the page cache.
func BenchmarkUringDirect4k(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		b.Skip("no direct I/O here: ", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	offset := func(i int) int64 { return int64(i*7919%(size/blockSize)) * blockSize }
	bufs := aligned(batch)
	b.Run("raw", func(b *testing.B) {
		r, i := newRaw(b, batch), 0
		rounds(b, func(n int) {
			r.round(n, func(s *uring.SQE) {
				*s = uring.SQE{
					Opcode: uring.OpRead, Fd: int32(f.Fd()), Off: uint64(offset(i)),
					Addr: uint64(uintptr(unsafe.Pointer(&bufs[i%batch][0]))), Len: blockSize,
				}
				i++
			})
		})
	})
	b.Run("ring", func(b *testing.B) {
		p, i := newPorter(b, aioring.KernelURing), 0
		rounds(b, func(n int) {
			p.round(n, func(s *aioring.SQE) {
				aioring.PrepRead(s, int(f.Fd()), bufs[i%batch], offset(i))
				i++
			})
		})
	})
	b.Run("osfile1", func(b *testing.B) { readAt(b, f, 1, offset) })
	b.Run("osfile64", func(b *testing.B) { readAt(b, f, 64, offset) })
}

// BenchmarkUringPush8 has eight goroutines submit NOPs, eight at a time, and see
// their completions: through one bare ring behind a mutex, and through a ring.
func BenchmarkUringPush8(b *testing.B) {
	const goroutines, each = 8, 8
	b.Run("mutex", func(b *testing.B) {
		r := newRaw(b, batch)
		var mu sync.Mutex
		var next atomic.Int64
		var group sync.WaitGroup
		b.ReportAllocs()
		b.ResetTimer()
		for range goroutines {
			group.Go(func() {
				for next.Add(each) < int64(b.N)+each {
					mu.Lock()
					r.round(each, func(s *uring.SQE) { *s = uring.SQE{} })
					mu.Unlock()
				}
			})
		}
		group.Wait()
	})
	b.Run("ring", func(b *testing.B) {
		r := newRing(b, aioring.KernelURing, 1024)
		var next atomic.Int64
		var group, reaping sync.WaitGroup
		total := int64(b.N+each-1) / each * each
		b.ReportAllocs()
		b.ResetTimer()
		reaping.Go(func() {
			cqes := make([]*aioring.CQE, 1024)
			for n := int64(0); n < total; {
				if _, err := r.WaitCQE(); err != nil {
					b.Error(err)
					return
				}
				k := r.PeekBatchCQE(cqes)
				for _, cqe := range cqes[:k] {
					if cqe.Res < 0 {
						b.Error(*cqe)
					}
				}
				r.CQAdvance(k)
				n += int64(k)
			}
		})
		for range goroutines {
			group.Go(func() {
				var sqes [each]aioring.SQE
				for next.Add(each) <= total {
					for i := range sqes {
						aioring.PrepNop(&sqes[i])
					}
					if err := r.PushContext(b.Context(), sqes[:]...); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		reaping.Wait()
		b.ReportMetric(float64(total)/float64(r.Stats().Enters), "ops/enter")
	})
}
