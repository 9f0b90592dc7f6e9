//go:build unix

package bench

import (
	"testing"

	"github.com/aioring/aioring"
)

// emulatedRing is a ring whose rules are the engine's, and whose NOPs need nothing
// below it.
func emulatedRing(b *testing.B) *aioring.Ring {
	b.Helper()
	r, err := aioring.New(batch, aioring.WithKernel(aioring.KernelThreads))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// nops sends n NOPs through a ring and back, in chains of so many.
func nops(b *testing.B, r *aioring.Ring, n, chain int) {
	for i := range n {
		sqe := r.GetSQE()
		aioring.PrepNop(sqe)
		if i%chain != chain-1 {
			sqe.Flags = aioring.FlagIOLink
		}
	}
	if _, err := r.SubmitAndWait(n); err != nil {
		b.Fatal(err)
	}
	for range n {
		cqe, err := r.PeekCQE()
		if err != nil || cqe.Res != 0 {
			b.Fatal(cqe, err)
		}
		r.CQESeen(cqe)
	}
}

// BenchmarkEmulatedNop is a NOP through the whole emulated path, 64 at a time, beside
// one hop over a buffered channel between two goroutines.
func BenchmarkEmulatedNop(b *testing.B) {
	b.Run("chan", func(b *testing.B) {
		b.ReportAllocs()
		hopChannel(b, 1)
	})
	b.Run("ring", func(b *testing.B) {
		r := emulatedRing(b)
		nops(b, r, batch, 1)
		b.ReportAllocs()
		b.ResetTimer()
		for n := b.N; n > 0; n -= batch {
			nops(b, r, min(n, batch), 1)
		}
	})
}

// BenchmarkEmulatedChain4 is four NOPs, loose and in a chain, 64 at a time.
func BenchmarkEmulatedChain4(b *testing.B) {
	for _, c := range []struct {
		name  string
		chain int
	}{{"loose", 1}, {"chain", 4}} {
		b.Run(c.name, func(b *testing.B) {
			r := emulatedRing(b)
			nops(b, r, batch, c.chain)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 4 * b.N; n > 0; n -= batch {
				nops(b, r, min(n, batch), c.chain)
			}
		})
	}
}
