//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
)

// What users do that they should not, or that a library may not expect.

func TestEntriesAfterCloseAreErrors(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, err := r.NewEntry()
		if err != nil {
			t.Fatal(err)
		}
		aioring.PrepNop(e.SQE())
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var cancel aioring.SQE
		aioring.PrepCancel(&cancel, 0, aioring.CancelAny)
		for name, call := range map[string]func() error{
			"NewEntry":             func() error { _, err := r.NewEntry(); return err },
			"Entry.Submit":         func() error { return e.Submit(t.Context()) },
			"Entry.Ready":          func() error { _, err := e.Ready(t.Context()); return err },
			"WaitCQENr":            func() error { _, err := r.WaitCQENr(2); return err },
			"WaitCQETimeout":       func() error { _, err := r.WaitCQETimeout(time.Second); return err },
			"SubmitAndWaitTimeout": func() error { _, err := r.SubmitAndWaitTimeout(1, time.Second); return err },
		} {
			if err := call(); !errors.Is(err, aioring.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n, err := r.CancelSync(t.Context(), cancel); n != 0 || err != nil && !errors.Is(err, aioring.ErrClosed) {
			t.Errorf("CancelSync: %d, %v", n, err)
		}
		for range r.CQEs(t.Context()) {
			t.Error("a CQE of a closed ring")
		}
		e.Release()
		e.Release()
	})
}

// Many may close at a time, and all of them return when it is done.
func TestCloseByManyAtATime(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 8), 0)
		submit(t, r, 1)
		var closing sync.WaitGroup
		for range 8 {
			closing.Go(func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				if n := r.Stats().InFlight; n != 0 {
					t.Errorf("%d in flight after Close", n)
				}
			})
		}
		closing.Wait()
	})
}

// An operation that never ends by itself holds up Shutdown until its context ends, and
// Close not at all.
func TestOperationThatNeverEnds(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 8), 0)
		submit(t, r, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if s := r.Stats(); s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// An event clears what it is of, on the ring that it is of, and nothing else.
func TestEventsOfAnotherRing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		ours, other := v.open(t, 8), v.open(t, 8)
		defer ours.Close()
		defer other.Close()
		kept := func(r *aioring.Ring) (*aioring.Entry, aioring.Event) {
			t.Helper()
			e, err := r.NewEntry()
			if err != nil {
				t.Fatal(err)
			}
			aioring.PrepNop(e.SQE())
			if err := e.Submit(t.Context()); err != nil {
				t.Fatal(err)
			}
			cqe, err := e.Ready(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return e, cqe.Event()
		}
		e, event := kept(ours)
		defer e.Release()
		f, _ := kept(other)
		defer f.Release()
		aioring.PrepNop(ours.GetSQE())
		submit(t, ours, 1)
		posted, err := ours.WaitCQE()
		if err != nil {
			t.Fatal(err)
		}
		for name, ev := range map[string]aioring.Event{"a kept entry's": event, "the queue's": posted.Event(), "nobody's": {}} {
			if other.ClearReady(ev) {
				t.Errorf("%s event was cleared on another ring", name)
			}
		}
		if !ours.ClearReady(event) || !ours.ClearReady(posted.Event()) {
			t.Error("an event of the ring's own was not cleared")
		}
		if _, ready, err := f.PollReady(nil); !ready || err != nil {
			t.Errorf("the other ring's entry: ready %v, %v", ready, err)
		}
	})
}

// Buffers of no bytes, and of more than one operation may move.
func TestNilAndHugeBuffers(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		defer r.Close()
		f := tempFile(t, 0)
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		fd := int(f.Fd())
		do := func(want int32, prep func(s *aioring.SQE)) {
			t.Helper()
			var sqe aioring.SQE
			prep(&sqe)
			if cqe, err := r.Do(t.Context(), sqe); cqe.Res != want {
				t.Errorf("%d, %v, want %d", cqe.Res, err, want)
			}
		}
		do(0, func(s *aioring.SQE) { aioring.PrepRead(s, fd, nil, 0) })
		do(0, func(s *aioring.SQE) { aioring.PrepWrite(s, fd, nil, 0) })
		do(0, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, nil, 0) })
		do(0, func(s *aioring.SQE) { aioring.PrepWritev(s, fd, nil, 0) })
		do(0, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, [][]byte{nil, {}, nil}, 0) })
		if unsafe.Sizeof(uintptr(0)) == 4 {
			return // there is no room for the rest
		}
		// More than the heap should be asked for; only what is read into is ever there.
		extra := uint64(1 << 20) // no constant: on 32 bits that would not compile
		huge, err := unix.Mmap(-1, 0, int(uint64(aioring.MaxTransfer)+extra), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			t.Skip("no memory for it: ", err)
		}
		defer unix.Munmap(huge)
		do(7, func(s *aioring.SQE) { aioring.PrepRead(s, fd, huge, 0) })
		if !bytes.Equal(huge[:8], []byte("content\x00")) {
			t.Errorf("%q", huge[:8])
		}
		// A vector that is too long is short, by how much is each kernel's affair.
		var sqe aioring.SQE
		aioring.PrepReadv(&sqe, fd, [][]byte{huge[:1], nil, huge}, 2)
		if cqe, err := r.Do(t.Context(), sqe); cqe.Res < 1 || cqe.Res > 5 || err != nil {
			t.Errorf("%d, %v, want 1 to 5", cqe.Res, err)
		}
		if st, err := f.Stat(); err != nil || st.Size() != 7 {
			t.Errorf("%v, %v", st.Size(), err)
		}
	})
}

// Nobody reaps a million operations: what there is no room for is refused, what was
// taken is kept, and the memory for it is bounded.
func TestAMillionPushesWithNobodyReaping(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		const most = 2000
		r := v.open(t, 64, aioring.WithMaxOps(most))
		defer r.Close()
		var before, after runtime.MemStats
		taken := 0
		runtime.ReadMemStats(&before)
		for i := range 1_000_000 {
			switch err := r.Push(aioring.SQE{UserData: uint64(taken)}); err {
			case nil:
				taken++
			case aioring.ErrFull:
				if i%1000 == 0 {
					runtime.Gosched()
				}
			default:
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if taken == 0 || taken > most {
			t.Errorf("%d were taken, %d may be alive", taken, most)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("%d bytes for %d operations", grown, taken)
		}
		seen := make([]bool, taken)
		for range taken {
			cqe := reap(t, r)
			if seen[cqe.UserData] {
				t.Fatalf("operation %d has a second CQE", cqe.UserData)
			}
			seen[cqe.UserData] = true
		}
		if _, err := r.PeekCQE(); err == nil {
			t.Error("more CQEs than operations")
		}
	})
}

// Buffers come from a sync.Pool and go back as soon as Do returns, which contexts end at
// random, and the kernel writes late. None changes after it went back.
func TestPooledBuffersUnderCancellation(t *testing.T) {
	guard(t, time.Minute)
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Start), sim.Every(2)), sim.Scribble(1), sim.Delay(200*time.Microsecond)),
		sim.If(sim.And(sim.At(sim.Result), sim.Every(3)), sim.Delay(300*time.Microsecond)),
		sim.If(sim.And(sim.At(sim.Cancel), sim.Every(2)), sim.Refuse()),
	}}, 32)
	f := tempFile(t, 0)
	content := pattern(4096, 1)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	const mark = 0x5c
	pool := sync.Pool{New: func() any { return bytes.NewBuffer(bytes.Repeat([]byte{mark}, len(content))) }}
	var cancelled, done atomic.Int64
	var users sync.WaitGroup
	for u := range 8 {
		users.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(u), 3))
			for range 200 {
				b := pool.Get().(*bytes.Buffer)
				p := b.Bytes()
				for i, c := range p {
					if c != mark {
						t.Errorf("byte %d of a buffer has changed in the pool", i)
						return
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(400))*time.Microsecond)
				var sqe aioring.SQE
				aioring.PrepRead(&sqe, int(f.Fd()), p, 0)
				_, err := r.Do(ctx, sqe)
				cancel()
				switch {
				case err == nil:
					done.Add(1)
					if !bytes.Equal(p, content) {
						t.Error("what was read is wrong")
					}
				case errors.Is(err, context.DeadlineExceeded):
					cancelled.Add(1)
				default:
					t.Error(err)
				}
				for i := range p {
					p[i] = mark
				}
				pool.Put(b)
			}
		})
	}
	users.Wait()
	if cancelled.Load() == 0 || done.Load() == 0 {
		t.Errorf("%d cancelled, %d done: the test proves nothing", cancelled.Load(), done.Load())
	}
}

// An os.File that only the operation holds stays open until its end: by SQE.Keep.
func TestFileDroppedWhileItsOperationWaits(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{sim.If(sim.At(sim.Submit), sim.HoldQueued(gate))}}, 64)
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprint(dir, "/", i) }
	var collected atomic.Int64
	for i := range 32 {
		f, err := os.Create(name(i))
		if err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(f, func(int) { collected.Add(1) }, i)
		var sqe aioring.SQE
		aioring.PrepWrite(&sqe, int(f.Fd()), []byte(name(i)), 0)
		sqe.Keep = f
		if err := r.Push(sqe); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		runtime.GC()
	}
	if n := collected.Load(); n > 0 {
		t.Errorf("%d files were collected with operations under way", n)
	}
	gate.Open()
	for range 32 {
		if c := reap(t, r); c.Res <= 0 {
			t.Errorf("%+v", c)
		}
	}
	for i := range 32 {
		if got, err := os.ReadFile(name(i)); string(got) != name(i) || err != nil {
			t.Errorf("%s has %q, %v", name(i), got, err)
		}
	}
	// And then they go.
	for collected.Load() < 32 {
		runtime.GC()
		runtime.Gosched()
	}
}

// Children are forked and execute programs while operations are under way: they inherit
// nothing of the ring, and the operations notice nothing.
func TestChildrenDuringOperations(t *testing.T) {
	if os.Getenv("AIORING_TEST_CHILD") != "" {
		return // that was all it was to do
	}
	open := func() map[int]bool {
		fds := make(map[int]bool)
		for fd := range 200 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				fds[fd] = true
			}
		}
		return fds
	}
	eachVariant(t, func(t *testing.T, v variant) {
		before := open()
		r := v.open(t, 32)
		defer r.Close()
		for fd := range open() {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && !before[fd] && flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("a child inherits descriptor %d of the ring's", fd)
			}
		}
		var children sync.WaitGroup
		over := make(chan struct{})
		children.Go(func() {
			defer close(over)
			for range 3 {
				cmd := exec.Command(os.Args[0], "-test.run=^TestChildrenDuringOperations$")
				cmd.Env = append(os.Environ(), "AIORING_TEST_CHILD=1")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
		for rounds := 0; ; rounds++ {
			writeMany(t, r, 100)
			select {
			case <-over:
				children.Wait()
				return
			default:
			}
		}
	})
}

// A waker may not wait for the ring, but it may hand over to somebody who does.
func TestCloseByWhoWasWoken(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, err := r.NewEntry()
		if err != nil {
			t.Fatal(err)
		}
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		closed := make(chan error, 1)
		aioring.PrepRead(e.SQE(), int(rd.Fd()), make([]byte, 1), 0)
		if err := e.Submit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ready, err := e.PollReady(aioring.NewWaker(func(error) { go func() { closed <- r.Close() }() })); ready || err != nil {
			t.Fatalf("ready %v, %v", ready, err)
		}
		if _, err := syscall.Write(int(wr.Fd()), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		e.Release()
	})
}
