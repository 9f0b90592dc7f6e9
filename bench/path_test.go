//go:build unix

package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/aioring/aioring"
)

const (
	batch     = 64
	blockSize = 4096
	fileSize  = 16 << 20
)

// kernels are those present on this system.
func kernels() []string {
	kernels := []string{aioring.KernelThreads, aioring.KernelSim}
	if runtime.GOOS == "freebsd" {
		return append(kernels, aioring.KernelFreeBSD)
	}
	if r, err := aioring.New(1, aioring.WithKernel(aioring.KernelURing)); err == nil {
		r.Close()
		kernels = append(kernels, aioring.KernelURing)
	}
	return kernels
}

// dataFile is a file of fileSize bytes, in the page cache.
func dataFile(b *testing.B) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "data"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, fileSize)); err != nil {
		b.Fatal(err)
	}
	return f
}

// offset is the i-th of a sequence of block offsets that neighbours nothing.
func offset(i int) int64 { return int64(i*7919%(fileSize/blockSize)) * blockSize }

// BenchmarkPath sends operations through the whole ring and back, 64 at a time.
// Its baseline is the plain call, one goroutine. In steady state nothing is
// allocated for an operation.
func BenchmarkPath(b *testing.B) {
	var bufs [batch][blockSize]byte // one for each operation in flight
	buf := func(i int) []byte { return bufs[i%batch][:] }
	ops := []struct {
		name  string
		prep  func(sqe *aioring.SQE, f *os.File, i int)
		plain func(f *os.File, i int) error
	}{
		{"nop", func(sqe *aioring.SQE, f *os.File, i int) { aioring.PrepNop(sqe) }, nil},
		{
			"read",
			func(sqe *aioring.SQE, f *os.File, i int) { aioring.PrepRead(sqe, int(f.Fd()), buf(i), offset(i)) },
			func(f *os.File, i int) error { _, err := f.ReadAt(buf(i), offset(i)); return err },
		},
		{
			"write",
			func(sqe *aioring.SQE, f *os.File, i int) { aioring.PrepWrite(sqe, int(f.Fd()), buf(i), offset(i)) },
			func(f *os.File, i int) error { _, err := f.WriteAt(buf(i), offset(i)); return err },
		},
	}
	for _, op := range ops {
		if op.plain != nil {
			b.Run(op.name+"/plain", func(b *testing.B) {
				f := dataFile(b)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := op.plain(f, i); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		for _, kernel := range kernels() {
			b.Run(op.name+"/"+kernel, func(b *testing.B) {
				f := dataFile(b)
				r, err := aioring.New(batch, aioring.WithKernel(kernel))
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				i := 0
				round := func(n int) {
					for range n {
						op.prep(r.GetSQE(), f, i)
						i++
					}
					if _, err := r.SubmitAndWait(n); err != nil {
						b.Fatal(err)
					}
					for range n {
						cqe, err := r.PeekCQE()
						if err != nil || cqe.Res < 0 {
							b.Fatal(cqe, err)
						}
						r.CQESeen(cqe)
					}
				}
				for range 50 {
					round(batch) // to the steady state
				}
				b.ReportAllocs()
				b.ResetTimer()
				for n := b.N; n > 0; n -= batch {
					round(min(n, batch))
				}
			})
		}
	}
}
