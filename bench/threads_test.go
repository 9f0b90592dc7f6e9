//go:build unix

package bench

import (
	"os"
	"testing"

	"github.com/aioring/aioring"
)

// channelPool is the pool that a program writes when it needs one: workers fed by
// a channel, and results by another.
type channelPool struct {
	jobs chan job
	done chan job
}

type job struct {
	f   *os.File
	buf []byte
	off int64
	n   int
	err error
}

func newChannelPool(workers int) *channelPool {
	p := &channelPool{make(chan job, batch), make(chan job, batch)}
	for range workers {
		go func() {
			for j := range p.jobs {
				j.n, j.err = j.f.ReadAt(j.buf, j.off)
				p.done <- j
			}
		}()
	}
	return p
}

// BenchmarkThreadsRead4k reads random blocks from the page cache, 64 at a time: by
// a pool fed through a channel, by a ring on the threads kernel, and by os.File from
// 64 goroutines.
func BenchmarkThreadsRead4k(b *testing.B) {
	var bufs [batch][blockSize]byte
	b.Run("pool", func(b *testing.B) {
		f, p, i := dataFile(b), newChannelPool(8), 0
		defer close(p.jobs)
		rounds(b, func(n int) {
			for range n {
				p.jobs <- job{f: f, buf: bufs[i%batch][:], off: offset(i)}
				i++
			}
			for range n {
				if j := <-p.done; j.err != nil {
					b.Fatal(j.err)
				}
			}
		})
	})
	b.Run("ring", func(b *testing.B) {
		f, p, i := dataFile(b), newPorter(b, aioring.KernelThreads), 0
		fd := int(f.Fd())
		rounds(b, func(n int) {
			p.round(n, func(s *aioring.SQE) {
				aioring.PrepRead(s, fd, bufs[i%batch][:], offset(i))
				i++
			})
		})
	})
	b.Run("osfile64", func(b *testing.B) { readAt(b, dataFile(b), 64, offset) })
}
