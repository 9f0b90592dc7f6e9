//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
)

// kernels are those present on this system.
func kernels() []string {
	switch runtime.GOOS {
	case "freebsd":
		return []string{aioring.KernelFreeBSD, aioring.KernelThreads, aioring.KernelSim}
	case "linux":
		if hasURing() {
			return []string{aioring.KernelURing, aioring.KernelThreads, aioring.KernelSim}
		}
	}
	return []string{aioring.KernelThreads, aioring.KernelSim}
}

// hasURing reports whether io_uring is to be had: containers forbid it as a rule.
var hasURing = sync.OnceValue(func() bool {
	r, err := aioring.New(1, aioring.WithKernel(aioring.KernelURing))
	if err != nil {
		return false
	}
	r.Close()
	return true
})

// variant is one way to make a ring: a kernel, with or without a dedicated
// worker.
type variant struct {
	kernel string
	worker bool // submission is not over when Submit returns
	opts   []aioring.Option
}

// open makes a ring that is closed when the test ends.
func (v variant) open(t *testing.T, entries int, opts ...aioring.Option) *aioring.Ring {
	t.Helper()
	opts = append(opts, aioring.WithKernel(v.kernel))
	r, err := aioring.New(entries, append(opts, v.opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// eachVariant runs a test in every way there is here, and sees that it leaves no
// goroutine behind and does not hang.
func eachVariant(t *testing.T, f func(t *testing.T, v variant)) {
	for name, v := range variants() {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { settle(t, before) })
			guard(t, time.Minute)
			f(t, v)
		})
	}
}

// variants yields every way there is here, with its name.
func variants() iter.Seq2[string, variant] {
	return func(yield func(string, variant) bool) {
		for _, kernel := range kernels() {
			worker := []aioring.Option{aioring.WithWorker()}
			if !yield(kernel, variant{kernel: kernel}) || !yield(kernel+"+worker", variant{kernel, true, worker}) {
				return
			}
			if kernel != aioring.KernelURing {
				continue
			}
			sqpoll := []aioring.Option{aioring.WithSetup(aioring.SetupSQPoll)}
			locked := []aioring.Option{
				aioring.WithLockedThread(), aioring.WithSetup(aioring.SetupSingleIssuer | aioring.SetupDeferTaskrun),
			}
			if !yield(kernel+"+sqpoll", variant{kernel, true, sqpoll}) || !yield(kernel+"+locked", variant{kernel, true, locked}) {
				return
			}
		}
	}
}

// settle waits until there are no more goroutines than before.
func settle(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// guard ends a test that hangs, showing every stack.
func guard(t *testing.T, limit time.Duration) {
	timer := time.AfterFunc(limit, func() {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%s hangs:\n%s\n", t.Name(), stacks[:runtime.Stack(stacks, true)])
		os.Exit(2)
	})
	t.Cleanup(func() { timer.Stop() })
}

// tempFile is an empty file open for reading and writing.
func tempFile(t *testing.T, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.NewPCG(seed, 1)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
}

// submit submits and fails the test unless all went.
func submit(t *testing.T, r *aioring.Ring, want int) {
	t.Helper()
	n, err := r.Submit()
	if err != nil || n != want {
		t.Fatalf("Submit = %d, %v; want %d", n, err, want)
	}
}

// reap waits for one CQE and consumes it.
func reap(t *testing.T, r *aioring.Ring) aioring.CQE {
	t.Helper()
	cqe, err := r.WaitCQE()
	if err != nil {
		t.Fatalf("WaitCQE: %v", err)
	}
	c := *cqe
	r.CQESeen(cqe)
	return c
}

func TestNewRefusesWhatItCannotMake(t *testing.T) {
	foreign := aioring.KernelFreeBSD
	if runtime.GOOS == "freebsd" {
		foreign = "uring"
	}
	for _, c := range []struct {
		name    string
		entries int
		opts    []aioring.Option
		want    error
	}{
		{"no entries", 0, nil, syscall.EINVAL},
		{"negative", -1, nil, syscall.EINVAL},
		{"too many", aioring.MaxEntries + 1, nil, syscall.EINVAL},
		{"a kernel of another system", 8, []aioring.Option{aioring.WithKernel(foreign)}, aioring.ErrUnsupported},
		{"no such kernel", 8, []aioring.Option{aioring.WithKernel("nonesuch")}, aioring.ErrUnsupported},
		{"no operations", 8, []aioring.Option{aioring.WithMaxOps(0)}, nil},
		{"negative bytes", 8, []aioring.Option{aioring.WithMaxBytes(-1)}, nil},
	} {
		r, err := aioring.New(c.entries, c.opts...)
		if err == nil {
			r.Close()
			t.Errorf("%s: no error", c.name)
		} else if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEntriesRoundUpToPowerOfTwo(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		if got := v.open(t, 3).SQSpaceLeft(); got != 4 {
			t.Errorf("3 entries became %d", got)
		}
	})
}

// Contract checks 7, 8 and 10.
func TestFullSubmissionQueueHandsOutNil(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		for round := range 10 {
			for i := range 4 {
				if r.SQReady() != i || r.SQSpaceLeft() != 4-i {
					t.Fatalf("ready %d, left %d after %d", r.SQReady(), r.SQSpaceLeft(), i)
				}
				sqe := r.GetSQE()
				if sqe.UserData != 0 || sqe.Buf != nil || sqe.Opcode != aioring.OpNop {
					t.Fatalf("a reused entry carries %+v", *sqe)
				}
				aioring.PrepRead(sqe, 0, make([]byte, 1), 7)
				aioring.PrepNop(sqe)
				sqe.UserData = uint64(round*4 + i)
			}
			if r.GetSQE() != nil {
				t.Fatal("a fifth entry of four")
			}
			submit(t, r, 4)
			for range 4 {
				reap(t, r)
			}
		}
	})
}

// Contract checks 13 to 16. With a dedicated worker nothing stops, as with
// SQPOLL.
func TestBadEntryStopsSubmissionAfterItself(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		submit(t, r, 0)
		for bad, want := range [][]int{{1, 3}, {2, 2}, {3, 1}, {4, 0}} {
			if v.worker {
				want = []int{4, 0}
			}
			for i := range 4 {
				sqe := r.GetSQE()
				if aioring.PrepNop(sqe); i == bad {
					sqe.Opcode = 200
				}
				sqe.UserData = uint64(i)
			}
			for _, count := range want {
				if n, err := r.SubmitAndWait(1); n != count || err != nil {
					t.Fatalf("bad entry %d: submitted %d, %v, want %v", bad, n, err, want)
				}
			}
			for range 4 {
				c := reap(t, r)
				if want := c.UserData == uint64(bad); want != (c.Res == -int32(syscall.EINVAL)) {
					t.Errorf("entry %d of which %d is bad: %d", c.UserData, bad, c.Res)
				}
			}
		}
	})
}

func TestWhatOneEntryMayNotBe(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		f := tempFile(t, 0)
		fd, buf := int(f.Fd()), make([]byte, 8)
		ro, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer ro.Close()
		dir, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		far := int64(1) << 40
		for _, c := range []struct {
			name string
			prep func(*aioring.SQE)
			want syscall.Errno
		}{
			{"opcode", func(s *aioring.SQE) { s.Opcode = 255 }, syscall.EINVAL},
			{"flag", func(s *aioring.SQE) { s.Flags = 1 << 7 }, syscall.EINVAL},
			{"negative offset", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, -2) }, syscall.EINVAL},
			{"negative offset of a write", func(s *aioring.SQE) { aioring.PrepWrite(s, fd, buf, -1<<62) }, syscall.EINVAL},
			{"fsync flag", func(s *aioring.SQE) { aioring.PrepFsync(s, fd, 2) }, syscall.EINVAL},
			{"read flag", func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, 0); s.OpFlags = 1 << 20 }, syscall.EOPNOTSUPP},
			{"vectors", func(s *aioring.SQE) { aioring.PrepReadv(s, fd, make([][]byte, 1025), 0) }, syscall.EINVAL},
			{"descriptor", func(s *aioring.SQE) { aioring.PrepRead(s, -1, buf, 0) }, syscall.EBADF},
			{"descriptor not open", func(s *aioring.SQE) { aioring.PrepWrite(s, 1<<20, buf, 0) }, syscall.EBADF},
			{"descriptor beyond 32 bits", func(s *aioring.SQE) { aioring.PrepRead(s, int(far)|fd, buf, 0) }, syscall.EBADF},
			{"fsync of nothing", func(s *aioring.SQE) { aioring.PrepFsync(s, -5, 0) }, syscall.EBADF},
			{"write to a file open for reading", func(s *aioring.SQE) { aioring.PrepWrite(s, int(ro.Fd()), buf, 0) }, syscall.EBADF},
			{"read of a directory", func(s *aioring.SQE) { aioring.PrepRead(s, int(dir.Fd()), buf, 0) }, syscall.EISDIR},
		} {
			if c.name == "descriptor beyond 32 bits" && int64(int(far)) != far {
				continue // an int has no room for one
			}
			sqe := r.GetSQE()
			sqe.UserData = 99
			c.prep(sqe)
			submit(t, r, 1)
			if got := reap(t, r); got.Res != -int32(c.want) || got.UserData != 99 {
				t.Errorf("%s: %d for %d, want %d (%v)", c.name, got.Res, got.UserData, -int32(c.want), c.want)
			}
		}
	})
}

// Contract checks 133, 134, 135, 137.
func TestReadsAndWritesMoveTheBytes(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		f := tempFile(t, 0)
		fd := int(f.Fd())
		data := pattern(100_000, 1)
		run := func(name string, want int, prep func(*aioring.SQE)) {
			t.Helper()
			prep(r.GetSQE())
			submit(t, r, 1)
			if c := reap(t, r); int(c.Res) != want {
				t.Fatalf("%s: %d, want %d", name, c.Res, want)
			}
		}
		run("write", 60_000, func(s *aioring.SQE) { aioring.PrepWrite(s, fd, data[:60_000], 0) })
		run("writev", 40_000, func(s *aioring.SQE) {
			aioring.PrepWritev(s, fd, [][]byte{data[60_000:60_001], nil, data[60_001:90_000], data[90_000:]}, 60_000)
		})
		run("fsync", 0, func(s *aioring.SQE) { aioring.PrepFsync(s, fd, 0) })
		run("fdatasync", 0, func(s *aioring.SQE) { aioring.PrepFsync(s, fd, aioring.FsyncDatasync) })
		got := make([]byte, 100_000)
		run("readv", 100_000, func(s *aioring.SQE) {
			aioring.PrepReadv(s, fd, [][]byte{got[:7], {}, got[7:50_000], got[50_000:]}, 0)
		})
		if !bytes.Equal(got, data) {
			t.Fatal("readv brought other bytes")
		}
		clear(got)
		run("read across the end", 1000, func(s *aioring.SQE) { aioring.PrepRead(s, fd, got[:5000], 99_000) })
		if !bytes.Equal(got[:1000], data[99_000:]) {
			t.Fatal("read brought other bytes")
		}
		run("read past the end", 0, func(s *aioring.SQE) { aioring.PrepRead(s, fd, got[:1], 1<<40) })
		run("read of nothing", 0, func(s *aioring.SQE) { aioring.PrepRead(s, fd, nil, 0) })
		run("readv of nothing", 0, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, nil, 0) })
		if pos, err := f.Seek(0, 1); pos != 0 || err != nil {
			t.Fatalf("positioned operations moved the position to %d, %v", pos, err)
		}
		for want := int64(10); want <= 30; want += 10 {
			run("read at the position", 10, func(s *aioring.SQE) { aioring.PrepRead(s, fd, got[:10], aioring.CurrentPosition) })
			if pos, _ := f.Seek(0, 1); pos != want || !bytes.Equal(got[:10], data[want-10:want]) {
				t.Fatalf("position %d, want %d", pos, want)
			}
		}
	})
}

// Contract checks 27, 28, 31 to 33, 37, 38.
func TestCompletionQueueKeepsOrderAndLosesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4) // a completion queue of 8
		if _, err := r.PeekCQE(); err != syscall.EAGAIN {
			t.Fatalf("PeekCQE of nothing: %v", err)
		}
		for i := range 21 {
			r.GetSQE().UserData = uint64(i)
			submit(t, r, 1)
		}
		for r.Stats().Completed < 21 {
			runtime.Gosched()
		}
		if r.CQReady() != 8 || !r.CQHasOverflow() {
			t.Errorf("%d ready, overflow %v", r.CQReady(), r.CQHasOverflow())
		}
		r.CQAdvance(3)
		if r.CQReady() != 5 {
			t.Errorf("an advance alone made %d of 5", r.CQReady())
		}
		cqes := make([]*aioring.CQE, 6)
		for next := uint64(3); next < 21; {
			n := r.PeekBatchCQE(cqes)
			if n == 0 {
				t.Fatalf("%d of 21 are there", next)
			}
			again := r.PeekBatchCQE(cqes)
			if again != n {
				t.Errorf("a second look saw %d, the first %d", again, n)
			}
			for i := range n {
				if cqes[i].UserData != next || cqes[i].Res != 0 {
					t.Fatalf("%d is %+v", next, *cqes[i])
				}
				next++
			}
			r.CQAdvance(n)
		}
		if r.CQHasOverflow() || r.CQReady() != 0 {
			t.Error("something is left")
		}
		r.CQESeen(nil)
		r.CQAdvance(5) // nothing to consume
		r.CQAdvance(-1)
		if s := r.Stats(); s.Alive != 0 {
			t.Errorf("%d operations alive", s.Alive)
		}
	})
}

func TestSubmitAndWaitWaitsForThatMany(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		f := tempFile(t, 0)
		for round := range 50 {
			for i := range 16 {
				aioring.PrepWrite(r.GetSQE(), int(f.Fd()), pattern(512, uint64(i)), int64(i)*512)
			}
			n, err := r.SubmitAndWait(16)
			if n != 16 || err != nil {
				t.Fatalf("SubmitAndWait = %d, %v", n, err)
			}
			if r.CQReady() != 16 {
				t.Fatalf("round %d: %d ready", round, r.CQReady())
			}
			r.CQAdvance(16)
		}
	})
}

// Any number of pushers and reapers: every operation has exactly one final CQE.
func TestPushFromManyGoroutines(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		const pushers, each, reapers = 4, 600, 3
		r := v.open(t, 64)
		f := tempFile(t, 0)
		var seen [pushers * each]atomic.Int32
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var left atomic.Int64
		left.Store(pushers * each)
		var reaping, pushing sync.WaitGroup
		for range reapers {
			reaping.Go(func() {
				for cqe := range r.CQEs(ctx) {
					if cqe.Res != 16 && cqe.Res != 0 {
						t.Errorf("%d: %v", cqe.UserData, syscall.Errno(-cqe.Res))
					}
					seen[cqe.UserData].Add(1)
					if left.Add(-1) == 0 {
						stop()
					}
				}
			})
		}
		for p := range pushers {
			pushing.Go(func() {
				for i := 0; i < each; i += 3 {
					var batch [3]aioring.SQE
					for b := range batch {
						id := p*each + i + b
						if aioring.PrepNop(&batch[b]); b == 1 {
							aioring.PrepWrite(&batch[b], int(f.Fd()), pattern(16, uint64(id)), int64(id)*16)
						}
						batch[b].UserData = uint64(id)
					}
					if err := r.PushContext(t.Context(), batch[:]...); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		pushing.Wait()
		reaping.Wait()
		for id := range seen {
			if n := seen[id].Load(); n != 1 {
				t.Fatalf("operation %d has %d final CQEs", id, n)
			}
			if id%3 == 1 {
				got := make([]byte, 16)
				if _, err := f.ReadAt(got, int64(id)*16); err != nil || !bytes.Equal(got, pattern(16, uint64(id))) {
					t.Fatalf("operation %d wrote other bytes (%v)", id, err)
				}
			}
		}
	})
}

func TestPushIsAllOrNone(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxOps(8))
		if err := r.Push(make([]aioring.SQE, 9)...); !errors.Is(err, aioring.ErrTooBig) {
			t.Errorf("nine into eight: %v", err)
		}
		if err := r.Push(); err != nil {
			t.Errorf("nothing: %v", err)
		}
		if err := r.Push(make([]aioring.SQE, 6)...); err != nil {
			t.Fatal(err)
		}
		// Six are alive until they are consumed.
		if err := r.Push(make([]aioring.SQE, 3)...); !errors.Is(err, aioring.ErrFull) {
			t.Errorf("three beside six of eight: %v", err)
		}
		for range 8 {
			r.GetSQE()
		}
		n, err := r.Submit()
		if n != 2 || err != nil {
			t.Errorf("Submit took %d, %v of the two there was room for", n, err)
		}
		if n, err := r.Submit(); n != 0 || err != syscall.EAGAIN {
			t.Errorf("Submit without room = %d, %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.PushContext(ctx, aioring.SQE{}); !errors.Is(err, context.Canceled) {
			t.Errorf("PushContext of an ended context: %v", err)
		}
		pushed := make(chan error, 1)
		go func() { pushed <- r.PushContext(context.Background(), aioring.SQE{UserData: 7}) }()
		reap(t, r) // makes room for one
		if err := <-pushed; err != nil {
			t.Errorf("PushContext: %v", err)
		}
		for range 8 {
			reap(t, r)
		}
		submit(t, r, 6)
		for range 6 {
			reap(t, r)
		}
		if s := r.Stats(); s.Alive != 0 || s.InFlight != 0 || s.Submitted != 15 || s.Completed != 15 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMaxBytesBoundsWhatIsHeld(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithMaxBytes(1000))
		f := tempFile(t, 0)
		write := func(n int) (s aioring.SQE) {
			aioring.PrepWrite(&s, int(f.Fd()), make([]byte, n), 0)
			return s
		}
		if err := r.Push(write(600), write(400)); err != nil {
			t.Fatal(err)
		}
		if err := r.Push(write(1)); !errors.Is(err, aioring.ErrFull) {
			t.Errorf("the 1001st byte: %v", err)
		}
		reap(t, r)
		reap(t, r)
		if err := r.Push(write(5000)); err != nil {
			t.Errorf("a large one alone: %v", err)
		}
		if err := r.Push(write(1)); !errors.Is(err, aioring.ErrFull) {
			t.Errorf("beside a large one: %v", err)
		}
		reap(t, r)
		if held := r.Stats().BytesHeld; held != 0 {
			t.Errorf("%d bytes held", held)
		}
	})
}

func TestDoRunsOneOperation(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		f := tempFile(t, 0)
		var group sync.WaitGroup
		for g := range 8 {
			group.Go(func() {
				for i := range 50 {
					at := int64(g*50+i) * 64
					want := pattern(64, uint64(at))
					var sqe aioring.SQE
					aioring.PrepWrite(&sqe, int(f.Fd()), want, at)
					if cqe, err := r.Do(t.Context(), sqe); err != nil || cqe.Res != 64 {
						t.Errorf("write: %d, %v", cqe.Res, err)
					}
					got := make([]byte, 64)
					aioring.PrepRead(&sqe, int(f.Fd()), got, at)
					if cqe, err := r.Do(t.Context(), sqe); err != nil || cqe.Res != 64 || !bytes.Equal(got, want) {
						t.Errorf("read: %d, %v", cqe.Res, err)
					}
				}
			})
		}
		group.Wait()
		var sqe aioring.SQE
		aioring.PrepRead(&sqe, 1<<20, make([]byte, 1), 42)
		_, err := r.Do(t.Context(), sqe)
		var op *aioring.OpError
		if !errors.As(err, &op) || !errors.Is(err, syscall.EBADF) || op.Fd != 1<<20 || op.Off != 42 || op.Op != aioring.OpRead {
			t.Errorf("a bad descriptor: %v", err)
		}
		if r.CQReady() != 0 || r.Stats().Alive != 0 {
			t.Error("what Do ran left something behind")
		}
	})
}

// Do waits for the operation's end even when its context is over, so that no
// buffer is touched after it returned.
func TestDoCancelsWithItsContext(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		var sqe aioring.SQE
		buf := make([]byte, 8)
		aioring.PrepRead(&sqe, int(rd.Fd()), buf, 0)
		cqe, err := r.Do(ctx, sqe)
		if !errors.Is(err, context.Canceled) || cqe.Res != -int32(syscall.ECANCELED) {
			t.Errorf("Do = %+v, %v", cqe, err)
		}
		if _, err := wr.Write([]byte("later")); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Do(t.Context(), sqe); n.Res != 5 || err != nil || string(buf[:5]) != "later" {
			t.Errorf("the cancelled read took the bytes: %d, %v", n.Res, err)
		}
		if _, err := r.Do(ctx, sqe); !errors.Is(err, context.Canceled) {
			t.Errorf("Do with an ended context: %v", err)
		}
	})
}

func TestWaitEndsWithItsContextAndLosesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 1), 0)
		submit(t, r, 1)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Wait: %v", err)
			}
			cancel()
		}
		wr.Write([]byte("x"))
		if cqe, err := r.Wait(t.Context()); err != nil || cqe.Res != 1 {
			t.Errorf("Wait = %+v, %v", cqe, err)
		}
	})
}

func TestShutdownLetsEverythingFinish(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 64)
		f := tempFile(t, 0)
		for i := range 64 {
			aioring.PrepWrite(r.GetSQE(), int(f.Fd()), pattern(4096, uint64(i)), int64(i)*4096)
		}
		submit(t, r, 64)
		ended := make(chan int)
		go func() {
			n := 0
			for cqe := range r.CQEs(context.Background()) {
				if cqe.Res == 4096 {
					n++
				}
			}
			ended <- n
		}()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := <-ended; n != 64 {
			t.Errorf("%d of 64 were reaped", n)
		}
		if _, err := r.Submit(); err != aioring.ErrClosed {
			t.Errorf("Submit: %v", err)
		}
		if err := r.Push(aioring.SQE{}); err != aioring.ErrClosed {
			t.Errorf("Push: %v", err)
		}
		if _, err := r.WaitCQE(); err != aioring.ErrClosed {
			t.Errorf("WaitCQE: %v", err)
		}
		if r.GetSQE() != nil {
			t.Error("GetSQE handed out an entry")
		}
	})
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 1), 0)
		submit(t, r, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		wr.Write([]byte("x"))
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown again: %v", err)
		}
		if c := reap(t, r); c.Res != 1 {
			t.Errorf("the read: %d", c.Res)
		}
	})
}

// Contract checks 45 and 99.
func TestCloseCancelsAndWakesEverybody(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 64)
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer rd.Close()
		defer wr.Close()
		for range 32 {
			aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 1), 0)
		}
		submit(t, r, 32)
		errs := make(chan error)
		var read aioring.SQE
		aioring.PrepRead(&read, int(rd.Fd()), make([]byte, 1), 0)
		waits := []func() error{
			func() error { _, err := r.SubmitAndWait(33); return err },
			func() error { _, err := r.Wait(context.Background()); return err },
			func() error { _, err := r.Wait(t.Context()); return err },
			func() error { _, err := r.Do(t.Context(), read); return err },
		}
		for _, wait := range waits {
			go func() {
				err := wait()
				for err == nil {
					err = wait()
				}
				errs <- err
			}()
		}
		time.Sleep(10 * time.Millisecond) // most of the time they wait by then; either way they must end
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for range waits {
			if err := <-errs; !errors.Is(err, aioring.ErrClosed) && !errors.Is(err, syscall.ECANCELED) {
				t.Errorf("a waiter ended with %v", err)
			}
		}
		if n, err := wr.Write([]byte("x")); n != 1 || err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1)
		if n, err := rd.Read(got); n != 1 || err != nil {
			t.Errorf("a cancelled read took the byte: %d, %v", n, err)
		}
	})
}

func TestUseAfterCloseIsAnError(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		r.GetSQE() // never submitted
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		calls := map[string]func() error{
			"Submit":        func() error { _, err := r.Submit(); return err },
			"SubmitAndWait": func() error { _, err := r.SubmitAndWait(1); return err },
			"Push":          func() error { return r.Push(aioring.SQE{}) },
			"PushContext":   func() error { return r.PushContext(t.Context(), aioring.SQE{}) },
			"Do":            func() error { _, err := r.Do(t.Context(), aioring.SQE{}); return err },
			"PeekCQE":       func() error { _, err := r.PeekCQE(); return err },
			"WaitCQE":       func() error { _, err := r.WaitCQE(); return err },
			"Wait":          func() error { _, err := r.Wait(t.Context()); return err },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, aioring.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		r.CQAdvance(1)
		r.Stats()
		if r.GetSQE() != nil || r.PeekBatchCQE(make([]*aioring.CQE, 1)) != 0 {
			t.Error("a closed ring hands something out")
		}
	})
}

// The number of a file may be closed as soon as Submit has returned. Nothing
// reaches the file that takes the number next. Contract check 100.
func TestNumberReusedAfterSubmit(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		if v.worker {
			t.Skip("with a worker Submit does not fix the file, as with SQPOLL")
		}
		r := v.open(t, 1024, aioring.WithMerge(0))
		dir := t.TempDir()
		const n = 1000 // more than the kernel takes at a time
		old, err := os.Create(filepath.Join(dir, "old"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			aioring.PrepWrite(r.GetSQE(), int(old.Fd()), pattern(512, uint64(i)), int64(i)*512)
		}
		submit(t, r, n)
		young, err := os.Create(filepath.Join(dir, "young"))
		if err != nil {
			t.Fatal(err)
		}
		defer young.Close()
		// Closes the number and opens it anew in one step, so that nobody else
		// takes it in between.
		if err := dup2(int(young.Fd()), int(old.Fd())); err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		for range n {
			if c := reap(t, r); c.Res != 512 {
				t.Fatalf("a write: %v", syscall.Errno(-c.Res))
			}
		}
		if stat, err := young.Stat(); err != nil || stat.Size() != 0 {
			t.Errorf("the new file has %d bytes, %v", stat.Size(), err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "old"))
		if err != nil || len(got) != n*512 {
			t.Fatalf("the old file has %d bytes, %v", len(got), err)
		}
		for i := range n {
			if !bytes.Equal(got[i*512:][:512], pattern(512, uint64(i))) {
				t.Fatalf("block %d is wrong", i)
			}
		}
		if s := r.Stats(); v.kernel != aioring.KernelThreads && v.kernel != aioring.KernelURing && s.Held == 0 {
			t.Errorf("nothing waited for room: the test proves nothing: %+v", s)
		}
	})
}

// A number that goes to another open file of the same inode is the other's, although
// operations on the first still wait. Contract check 100.
func TestNumberReusedForTheSameInode(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		if v.worker {
			t.Skip("with a worker Submit does not fix the file, as with SQPOLL")
		}
		r := v.open(t, 8)
		name := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		open := func(mode int) int {
			fd, err := syscall.Open(name, mode|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Close(fd) })
			return fd
		}
		fd, reader := open(syscall.O_RDWR), open(syscall.O_RDONLY)
		if err := syscall.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1)
		aioring.PrepRead(r.GetSQE(), fd, got, 0)
		submit(t, r, 1)
		for _, write := range []int32{1, -int32(syscall.EBADF)} {
			aioring.PrepWrite(r.GetSQE(), fd, []byte("x"), 0)
			if submit(t, r, 1); write == 1 {
				reap(t, r) // the read and the write
			}
			if c := reap(t, r); c.Res != write {
				t.Errorf("a write: %d, want %d", c.Res, write)
			}
			if write == 1 {
				aioring.PrepRead(r.GetSQE(), fd, got, 0) // waits while the number goes
				submit(t, r, 1)
				if err := dup2(reader, fd); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Buffers that only the ring refers to stay alive and in place, whatever the
// collector and the stacks do. Contract check 145.
func TestBuffersSurviveTheCollector(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 256)
		f := tempFile(t, 0)
		stop := make(chan struct{})
		var storm sync.WaitGroup
		storm.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
					grow(64)
				}
			}
		})
		for round := range 8 {
			for i := range 256 {
				aioring.PrepWrite(r.GetSQE(), int(f.Fd()), pattern(1024, uint64(round*256+i)), int64(round*256+i)*1024)
			}
			if _, err := r.SubmitAndWait(256); err != nil {
				t.Fatal(err)
			}
			r.CQAdvance(256)
		}
		close(stop)
		storm.Wait()
		got := make([]byte, 1024)
		for i := range 8 * 256 {
			if _, err := f.ReadAt(got, int64(i)*1024); err != nil || !bytes.Equal(got, pattern(1024, uint64(i))) {
				t.Fatalf("block %d is wrong (%v)", i, err)
			}
		}
	})
}

// grow makes the stack large, and so move.
func grow(depth int) byte {
	var frame [512]byte
	frame[depth] = 1
	if depth > 0 {
		return grow(depth-1) + frame[depth/2]
	}
	return frame[0]
}

// Idle rings use no processor time, whatever is waited for: five seconds of every
// kernel and every kind of waiter at once.
func TestIdleRingsSleep(t *testing.T) {
	guard(t, time.Minute)
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	var read aioring.SQE
	aioring.PrepRead(&read, int(rd.Fd()), make([]byte, 1), 0)
	var rings []*aioring.Ring
	var waiting sync.WaitGroup
	for _, v := range variants() {
		for _, wait := range []func(*aioring.Ring, *aioring.Entry){
			func(r *aioring.Ring, _ *aioring.Entry) { r.WaitCQE() },
			func(r *aioring.Ring, _ *aioring.Entry) { r.Wait(t.Context()) },
			func(r *aioring.Ring, _ *aioring.Entry) { r.Do(t.Context(), read) },
			func(_ *aioring.Ring, e *aioring.Entry) { e.Ready(t.Context()) },
			func(_ *aioring.Ring, e *aioring.Entry) {
				*e.SQE() = read
				e.Submit(t.Context())
				e.PollReady(aioring.NewWaker(func(error) {}))
			},
		} {
			r := v.open(t, 8)
			e := entry(t, r)
			rings = append(rings, r)
			waiting.Go(func() { wait(r, e) })
		}
	}
	const idle = 5 * time.Second
	time.Sleep(idle / 10) // until they are asleep
	before := cpuTime(t)
	time.Sleep(idle)
	if used := cpuTime(t) - before; used > idle/100 {
		t.Errorf("%v of processor time in %v", used, idle)
	}
	for _, r := range rings {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	waiting.Wait()
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// One goroutine submits, another reaps: contract check 144.
func TestSubmitAndReapSideBySide(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 32)
		f := tempFile(t, 0)
		const n = 3000
		var reaping sync.WaitGroup
		seen := make([]int, n)
		reaping.Go(func() {
			for range n {
				cqe, err := r.WaitCQE()
				if err != nil {
					t.Error(err)
					return
				}
				seen[cqe.UserData]++
				r.CQESeen(cqe)
			}
		})
		buf := pattern(512, 1)
		for i := 0; i < n; {
			if sqe := r.GetSQE(); sqe != nil {
				aioring.PrepWrite(sqe, int(f.Fd()), buf, int64(i%100)*512)
				sqe.UserData = uint64(i)
				i++
				continue
			}
			if _, err := r.Submit(); err != nil && err != syscall.EAGAIN {
				t.Fatal(err)
			}
		}
		for r.SQReady() > 0 {
			if _, err := r.Submit(); err != nil && err != syscall.EAGAIN {
				t.Fatal(err)
			}
		}
		reaping.Wait()
		for i, times := range seen {
			if times != 1 {
				t.Fatalf("operation %d has %d final CQEs", i, times)
			}
		}
	})
}
