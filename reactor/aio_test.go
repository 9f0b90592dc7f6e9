//go:build unix

package reactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

func TestFsync(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForAIO(r.driver, r.job()))(r)
		pends(r, a)
		a.Source().fsync()
		ready(r, a)
		ready(r, a)
		r.reap(a.Into().cb, 0)
	})
}

// byHand is a source that is nothing but its control block.
type byHand struct{ aio.ControlBlock }

func (b *byHand) Register(kq int, token uintptr) {
	b.Sigevent = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), Value: token}
}
func (b *byHand) Deregister() { b.Sigevent = aio.Sigevent{} }

func TestFsyncByHand(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForAIO(r.driver, &byHand{ControlBlock: aio.ControlBlock{Fd: int32(r.fd)}}))(r)
		pends(r, a)
		cb := &a.Source().ControlBlock
		if errno := r.kernel.Fsync(aio.Sync, cb); errno != 0 {
			t.Fatal(errno)
		}
		if !a.ClearReady(ready(r, a)) {
			t.Error("a current clear was refused")
		}
		r.reap(cb, 0)
		pends(r, a)
		a.Close()
		runtime.KeepAlive(a)
	})
}

func TestAioReuse(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		for i := range 50 {
			pends(r, a)
			a.Source().write("abcdef", int64(6*i))
			ev := ready(r, a)
			if ev.Tick() != uint32(i+1) {
				t.Fatalf("tick %d after %d events", ev.Tick(), i+1)
			}
			r.reap(a.Source().cb, 6)
			if !a.ClearReady(ev) {
				t.Fatal("a current clear was refused")
			}
		}
		pends(r, a)
		if a.Source().registrations != 1 {
			t.Errorf("registered %d times", a.Source().registrations)
		}
	})
}

func TestListOneWrite(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForLIO(r.driver, r.list()))(r)
		pends(r, a)
		a.Source().add(r.fd, "abcdef", 0)
		a.Source().submit(0)
		ready(r, a)
		r.reap(a.Into().blocks[0], 6)
		r.wantFile("abcdef")
	})
}

func TestListReuse(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		l := a.Source()
		for i := range 50 {
			pends(r, a)
			// The same array each time, so the same event's name.
			l.blocks, l.bufs = l.blocks[:0], l.bufs[:0]
			l.add(r.fd, "ab", int64(4*i))
			l.add(r.fd, "cd", int64(4*i+2))
			l.submit(0)
			ev := ready(r, a)
			for _, cb := range l.blocks {
				r.reap(cb, 2)
			}
			if !a.ClearReady(ev) {
				t.Fatal("a current clear was refused")
			}
		}
		pends(r, a)
	})
}

// One event of the right filter with the right token, from the bare queue.
func TestReactorSeesOneJobOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		j := r.job()
		j.Register(r.driver.Kqueue(), 0xabcd)
		j.write("abc", 0)
		events := slices.Clone(sleepFor(r, 1))
		if ev := events[0]; ev.Filter != aio.FilterAIO || ev.Udata != 0xabcd || ev.Ident != uintptr(unsafe.Pointer(j.cb)) || ev.Data != 0 {
			t.Errorf("%+v", ev)
		}
		r.reap(j.cb, 3)
		r.quiet()
	})
}

func TestReactorSeesOneListUntilReaped(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		l := r.list()
		l.add(r.fd, "abc", 0)
		l.Register(r.driver.Kqueue(), 0xabcd)
		l.submit(0)
		for range 3 {
			if ev := sleepFor(r, 1)[0]; ev.Filter != aio.FilterLIO || ev.Udata != 0xabcd || ev.Ident != uintptr(unsafe.Pointer(unsafe.SliceData(l.blocks))) {
				t.Errorf("%+v", ev)
			}
		}
		r.reap(l.blocks[0], 3)
		r.quiet()
	})
}

// sleepFor sleeps until there are n events at once.
func sleepFor(r *rig, n int) []aio.Kevent {
	r.Helper()
	for {
		r.driver.reactor.PrepareSleep()
		if events := r.driver.reactor.Sleep(); len(events) >= n {
			return events
		} else if r.driver.reactor.Err() != nil {
			r.Fatal(r.driver.reactor.Err())
		}
	}
}

func TestRegisterMakesNoSystemCall(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		before := r.kernel.kevents.Load()
		a := must(NewForAIO(r.driver, r.job()))(r)
		l := must(NewForLIO(r.driver, r.list()))(r)
		j := a.Source()
		if j.kq != r.driver.Kqueue() || j.token == 0 || j.registrations != 1 {
			t.Errorf("registered %+v", j)
		}
		if l.Source().sig.Value == j.token {
			t.Error("two sources have one token")
		}
		pends(r, a)
		a.ClearReady(Event{})
		a.Close()
		l.Close()
		if got := r.kernel.kevents.Load(); got != before {
			t.Errorf("%d calls of kevent", got-before)
		}
		if m, ok := r.kernel.Kernel.(*sim.Kernel); ok {
			if st := m.Stats(); st.Accepted+st.Refused+st.Lists != 0 {
				t.Errorf("%+v", st)
			}
		}
	})
}

func TestJobsAndListsGetTheSameReadiness(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		b := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		defer b.Close()
		a.Source().write("a", 0)
		b.Source().add(r.fd, "b", 1)
		b.Source().submit(0)
		r.turn(2)
		ev, got, err := a.PollReady(nil)
		ev2, got2, err2 := b.PollReady(nil)
		if !got || !got2 || err != nil || err2 != nil || ev.Tick() != ev2.Tick() {
			t.Errorf("%#x, %v, %v; %#x, %v, %v", ev.word, got, err, ev2.word, got2, err2)
		}
		// The event of the one is worth nothing with the other.
		if b.ClearReady(ev) || a.ClearReady(ev2) {
			t.Error("cleared by another entry's event")
		}
		r.reap(a.Source().cb, 1)
		r.reap(b.Source().blocks[0], 1)
	})
}

// An event of the other kind under an entry's token is not the entry's.
func TestEventOfAnotherKindIsDropped(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		j := r.job()
		j.Register(r.driver.Kqueue(), a.Source().sig.Value)
		j.write("a", 0)
		r.turn(1)
		pends(r, a)
		if st := r.driver.Stats(); st.Stale != 1 || st.Delivered != 0 {
			t.Errorf("%+v", st)
		}
		r.reap(j.cb, 1)
	})
}

func TestTicksArePerEntry(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		b := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		defer b.Close()
		b.Source().write("b", 0)
		r.turn(1)
		old := ready(r, b)
		r.reap(b.Source().cb, 1)
		for range 3 {
			a.Source().write("a", 0)
			r.turn(1)
			r.reap(a.Source().cb, 1)
			if !a.ClearReady(ready(r, a)) {
				t.Fatal("a current clear was refused")
			}
		}
		if !b.ClearReady(old) {
			t.Error("other entries' events have made this entry's event a stale one")
		}
	})
}

func TestReadyMeansFinishedWellOrBadly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		j := a.Source()
		// The file's directory: a read of it is accepted and fails.
		dir := openDir(t)
		buf := make([]byte, 16)
		j.cb.Prepare(aio.OpRead, dir, 0, unsafe.Pointer(&buf[0]), len(buf), j.cb.Sigevent)
		if errno := r.kernel.Read(j.cb); errno != 0 {
			t.Fatal(errno)
		}
		r.turn(1)
		ready(r, a)
		if _, errno := r.kernel.Return(j.cb); errno == 0 {
			t.Error("a read of a directory did well")
		}
	})
}

func TestPendsUntilSubmitted(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		ctx, cancel := context.WithCancel(r.ctx)
		w := newCalls()
		if _, got, err := a.PollReady(w.Waker); got || err != nil {
			t.Fatal(got, err)
		}
		cancel()
		if _, err := a.Ready(ctx); err != context.Canceled {
			t.Fatal(err)
		}
		if len(w.got) != 1 || w.got[0] != ErrReplaced {
			t.Errorf("the earlier waker got %v", w.got)
		}
		a.Source().write("a", 0)
		ready(r, a)
		r.reap(a.Source().cb, 1)
	})
}

// Sticky events, of a list and of a job that did not ask for one event only.
func TestStickyEventIsDeletedOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		single := r.job()
		single.flags = 0
		a := must(NewForAIO(r.driver, single))(r)
		b := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		defer b.Close()
		single.write("a", 0)
		b.Source().add(r.fd, "b", 1)
		b.Source().submit(0)
		r.turn(2)
		r.quiet() // unreaped as they are
		if st := r.driver.Stats(); st.Deleted != 2 || st.Delivered != 2 {
			t.Errorf("%+v", st)
		}

		// The same two once more: what was deleted were the old events.
		r.reap(single.cb, 1)
		r.reap(b.Source().blocks[0], 1)
		if !a.ClearReady(ready(r, a)) || !b.ClearReady(ready(r, b)) {
			t.Error("a current clear was refused")
		}
		single.write("a", 0)
		b.Source().blocks = b.Source().blocks[:0]
		b.Source().add(r.fd, "b", 1)
		b.Source().submit(0)
		r.turn(2)
		if ev := ready(r, b); ev.Tick() != 2 {
			t.Errorf("tick %d", ev.Tick())
		}
		r.reap(single.cb, 1)
		r.reap(b.Source().blocks[0], 1)
	})
}

// Nobody knows the token, and the event would come for ever.
func TestStickyEventOfNobodyIsDeleted(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := must(NewForLIO(r.driver, r.list()))(r)
		l := b.Source()
		l.add(r.fd, "b", 1)
		l.submit(0)
		b.Close()
		r.turn(1)
		r.quiet()
		if st := r.driver.Stats(); st.Deleted != 1 || st.Stale != 1 || st.Delivered != 0 {
			t.Errorf("%+v", st)
		}
		r.reap(l.blocks[0], 1)
	})
}

// A source that is reaped before its event was deleted has taken the event along.
func TestOneDeletionThatFailsHindersNoOther(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		gone := aio.Kevent{Ident: 1, Filter: aio.FilterLIO}
		l := r.list()
		l.add(r.fd, "b", 1)
		l.Register(r.driver.Kqueue(), 77)
		l.submit(0)
		r.driver.deliver([]aio.Kevent{gone, sleepFor(r, 1)[0]})
		r.quiet()
		r.reap(l.blocks[0], 1)
	})
}

// The call that deletes must not fetch.
func TestDeletionSwallowsNoEvent(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		l := r.list()
		l.add(r.fd, "b", 1)
		l.Register(r.driver.Kqueue(), 77)
		l.submit(0)
		events := slices.Clone(sleepFor(r, 1))
		a.Source().write("a", 0)
		r.finish(a.Source().cb)
		r.driver.deliver(events)
		r.turn(1)
		ready(r, a)
		r.reap(a.Source().cb, 1)
		r.reap(l.blocks[0], 1)
	})
}

func TestIntoHandsTheSourceBack(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		j := r.job()
		a := must(NewForAIO(r.driver, j))(r)
		w := newCalls()
		a.PollReady(w.Waker)
		for range 2 {
			if a.Into() != j || j.registrations != 0 {
				t.Errorf("registrations %d", j.registrations)
			}
		}
		a.Close()
		if _, _, err := a.PollReady(nil); err != ErrReleased {
			t.Error(err)
		}
		if _, err := a.Ready(r.ctx); err != ErrReleased {
			t.Error(err)
		}
		if len(w.got) != 1 || w.got[0] != nil {
			t.Errorf("waker got %v", w.got)
		}
	})
}

func TestLateEventIsCountedAndDropped(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		j := a.Source()
		j.write("a", 0)
		a.Close()
		// Whoever comes next gets neither the token nor the event.
		b := must(NewForAIO(r.driver, r.job()))(r)
		defer b.Close()
		r.turn(1)
		pends(r, b)
		if st := r.driver.Stats(); st.Stale != 1 || st.Delivered != 0 {
			t.Errorf("%+v", st)
		}
		r.reap(j.cb, 1)
	})
}

func TestEndedAiosLeaveNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		cb := r.block()
		for range 10_000 {
			must(NewForAIO(r.driver, &job{r: r, cb: cb}))(r).Close()
		}
		if st := r.driver.Stats(); st.Registered != 0 || len(r.driver.registry.slots) > minSlots {
			t.Errorf("%d left, %d slots", st.Registered, len(r.driver.registry.slots))
		}
	})
}

func TestForgottenAiosLeaveNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		cb := r.block()
		kept := must(NewForAIO(r.driver, &job{r: r, cb: cb}))(r)
		for range 1000 {
			must(NewForAIO(r.driver, &job{r: r, cb: cb}))(r)
		}
		for r.driver.Stats().Registered > 1 {
			if r.ctx.Err() != nil {
				t.Fatalf("%d entries left", r.driver.Stats().Registered)
			}
			runtime.GC()
		}
		pends(r, kept)
		kept.Close()
	})
}

// Who waits in Ready holds the Aio.
func TestWaitingAioIsNotForgotten(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		a := must(NewForAIO(r.driver, r.job()))(r)
		j, e := a.Source(), a.entry
		done := make(chan error)
		go func(a *Aio[*job]) {
			_, err := a.Ready(r.ctx)
			done <- err
		}(a)
		for e.waker.Load() == nil {
			runtime.Gosched()
		}
		for range 5 {
			runtime.GC()
		}
		j.write("a", 0)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.reap(j.cb, 1)
	})
}

func TestReleaseWithinABatch(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		b := must(NewForAIO(r.driver, r.job()))(r)
		// Whichever comes first ends the other, which ends the first in turn.
		a.PollReady(NewWaker(func(error) { b.Close() }))
		b.PollReady(NewWaker(func(error) { a.Close() }))
		ja, jb := a.Source(), b.Source()
		ja.write("a", 0)
		jb.write("b", 1)
		r.finish(ja.cb, jb.cb)
		r.turn(2)
		if st := r.driver.Stats(); st.Delivered != 1 || st.Stale != 1 || st.Registered != 0 {
			t.Errorf("%+v", st)
		}
		r.reap(ja.cb, 1)
		r.reap(jb.cb, 1)
	})
}

func TestCompletionEndsNoRegistration(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		defer a.Close()
		a.Source().write("a", 0)
		r.turn(1)
		r.reap(a.Source().cb, 1)
		if st := r.driver.Stats(); st.Registered != 1 {
			t.Errorf("%+v", st)
		}
		ready(r, a)
	})
}

func TestShutdownWakesEverybodyAndRefusesNewcomers(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		const waiters = 20
		var wg sync.WaitGroup
		var aios []*Aio[*job]
		for range waiters {
			a := must(NewForAIO(r.driver, r.job()))(r)
			aios = append(aios, a)
			wg.Go(func() {
				if _, err := a.Ready(r.ctx); err != ErrShutdown {
					t.Error(err)
				}
			})
		}
		// One has finished, was seen, and is cleared after the end.
		done := must(NewForAIO(r.driver, r.job()))(r)
		done.Source().write("a", 0)
		ev := ready(r, done)
		r.reap(done.Source().cb, 1)
		w := newCalls()
		last := must(NewForAIO(r.driver, r.job()))(r)
		last.PollReady(w.Waker)

		r.driver.Shutdown()
		r.driver.Shutdown()
		wg.Wait()
		if len(w.got) != 1 || w.got[0] != nil {
			t.Errorf("waker got %v", w.got)
		}
		if _, got, err := done.PollReady(nil); got || err != ErrShutdown {
			t.Errorf("of what was ready: %v, %v", got, err)
		}
		done.ClearReady(ev)
		if _, _, err := done.PollReady(newCalls().Waker); err != ErrShutdown {
			t.Errorf("after a clear: %v", err)
		}
		j := r.job()
		if _, err := NewForAIO(r.driver, j); err != ErrShutdown || j.registrations != 0 {
			t.Errorf("a newcomer: %v, registered %d", err, j.registrations)
		}
		if _, err := r.driver.Turn(); err != nil && err != ErrShutdown {
			t.Error(err)
		}
		for _, a := range append(aios, done, last) {
			a.Close()
		}
		if st := r.driver.Stats(); st.Registered != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestShutdownFromAWaker(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		a.PollReady(NewWaker(func(error) { r.driver.Shutdown() }))
		a.Source().write("a", 0)
		if err := r.driver.Run(r.ctx); err != ErrShutdown {
			t.Error(err)
		}
		r.reap(a.Into().cb, 1)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		done := make(chan error)
		go func() { done <- r.driver.Run(ctx) }()
		for r.driver.reactor.asleep.Load() == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
		if err := r.driver.Run(ctx); err != context.Canceled {
			t.Error(err)
		}
		// It goes on with another.
		r.run()
		a := must(NewForAIO(r.driver, r.job()))(r)
		a.Source().write("a", 0)
		ready(r, a)
		r.reap(a.Into().cb, 1)
	})
}

// A queue that is gone must neither be asked for ever nor leave anybody waiting.
func TestRunEndsWithItsQueue(t *testing.T) {
	for name, open := range kernels {
		t.Run(name, func(t *testing.T) {
			k := open(t)
			d, err := NewDriver(k)
			if err != nil {
				t.Fatal(err)
			}
			if errno := k.CloseKqueue(d.Kqueue()); errno != 0 {
				t.Fatal(errno)
			}
			if err := d.Run(context.Background()); !errors.Is(err, aio.EBADF) {
				t.Errorf("Run: %v", err)
			}
			if _, err := NewForAIO(d, &byHand{}); err != ErrShutdown {
				t.Error(err)
			}
		})
	}
}

func TestTurnLeavesItToWhoIsAtIt(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForAIO(r.driver, r.job()))(r)
		a.PollReady(NewWaker(func(error) {
			if n, err := r.driver.Turn(); n != 0 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}))
		a.Source().write("a", 0)
		r.turn(1)
		r.reap(a.Into().cb, 1)
	})
}

// A list of which a part was refused: the event comes for the accepted, and then for
// the rest.
func TestPartOfAListGetsItsEvent(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		l := a.Source()
		l.add(r.fd, "ab", 0)
		l.add(-1, "cd", 2)
		l.add(r.fd, "ef", 4)
		l.submit(aio.EIO)
		r.turn(1)
		collect(r, a, r.fd)
		r.turn(1)
		r.reap(l.blocks[0], 2)
		r.wantFile("abcdef")
	})
}

// collect reaps what a list had accepted and submits the rest again, by fd.
func collect(r *rig, a *Aio[*list], fd int) {
	r.Helper()
	ev, l := ready(r, a), a.Source()
	var rest []*aio.ControlBlock
	for _, cb := range l.blocks {
		if cb.ErrorWord() == aio.EINPROGRESS {
			r.reap(cb, int(cb.Nbytes))
		} else {
			cb.Fd = int32(fd)
			rest = append(rest, cb)
		}
	}
	if !a.ClearReady(ev) {
		r.Error("a current clear was refused")
	}
	pends(r, a)
	l.blocks = rest
	l.submit(0)
}

// The same, for want of room.
func TestListThatFindsRoomForAPart(t *testing.T) {
	r := newRig(t, sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 4}}))
	a := must(NewForLIO(r.driver, r.list()))(r)
	defer a.Close()
	k := r.kernel.Kernel.(*sim.Kernel)
	k.Hold()
	other := r.job()
	other.Register(r.driver.Kqueue(), 99)
	other.write("x", 8)
	for i := range 4 {
		a.Source().add(r.fd, fmt.Sprint(i, i), int64(2*i))
	}
	for _, b := range a.Source().blocks {
		b.Nbytes = 2
	}
	a.Source().submit(aio.EAGAIN)
	r.quiet()
	k.Release()
	r.turn(2)
	r.reap(other.cb, 1)
	collect(r, a, r.fd)
	r.turn(1)
	r.reap(a.Source().blocks[0], 2)
}

// With nothing accepted no event comes, and whoever submitted knows it at once.
func TestListWithNothingAcceptedPends(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a := must(NewForLIO(r.driver, r.list()))(r)
		defer a.Close()
		l := a.Source()
		l.add(-1, "ab", 0)
		l.add(-1, "cd", 2)
		l.submit(aio.EIO)
		r.quiet()
		pends(r, a)
		for _, cb := range l.blocks {
			if cb.ErrorWord() != aio.EBADF {
				t.Errorf("error word %v", cb.ErrorWord())
			}
		}
		l.blocks = l.blocks[:0]
		l.add(r.fd, "ab", 0)
		l.submit(0)
		r.turn(1)
		ready(r, a)
		r.reap(l.blocks[0], 2)
	})
}

func TestManyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.run()
		const workers, rounds = 8, 40
		var wg sync.WaitGroup
		for i := range workers {
			a := must(NewForAIO(r.driver, r.job()))(r)
			b := must(NewForLIO(r.driver, &list{r: r, blocks: []*aio.ControlBlock{r.block()}, bufs: [][]byte{[]byte("xy")}}))(r)
			wg.Go(func() {
				defer a.Close()
				defer b.Close()
				for round := range rounds {
					j, l := a.Source(), b.Source()
					j.write("ab", int64(4*i))
					l.blocks[0].Prepare(aio.OpWrite, r.fd, int64(4*i+2), unsafe.Pointer(&l.bufs[0][0]), 2, aio.Sigevent{})
					l.submit(0)
					ea, err := a.Ready(r.ctx)
					eb, err2 := b.Ready(r.ctx)
					if err != nil || err2 != nil {
						t.Errorf("worker %d, round %d: %v, %v", i, round, err, err2)
						return
					}
					r.reap(j.cb, 2)
					r.reap(l.blocks[0], 2)
					if !a.ClearReady(ea) || !b.ClearReady(eb) {
						t.Errorf("worker %d, round %d: a current clear was refused", i, round)
					}
				}
			})
		}
		wg.Wait()
		// An entry is ready before it is counted: let the driver come to its end.
		if err := r.driver.Close(); err != nil {
			t.Error(err)
		}
		if st := r.driver.Stats(); st.Delivered != 2*workers*rounds || st.Stale != 0 || st.Deleted != workers*rounds {
			t.Errorf("%+v", st)
		}
	})
}

func TestDeliveryAllocatesNothing(t *testing.T) {
	r := newRig(t, sim.New(sim.Config{}))
	a := must(NewForAIO(r.driver, r.job()))(r)
	defer a.Close()
	w := NewWaker(func(error) {})
	ev := []aio.Kevent{
		{Filter: aio.FilterAIO, Flags: aio.EvOneshot, Udata: a.Source().token},
		{Filter: aio.FilterLIO, Udata: a.Source().token},
	}
	if n := testing.AllocsPerRun(1000, func() {
		a.PollReady(w)
		r.driver.deliver(ev)
		got, _, _ := a.PollReady(w)
		if !a.ClearReady(got) {
			t.Error("a current clear was refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a delivery", n)
	}
}

func TestRegistry(t *testing.T) {
	var g registry
	if g.find(0) != nil || g.find(1) != nil {
		t.Error("an empty registry has an entry")
	}
	var live []*entry
	seen := map[uintptr]bool{}
	// The widest tokens come after the table has been in use for long.
	g.last = ^uintptr(0) - 3000
	for i := range 20_000 {
		if i%3 == 2 || len(live) > 1000 {
			k := i * 7 % len(live)
			e := live[k]
			g.remove(e)
			if g.find(e.token) != nil {
				t.Fatal("a stale token has an entry")
			}
			live = slices.Delete(live, k, k+1)
			continue
		}
		e := new(entry)
		g.add(e)
		if e.token == 0 || seen[e.token] {
			t.Fatalf("token %#x", e.token)
		}
		seen[e.token] = true
		live = append(live, e)
	}
	for _, e := range live {
		delete(seen, e.token)
		if g.find(e.token) != e || e.Poll().Generation() != e.generation {
			t.Fatal("an entry is lost")
		}
	}
	for token := range seen { // some of their slots have others now
		if g.find(token) != nil {
			t.Fatal("a stale token has an entry")
		}
	}
	if g.live != len(live) || len(g.all()) != len(live) {
		t.Errorf("%d, %d, want %d", g.live, len(g.all()), len(live))
	}
}

func TestWakeEndsASleepAndIsNotLost(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		re := r.driver.reactor
		re.Wake() // nobody sleeps: no system call, and no wake-up kept
		for range 200 {
			re.PrepareSleep()
			done := make(chan int)
			go func() { done <- len(re.Sleep()) }()
			re.Wake()
			re.Wake()
			if n := <-done; n != 0 {
				t.Fatalf("%d events", n)
			}
		}
		if st := re.Stats(); st.Wakes != 200 || st.Sleeps != 200 {
			t.Errorf("%+v", st)
		}
	})
}

func openDir(t *testing.T) int {
	t.Helper()
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}
