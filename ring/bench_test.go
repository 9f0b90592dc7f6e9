package ring_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/aioring/aioring/ring"
)

// item is 64 bytes, so that a cell of the MPSC is one cache line.
type item struct {
	_ *int
	_ [7]uint64
}

const benchCapacity = 4096

// BenchmarkMPSC moves b.N items from the producers to one consumer, in batches
// of 1 or 16, through the ring and, as the baseline of the same run, through a
// buffered channel of the same capacity. The ring reports its ratio to the
// channel (times faster); compare ratios, not nanoseconds of two machines.
func BenchmarkMPSC(b *testing.B) {
	for _, producers := range []int{1, 4} {
		for _, batch := range []int{1, 16} {
			name := func(what string) string { return fmt.Sprintf("producers=%d/batch=%d/%s", producers, batch, what) }
			var channel float64 // ns per item
			b.Run(name("chan"), func(b *testing.B) {
				viaChannel(b, producers, batch)
				channel = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			})
			b.Run(name("ring"), func(b *testing.B) {
				q := ring.NewMPSC[item](benchCapacity)
				viaRing(b, q, producers, batch)
				reportRatio(b, channel)
			})
		}
	}
}

// BenchmarkSPSC is the same with one producer.
func BenchmarkSPSC(b *testing.B) {
	for _, batch := range []int{1, 16} {
		var channel float64
		b.Run(fmt.Sprintf("batch=%d/chan", batch), func(b *testing.B) {
			viaChannel(b, 1, batch)
			channel = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		})
		b.Run(fmt.Sprintf("batch=%d/ring", batch), func(b *testing.B) {
			q := ring.NewSPSC[item](benchCapacity)
			viaRing(b, q, 1, batch)
			reportRatio(b, channel)
		})
	}
}

// BenchmarkWakeNobodyAsleep is what every push pays for the possibility that
// the consumer sleeps.
func BenchmarkWakeNobodyAsleep(b *testing.B) {
	var p ring.Parker
	for b.Loop() {
		p.Wake()
	}
}

func reportRatio(b *testing.B, channelNanos float64) {
	if own := float64(b.Elapsed().Nanoseconds()) / float64(b.N); own > 0 && channelNanos > 0 {
		b.ReportMetric(channelNanos/own, "x-chan")
	}
}

// share is how many of n items producer p of producers sends.
func share(n, producers, p int) int {
	s := n / producers
	if p < n%producers {
		s++
	}
	return s
}

func viaRing(b *testing.B, q interface {
	PushN([]item) ring.Status
	PopBatch([]item) int
	Empty() bool
}, producers, batch int) {
	p := &ring.Parker{Spin: ring.DefaultSpin}
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range producers {
		wg.Go(func() {
			items := make([]item, batch)
			for left := share(b.N, producers, i); left > 0; {
				n := min(batch, left)
				for q.PushN(items[:n]) != ring.OK {
					runtime.Gosched()
				}
				p.Wake()
				left -= n
			}
		})
	}
	dst := make([]item, 64)
	ready := func() bool { return !q.Empty() }
	for got := 0; got < b.N; {
		n := q.PopBatch(dst)
		if n == 0 {
			p.Wait(ready)
		}
		got += n
	}
	wg.Wait()
}

// viaChannel sends single items whatever the batch: a channel knows no other
// way that keeps all the items in its own buffer.
func viaChannel(b *testing.B, producers, batch int) {
	ch := make(chan item, benchCapacity)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range producers {
		wg.Go(func() {
			items := make([]item, batch)
			for left := share(b.N, producers, i); left > 0; {
				n := min(batch, left)
				for _, it := range items[:n] {
					ch <- it
				}
				left -= n
			}
		})
	}
	for range b.N {
		<-ch
	}
	wg.Wait()
}
