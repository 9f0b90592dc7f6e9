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

// round has n reads made and waits for them.
func (p *channelPool) round(b *testing.B, n int, next func() job) {
	for range n {
		p.jobs <- next()
	}
	for range n {
		if j := <-p.done; j.err != nil {
			b.Fatal(j.err)
		}
	}
}

// BenchmarkThreadsRead4k reads random blocks from the page cache, 64 at a time: by
// a pool fed through a channel, by a ring on the threads kernel, and by os.File from
// 64 goroutines. On Linux the ring makes such reads in the submission; async has its
// workers make them, as they do elsewhere.
func BenchmarkThreadsRead4k(b *testing.B) { threadsRead(b, batch) }

// BenchmarkThreadsOne is the same with one read at a time.
func BenchmarkThreadsOne(b *testing.B) { threadsRead(b, 1) }

func threadsRead(b *testing.B, depth int) {
	var bufs [batch][blockSize]byte
	b.Run("pool", func(b *testing.B) {
		f, p, i := dataFile(b), newChannelPool(8), 0
		defer close(p.jobs)
		atDepth(b, depth, func(n int) {
			p.round(b, n, func() job {
				i++
				return job{f: f, buf: bufs[i%batch][:], off: offset(i)}
			})
		})
	})
	for _, way := range []struct {
		name  string
		flags uint8
	}{{"ring", 0}, {"async", aioring.FlagAsync}} {
		b.Run(way.name, func(b *testing.B) {
			f, p, i := dataFile(b), newPorter(b, aioring.KernelThreads), 0
			fd := int(f.Fd())
			atDepth(b, depth, func(n int) {
				p.round(n, func(s *aioring.SQE) {
					i++
					aioring.PrepRead(s, fd, bufs[i%batch][:], offset(i))
					s.Flags = way.flags
				})
			})
		})
	}
	b.Run("osfile64", func(b *testing.B) { readAt(b, dataFile(b), 64, offset) })
}

// atDepth is rounds of so many operations.
func atDepth(b *testing.B, depth int, round func(n int)) {
	rounds(b, func(n int) {
		for ; n > 0; n -= depth {
			round(min(n, depth))
		}
	})
}
