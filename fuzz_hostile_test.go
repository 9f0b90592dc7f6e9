//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// tape is a fuzzer's input, read from its beginning; behind its end are zeros.
type tape struct {
	mu   sync.Mutex
	data []byte
}

func (p *tape) byte() byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return b
}

func (p *tape) word() uint64 {
	var w [8]byte
	for i := range w {
		w[i] = p.byte()
	}
	return binary.LittleEndian.Uint64(w[:])
}

func (p *tape) left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.data) > 0
}

// wild is a number that is small, or at an edge, or anything.
func (p *tape) wild() uint64 {
	switch b := p.byte(); b & 7 {
	case 0, 1, 2, 3:
		return uint64(b >> 3)
	case 4:
		return -uint64(b >> 3)
	case 5:
		return 1<<(b>>3) - 1
	case 6:
		return 1 << (2 * (b >> 3))
	}
	return p.word()
}

// FuzzHostileSQEs reads its input as SQEs, every field of them at will, and gives them to
// a ring in both ways. Whatever they ask for: each that was taken has one final CQE,
// nothing panics, and Close returns.
func FuzzHostileSQEs(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x16\x00\x00\x00\x00\x00\x00\x17\x04\x00\x0b\x00\x00"))
	f.Add(bytes.Repeat([]byte{0xff, 0x0b, 0x40, 0x07}, 30))
	f.Add(bytes.Repeat([]byte{2, 11, 0, 1, 0x41, 0, 0, 0, 1, 0}, 20)) // timers that go off again and again
	f.Add(bytes.Repeat([]byte{1, 14, 4, 0, 0x17, 0, 0, 0, 3}, 20))    // cancellations in chains
	dir := f.TempDir()
	folder, err := os.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer folder.Close()
	all := kernels()
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			return
		}
		guard(t, time.Minute)
		p := &tape{data: data}
		file, err := os.OpenFile(filepath.Join(dir, "file"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		fds := []int{int(file.Fd()), int(folder.Fd()), int(rd.Fd()), -1, 1 << 20, 1<<31 - 1, -1 << 31}
		r, err := aioring.New(8, aioring.WithKernel(all[int(p.byte())%len(all)]), aioring.WithMaxOps(64))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		final := make(map[uint64]int) // CQEs that are the last of their operation
		next := uint64(0)
		look := func() {
			for range 100 { // a timer may make more than anybody can reap
				cqe, err := r.PeekCQE()
				if err != nil {
					return
				}
				if cqe.Flags&aioring.CQEMore == 0 {
					final[cqe.UserData]++
				}
				r.CQESeen(cqe)
			}
		}
		for p.left() {
			sqes := make([]aioring.SQE, 1+p.byte()&7)
			for i := range sqes {
				s := &sqes[i]
				*s = aioring.SQE{
					Opcode: aioring.Opcode(p.byte()), Flags: p.byte(), Fd: int32(fds[int(p.byte())%len(fds)]),
					OpFlags: uint32(p.wild()), Len: uint32(p.wild()), Off: int64(p.wild()), Addr: p.wild(), Time: int64(p.wild()),
					UserData: next,
				}
				if op := p.byte(); op < 192 { // mostly one that there is
					s.Opcode = []aioring.Opcode{
						aioring.OpNop, aioring.OpRead, aioring.OpWrite, aioring.OpReadv, aioring.OpWritev, aioring.OpFsync,
						aioring.OpTimeout, aioring.OpTimeoutRemove, aioring.OpAsyncCancel, aioring.OpLinkTimeout,
					}[op%10]
				}
				switch b := p.byte(); b & 3 {
				case 1:
					s.Buf = make([]byte, int(b)*16)
				case 2:
					for range b >> 3 {
						s.Bufs = append(s.Bufs, make([]byte, b&7))
					}
				case 3:
					s.Buf, s.Bufs = make([]byte, 1), make([][]byte, 1100)
				}
				next++
			}
			if p.byte()&1 == 0 {
				if err := r.Push(sqes...); err != nil && err != aioring.ErrFull && err != aioring.ErrTooBig {
					t.Fatal(err)
				}
			} else {
				for i := range sqes {
					if s := r.GetSQE(); s != nil {
						*s = sqes[i]
					}
				}
				if _, err := r.Submit(); err != nil && err != syscall.EAGAIN && err != aioring.ErrTooBig && err != syscall.EBUSY {
					t.Fatal(err)
				}
			}
			look()
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for id, n := range final {
			if id >= next || n != 1 {
				t.Fatalf("operation %d of %d has %d final CQEs", id, next, n)
			}
		}
		if s := r.Stats(); s.Submitted != s.Completed || s.InFlight != 0 {
			t.Fatalf("left behind: %+v", s)
		}
	})
}

// forger is a kernel that says more than is true, and says it oddly: events of nobody's,
// events twice, interruptions, errors of a list that was taken. It keeps nothing back.
type forger struct {
	*sim.Kernel
	tape  *tape
	mu    sync.Mutex
	known []aio.Kevent // true ones, some time ago
}

func (k *forger) Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	if len(changes) == 0 && k.tape.byte()&7 == 7 {
		return -1, aio.EINTR
	}
	room := len(events)
	if room > 1 && len(changes) == 0 {
		room = 1 + int(k.tape.byte())%(room-1) // and some for forgeries
	}
	if len(events) > 0 && timeout < 0 && k.tape.left() {
		timeout = time.Millisecond // early
	}
	n, errno := k.Kernel.Kevent(kq, changes, events[:min(room, len(events))], timeout)
	if errno != 0 || len(changes) > 0 {
		return n, errno
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = append(k.known, events[:n]...)
	for n < len(events) && k.tape.byte()&3 == 3 {
		e := aio.Kevent{Ident: uintptr(k.tape.wild()), Filter: -aio.Filter(k.tape.byte() % 16), Udata: uintptr(k.tape.wild()), Data: int64(k.tape.wild())}
		if len(k.known) > 0 {
			old := k.known[int(k.tape.byte())%len(k.known)]
			switch k.tape.byte() & 3 {
			case 0:
				e = old // again
			case 1:
				e = old
				e.Udata ^= uintptr(1) << (k.tape.byte() & 31) // another use of the block, or another block
			case 2:
				e = old
				e.Ident += uintptr(k.tape.byte())
			}
		}
		if e.Filter == aio.FilterUser || e.Filter == aio.FilterTimer || e.Filter == aio.FilterRead || e.Filter == aio.FilterWrite {
			e.Filter = aio.FilterAIO // the others are the reactor's own affairs
		}
		events[n] = e
		n++
	}
	return n, 0
}

func (k *forger) ListIO(mode aio.ListMode, list []*aio.ControlBlock, sig *aio.Sigevent) aio.Errno {
	errno := k.Kernel.ListIO(mode, list, sig)
	if errno == 0 && k.tape.byte()&7 == 7 {
		return []aio.Errno{aio.EIO, aio.EAGAIN}[k.tape.byte()&1] // each block's word tells
	}
	return errno
}

func (k *forger) Cancel(fd int, cb *aio.ControlBlock) (aio.CancelStatus, aio.Errno) {
	status, errno := k.Kernel.Cancel(fd, cb)
	if errno == 0 && k.tape.byte()&3 == 3 {
		status = aio.CancelStatus(1 + k.tape.byte()%3)
	}
	return status, errno
}

func (k *forger) Limits() (aio.Limits, error) {
	l, err := k.Kernel.Limits()
	if k.tape.byte()&7 == 7 {
		return l, fmt.Errorf("not now: %w", syscall.EPERM)
	}
	return l, err
}

// FuzzKernelReplies runs writes, reads and cancellations on a kernel whose replies the
// input chooses, within what a kernel may say and a good way beyond. Each operation has
// its one CQE and the file every byte that was reported.
func FuzzKernelReplies(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{7, 3, 3, 3, 255, 3, 0, 3, 0, 3, 1, 3, 2}, []byte{3, 0, 3, 1, 0, 3, 4})
	f.Add(bytes.Repeat([]byte{3, 0, 3, 0, 7}, 60), bytes.Repeat([]byte{3, 8, 0, 0}, 40))
	f.Add(bytes.Repeat([]byte{0xff}, 300), bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, replies, faults []byte) {
		guard(t, time.Minute)
		model := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 5}, Faults: []sim.Fault{sim.FromBytes(faults)}})
		k := &forger{Kernel: model, tape: &tape{data: replies}}
		r, err := aioring.New(16, aioring.WithAIO(k))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		const size, rounds, each = 512, 4, 12
		want := make(map[int][]byte)
		for round := range rounds {
			bufs := make([][]byte, each)
			for i := range bufs {
				bufs[i] = pattern(size, uint64(round*each+i))
				sqe := r.GetSQE()
				aioring.PrepWrite(sqe, int(file.Fd()), bufs[i], int64(i)*size)
				sqe.UserData = uint64(i)
			}
			victim := r.GetSQE()
			aioring.PrepCancel(victim, uint64(round), 0)
			victim.UserData = each
			submit(t, r, each+1)
			seen := make([]bool, each+1)
			for range each + 1 {
				cqe, err := r.Wait(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				i := int(cqe.UserData)
				if i >= len(seen) || seen[i] {
					t.Fatalf("a CQE of nobody's, or a second one: %+v", cqe)
				}
				seen[i] = true
				switch {
				case i == each: // of the cancellation
				case cqe.Res == size:
					want[i] = bufs[i]
				case cqe.Res == -int32(syscall.ECANCELED): // as before
				case cqe.Res == -int32(syscall.EIO) || cqe.Res >= 0 && cqe.Res < size:
					delete(want, i) // a part, or nobody knows
				default:
					t.Fatalf("%+v", cqe)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range want {
			if end := (i + 1) * size; end > len(got) || !bytes.Equal(got[end-size:end], p) {
				t.Fatalf("block %d was written and is not there", i)
			}
		}
		if s := r.Stats(); s.InFlight != 0 || s.Submitted != s.Completed {
			t.Fatalf("left behind: %+v", s)
		}
		for _, m := range model.Misuse() {
			if m.Rule != sim.KqueueLeft {
				t.Fatal(m)
			}
		}
	})
}

// FuzzChains reads its input as NOPs, each with a result, linked in all ways, and
// compares with the rules: what follows a failure on a soft link is called off to the
// chain's end, a hard link goes on, and a chain ends with its submission.
func FuzzChains(f *testing.F) {
	f.Add([]byte{1, 1, 0})
	f.Add([]byte{1, 0x19, 1, 0, 2, 0x1a, 0})
	f.Add(bytes.Repeat([]byte{0x81, 0x1a, 3, 0x1b, 4}, 10))
	all := kernels()
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 300 {
			return
		}
		guard(t, time.Minute)
		for _, kernel := range all {
			r, err := aioring.New(16, aioring.WithKernel(kernel))
			if err != nil {
				t.Fatal(err)
			}
			runChains(t, r, kernel, program)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func runChains(t *testing.T, r *aioring.Ring, kernel string, program []byte) {
	t.Helper()
	var want []int32
	linked, off := false, false // the one before is linked to this one; the chain is broken
	flush := func() {
		if len(want) == 0 {
			return
		}
		submit(t, r, len(want))
		got := make([]int32, len(want))
		for range want {
			cqe := reap(t, r)
			got[cqe.UserData] = cqe.Res
		}
		for i := range want {
			if got[i] != want[i] {
				if kernel == aioring.KernelURing && got[i] == -int32(syscall.EINVAL) {
					return // a Linux whose NOP has no results
				}
				t.Fatalf("%s: %d, want %d", kernel, got, want)
			}
		}
		want, linked = want[:0], false
	}
	for _, b := range program {
		sqe := r.GetSQE()
		aioring.PrepNop(sqe)
		sqe.UserData = uint64(len(want))
		sqe.OpFlags = aioring.NopInjectResult
		res := int32(b >> 3 & 3)
		if res == 3 {
			res = -int32(syscall.EIO)
		}
		sqe.Len = uint32(res)
		sqe.Flags = []uint8{0, aioring.FlagIOLink, aioring.FlagIOHardlink, aioring.FlagIOLink | aioring.FlagIOHardlink}[b&3]
		if b&4 != 0 {
			sqe.Flags |= aioring.FlagIODrain
		}
		if !linked {
			off = false
		}
		if off {
			res = -int32(syscall.ECANCELED)
		} else if res < 0 && b&3 == 1 {
			off = true
		}
		want = append(want, res)
		linked = b&3 != 0
		if b&0x80 != 0 || len(want) == 16 {
			flush()
		}
	}
	flush()
}
