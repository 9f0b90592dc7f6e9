//go:build unix && !race

package worker

import (
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Not under the race detector, which looks at every byte of a transfer.
func TestLongTransferIsShort(t *testing.T) {
	fd := open(t, "/dev/null", unix.O_RDWR)
	part := make([]byte, 64<<20)
	fits := maxTransfer / len(part) * len(part)
	check(t, &Call{Op: Writev, Fd: fd, Off: -1, Bufs: slices.Repeat([][]byte{part}, 40)}, fits, 0)

	size := int64(maxTransfer + 1<<20)
	if int64(int(size)) != size {
		t.Skip("no such buffer on this system")
	}
	long, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(long)
	for _, c := range []Call{
		{Op: Write, Buf: long},
		{Op: Writev, Bufs: [][]byte{nil, long, long}},
	} {
		c.Fd, c.Off = fd, -1
		check(t, &c, maxTransfer, 0)
	}
}

// allocated counts the allocations of one round in steady state.
func allocated(t *testing.T, round func()) {
	t.Helper()
	for range 100 {
		round()
	}
	// A goroutine that starts where none has ended yet is one, once.
	if n := testing.AllocsPerRun(500, round); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	ended := make(chan *Call, 64)
	p := New(4, func(c *Call) { ended <- c })
	defer p.Close()
	file := tempFile(t)
	r, w := pipe(t)
	a, b := socketpair(t, unix.SOCK_STREAM)
	buf := make([]byte, 64)
	mustWrite(t, file, buf)
	vector := [][]byte{buf[:8], buf[8:16], buf[16:24], buf[24:32]}
	do := func(t *testing.T, c *Call, res int) {
		p.Submit(c)
		if c = <-ended; c.Res != res || c.Err != 0 {
			t.Fatal(c.Res, c.Err)
		}
	}
	for name, c := range map[string]*Call{
		"read":   {Op: Read, Fd: file, Buf: buf[:32]},
		"write":  {Op: Write, Fd: file, Buf: buf[:32]},
		"readv":  {Op: Readv, Fd: file, Bufs: vector},
		"writev": {Op: Writev, Fd: file, Bufs: vector},
	} {
		t.Run(name, func(t *testing.T) { allocated(t, func() { do(t, c, 32) }) })
	}
	t.Run("batch", func(t *testing.T) {
		var calls [32]*Call
		for i := range calls {
			calls[i] = &Call{Op: Read, Fd: file, Buf: buf}
		}
		allocated(t, func() {
			p.Submit(calls[:]...)
			for range calls {
				<-ended
			}
		})
	})
	for name, ends := range map[string][2]int{"pipe": {r, w}, "socket": {a, b}} {
		in := &Call{Op: Read, Fd: ends[0], Stream: true, Buf: buf[:8]}
		out := &Call{Op: Write, Fd: ends[1], Stream: true, Buf: buf[8:16]}
		t.Run(name, func(t *testing.T) {
			allocated(t, func() { do(t, out, 8); do(t, in, 8) })
		})
		t.Run(name+" waits", func(t *testing.T) {
			allocated(t, func() {
				p.Submit(in)
				for p.Stats().Waiting == 0 {
					runtime.Gosched()
				}
				p.Submit(out)
				<-ended
				<-ended
			})
		})
		t.Run(name+" cancelled", func(t *testing.T) {
			allocated(t, func() {
				p.Submit(in)
				for p.Stats().Waiting == 0 {
					runtime.Gosched()
				}
				p.Cancel(in)
				if c := <-ended; c.Err != syscall.ECANCELED {
					t.Fatal(c.Res, c.Err)
				}
			})
		})
	}
}
