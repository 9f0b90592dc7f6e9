//go:build unix

package worker

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// submitter gives calls to a shared pool and waits for its own.
type submitter struct {
	t     *testing.T
	pool  *Pool
	id    uint32
	rand  *rand.Rand
	ended chan *Call
}

// move does all of a transfer, a call at a time, each of which may be cancelled on
// the way.
func (s *submitter) move(op Op, fd int, stream bool, p []byte) {
	for off := 0; off < len(p); {
		n := min(1+s.rand.IntN(3000), len(p)-off)
		c := &Call{Op: op, Fd: fd, Off: int64(off), Stream: stream, Buf: p[off:][:n], ID: s.id}
		if op.vectored() {
			k := s.rand.IntN(n + 1)
			c.Bufs = [][]byte{c.Buf[:k], c.Buf[k:]}
		}
		s.pool.Submit(c)
		if s.rand.IntN(4) == 0 {
			for range s.rand.IntN(20) {
				runtime.Gosched()
			}
			s.pool.Cancel(c)
		}
		switch <-s.ended; {
		case c.Err == syscall.ECANCELED:
		case c.Err != 0 || c.Res <= 0 || c.Res > n:
			s.t.Errorf("op %d: %d, %v", op, c.Res, c.Err)
			return
		default:
			off += c.Res
		}
	}
}

// transfer writes to one descriptor and reads from the other, at the same time if
// they are the ends of a stream, and compares.
func transfer(writer, reader *submitter, in, out int, stream bool, read, write Op) {
	want, got := pattern(100_000), make([]byte, 100_000)
	var halves sync.WaitGroup
	halves.Go(func() { writer.move(write, out, stream, want) })
	if !stream {
		halves.Wait()
	}
	halves.Go(func() { reader.move(read, in, stream, got) })
	halves.Wait()
	if !bytes.Equal(got, want) {
		writer.t.Errorf("submitter %d: the bytes are others", writer.id)
	}
}

// Files, pipes and sockets at once, with cancellations: every byte arrives, in order.
func TestStress(t *testing.T) {
	for _, limit := range []int{1, 3, 64} {
		before := runtime.NumGoroutine()
		var submitters [24]submitter
		pool := New(limit, func(c *Call) { submitters[c.ID].ended <- c })
		for i := range submitters {
			submitters[i] = submitter{t, pool, uint32(i), rand.New(rand.NewPCG(uint64(i), 1)), make(chan *Call, 1)}
		}
		var all sync.WaitGroup
		for i := 0; i < len(submitters); i += 8 {
			s := submitters[i:]
			file := tempFile(t)
			pr, pw := pipe(t)
			nr, nw := pipe(t)
			nonblocking(t, nr)
			nonblocking(t, nw)
			sr, sw := socketpair(t, unix.SOCK_STREAM)
			all.Go(func() { transfer(&s[0], &s[1], file, file, false, Readv, Write) })
			all.Go(func() { transfer(&s[2], &s[3], pr, pw, true, Read, Writev) })
			all.Go(func() { transfer(&s[4], &s[5], nr, nw, true, Readv, Write) })
			all.Go(func() { transfer(&s[6], &s[7], sr, sw, true, Readv, Writev) })
		}
		all.Wait()
		pool.Close()
		f := &fixture{Pool: pool, t: t}
		f.until("goroutines settle", func() bool { return runtime.NumGoroutine() <= before })
		if s := pool.Stats(); s.HighWater > limit {
			t.Errorf("limit %d: %+v", limit, s)
		}
	}
}
