//go:build unix

package worker

import (
	"bytes"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// streamCall makes a call on a stream with one buffer.
func streamCall(op Op, fd int, p []byte) *Call {
	return &Call{Op: op, Fd: fd, Stream: true, Off: 77, Buf: p}
}

func TestReadWaitsForData(t *testing.T) {
	pr, pw := pipe(t)
	sr, sw := socketpair(t, unix.SOCK_STREAM)
	nr, nw := pipe(t)
	nonblocking(t, nr)
	for name, ends := range map[string][2]int{"pipe": {pr, pw}, "socket": {sr, sw}, "nonblocking": {nr, nw}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 1)
			c := streamCall(Read, ends[0], make([]byte, 10))
			f.Submit(c)
			f.waits(1)
			mustWrite(t, ends[1], []byte("hello"))
			f.expect(c, 5, 0)
			mustWrite(t, ends[1], []byte("world"))
			f.do(c, 5, 0)
			a, b := make([]byte, 2), make([]byte, 5)
			mustWrite(t, ends[1], []byte("later"))
			f.do(&Call{Op: Readv, Fd: ends[0], Stream: true, Bufs: [][]byte{{}, a, b}}, 5, 0)
			if s := string(c.Buf[:5]) + string(a) + string(b[:3]); s != "worldlater" {
				t.Errorf("%q", s)
			}
		})
	}
}

func TestVectoredReadTakesWhatIsThere(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	mustWrite(t, w, []byte("abcd"))
	p := make([]byte, 8)
	// The first buffer is full; waiting for more for the second would be wrong.
	f.do(&Call{Op: Readv, Fd: r, Stream: true, Bufs: [][]byte{p[:4], p[4:]}}, 4, 0)
}

func TestEndOfStream(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	c := streamCall(Read, r, make([]byte, 1))
	f.Submit(c)
	f.waits(1)
	unix.Close(w)
	f.expect(c, 0, 0)

	a, b := socketpair(t, unix.SOCK_STREAM)
	c = streamCall(Read, a, make([]byte, 1))
	f.Submit(c)
	f.waits(1)
	unix.Close(b)
	f.expect(c, 0, 0)
}

func TestBrokenPipeIsAnError(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	fill(t, w)
	c := streamCall(Write, w, []byte("x"))
	f.Submit(c)
	f.waits(1)
	unix.Close(r)
	f.expect(c, 0, syscall.EPIPE)

	a, b := socketpair(t, unix.SOCK_STREAM)
	unix.Close(b)
	f.do(streamCall(Write, a, []byte("x")), 0, syscall.EPIPE)
}

func TestWriteWaitsForRoom(t *testing.T) {
	pr, pw := pipe(t)
	sr, sw := socketpair(t, unix.SOCK_STREAM)
	for name, ends := range map[string][2]int{"pipe": {pr, pw}, "socket": {sr, sw}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 1)
			n := fill(t, ends[1])
			c := streamCall(Write, ends[1], []byte("end"))
			f.Submit(c)
			f.waits(1)
			mustRead(t, ends[0], n)
			f.expect(c, 3, 0)
			if got := mustRead(t, ends[0], 3); string(got) != "end" {
				t.Errorf("%q", got)
			}
		})
	}
}

// A write that is longer than the room is short; it neither blocks nor waits for
// the rest.
func TestLongWriteIsShort(t *testing.T) {
	for _, mode := range []string{"pipe", "nonblocking pipe", "socket"} {
		for _, op := range []Op{Write, Writev} {
			t.Run(mode, func(t *testing.T) {
				f := newFixture(t, 1)
				r, w := pipe(t)
				if mode == "socket" {
					r, w = socketpair(t, unix.SOCK_STREAM)
				}
				room := fill(t, w)
				mustRead(t, r, room)
				if mode == "nonblocking pipe" {
					nonblocking(t, w)
				}
				want := pattern(4 << 20)
				c := &Call{Op: op, Fd: w, Stream: true, Buf: want}
				if op == Writev {
					c.Bufs = slices.Collect(slices.Chunk(want, 5000))
				}
				f.Submit(c)
				f.next()
				if c.Err != 0 || c.Res < pipeBuf || c.Res >= len(want) {
					t.Fatalf("%d, %v", c.Res, c.Err)
				}
				if mode == "pipe" && c.Res < room/2 {
					t.Errorf("only %d where there was room for %d", c.Res, room)
				}
				if !bytes.Equal(mustRead(t, r, c.Res), want[:c.Res]) {
					t.Error("the bytes are others")
				}
			})
		}
	}
}

func TestSmallVectorIsOneWrite(t *testing.T) {
	f := newFixture(t, 1)
	// A datagram tells how many writes there were.
	a, b := socketpair(t, unix.SOCK_DGRAM)
	f.do(&Call{Op: Writev, Fd: a, Stream: true, Bufs: [][]byte{[]byte("he"), nil, []byte("llo")}}, 5, 0)
	p := make([]byte, 10)
	f.do(&Call{Op: Readv, Fd: b, Stream: true, Bufs: [][]byte{p[:1], {}, p[1:3], p[3:]}}, 5, 0)
	if string(p[:5]) != "hello" {
		t.Errorf("%q", p)
	}
	// So does a pipe that has room for a part only.
	r, w := pipe(t)
	n := fill(t, w)
	c := &Call{Op: Writev, Fd: w, Stream: true, Bufs: slices.Collect(slices.Chunk(pattern(pipeBuf), 100))}
	f.Submit(c)
	f.waits(1)
	mustRead(t, r, n)
	f.expect(c, pipeBuf, 0)
	if !bytes.Equal(mustRead(t, r, pipeBuf), pattern(pipeBuf)) {
		t.Error("the bytes are others")
	}
}

func TestEmptyDatagram(t *testing.T) {
	f := newFixture(t, 1)
	a, b := socketpair(t, unix.SOCK_DGRAM)
	f.do(streamCall(Write, a, nil), 0, 0)
	f.do(streamCall(Write, a, []byte("x")), 1, 0)
	f.do(streamCall(Read, b, nil), 0, 0) // leaves the datagram where it is
	p := make([]byte, 4)
	f.do(streamCall(Read, b, p), 0, 0)
	f.do(streamCall(Read, b, p), 1, 0)
}

func TestEmptyCallOnAStreamDoesNotWait(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	fill(t, w)
	f.do(streamCall(Write, w, nil), 0, 0)
	f.do(&Call{Op: Writev, Fd: w, Stream: true, Bufs: [][]byte{{}}}, 0, 0)
	mustRead(t, r, 1)
	f.do(streamCall(Read, r, nil), 0, 0)
	f.do(&Call{Op: Readv, Fd: r, Stream: true}, 0, 0)
	many := slices.Repeat([][]byte{make([]byte, 1)}, maxVectors+1)
	f.do(&Call{Op: Readv, Fd: r, Stream: true, Bufs: many}, 0, syscall.EINVAL)
}

func TestBadDescriptorOfAStream(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	p := make([]byte, 1)
	for _, op := range []Op{Read, Write} {
		f.do(streamCall(op, -1, p), 0, syscall.EBADF)
		f.do(streamCall(op, 1<<20, p), 0, syscall.EBADF)
	}
	unix.Close(r)
	f.do(streamCall(Read, r, p), 0, syscall.EBADF)
	unix.Close(w)
	f.do(streamCall(Write, w, p), 0, syscall.EBADF)
	f.do(streamCall(Write, w, nil), 0, syscall.EBADF)
}

func TestDescriptorClosedWhileItWaits(t *testing.T) {
	f := newFixture(t, 1)
	r, _ := pipe(t)
	other, otherW := pipe(t)
	c := streamCall(Read, r, make([]byte, 1))
	f.Submit(c)
	f.waits(1)
	unix.Close(r)
	// Whatever the system does about the poll that is under way, the next one finds
	// out.
	f.Submit(streamCall(Read, other, make([]byte, 1)))
	f.expect(c, 0, syscall.EBADF)
	mustWrite(t, otherW, []byte("x"))
	f.next()
}

// A descriptor that is not open for the operation may never become ready for it.
func TestWrongAccessModeDoesNotWait(t *testing.T) {
	f := newFixture(t, 1)
	null := open(t, "/dev/null", unix.O_WRONLY)
	f.do(streamCall(Read, null, make([]byte, 1)), 0, syscall.EBADF)
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, fifo, unix.O_RDONLY|unix.O_NONBLOCK)
	w := open(t, fifo, unix.O_WRONLY)
	f.do(streamCall(Read, w, make([]byte, 1)), 0, syscall.EBADF)
	f.do(streamCall(Write, r, make([]byte, 1)), 0, syscall.EBADF)
}

func TestDevNullAsAStream(t *testing.T) {
	f := newFixture(t, 1)
	fd := open(t, "/dev/null", unix.O_RDWR)
	f.do(streamCall(Write, fd, pattern(9999)), 9999, 0)
	f.do(streamCall(Read, fd, make([]byte, 10)), 0, 0)
}

func TestSyncOnAStreamDoesNotWait(t *testing.T) {
	f := newFixture(t, 1)
	r, _ := pipe(t)
	f.do(&Call{Op: Fsync, Fd: r, Stream: true}, 0, syscall.EINVAL)
}

func TestThousandWaitingReadsCostOneThread(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	var calls []*Call
	for i := range 1000 {
		c := streamCall(Read, r, make([]byte, 1))
		c.ID = uint32(i)
		calls = append(calls, c)
	}
	var pipes [30][2]int
	for i := range pipes {
		pipes[i][0], pipes[i][1] = pipe(t)
		calls = append(calls, streamCall(Read, pipes[i][0], make([]byte, 1)))
	}
	f.Submit(calls...)
	f.waits(len(calls))
	if s := f.Stats(); !s.Polling || s.HighWater > 1 {
		t.Errorf("%+v", s)
	}
	fd := tempFile(t)
	for range 100 {
		f.do(&Call{Op: Write, Fd: fd, Buf: []byte("x")}, 1, 0)
	}
	for i := range pipes {
		mustWrite(t, pipes[i][1], []byte("x"))
		f.expect(calls[1000+i], 1, 0)
	}
	// Those of one stream are served in order, where one goroutine looked at them all.
	want := pattern(1000)
	mustWrite(t, w, want)
	for range want {
		if c := f.next(); c.Res != 1 || c.Buf[0] != want[c.ID] {
			t.Fatalf("call %d: %d, %v, not its byte", c.ID, c.Res, c.Err)
		}
	}
}

// Two calls that poll(2) wakes for one byte: the one that gets nothing must not end
// in read(2), where it could not be cancelled.
func TestReadersOfOnePipeDoNotCompete(t *testing.T) {
	f := newFixture(t, 4)
	r, w := pipe(t)
	for range 300 {
		// Two descriptors are no way round that.
		a, b := streamCall(Read, r, make([]byte, 1)), streamCall(Read, dup(t, r), make([]byte, 1))
		f.Submit(a, b)
		mustWrite(t, w, []byte("x"))
		first := f.next()
		if first.Res != 1 {
			t.Fatal(first.Res, first.Err)
		}
		other := a
		if first == a {
			other = b
		}
		f.waits(1)
		f.cancel(other)
		unix.Close(b.Fd)
	}
}

// So it must be known as one pipe, however it is called.
func TestPipeIsOneStreamOnAnyDescriptor(t *testing.T) {
	r, w := pipe(t)
	key := func(op Op, fd int) lineKey {
		d, errno := describe(streamCall(op, fd, make([]byte, 1)))
		if errno != 0 {
			t.Fatal(errno)
		}
		return d.key
	}
	if key(Read, r).fd >= 0 {
		t.Skip("pipes have no inode numbers here")
	}
	if other := key(Read, dup(t, r)); other != key(Read, r) {
		t.Errorf("%+v and %+v", key(Read, r), other)
	}
	stranger, _ := pipe(t)
	if other := key(Read, stranger); other == key(Read, r) {
		t.Errorf("two pipes are %+v", other)
	}
	if out := key(Write, w); out == key(Read, r) {
		t.Errorf("both directions are %+v", out)
	}
}

func TestDirectionsDoNotWaitForEachOther(t *testing.T) {
	f := newFixture(t, 1)
	a, b := socketpair(t, unix.SOCK_STREAM)
	in := streamCall(Read, a, make([]byte, 1))
	f.Submit(in)
	f.waits(1)
	f.do(streamCall(Write, a, []byte("x")), 1, 0)
	mustRead(t, b, 1)
	f.cancel(in)
}

func TestCancelWhileThePollerSleeps(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	other, _ := pipe(t)
	a, b := streamCall(Read, r, make([]byte, 1)), streamCall(Read, other, make([]byte, 1))
	f.Submit(a, b)
	f.waits(2)
	f.cancel(a)
	mustWrite(t, w, []byte("x"))
	f.waits(1)
	f.do(a, 1, 0) // the byte is still there
	f.cancel(b)
}

func TestCancelInLine(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	var calls [4]*Call
	for i := range calls {
		calls[i] = streamCall(Read, r, make([]byte, 1))
		calls[i].ID = uint32(i)
	}
	f.Submit(calls[:]...)
	f.waits(4)
	f.cancel(calls[2])
	f.cancel(calls[0]) // the next takes its place
	f.waits(2)
	mustWrite(t, w, []byte("ab"))
	f.expect(calls[1], 1, 0)
	f.expect(calls[3], 1, 0)
	if s := string(calls[1].Buf) + string(calls[3].Buf); s != "ab" {
		t.Errorf("%q", s)
	}
}

// TestCancelAtAnyMoment meets this moment too seldom: between a goroutine's taking
// the call and its finding another before it in line.
func TestCancelOnTheWayIntoLine(t *testing.T) {
	f := newFixture(t, 1)
	r, _ := pipe(t)
	first, second := streamCall(Read, r, make([]byte, 1)), streamCall(Read, r, make([]byte, 1))
	f.Submit(first)
	f.waits(1)
	f.mu.Lock()
	f.given++
	second.state = taken
	f.mu.Unlock()
	if !f.Cancel(second) {
		t.Error("it was being made")
	}
	if f.Cancel(second) {
		t.Error("it was cancelled twice")
	}
	if f.join(second, first.line.key) {
		t.Error("it does not have to wait")
	}
	f.expect(second, 0, syscall.ECANCELED)
	f.cancel(first)
}

func TestCancelledCallMayBeSubmittedAtOnce(t *testing.T) {
	f := newFixture(t, 2)
	r, w := pipe(t)
	c := streamCall(Read, r, make([]byte, 1))
	for range 300 {
		f.Submit(c)
		f.waits(1)
		f.cancel(c)
		f.Submit(c)
		mustWrite(t, w, []byte("x"))
		f.expect(c, 1, 0)
	}
}

// What poll(2) promised may be gone when the call is made.
func TestDrainedStreamIsWaitedForAgain(t *testing.T) {
	r, w := pipe(t)
	c := streamCall(Read, r, make([]byte, 1))
	d, errno := describe(c)
	if errno != 0 {
		t.Fatal(errno)
	}
	if d.ready(c) {
		t.Fatalf("an empty pipe gave %d, %v", c.Res, c.Err)
	}
	mustWrite(t, w, []byte("x"))
	if !d.ready(c) || !d.attempt(c) || c.Res != 1 {
		t.Fatalf("%d, %v", c.Res, c.Err)
	}
	fill(t, w)
	c = streamCall(Write, w, []byte("x"))
	if d, _ = describe(c); d.ready(c) {
		t.Fatalf("a full pipe gave %d, %v", c.Res, c.Err)
	}
	a, _ := socketpair(t, unix.SOCK_STREAM)
	c = streamCall(Read, a, make([]byte, 1))
	if d, _ = describe(c); !d.socket || d.attempt(c) {
		t.Fatalf("an empty socket gave %d, %v", c.Res, c.Err)
	}
}

func TestSignalsInterruptNothing(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1) // starts a goroutine that stays
	defer signal.Stop(signals)
	f := newFixture(t, 2)
	r, w := pipe(t)
	waiting, running := streamCall(Read, r, make([]byte, 1)), f.newBlocked(1)
	f.Submit(waiting, &running.Call)
	f.until("one waits, one runs", func() bool {
		s := f.Stats()
		return s.Waiting == 1 && s.Queued == 0 && s.Working == 1
	})
	for range 50 {
		if err := unix.Kill(unix.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		<-signals
	}
	running.release(t)
	f.expect(&running.Call, 1, 0)
	mustWrite(t, w, []byte("x"))
	f.expect(waiting, 1, 0)
}

// Run does not wait for readiness, nor does it need an offset.
func TestRunOnAStream(t *testing.T) {
	r, w := pipe(t)
	nonblocking(t, r)
	c := streamCall(Read, r, make([]byte, 1))
	check(t, c, 0, syscall.EAGAIN)
	check(t, streamCall(Write, w, []byte("x")), 1, 0)
	check(t, c, 1, 0)
}
