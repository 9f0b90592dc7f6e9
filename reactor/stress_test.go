//go:build unix

package reactor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Jobs, lists, waits that end early, waiters that are replaced, sources given back
// while their job runs, and the collector, on 1, 2 and 4 processors, with a Shutdown in
// the middle: every event reaches its entry or is counted as stale, everybody returns.
func TestStress(t *testing.T) {
	rounds := 60
	if testing.Short() || raceDetector {
		rounds = 20
	}
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				within(t, func() { stress(r, rounds) })
			})
		})
	}
}

// enough is how long a slow machine goes on with one stress; a fast one is through
// with its rounds before.
const enough = 5 * time.Second

func stress(r *rig, rounds int) {
	const workers = 4
	r.run()
	var storm, work sync.WaitGroup
	collect := make(chan struct{}, 1)
	storm.Go(func() {
		for range collect {
			runtime.GC()
			deep(40)
		}
	})
	began := time.Now()
	var events atomic.Uint64 // submitted: each must be delivered or stale
	// One after the other until its rounds are over, and then until the shutdown.
	for i := range workers {
		a, b := must(NewForAIO(r.driver, r.job()))(r), must(NewForLIO(r.driver, r.list()))(r)
		a.Source().buf = make([]byte, 2)
		b.Source().blocks = []*aio.ControlBlock{r.block(), r.block()}
		cb := r.block()
		work.Go(func() {
			defer a.Close()
			defer b.Close()
			for round := 0; ; round++ {
				if !stressJob(r, a, int64(4*i), &events) || !stressList(r, b, int64(4*i), &events) {
					return
				}
				stressLate(r, cb, &events)
				select {
				case collect <- struct{}{}:
				default: // it is at it
				}
				if round == rounds || round > 5 && time.Since(began) > enough {
					r.driver.Shutdown()
				}
			}
		})
	}
	work.Wait()
	close(collect)
	storm.Wait()
	if err := <-r.stopped; err != ErrShutdown {
		r.Errorf("Run returned %v", err)
	}
	r.stopped = nil
	st := r.driver.Stats()
	if st.Registered != 0 || st.Delivered+st.Stale > events.Load() {
		r.Errorf("%d events; %+v", events.Load(), st)
	}
}

// stressJob runs one job to its end, waiting in three ways. false: shut down.
func stressJob(r *rig, a *Aio[*job], off int64, events *atomic.Uint64) bool {
	j := a.Source()
	j.cb.Prepare(aio.OpWrite, r.fd, off, unsafe.Pointer(&j.buf[0]), 2, j.cb.Sigevent)
	if errno := r.kernel.Write(j.cb); errno != 0 {
		r.Errorf("aio_write: %v", errno)
		return false
	}
	events.Add(1)
	defer func() {
		r.finish(j.cb)
		r.reap(j.cb, 2)
	}()
	// One that ends early, one that is replaced, and one that waits.
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Microsecond)
	_, err := a.Ready(ctx)
	cancel()
	if err != nil && err != context.DeadlineExceeded && err != ErrShutdown {
		r.Errorf("Ready: %v", err)
	}
	replaced := make(chan error, 1)
	_, ready, err := a.PollReady(NewWaker(func(err error) { replaced <- err }))
	ev, err2 := a.Ready(r.ctx)
	if !ready && err == nil {
		if err := <-replaced; err != nil && err != ErrReplaced {
			r.Errorf("the waker was told %v", err)
		}
	}
	if err2 == ErrShutdown {
		return false
	}
	if err2 != nil || !a.ClearReady(ev) {
		r.Errorf("Ready: %v, and then the clear", err2)
		return false
	}
	return true
}

// stressList runs one list to its end. false: shut down.
func stressList(r *rig, b *Aio[*list], off int64, events *atomic.Uint64) bool {
	l := b.Source()
	for i, cb := range l.blocks {
		cb.Prepare(aio.OpWrite, r.fd, off+int64(i), unsafe.Pointer(unsafe.StringData("x")), 1, aio.Sigevent{})
	}
	if errno := r.kernel.ListIO(aio.ListNoWait, l.blocks, &l.sig); errno != 0 {
		r.Errorf("lio_listio: %v", errno)
		return false
	}
	events.Add(1)
	ev, err := b.Ready(r.ctx)
	if err != nil { // its event may not have been fetched, and goes with the reaping
		r.finish(l.blocks...)
	} else if !b.ClearReady(ev) {
		r.Error("a current clear was refused")
	}
	for _, cb := range l.blocks {
		r.reap(cb, 1)
	}
	if err != nil && !errors.Is(err, ErrShutdown) {
		r.Errorf("Ready: %v", err)
	}
	return err == nil
}

// stressLate gives a source back while its job runs.
func stressLate(r *rig, cb *aio.ControlBlock, events *atomic.Uint64) {
	c, err := NewForAIO(r.driver, &job{r: r, cb: cb, flags: aio.EvOneshot})
	if err != nil {
		return
	}
	cb.Prepare(aio.OpNop, r.fd, 0, nil, 0, cb.Sigevent)
	if errno := r.kernel.Fsync(aio.Sync, cb); errno != 0 {
		r.Errorf("aio_fsync: %v", errno)
		return
	}
	events.Add(1)
	c.Into()
	r.finish(cb)
	r.reap(cb, 0)
}

// deep makes the stack large, and so move.
func deep(n int) byte {
	var frame [512]byte
	frame[n] = 1
	if n > 0 {
		return deep(n-1) + frame[n/2]
	}
	return frame[0]
}

// The waker's place, the idle waiter and the word under everything at once: pollers,
// waiters that give up, events, clears, and the collector, on 1, 2 and 4 processors.
func TestReadinessStress(t *testing.T) {
	events := 30_000
	if testing.Short() || raceDetector {
		events = 5_000
	}
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			within(t, func() { readinessStress(t, events) })
		})
	}
}

func readinessStress(t *testing.T, events int) {
	var r Readiness
	var storm sync.WaitGroup
	collect := make(chan struct{}, 1)
	storm.Go(func() {
		for range collect {
			runtime.GC()
		}
	})
	var cleared atomic.Int64
	var waiters sync.WaitGroup
	for i := range 3 {
		waiters.Go(func() {
			for round := 0; ; round++ {
				ctx, cancel := context.Background(), func() {}
				if i > 0 && round%2 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Microsecond)
				}
				ev, err := r.Ready(ctx, 0)
				cancel()
				switch err {
				case nil:
					if r.Clear(ev) {
						cleared.Add(1)
					}
				case ErrShutdown:
					return
				case ErrReplaced:
					runtime.Gosched() // or the two would chase each other
				case context.DeadlineExceeded:
				default:
					t.Errorf("Ready: %v", err)
				}
			}
		})
	}
	// One event after the other was cleared, so every one has to be seen by somebody:
	// a wake-up lost is the end.
	began, n := time.Now(), 0
	for ; n < events && (n < 1000 || time.Since(began) < enough); n++ {
		r.Complete(0)
		for cleared.Load() != int64(n+1) {
			runtime.Gosched()
		}
		select {
		case collect <- struct{}{}:
		default:
		}
	}
	r.Shutdown()
	waiters.Wait()
	close(collect)
	storm.Wait()
	if ev := r.Poll(); ev.Tick() != uint32(n) || ev.Ready() || r.waker.Load() != nil {
		t.Errorf("%#x at the end, waker %v", ev.word, r.waker.Load())
	}
}
