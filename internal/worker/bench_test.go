//go:build unix

package worker

import "testing"

// The costs of the pool beside those of the call itself, which is Run's.
func BenchmarkRead(b *testing.B) {
	fd := tempFile(b)
	mustWrite(b, fd, pattern(4096))
	b.Run("run", func(b *testing.B) {
		b.ReportAllocs()
		c := &Call{Op: Read, Fd: fd, Buf: make([]byte, 4096)}
		for b.Loop() {
			Run(c)
		}
	})
	for name, depth := range map[string]int{"depth=1": 1, "depth=64": 64} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ended := make(chan *Call, depth)
			p := New(4, func(c *Call) { ended <- c })
			defer p.Close()
			for range depth {
				p.Submit(&Call{Op: Read, Fd: fd, Buf: make([]byte, 4096)})
			}
			for b.Loop() {
				p.Submit(<-ended)
			}
			for range depth {
				<-ended
			}
		})
	}
}

// One byte goes there and back, and each read has to wait for it.
func BenchmarkPipeRoundTrip(b *testing.B) {
	b.ReportAllocs()
	r, w := pipe(b)
	ended := make(chan *Call, 2)
	p := New(4, func(c *Call) { ended <- c })
	defer p.Close()
	in := streamCall(Read, r, make([]byte, 1))
	out := streamCall(Write, w, []byte("x"))
	for b.Loop() {
		p.Submit(in)
		p.Submit(out)
		<-ended
		<-ended
	}
}
