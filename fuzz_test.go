//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// FuzzProgram reads its input as a program of SQEs, runs it on the model kernel
// with a small cap and on a plain in-memory file, and compares every result, and
// at the end every byte.
//
// Operations run one group at a time, each of a group in an extent of its own,
// and none moves the end of the file: so the results are certain. The bytes choose opcodes, flags,
// offsets, lengths and the ways in and out, hostile ones included.
func FuzzProgram(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 0, 1, 3, 0, 0, 16, 0, 8, 1, 0, 0, 16, 0, 8})
	f.Add([]byte("a write, a read, an fsync and something that is none of them"))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add(bytes.Repeat([]byte{4, 1, 2, 3, 5, 8, 13}, 40))
	f.Fuzz(func(t *testing.T, program []byte) {
		guard(t, time.Minute)
		kernel := sim.New(sim.Config{
			Profile: []sim.Profile{sim.V13, sim.V15}[len(program)%2],
			Limits:  aio.Limits{MaxQueuePerProc: 3, MaxPerProc: 2},
		})
		r, err := aioring.New(8, aioring.WithAIO(kernel))
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m := &machine{t: t, ring: r, file: file, program: program, model: pattern(fileSize, 1)}
		if _, err := file.Write(m.model); err != nil {
			t.Fatal(err)
		}
		for len(m.program) > 0 {
			m.group()
		}
		got, err := os.ReadFile(file.Name())
		if err != nil || !bytes.Equal(got, m.model) {
			t.Errorf("the file has %d bytes, the model %d, and they differ (%v)", len(got), len(m.model), err)
		}
		if s := r.Stats(); s.Alive != 0 || s.InFlight != 0 || s.Submitted != s.Completed {
			t.Errorf("left behind: %+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := kernel.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}

// machine runs a program on a ring and on a model of the file.
type machine struct {
	t       *testing.T
	ring    *aioring.Ring
	file    *os.File
	model   []byte
	program []byte
	serial  byte
}

const (
	// extent is where one operation of a group works.
	extent = 1 << 12
	// fileSize ends in the midst of the last extent.
	fileSize = 6*extent - 1000
)

// expectation is what one operation must result in.
type expectation struct {
	res    int32
	buf    []byte // what was read into
	want   []byte // what must be there
	reaped bool
}

func (m *machine) byte() byte {
	if len(m.program) == 0 {
		return 0
	}
	b := m.program[0]
	m.program = m.program[1:]
	return b
}

// group runs up to six operations at once.
func (m *machine) group() {
	how := m.byte()
	n := int(how%6) + 1
	expect := make([]expectation, n)
	sqes := make([]aioring.SQE, n)
	for i := range sqes {
		expect[i] = m.operation(&sqes[i], i)
		sqes[i].UserData = uint64(i)
	}
	reap := n
	switch how / 6 % 3 {
	case 0: // the porter's way: what follows a bad entry needs another Submit
		for i := range sqes {
			*m.ring.GetSQE() = sqes[i]
		}
		for m.ring.SQReady() > 0 {
			if _, err := m.ring.Submit(); err != nil {
				m.t.Fatal(err)
			}
		}
	case 1:
		if err := m.ring.Push(sqes...); err != nil {
			m.t.Fatal(err)
		}
	case 2:
		reap = 0
		for i := range sqes {
			cqe, _ := m.ring.Do(context.Background(), sqes[i])
			m.check(expect, cqe)
		}
	}
	for range reap {
		if how&0x80 != 0 {
			cqe, err := m.ring.WaitCQE()
			if err != nil {
				m.t.Fatal(err)
			}
			m.check(expect, *cqe)
			m.ring.CQESeen(cqe)
			continue
		}
		cqe, err := m.ring.Wait(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		m.check(expect, cqe)
	}
}

func (m *machine) check(expect []expectation, cqe aioring.CQE) {
	m.t.Helper()
	if cqe.UserData >= uint64(len(expect)) {
		m.t.Fatalf("a CQE of nobody's: %+v", cqe)
	}
	e := &expect[cqe.UserData]
	if e.reaped {
		m.t.Fatalf("a second CQE: %+v", cqe)
	}
	e.reaped = true
	if cqe.Res != e.res || !bytes.Equal(e.buf, e.want) {
		m.t.Fatalf("%+v, want %d, with %d bytes as expected: %v", cqe, e.res, len(e.want), bytes.Equal(e.buf, e.want))
	}
}

// operation prepares one operation, applies it to the model and says what is to
// come of it.
func (m *machine) operation(sqe *aioring.SQE, i int) (e expectation) {
	fd := int(m.file.Fd())
	kind, pos, length := m.byte(), int(m.byte()), int(m.byte())*8
	off := i*extent + pos*8
	fail := func(errno syscall.Errno) expectation { return expectation{res: -int32(errno)} }
	data := func() []byte {
		m.serial++
		return bytes.Repeat([]byte{m.serial | 1}, length)
	}
	write := func(p []byte) expectation {
		copy(m.model[off:], p)
		return expectation{res: int32(len(p))}
	}
	read := func(p []byte) expectation {
		want := make([]byte, len(p))
		n := copy(want, m.model[min(off, fileSize):])
		return expectation{res: int32(n), buf: p, want: want}
	}
	split := func(p []byte) [][]byte {
		cut := min(len(p), pos)
		return [][]byte{p[:cut], nil, p[cut:]}
	}
	if kind %= 12; kind >= 1 && kind <= 3 && off+length > fileSize {
		kind = 5 // a write would move the end: read across it
	}
	switch kind {
	case 0:
		aioring.PrepNop(sqe)
		return e
	case 1, 2:
		p := data()
		aioring.PrepWrite(sqe, fd, p, int64(off))
		return write(p)
	case 3:
		p := data()
		aioring.PrepWritev(sqe, fd, split(p), int64(off))
		return write(p)
	case 4:
		p := make([]byte, length)
		aioring.PrepReadv(sqe, fd, split(p), int64(off))
		return read(p)
	case 5, 6:
		p := make([]byte, length)
		aioring.PrepRead(sqe, fd, p, int64(off))
		return read(p)
	case 7:
		aioring.PrepFsync(sqe, fd, uint32(pos&1))
		return e
	case 8:
		sqe.Opcode = aioring.Opcode(40 + pos%200)
		return fail(syscall.EINVAL)
	case 9:
		aioring.PrepRead(sqe, fd, make([]byte, length), -2-int64(pos)<<(length%50))
		return fail(syscall.EINVAL)
	case 10:
		aioring.PrepWrite(sqe, -1-pos, data(), 0)
		return fail(syscall.EBADF)
	default:
		aioring.PrepNop(sqe)
		// Links and drains are FuzzChains'. The highest bit is no flag.
		if sqe.Flags = byte(pos)&aioring.FlagAsync | byte(length)&0x80; sqe.Flags&0x80 != 0 {
			return fail(syscall.EINVAL)
		}
		return e
	}
}
