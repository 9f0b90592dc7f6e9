//go:build unix

package sim

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// cycle is the steady state of a user: submit a list, fetch the events, reap.
type cycle struct {
	*rig
	ops    []*op
	list   []*aio.ControlBlock
	events []aio.Kevent
	ev     aio.Sigevent
	code   aio.Opcode
}

func newCycle(t testing.TB, code aio.Opcode, n, size int) *cycle {
	r := newRig(t, Config{})
	if err := r.f.Truncate(int64(n * size)); err != nil {
		t.Fatal(err)
	}
	c := &cycle{rig: r, code: code, events: make([]aio.Kevent, n), ev: r.kevent(aio.EvOneshot, 7)}
	for i := range n {
		if code == aio.OpReadv || code == aio.OpWritev {
			bufs := make([][]byte, 16)
			for i := range bufs {
				bufs[i] = make([]byte, size/16)
			}
			c.ops = append(c.ops, r.opv(code, int64(i*size), c.ev, bufs...))
			continue
		}
		c.ops = append(c.ops, r.op(code, int64(i*size), make([]byte, size), c.ev))
	}
	c.list = blocks(c.ops...)
	return c
}

func (c *cycle) run() {
	for i, o := range c.ops {
		if o.iov != nil {
			o.cb.Prepare(c.code, c.fd, o.cb.Offset, unsafe.Pointer(&o.iov[0]), len(o.iov), c.ev)
			continue
		}
		o.cb.Prepare(c.code, c.fd, int64(i*len(o.buf)), unsafe.Pointer(&o.buf[0]), len(o.buf), c.ev)
	}
	if errno := c.ListIO(aio.ListNoWait, c.list, nil); errno != 0 {
		c.t.Fatal(errno)
	}
	for left := len(c.ops); left > 0; {
		n, errno := c.Kevent(c.kq, nil, c.events, -1)
		if errno != 0 {
			c.t.Fatal(errno)
		}
		for i := range c.events[:n] {
			// The ident is the block's address.
			cb := *(**aio.ControlBlock)(unsafe.Pointer(&c.events[i].Ident))
			if _, errno := c.Return(cb); errno != 0 {
				c.t.Fatal(errno)
			}
		}
		left -= n
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, code := range []aio.Opcode{aio.OpRead, aio.OpWrite, aio.OpReadv, aio.OpWritev} {
		for _, n := range []int{1, 16, 64} {
			t.Run(fmt.Sprintf("opcode %d, lists of %d", code, n), func(t *testing.T) {
				c := newCycle(t, code, n, 256)
				for range 200 {
					c.run()
				}
				if got := testing.AllocsPerRun(500, c.run); got != 0 {
					t.Errorf("%v allocations per list", got)
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("list=%d", n), func(b *testing.B) {
			c := newCycle(b, aio.OpRead, n, 4096)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += n {
				c.run()
			}
		})
	}
}

// BenchmarkPread is what the host takes for the same without the model.
func BenchmarkPread(b *testing.B) {
	c := newCycle(b, aio.OpRead, 64, 4096)
	b.ResetTimer()
	for i := range b.N {
		o := c.ops[i%64]
		t := transfer{fd: c.fd, offset: o.cb.Offset}
		if _, errno := t.plain(o.buf); errno != 0 {
			b.Fatal(errno)
		}
	}
}
