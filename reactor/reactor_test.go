//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// kernels are the kernels that the tests run on where it does not have to be the
// model: the model, and FreeBSD's own where there is one.
var kernels = map[string]func(testing.TB) aio.Kernel{
	"sim": func(t testing.TB) aio.Kernel { return newModel(t, sim.Config{}) },
}

func newModel(t testing.TB, cfg sim.Config) *sim.Kernel {
	k := sim.New(cfg)
	t.Cleanup(func() {
		if err := k.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func eachKernel(t *testing.T, f func(*testing.T, aio.Kernel)) {
	for name, open := range kernels {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func open(t testing.TB, k aio.Kernel) *Reactor {
	t.Helper()
	r, err := New(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// jobs are reads of one file whose events go to a reactor.
type jobs struct {
	t    testing.TB
	k    aio.Kernel
	slab *aio.Slab
	f    *os.File
	n    int
	buf  []byte
}

func newJobs(t testing.TB, k aio.Kernel, n int) *jobs {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	slab, err := aio.NewSlab(n)
	for err == nil && slab.Len() < n {
		_, err = slab.Grow()
	}
	if err != nil {
		t.Fatal(err)
	}
	j := &jobs{t: t, k: k, slab: slab, f: f, buf: make([]byte, 8)}
	t.Cleanup(func() {
		f.Close()
		if err := slab.Release(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// submit queues one job. Its token is that of block number and generation 1.
func (j *jobs) submit(r *Reactor) {
	j.t.Helper()
	cb := j.slab.Block(j.n)
	cb.Prepare(aio.OpRead, int(j.f.Fd()), 0, unsafe.Pointer(&j.buf[0]), len(j.buf), aio.Sigevent{
		Notify: aio.NotifyKevent, Kqueue: int32(r.Kqueue()), KeventFlags: aio.EvOneshot,
		Value: aio.Token{Slot: uint32(j.n), Gen: 1}.Udata(),
	})
	if errno := j.k.Read(cb); errno != 0 {
		j.t.Fatalf("submit of job %d: %v", j.n, errno)
	}
	j.n++
}

// reap takes the jobs of these events and marks them in seen.
func (j *jobs) reap(events []aio.Kevent, seen map[uint32]bool) {
	j.t.Helper()
	for i := range events {
		token, ok := aio.TokenOf(&events[i], j.slab)
		if !ok || seen[token.Slot] {
			j.t.Fatalf("event %+v: of no job, or of one that had its event", events[i])
		}
		seen[token.Slot] = true
		if _, errno := j.k.Return(j.slab.Block(int(token.Slot))); errno != 0 {
			j.t.Fatalf("reap: %v", errno)
		}
	}
}

// Each reason to wake up is looked for between PrepareSleep and Sleep, and is
// there before Wake. The wakers wait until the sleeper has seen theirs, so one
// wake-up lost stops the test.
func TestWakeIsNeverLost(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		rounds := 20000
		if k.Name() != "sim" || testing.Short() {
			rounds = 2000
		}
		for _, wakers := range []int{1, 3} {
			t.Run(fmt.Sprint(wakers), func(t *testing.T) {
				r := open(t, k)
				within(t, func() { wakeRounds(r, wakers, rounds) })
				s := r.Stats()
				if s.Events != 0 || s.Wakes == 0 || s.Sleeps == 0 || s.Wakes > uint64(wakers*rounds) {
					t.Errorf("%+v", s)
				}
			})
		}
	})
}

func wakeRounds(r *Reactor, wakers, rounds int) {
	type line struct {
		reason, seen atomic.Uint64
		_            [6]uint64
	}
	lines := make([]line, wakers)
	var wg sync.WaitGroup
	for w := range lines {
		wg.Go(func() {
			l := &lines[w]
			for i := range rounds {
				l.reason.Add(1)
				r.Wake()
				for l.seen.Load() != uint64(i+1) {
					runtime.Gosched()
				}
				for range (i * 7) % 5 { // meet the sleeper at different points of its way
					runtime.Gosched()
				}
			}
		})
	}
	look := func() (found, over bool) {
		over = true
		for i := range lines {
			l := &lines[i]
			if n := l.reason.Load(); n != l.seen.Load() {
				l.seen.Store(n)
				found = true
			}
			over = over && l.seen.Load() == uint64(rounds)
		}
		return found, over
	}
	for {
		found, over := look()
		if over {
			break
		}
		if found {
			continue
		}
		r.PrepareSleep()
		if found, over := look(); found || over {
			r.CancelSleep()
			if over {
				break
			}
			continue
		}
		r.Sleep()
	}
	wg.Wait()
}

func TestWakeEndsASleepAnnounced(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		r := open(t, k)
		within(t, func() {
			for range 100 {
				r.PrepareSleep()
				r.Wake()
				if ev := r.Sleep(); len(ev) != 0 {
					t.Fatalf("events %+v", ev)
				}
			}
		})
		if s := r.Stats(); s != (Stats{Sleeps: 100, Wakes: 100}) {
			t.Errorf("%+v", s)
		}
	})
}

func TestWakeEndsASleepUnderWay(t *testing.T) {
	k := newModel(t, sim.Config{})
	r := open(t, k)
	for i := range uint64(100) {
		woken := make(chan []aio.Kevent)
		r.PrepareSleep()
		go func() { woken <- r.Sleep() }()
		for k.Stats().Sleeps == i {
			runtime.Gosched()
		}
		r.Wake()
		within(t, func() {
			if ev := <-woken; len(ev) != 0 {
				t.Fatalf("events %+v", ev)
			}
		})
	}
}

func TestWakeWithoutSleeperMakesNoSystemCall(t *testing.T) {
	k := newModel(t, sim.Config{})
	r := open(t, k)
	quiet := func(when string) {
		t.Helper()
		before := k.Stats().Kevents
		wakes := r.Stats().Wakes
		for range 10 {
			r.Wake()
		}
		if k.Stats().Kevents != before || r.Stats().Wakes != wakes {
			t.Errorf("%s: Wake made %d calls and counted %d", when, k.Stats().Kevents-before, r.Stats().Wakes-wakes)
		}
	}
	quiet("new")
	r.Poll()
	quiet("after Poll")
	r.PrepareSleep()
	r.CancelSleep()
	quiet("after CancelSleep")
	r.PrepareSleep()
	r.Wake()
	r.Sleep()
	quiet("after a sleep that Wake ended")
	k.Inject(sim.If(sim.At(sim.Sleep), sim.Fail(aio.EINTR)))
	r.PrepareSleep()
	r.Sleep()
	quiet("after a sleep that a signal ended")
}

func TestManyWakesInOneSleepMakeOneCall(t *testing.T) {
	k := newModel(t, sim.Config{})
	r := open(t, k)
	for round := range uint64(50) {
		r.PrepareSleep()
		before := k.Stats().Kevents
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					r.Wake()
				}
			})
		}
		wg.Wait()
		if n := k.Stats().Kevents - before; n != 1 {
			t.Fatalf("20 wakes made %d calls", n)
		}
		within(t, func() { r.Sleep() })
		if r.Stats().Wakes != round+1 {
			t.Fatalf("%+v", r.Stats())
		}
	}
	// And one wake-up ends one sleep: nothing is left of it for the next.
	k.Inject(sim.If(sim.At(sim.Sleep), sim.Expire()))
	sleeps := 0
	k.Inject(func(op sim.Op) sim.Effect {
		if op.Point == sim.Sleep {
			sleeps++
		}
		return sim.Effect{}
	})
	r.PrepareSleep()
	r.Sleep()
	if sleeps != 1 {
		t.Error("an old wake-up ended a later sleep")
	}
}

func TestWakeBeforeCancelSleepEndsTheNextSleepUnlessPolled(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		r := open(t, k)
		r.PrepareSleep()
		r.Wake()
		r.CancelSleep()
		within(t, func() {
			if ev := r.Sleep(); len(ev) != 0 { // not announced: nobody else could end it
				t.Errorf("events %+v", ev)
			}
		})
		r.PrepareSleep()
		r.Wake()
		r.CancelSleep()
		if ev := r.Poll(); len(ev) != 0 {
			t.Errorf("Poll brought %+v", ev)
		}
		if model, ok := k.(*sim.Kernel); ok {
			model.Inject(sim.If(sim.At(sim.Sleep), sim.Fail(aio.EINTR)))
			before := model.Stats().Events
			r.PrepareSleep()
			r.Sleep()
			if model.Stats().Events != before {
				t.Error("Poll left the wake-up's event")
			}
			model.ClearFaults()
		}
		r.PrepareSleep() // it works as before
		r.Wake()
		within(t, func() { r.Sleep() })
	})
}

func TestWakeUpsNeverReachTheCaller(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		r := open(t, k)
		j := newJobs(t, k, 200)
		seen := map[uint32]bool{}
		within(t, func() {
			for i := range 100 {
				// Before, after and without jobs' events.
				if i%3 != 0 {
					j.submit(r)
				}
				r.PrepareSleep()
				r.Wake()
				if i%3 == 1 {
					j.submit(r)
				}
				if i%2 == 0 {
					j.reap(r.Sleep(), seen)
				} else {
					r.CancelSleep()
					j.reap(r.Poll(), seen)
				}
			}
			for len(seen) < j.n {
				j.reap(r.Sleep(), seen)
			}
		})
		if s := r.Stats(); s.Wakes != 100 || s.Events != uint64(j.n) {
			t.Errorf("%+v, want 100 wakes and %d events", s, j.n)
		}
	})
}

func TestSignalReturnsNoEventsAndLosesNone(t *testing.T) {
	k := newModel(t, sim.Config{})
	r := open(t, k)
	j := newJobs(t, k, 8)
	k.Hold()
	for range 3 {
		j.submit(r)
	}
	k.Inject(sim.If(sim.And(sim.At(sim.Sleep), sim.First(2)), sim.Fail(aio.EINTR)))
	for range 2 {
		r.PrepareSleep()
		if ev := r.Sleep(); len(ev) != 0 {
			t.Fatalf("interrupted, with events %+v", ev)
		}
	}
	if k.Run(3) != 3 {
		t.Fatal("the jobs are not queued")
	}
	seen := map[uint32]bool{}
	within(t, func() { j.reap(r.Sleep(), seen) })
	if len(seen) != 3 {
		t.Fatalf("%d events after the signal, want 3", len(seen))
	}

	// A signal that meets the sleeper in the kernel.
	slept := k.Stats().Sleeps
	done := make(chan int)
	r.PrepareSleep()
	go func() { done <- len(r.Sleep()) }()
	for k.Stats().Sleeps == slept {
		runtime.Gosched()
	}
	k.Signal()
	within(t, func() {
		if n := <-done; n != 0 {
			t.Errorf("%d events", n)
		}
	})
	// A wake-up that comes after the signal's end of the sleep is not lost either.
	k.ClearFaults()
	k.Inject(sim.If(sim.And(sim.At(sim.Sleep), sim.First(1)), sim.Fail(aio.EINTR)))
	r.PrepareSleep()
	r.Sleep()
	r.PrepareSleep()
	r.Wake()
	within(t, func() { r.Sleep() })
}

func TestMoreEventsThanOneBatchAllArrive(t *testing.T) {
	k := newModel(t, sim.Config{Limits: aio.Limits{MaxQueue: 2000, MaxQueuePerProc: 2000}})
	r := open(t, k)
	const n = 2*batchSize + 88
	j := newJobs(t, k, n)
	for range n {
		j.submit(r)
	}
	if !k.Quiesce(patience) {
		t.Fatal("the jobs do not end")
	}
	// Even with a wake-up in the first batch.
	r.PrepareSleep()
	r.Wake()
	r.CancelSleep()
	seen := map[uint32]bool{}
	for i, want := range []int{batchSize, batchSize, 88, 0} {
		var ev []aio.Kevent
		if i == 1 {
			within(t, func() { ev = r.Sleep() })
		} else {
			ev = r.Poll()
		}
		if len(ev) != want {
			t.Errorf("batch %d has %d events, want %d", i, len(ev), want)
		}
		j.reap(ev, seen)
	}
	if len(seen) != n || r.Stats().Events != n {
		t.Errorf("%d of %d events, counted %d", len(seen), n, r.Stats().Events)
	}
}

// The ready queue is in order, so the wake-up that came first takes one place of
// the first batch, and the event that it displaces comes with the next.
func TestWakeUpInAFullBatchDisplacesNoEvent(t *testing.T) {
	k := newModel(t, sim.Config{Limits: aio.Limits{MaxQueue: 2000, MaxQueuePerProc: 2000}})
	r := open(t, k)
	j := newJobs(t, k, batchSize)
	r.PrepareSleep()
	r.Wake()
	r.CancelSleep()
	for range batchSize {
		j.submit(r)
	}
	if !k.Quiesce(patience) {
		t.Fatal("the jobs do not end")
	}
	seen := map[uint32]bool{}
	for _, want := range []int{batchSize - 1, 1} {
		ev := r.Poll()
		if len(ev) != want {
			t.Errorf("%d events, want %d", len(ev), want)
		}
		j.reap(ev, seen)
	}
}

func TestPollDoesNotSleep(t *testing.T) {
	k := newModel(t, sim.Config{})
	r := open(t, k)
	for range 10 {
		if ev := r.Poll(); len(ev) != 0 {
			t.Errorf("events %+v", ev)
		}
	}
	if s := r.Stats(); k.Stats().Sleeps != 0 || s != (Stats{Polls: 10}) {
		t.Errorf("%+v", s)
	}
}

func TestCloseClosesTheQueue(t *testing.T) {
	eachKernel(t, func(t *testing.T, k aio.Kernel) {
		r, err := New(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, errno := k.Kevent(r.Kqueue(), nil, make([]aio.Kevent, 1), 0); errno == 0 {
			t.Error("the queue is still there")
		}
		if err := r.Close(); !errors.Is(err, aio.EBADF) {
			t.Errorf("second Close: %v, want EBADF", err)
		}
	})
}

// refuser refuses what a model has no fault for.
type refuser struct {
	*sim.Kernel
	kqueue, kevent aio.Errno
}

func (k *refuser) Kqueue() (int, aio.Errno) {
	if k.kqueue != 0 {
		return -1, k.kqueue
	}
	return k.Kernel.Kqueue()
}

func (k *refuser) Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	if k.kevent != 0 {
		return -1, k.kevent
	}
	return k.Kernel.Kevent(kq, changes, events, timeout)
}

// What New could not finish it leaves nothing of: the model's Shutdown reports
// queues that were not closed.
func TestNewReportsRefusalsAndLeavesNothing(t *testing.T) {
	for _, k := range []*refuser{{kqueue: aio.EMFILE}, {kevent: aio.ENOMEM}} {
		k.Kernel = newModel(t, sim.Config{})
		want := k.kqueue | k.kevent
		if r, err := New(k); r != nil || !errors.Is(err, want) {
			t.Errorf("New: %v, want %v", err, want)
		}
	}
}
