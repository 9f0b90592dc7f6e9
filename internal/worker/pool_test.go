//go:build unix

package worker

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. The emulated machines that
// run these tests are slow.
const patience = 30 * time.Second

// fixture is a pool whose done calls go to a channel.
type fixture struct {
	*Pool
	t     testing.TB
	ended chan *Call
}

// newFixture makes a pool that is closed, and checked to leave nothing behind, at
// the end of the test. Calls that still wait are the test's to cancel.
func newFixture(t testing.TB, limit int) *fixture {
	f := &fixture{t: t, ended: make(chan *Call, 8192)}
	f.Pool = New(limit, func(c *Call) { f.ended <- c })
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		f.within("Close", f.Close)
		if s := f.Stats(); s.Working != 0 || s.Polling || s.Queued != 0 || s.Waiting != 0 {
			t.Errorf("after Close: %+v", s)
		}
		f.until("goroutines settle", func() bool { return runtime.NumGoroutine() <= before })
		if len(f.ended) != 0 {
			t.Errorf("%d calls more than expected are done", len(f.ended))
		}
	})
	return f
}

// next returns the next call that is done.
func (f *fixture) next() *Call {
	f.t.Helper()
	select {
	case c := <-f.ended:
		return c
	case <-time.After(patience):
		f.t.Fatalf("no call is done; %+v", f.Stats())
		return nil
	}
}

// expect checks the result of the next call that is done.
func (f *fixture) expect(c *Call, res int, errno syscall.Errno) {
	f.t.Helper()
	if got := f.next(); got != c {
		f.t.Fatalf("call %d is done, want %d", got.ID, c.ID)
	}
	if c.Res != res || c.Err != errno {
		f.t.Fatalf("call %d: %d, %v; want %d, %v", c.ID, c.Res, c.Err, res, errno)
	}
}

// do submits a call and checks its result.
func (f *fixture) do(c *Call, res int, errno syscall.Errno) {
	f.t.Helper()
	f.Submit(c)
	f.expect(c, res, errno)
}

// cancel cancels a call that has not started.
func (f *fixture) cancel(c *Call) {
	f.t.Helper()
	if !f.Cancel(c) {
		f.t.Fatalf("call %d had started", c.ID)
	}
	f.expect(c, 0, syscall.ECANCELED)
}

// until waits for a state that must come.
func (f *fixture) until(what string, reached func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("never: %s; %+v", what, f.Stats())
		}
	}
}

// waits waits until n calls wait for readiness and nothing else is going on.
func (f *fixture) waits(n int) {
	f.t.Helper()
	f.until("calls wait", func() bool {
		s := f.Stats()
		return s.Waiting == n && s.Working == 0 && s.Queued == 0
	})
}

// within runs what must not block for ever.
func (f *fixture) within(what string, run func()) {
	f.t.Helper()
	returned := make(chan struct{})
	go func() { run(); close(returned) }()
	select {
	case <-returned:
	case <-time.After(patience):
		f.t.Fatalf("%s does not return; %+v", what, f.Stats())
	}
}

// blocked is a call that blocks in a goroutine until release.
type blocked struct {
	Call
	write int
}

func (f *fixture) newBlocked(id uint32) *blocked {
	r, w := pipe(f.t)
	return &blocked{Call{Op: Read, Fd: r, Off: -1, Buf: make([]byte, 1), ID: id}, w}
}

func (b *blocked) release(t testing.TB) { mustWrite(t, b.write, []byte{1}) }

func TestEveryCallIsDoneOnce(t *testing.T) {
	f := newFixture(t, 4)
	fd := tempFile(t)
	calls := make([]*Call, 2000)
	for i := range calls {
		calls[i] = &Call{Op: Write, Fd: fd, Off: int64(i), Buf: []byte{byte(i)}, ID: uint32(i)}
	}
	for batch := range slices.Chunk(calls, 7) {
		f.Submit(batch...)
	}
	seen := make([]int, len(calls))
	for range calls {
		c := f.next()
		if seen[c.ID]++; c.Res != 1 || c.Err != 0 {
			t.Fatalf("call %d: %d, %v", c.ID, c.Res, c.Err)
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Fatalf("call %d was done %d times", id, n)
		}
	}
	got := make([]byte, len(calls))
	f.do(&Call{Op: Read, Fd: fd, Buf: got}, len(got), 0)
	for i, b := range got {
		if b != byte(i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestNoMoreThanLimitRunAtOnce(t *testing.T) {
	f := newFixture(t, 3)
	var calls [10]*blocked
	for i := range calls {
		calls[i] = f.newBlocked(uint32(i))
		f.Submit(&calls[i].Call)
	}
	f.until("three run", func() bool { s := f.Stats(); return s.Working == 3 && s.Queued == 7 })
	for _, c := range calls {
		c.release(t)
	}
	for range calls {
		f.next()
	}
	if s := f.Stats(); s.HighWater != 3 {
		t.Errorf("as many as %d ran at once", s.HighWater)
	}
}

// The pool grows as long as all its goroutines are blocked, and shrinks to nothing.
func TestGrowsWhenAllAreBlocked(t *testing.T) {
	f := newFixture(t, 0)
	before := runtime.NumGoroutine()
	calls := make([]*Call, DefaultLimit+10)
	blocked := make([]*blocked, len(calls))
	for i := range calls {
		blocked[i] = f.newBlocked(uint32(i))
		calls[i] = &blocked[i].Call
	}
	f.Submit(calls[:20]...) // in one batch
	f.until("twenty run", func() bool { s := f.Stats(); return s.Working == 20 && s.Queued == 0 })
	for _, c := range calls[20:] {
		f.Submit(c) // one after the other
	}
	f.until("as many as may run", func() bool { s := f.Stats(); return s.Working == DefaultLimit && s.Queued == 10 })
	for range 2 {
		if n := runtime.NumGoroutine() - before; n > DefaultLimit {
			t.Errorf("%d goroutines for %d calls at a time", n, DefaultLimit)
		}
		for _, b := range blocked {
			b.release(t)
		}
		for range calls {
			f.next()
		}
		f.until("none is left", func() bool { return f.Stats().Working == 0 && runtime.NumGoroutine() <= before })
		f.Submit(calls...)
	}
	for _, b := range blocked {
		b.release(t)
	}
	for range calls {
		f.next()
	}
}

// Calls that take no time take few goroutines, however many they are: one has it done
// before a second has come far.
func TestShortCallsTakeFewGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f := newFixture(t, 0)
	calls := make([]*Call, 1000)
	for i := range calls {
		calls[i] = &Call{Op: Fsync, Fd: -1}
	}
	f.Submit(calls...)
	for range calls {
		f.next()
	}
	if s := f.Stats(); s.HighWater > 8 {
		t.Errorf("%d goroutines", s.HighWater)
	}
}

// A call whose done takes its time does not keep others from being made.
func TestDoneHoldsUpNobody(t *testing.T) {
	second := make(chan struct{})
	all := make(chan struct{})
	var n atomic.Int32
	p := New(2, func(c *Call) {
		if c.ID == 1 {
			<-second
		} else if n.Add(1) == 5 {
			close(second)
		}
		if n.Load() == 5 && c.ID == 1 {
			close(all)
		}
	})
	calls := []*Call{{Op: Fsync, Fd: -1, ID: 1}}
	for range 5 {
		calls = append(calls, &Call{Op: Fsync, Fd: -1})
	}
	p.Submit(calls...)
	select {
	case <-all:
	case <-time.After(patience):
		t.Fatalf("%+v", p.Stats())
	}
	p.Close()
}

func TestLimitHasADefault(t *testing.T) {
	for _, limit := range []int{0, -1} {
		if p := New(limit, nil); p.limit != DefaultLimit {
			t.Errorf("limit %d means %d", limit, p.limit)
		}
	}
}

func TestSlowCallHoldsUpNobody(t *testing.T) {
	f := newFixture(t, 2)
	slow, fd := f.newBlocked(1), tempFile(t)
	f.Submit(&slow.Call)
	for range 200 {
		f.do(&Call{Op: Write, Fd: fd, Buf: []byte("x")}, 1, 0)
	}
	// In one batch, too: the goroutine that gets stuck must not have taken others.
	f.Submit(&Call{Op: Fsync, Fd: fd}, &Call{Op: Fdatasync, Fd: fd})
	f.next()
	f.next()
	slow.release(t)
	f.expect(&slow.Call, 1, 0)
}

func TestCallsStartInOrder(t *testing.T) {
	f := newFixture(t, 1)
	fd := tempFile(t)
	for i := range 500 {
		f.Submit(&Call{Op: Write, Fd: fd, Off: -1, Buf: []byte{byte(i)}, ID: uint32(i)})
	}
	for i := range 500 {
		if c := f.next(); c.ID != uint32(i) {
			t.Fatalf("call %d came as number %d", c.ID, i)
		}
	}
}

func TestGoroutinesEndWithTheQueue(t *testing.T) {
	f := newFixture(t, 8)
	before, fd := runtime.NumGoroutine(), tempFile(t)
	r, w := pipe(t)
	for range 3 {
		c := &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)}
		f.Submit(c)
		for range 50 {
			f.do(&Call{Op: Write, Fd: fd, Buf: []byte("x")}, 1, 0)
		}
		mustWrite(t, w, []byte{1})
		f.expect(c, 1, 0)
		f.until("none is left", func() bool {
			s := f.Stats()
			return s.Working == 0 && !s.Polling && runtime.NumGoroutine() <= before
		})
	}
}

func TestStatsCount(t *testing.T) {
	f := newFixture(t, 1)
	busy := f.newBlocked(1)
	f.Submit(&busy.Call)
	f.until("it runs", func() bool { s := f.Stats(); return s.Working == 1 && s.Queued == 0 })
	fd := tempFile(t)
	f.Submit(&Call{Op: Fsync, Fd: fd}, &Call{Op: Fsync, Fd: fd})
	if s, want := f.Stats(), (Stats{Working: 1, HighWater: 1, Queued: 2}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	busy.release(t)
	for range 3 {
		f.next()
	}
	f.until("three are counted", func() bool { return f.Stats() == Stats{HighWater: 1, Calls: 3} })
}

func TestDoneRunsOutsideLocks(t *testing.T) {
	var p *Pool
	ended := make(chan Stats, 1)
	p = New(1, func(*Call) { ended <- p.Stats() })
	p.Submit(&Call{Op: Fsync, Fd: -1})
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("Stats blocks in done")
	}
	p.Close()
}

func TestDoneMaySubmitAndReuse(t *testing.T) {
	fd := tempFile(t)
	var p *Pool
	var n atomic.Int32
	ended := make(chan struct{})
	p = New(2, func(c *Call) {
		if c.Res != 1 || c.Err != 0 {
			t.Errorf("%d, %v", c.Res, c.Err)
		}
		if n.Add(1) == 1000 {
			close(ended)
			return
		}
		c.Off++
		p.Submit(c)
	})
	p.Submit(&Call{Op: Write, Fd: fd, Buf: []byte("x")})
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("only %d are done", n.Load())
	}
	p.Close()
}

func TestCancelQueued(t *testing.T) {
	f := newFixture(t, 1)
	busy, fd := f.newBlocked(1), tempFile(t)
	f.Submit(&busy.Call)
	f.until("it runs", func() bool { s := f.Stats(); return s.Working == 1 && s.Queued == 0 })
	var calls [3]*Call
	for i := range calls {
		calls[i] = &Call{Op: Write, Fd: fd, Off: int64(i), Buf: []byte{'a' + byte(i)}, ID: uint32(i)}
		f.Submit(calls[i])
	}
	f.cancel(calls[1])
	busy.release(t)
	f.expect(&busy.Call, 1, 0)
	f.expect(calls[0], 1, 0)
	f.expect(calls[2], 1, 0)
	got := make([]byte, 4)
	f.do(&Call{Op: Read, Fd: fd, Buf: got}, 3, 0)
	if string(got) != "a\x00c\x00" {
		t.Errorf("the file has %q", got)
	}
}

func TestCancelRunningOrDone(t *testing.T) {
	f := newFixture(t, 1)
	busy := f.newBlocked(1)
	f.Submit(&busy.Call)
	f.until("it runs", func() bool { s := f.Stats(); return s.Working == 1 && s.Queued == 0 })
	if f.Cancel(&busy.Call) {
		t.Error("a running call was cancelled")
	}
	busy.release(t)
	f.expect(&busy.Call, 1, 0)
	if f.Cancel(&busy.Call) {
		t.Error("a call that is done was cancelled")
	}
	// That must not stick to its next use.
	busy.release(t)
	f.do(&busy.Call, 1, 0)
}

func TestCancelBeforeSubmit(t *testing.T) {
	f := newFixture(t, 1)
	r, w := pipe(t)
	mustWrite(t, w, []byte("x"))
	c := &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)}
	if !f.Cancel(c) {
		t.Error("it had started")
	}
	f.do(c, 0, syscall.ECANCELED)
	f.do(c, 1, 0) // once
}

func TestCancelOnce(t *testing.T) {
	f := newFixture(t, 1)
	r, _ := pipe(t)
	for range 200 {
		c := &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)}
		f.Submit(c)
		f.waits(1)
		var hits atomic.Int32
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if f.Cancel(c) {
					hits.Add(1)
				}
			})
		}
		all.Wait()
		if hits.Load() != 1 {
			t.Fatalf("%d cancellations hit", hits.Load())
		}
		f.expect(c, 0, syscall.ECANCELED)
	}
}

// Whenever Cancel comes, a call that would wait for ever ends.
func TestCancelAtAnyMoment(t *testing.T) {
	f := newFixture(t, 2)
	r, _ := pipe(t)
	for i := range 2000 {
		// With two on one pipe, the second is in line.
		a := &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)}
		b := &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)}
		f.Submit(a, b)
		for range i % 50 {
			runtime.Gosched()
		}
		if !f.Cancel(b) || !f.Cancel(a) {
			t.Fatal("it was being made, and there is nothing to read")
		}
		for range 2 {
			if c := f.next(); c.Err != syscall.ECANCELED {
				t.Fatalf("%d, %v", c.Res, c.Err)
			}
		}
	}
}

func TestCloseWaitsForAll(t *testing.T) {
	f := newFixture(t, 1)
	first, second := f.newBlocked(1), f.newBlocked(2)
	f.Submit(&first.Call, &second.Call)
	var closed atomic.Int32
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { f.Close(); closed.Add(1) })
	}
	f.until("Close begins", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.closed })
	first.release(t)
	f.expect(&first.Call, 1, 0)
	if closed.Load() != 0 {
		t.Error("Close did not wait")
	}
	second.release(t)
	f.expect(&second.Call, 1, 0)
	f.within("every Close", all.Wait)
}

func TestCancelAllThenClose(t *testing.T) {
	f := newFixture(t, 4)
	var calls []*Call
	for range 20 {
		r, _ := pipe(t)
		for range 10 {
			calls = append(calls, &Call{Op: Read, Fd: r, Stream: true, Buf: make([]byte, 1)})
		}
	}
	f.Submit(calls...)
	f.waits(len(calls))
	for _, c := range calls {
		f.Cancel(c)
	}
	f.within("Close", f.Close)
	for range calls {
		if c := f.next(); c.Err != syscall.ECANCELED {
			t.Fatalf("%d, %v", c.Res, c.Err)
		}
	}
}

func TestSubmitAfterClose(t *testing.T) {
	f := newFixture(t, 1)
	f.Close()
	f.do(&Call{Op: Fsync, Fd: tempFile(t)}, 0, syscall.ECANCELED)
}
