//go:build unix

package worker

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// check runs a call here and checks its result.
func check(t *testing.T, c *Call, res int, errno syscall.Errno) {
	t.Helper()
	c.Res, c.Err = -7, syscall.ENXIO // must be overwritten
	if Run(c); c.Res != res || c.Err != errno {
		t.Errorf("op %d: %d, %v; want %d, %v", c.Op, c.Res, c.Err, res, errno)
	}
}

// position returns where the file's own position is.
func position(t *testing.T, fd int) int64 {
	t.Helper()
	off, err := unix.Seek(fd, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return off
}

func TestOffsetLeavesThePositionAlone(t *testing.T) {
	fd := tempFile(t)
	check(t, &Call{Op: Write, Fd: fd, Off: 10, Buf: []byte("hello")}, 5, 0)
	check(t, &Call{Op: Writev, Fd: fd, Off: 15, Bufs: [][]byte{[]byte(", "), []byte("world")}}, 7, 0)
	got, a, b := make([]byte, 5), make([]byte, 2), make([]byte, 5)
	check(t, &Call{Op: Read, Fd: fd, Off: 10, Buf: got}, 5, 0)
	check(t, &Call{Op: Readv, Fd: fd, Off: 15, Bufs: [][]byte{a, b}}, 7, 0)
	if s := string(got) + string(a) + string(b); s != "hello, world" {
		t.Errorf("the file has %q", s)
	}
	if off := position(t, fd); off != 0 {
		t.Errorf("the position moved to %d", off)
	}
}

func TestOffsetMinusOneMovesThePosition(t *testing.T) {
	fd := tempFile(t)
	check(t, &Call{Op: Write, Fd: fd, Off: -1, Buf: []byte("hello")}, 5, 0)
	check(t, &Call{Op: Writev, Fd: fd, Off: -1, Bufs: [][]byte{[]byte(", "), []byte("world")}}, 7, 0)
	if off := position(t, fd); off != 12 {
		t.Errorf("the position is %d", off)
	}
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	got, a, b := make([]byte, 5), make([]byte, 2), make([]byte, 9)
	check(t, &Call{Op: Read, Fd: fd, Off: -1, Buf: got}, 5, 0)
	check(t, &Call{Op: Readv, Fd: fd, Off: -1, Bufs: [][]byte{a, b}}, 7, 0)
	if s := string(got) + string(a) + string(b[:5]); s != "hello, world" {
		t.Errorf("the file has %q", s)
	}
}

func TestEndOfFile(t *testing.T) {
	fd := tempFile(t)
	mustWrite(t, fd, []byte("abc"))
	p := make([]byte, 8)
	check(t, &Call{Op: Read, Fd: fd, Off: 1, Buf: p}, 2, 0)
	check(t, &Call{Op: Read, Fd: fd, Off: 3, Buf: p}, 0, 0)
	check(t, &Call{Op: Readv, Fd: fd, Off: 2, Bufs: [][]byte{p[:4], p[4:]}}, 1, 0)
	check(t, &Call{Op: Readv, Fd: fd, Off: 99, Bufs: [][]byte{p[:4], p[4:]}}, 0, 0)
}

func TestEmptyMemberIsNotTheEnd(t *testing.T) {
	fd := tempFile(t)
	for _, off := range []int64{0, -1} {
		check(t, &Call{Op: Writev, Fd: fd, Off: off,
			Bufs: [][]byte{nil, []byte("ab"), {}, nil, []byte("cd"), {}}}, 4, 0)
		if off == -1 {
			unix.Seek(fd, 0, 0)
		}
		a, b := make([]byte, 3), make([]byte, 3)
		check(t, &Call{Op: Readv, Fd: fd, Off: off, Bufs: [][]byte{{}, a, nil, b}}, 4, 0)
		if s := string(a) + string(b[:1]); s != "abcd" {
			t.Errorf("offset %d: %q", off, s)
		}
		unix.Seek(fd, 0, 0)
	}
}

func TestNothingToMoveIsZeroButABadDescriptorIsBad(t *testing.T) {
	fd := tempFile(t)
	mustWrite(t, fd, []byte("abc"))
	for _, off := range []int64{0, -1} {
		for _, c := range []Call{
			{Op: Read}, {Op: Read, Buf: []byte{}}, {Op: Write},
			{Op: Readv}, {Op: Readv, Bufs: [][]byte{{}, nil}},
			{Op: Writev}, {Op: Writev, Bufs: [][]byte{{}, nil}},
		} {
			c.Off, c.Fd = off, fd
			check(t, &c, 0, 0)
			c.Fd = 1 << 20
			check(t, &c, 0, syscall.EBADF)
			c.Fd = -1
			check(t, &c, 0, syscall.EBADF)
		}
	}
}

func TestRefusedArguments(t *testing.T) {
	fd := tempFile(t)
	r, _ := pipe(t)
	p := make([]byte, 1)
	many := slices.Repeat([][]byte{p}, maxVectors+1)
	for _, c := range []Call{
		{Op: Read, Fd: fd, Off: -2, Buf: p},
		{Op: Writev, Fd: fd, Off: -2, Bufs: [][]byte{p}},
		{Op: Readv, Fd: fd, Bufs: many},
		{Op: Writev, Fd: fd, Bufs: many},
		{Op: Fdatasync + 1, Fd: fd},
		{Op: Fsync, Fd: r},
	} {
		check(t, &c, 0, syscall.EINVAL)
	}
	check(t, &Call{Op: Read, Fd: r, Buf: p}, 0, syscall.ESPIPE)
}

func TestAsManyVectorsAsThereMayBe(t *testing.T) {
	fd := tempFile(t)
	want := pattern(maxVectors * 3)
	check(t, &Call{Op: Writev, Fd: fd, Bufs: slices.Collect(slices.Chunk(want, 3))}, len(want), 0)
	got := make([]byte, len(want))
	check(t, &Call{Op: Readv, Fd: fd, Bufs: slices.Collect(slices.Chunk(got, 3))}, len(want), 0)
	if !bytes.Equal(got, want) {
		t.Error("the bytes are others")
	}
}

func TestSync(t *testing.T) {
	fd := tempFile(t)
	mustWrite(t, fd, []byte("abc"))
	for _, op := range []Op{Fsync, Fdatasync} {
		check(t, &Call{Op: op, Fd: fd}, 0, 0)
		check(t, &Call{Op: op, Fd: -1}, 0, syscall.EBADF)
	}
}

func TestDevNull(t *testing.T) {
	fd := open(t, "/dev/null", unix.O_RDWR)
	for _, stream := range []bool{false, true} {
		check(t, &Call{Op: Write, Fd: fd, Off: -1, Stream: stream, Buf: pattern(100)}, 100, 0)
		check(t, &Call{Op: Read, Fd: fd, Off: -1, Stream: stream, Buf: make([]byte, 100)}, 0, 0)
	}
}

func TestErrorAfterProgressGivesTheCount(t *testing.T) {
	for _, c := range []struct {
		n     int
		errno syscall.Errno
		want  Call
	}{
		{5, 0, Call{Res: 5}},
		{5, syscall.EIO, Call{Res: 5}},
		{0, syscall.EIO, Call{Err: syscall.EIO}},
		{-1, syscall.EIO, Call{Err: syscall.EIO}},
	} {
		var got Call
		if got.settle(c.n, c.errno); got.Res != c.want.Res || got.Err != c.want.Err {
			t.Errorf("%d, %v: %d, %v", c.n, c.errno, got.Res, got.Err)
		}
	}
	if _, errno := result(-1, errors.New("no errno")); errno != syscall.EIO {
		t.Error(errno)
	}
}

func TestFittingVectors(t *testing.T) {
	// The same memory many times stands for much.
	part := make([]byte, 64<<20)
	all := slices.Repeat([][]byte{part}, 40)
	if n := len(fitting(all)); n != maxTransfer/len(part) {
		t.Errorf("%d buffers fit", n)
	}
	if n := len(fitting(all[:5])); n != 5 {
		t.Errorf("%d of 5 buffers fit", n)
	}
	if got := fitting([][]byte{nil, {}, {1}, nil}); len(got) != 2 || got[0][0] != 1 {
		t.Errorf("%v", got)
	}
}
