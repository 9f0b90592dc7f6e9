//go:build unix

package aioring_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// modelRing is a ring over a model kernel of its own. When the test ends the ring
// is closed, and the model must have seen no misuse.
func modelRing(t *testing.T, cfg sim.Config, entries int, opts ...aioring.Option) (*aioring.Ring, *sim.Kernel) {
	t.Helper()
	kernel := sim.New(cfg)
	// A job for each operation, unless the test asks for merging.
	r, err := aioring.New(entries, append([]aioring.Option{aioring.WithMerge(0), aioring.WithAIO(kernel)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := kernel.Shutdown(); err != nil {
			t.Errorf("the model saw: %v", err)
		}
	})
	return r, kernel
}

// writeMany writes n blocks through the ring, every third by a vector and now and
// then an fsync, and sees that each operation has one CQE, its own, and the file
// every byte.
func writeMany(t *testing.T, r *aioring.Ring, n int) {
	t.Helper()
	const size = 512
	f := tempFile(t, 0)
	fd := int(f.Fd())
	seen := make([]bool, n)
	reapOne := func() {
		c := reap(t, r)
		if seen[c.UserData] {
			t.Fatalf("operation %d has a second CQE", c.UserData)
		}
		seen[c.UserData] = true
		want := int32(size)
		if c.UserData%50 == 49 {
			want = 0
		}
		if c.Res != want {
			t.Fatalf("operation %d: %d, want %d", c.UserData, c.Res, want)
		}
	}
	inFlight := 0
	for i := 0; i < n; {
		sqe := r.GetSQE()
		if sqe == nil {
			k, err := r.Submit()
			if err != nil {
				t.Fatal(err)
			}
			for inFlight += k; inFlight > 0; inFlight-- {
				reapOne()
			}
			continue
		}
		block := pattern(size, uint64(i))
		switch {
		case i%50 == 49:
			aioring.PrepFsync(sqe, fd, 0)
		case i%3 == 0:
			aioring.PrepWritev(sqe, fd, [][]byte{block[:100], block[100:]}, int64(i)*size)
		default:
			aioring.PrepWrite(sqe, fd, block, int64(i)*size)
		}
		sqe.UserData = uint64(i)
		i++
	}
	k, err := r.Submit()
	if err != nil {
		t.Fatal(err)
	}
	for inFlight += k; inFlight > 0; inFlight-- {
		reapOne()
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if !seen[i] {
			t.Fatalf("operation %d has no CQE", i)
		}
		if i%50 != 49 && !bytes.Equal(got[i*size:][:size], pattern(size, uint64(i))) {
			t.Fatalf("block %d is wrong", i)
		}
	}
}

// What the kernel refuses is absorbed: it costs time, and shows in Stats, but no
// operation fails for it.
func TestRefusalsNeverReachTheUser(t *testing.T) {
	submit := sim.At(sim.Submit)
	for _, c := range []struct {
		name    string
		profile sim.Profile
		limits  aio.Limits
		faults  func() []sim.Fault // which count, so each run wants its own
		shows   func(aioring.Stats) bool
	}{
		{name: "cap of one", limits: aio.Limits{MaxQueuePerProc: 1}, shows: func(s aioring.Stats) bool { return s.Held > 0 && s.HighWater == 1 }},
		{name: "cap of three", limits: aio.Limits{MaxQueuePerProc: 3}, shows: func(s aioring.Stats) bool { return s.Held > 0 && s.HighWater <= 3 }},
		{name: "vectors refused in lists", profile: sim.V13, shows: func(s aioring.Stats) bool { return s.Singles > 10 }},
		{
			name:   "EAGAIN for one entry in five",
			faults: func() []sim.Fault { return []sim.Fault{sim.If(sim.And(submit, sim.Every(5)), sim.Fail(aio.EAGAIN))} },
			shows:  func(s aioring.Stats) bool { return s.Again > 10 && s.Partial > 0 },
		},
		{
			name: "EAGAIN for the first entry of each list",
			faults: func() []sim.Fault {
				return []sim.Fault{sim.If(sim.And(submit, sim.Entry(0), sim.Every(2)), sim.Fail(aio.EAGAIN))}
			},
			shows: func(s aioring.Stats) bool { return s.Again > 0 },
		},
		{
			name:   "EAGAIN for everything",
			faults: func() []sim.Fault { return []sim.Fault{sim.If(submit, sim.Fail(aio.EAGAIN))} },
			shows:  func(s aioring.Stats) bool { return s.Fallbacks == 500 },
		},
		{
			name: "EAGAIN by chance",
			faults: func() []sim.Fault {
				return []sim.Fault{sim.If(sim.And(submit, sim.Randomly(7, 0.5)), sim.Fail(aio.EAGAIN))}
			},
			shows: func(s aioring.Stats) bool { return s.Again > 50 },
		},
		{
			name:   "EOPNOTSUPP for everything",
			faults: func() []sim.Fault { return []sim.Fault{sim.If(submit, sim.Fail(aio.EOPNOTSUPP))} },
			shows:  func(s aioring.Stats) bool { return s.Fallbacks == 500 },
		},
		{
			name: "EOPNOTSUPP and EAGAIN mixed",
			faults: func() []sim.Fault {
				return []sim.Fault{
					sim.If(sim.And(submit, sim.Randomly(1, 0.2)), sim.Fail(aio.EOPNOTSUPP)),
					sim.If(sim.And(submit, sim.Randomly(2, 0.2)), sim.Fail(aio.EAGAIN)),
				}
			},
			shows: func(s aioring.Stats) bool { return s.Fallbacks > 20 && s.Again > 0 && s.Listed > 0 },
		},
		{
			name: "EINTR from kevent",
			faults: func() []sim.Fault {
				return []sim.Fault{sim.If(sim.And(sim.At(sim.Sleep), sim.Every(2)), sim.Fail(aio.EINTR))}
			},
			shows: func(s aioring.Stats) bool { return s.Reaped == 500 },
		},
		{
			name:   "slow jobs",
			limits: aio.Limits{MaxQueuePerProc: 8},
			faults: func() []sim.Fault {
				return []sim.Fault{sim.If(sim.And(sim.At(sim.Result), sim.Every(20)), sim.Delay(time.Millisecond))}
			},
			shows: func(s aioring.Stats) bool { return s.Sleeps > 0 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			guard(t, time.Minute)
			cfg := sim.Config{Profile: c.profile, Limits: c.limits}
			if c.faults != nil {
				cfg.Faults = c.faults()
			}
			r, _ := modelRing(t, cfg, 128)
			writeMany(t, r, 500)
			if s := r.Stats(); !c.shows(s) {
				t.Errorf("the test proves nothing: %+v", s)
			}
		})
	}
}

// An errno that is the operation's own result reaches the user, once, and a
// transfer that is short is a result too.
func TestResultsReachTheUser(t *testing.T) {
	guard(t, time.Minute)
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Start), sim.Offset(0, 1)), sim.Fail(aio.ENOSPC)),
		sim.If(sim.And(sim.At(sim.Result), sim.Offset(1, 2)), sim.Fail(aio.EIO)),
		sim.If(sim.And(sim.At(sim.Start), sim.Offset(2, 3)), sim.Short(7)),
		sim.If(sim.And(sim.At(sim.Submit), sim.Offset(3, 4)), sim.Fail(aio.EFAULT)),
		sim.If(sim.And(sim.At(sim.Result), sim.Offset(4, 5)), sim.Fail(aio.EAGAIN)), // as a result it is one
	}}, 8)
	f := tempFile(t, 0)
	want := []int32{-int32(syscall.ENOSPC), -int32(syscall.EIO), 7, -int32(syscall.EFAULT), -int32(syscall.EAGAIN)}
	for i := range want {
		sqe := r.GetSQE()
		aioring.PrepWrite(sqe, int(f.Fd()), make([]byte, 10), int64(i))
		sqe.UserData = uint64(i)
	}
	submit(t, r, len(want))
	for range want {
		if c := reap(t, r); c.Res != want[c.UserData] {
			t.Errorf("operation %d: %d, want %d", c.UserData, c.Res, want[c.UserData])
		}
	}
	if s := r.Stats(); s.Listed+s.Singles != 5 || s.Reaped != 4 || s.Fallbacks != 0 {
		t.Errorf("something was repeated: %+v", s)
	}
}

// The sysctls may shrink under a ring at work: a list that they allowed is then
// refused whole.
func TestLimitsThatShrink(t *testing.T) {
	guard(t, time.Minute)
	r, kernel := modelRing(t, sim.Config{}, 256)
	writeMany(t, r, 300)
	for _, limit := range []int{20, 2, 1} {
		kernel.SetLimits(aio.Limits{MaxQueuePerProc: limit})
		writeMany(t, r, 300)
		if s := r.Stats(); s.Limit > limit {
			t.Errorf("the ring still goes by a limit of %d, not %d", s.Limit, limit)
		}
	}
	if r.Stats().TooLong == 0 {
		t.Error("no list was refused for its length: the test proves nothing")
	}
}

func TestRingsShareTheProcessCap(t *testing.T) {
	guard(t, time.Minute)
	kernel := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 5}})
	var rings sync.WaitGroup
	for range 4 {
		r, err := aioring.New(64, aioring.WithAIO(kernel))
		if err != nil {
			t.Fatal(err)
		}
		rings.Go(func() {
			defer r.Close()
			writeMany(t, r, 300)
			if s := r.Stats(); s.HighWater > 5 || s.Again != 0 {
				t.Errorf("the rings do not know of each other: %+v", s)
			}
		})
	}
	rings.Wait()
	if err := kernel.Shutdown(); err != nil {
		t.Error(err)
	}
}

// Another process may hold every slot of the system. No event of ours would then
// make room, so the operations run as plain calls.
func TestSystemCapHeldByAnotherProcess(t *testing.T) {
	guard(t, time.Minute)
	system := sim.NewSystem(aio.Limits{MaxQueue: 4})
	other, hog := modelRing(t, sim.Config{System: system}, 8)
	hog.Hold()
	f := tempFile(t, 0)
	for i := range 4 {
		aioring.PrepWrite(other.GetSQE(), int(f.Fd()), make([]byte, 8), int64(i)*8)
	}
	submit(t, other, 4)
	r, _ := modelRing(t, sim.Config{System: system}, 64)
	writeMany(t, r, 200)
	if s := r.Stats(); s.Fallbacks != 200 {
		t.Errorf("%+v", s)
	}
	hog.Release()
	for range 4 {
		reap(t, other)
	}
	writeMany(t, r, 200)
	if s := r.Stats(); s.Fallbacks != 200 {
		t.Errorf("with room again: %+v", s)
	}
}

// CloseContext names what the kernel keeps, and a later Close finishes.
func TestCloseContextNamesWhatIsHeld(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Start), sim.Offset(4096, 4097)), sim.HoldActive(gate)),
	}}, 8)
	f := tempFile(t, 0)
	for i := range 3 {
		sqe := r.GetSQE()
		aioring.PrepWrite(sqe, int(f.Fd()), make([]byte, 100), int64(i)*4096)
		sqe.UserData = uint64(i)
	}
	submit(t, r, 3)
	reap(t, r)
	reap(t, r)
	for kernel.Stats().Active == 0 {
		time.Sleep(time.Millisecond) // until the kernel runs the third
	}
	waited := make(chan error)
	go func() { _, err := r.WaitCQE(); waited <- err }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := r.CloseContext(ctx)
	var held *aioring.HeldError
	if !errors.As(err, &held) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("CloseContext: %v", err)
	}
	if err := <-waited; err != aioring.ErrClosed { // though the operation is not over
		t.Errorf("WaitCQE: %v", err)
	}
	found := false
	for _, op := range held.Held {
		if op.UserData == 1 {
			found = op.Off == 4096 && op.Len == 100 && op.Fd == int(f.Fd()) && op.Op == aioring.OpWrite && op.Age > 0
		}
	}
	if !found {
		t.Errorf("%v does not name the operation held", err)
	}
	if err := r.Push(aioring.SQE{}); err != aioring.ErrClosed {
		t.Errorf("Push: %v", err)
	}
	gate.Open()
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// Close cancels what is queued in the kernel and what waits for room, and the
// buffers are not touched afterwards.
func TestCloseCancelsJobs(t *testing.T) {
	guard(t, time.Minute)
	r, kernel := modelRing(t, sim.Config{Limits: aio.Limits{MaxQueuePerProc: 4}}, 32)
	kernel.Hold()
	f := tempFile(t, 0)
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	bufs := make([][]byte, 32)
	for i := range bufs {
		bufs[i] = bytes.Repeat([]byte{0xaa}, 4096)
		aioring.PrepRead(r.GetSQE(), int(f.Fd()), bufs[i], 0)
	}
	submit(t, r, 32)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	kernel.Release()
	if s := kernel.Stats(); s.Cancelled != 4 || s.Unfinished != 0 || s.Done != 0 {
		t.Errorf("%+v", s)
	}
	for i := range bufs {
		if !bytes.Equal(bufs[i], bytes.Repeat([]byte{0xaa}, 4096)) {
			t.Errorf("buffer %d was touched", i)
		}
	}
}

// Do asks for the end of a job that the kernel runs, and when that is refused
// waits for its end and tells what it did.
func TestDoWaitsForWhatCannotBeCancelled(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))}}, 8)
	f := tempFile(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for kernel.Stats().Active == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		time.Sleep(5 * time.Millisecond) // Do must not return in this time
		gate.Open()
	}()
	var sqe aioring.SQE
	aioring.PrepWrite(&sqe, int(f.Fd()), []byte("done all the same"), 0)
	cqe, err := r.Do(ctx, sqe)
	if err != nil || cqe.Res != 17 {
		t.Errorf("Do = %d, %v", cqe.Res, err)
	}
}
