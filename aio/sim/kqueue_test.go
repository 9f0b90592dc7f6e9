//go:build unix

package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// finishedJob is a job whose event is ready.
func (r *rig) finishedJob(flags uint16, udata uintptr) *op {
	r.t.Helper()
	o := r.start(r.Write, r.op(0, 0, []byte("x"), r.kevent(flags, udata)))
	r.settle()
	return o
}

func aioChange(o *op, flags uint16) aio.Kevent {
	return aio.Kevent{Ident: ident(o), Filter: aio.FilterAIO, Flags: flags}
}

// The per-job event (part 3.6): flags and how often it comes (observed).
func TestJobEventFlags(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags uint16
		want  uint16
		times int // of 3 fetches
	}{
		{"none", 0, 0x8000, 3},
		{"oneshot", aio.EvOneshot, 0x8010, 1},
		{"clear", aio.EvClear, 0x8020, 1},
		{"dispatch", aio.EvDispatch, 0x8080, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			o := r.finishedJob(c.flags, 42)
			got := 0
			for range 3 {
				for _, ev := range r.poll(4) {
					got++
					if ev.Ident != ident(o) || ev.Filter != aio.FilterAIO || ev.Flags != c.want || ev.Data != 0 || ev.Udata != 42 || ev.Fflags != 0 {
						t.Errorf("%+v", ev)
					}
				}
			}
			if got != c.times {
				t.Errorf("%d times, want %d", got, c.times)
			}
			r.wantReturn(o, 1, 0)
			r.wantEvents(0)
		})
	}
}

func TestJobEventComesAgainWhenEnabled(t *testing.T) {
	for _, flags := range []uint16{aio.EvDispatch, aio.EvClear} {
		r := newRig(t, Config{})
		o := r.finishedJob(flags, 1)
		r.wantEvents(1)
		r.wantEvents(0)
		en := aioChange(o, aio.EvEnable)
		en.Udata = 2
		r.wantErrno("enable", r.change(en), 0)
		if ev := r.wantEvents(1); ev[0].Udata != 2 {
			t.Errorf("%+v", ev[0])
		}
		r.wantEvents(0)
		r.wantReturn(o, 1, 0)
		r.wantErrno("enable after the reap", r.change(en), aio.ENOENT)
	}
}

func TestReapBeforeFetchLosesTheEvent(t *testing.T) {
	r := newRig(t, Config{})
	o := r.finishedJob(aio.EvOneshot, 1)
	r.wantReturn(o, 1, 0)
	r.wantEvents(0)
}

func TestJobEventDeletedAndDisabled(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.start(r.Write, r.op(0, 0, []byte("x"), r.kevent(0, 1)))
	p := r.start(r.Write, r.op(0, 0, []byte("x"), r.kevent(0, 1)))
	r.wantErrno("delete in flight", r.change(aioChange(o, aio.EvDelete)), 0)
	r.wantErrno("disable in flight", r.change(aioChange(p, aio.EvDisable)), 0)
	r.Release()
	r.settle()
	r.wantEvents(0)
	r.wantErrno("enable", r.change(aioChange(p, aio.EvEnable)), 0)
	r.wantEvents(1)
	r.wantErrno("disable when ready", r.change(aioChange(p, aio.EvDisable)), 0)
	r.wantEvents(0)
	// EV_ADD does not enable.
	r.wantErrno("add", r.change(aioChange(p, aio.EvAdd)), 0)
	r.wantEvents(0)
	r.wantErrno("enable again", r.change(aioChange(p, aio.EvEnable)), 0)
	r.wantEvents(1)
	r.wantReturn(o, 1, 0)
	r.wantReturn(p, 1, 0)
}

func TestRegisterErrors(t *testing.T) {
	r := newRig(t, Config{})
	for _, c := range []struct {
		name   string
		change aio.Kevent
		want   aio.Errno
	}{
		{"AIO cannot be made", aio.Kevent{Ident: 1, Filter: aio.FilterAIO, Flags: aio.EvAdd}, aio.EPERM},
		{"LIO cannot be made", aio.Kevent{Ident: 1, Filter: aio.FilterLIO, Flags: aio.EvAdd}, aio.EPERM},
		{"delete of nothing", aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvDelete}, aio.ENOENT},
		{"trigger of nothing", aio.Kevent{Ident: 1, Filter: aio.FilterUser, Fflags: aio.NoteTrigger}, aio.ENOENT},
		{"enable and disable", aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvEnable | aio.EvDisable}, aio.EINVAL},
		{"no such filter", aio.Kevent{Ident: 1, Filter: -16, Flags: aio.EvAdd}, aio.EINVAL},
		{"positive filter", aio.Kevent{Ident: 1, Filter: 1, Flags: aio.EvAdd}, aio.EINVAL},
		{"filter 0 is skipped", aio.Kevent{Ident: 1}, 0},
		{"KEEPUDATA with ADD", aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvAdd | evKeepUdata}, aio.EINVAL},
	} {
		r.wantErrno(c.name, r.change(c.change), c.want)
	}
	v13 := newRig(t, Config{Profile: V13})
	v13.wantErrno("KEEPUDATA on 13", v13.change(aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvAdd | evKeepUdata}), 0)
	v13.wantErrno("JAIL filter on 13", v13.change(aio.Kevent{Ident: 1, Filter: -14, Flags: aio.EvAdd}), aio.EINVAL)
	v13.change(aio.Kevent{Ident: 1, Filter: aio.FilterUser, Flags: aio.EvDelete})
}

// Failed changes and receipts stand in events, with flags EV_ERROR exactly, and
// then nothing else is looked for.
func TestReportsOfChanges(t *testing.T) {
	r := newRig(t, Config{})
	o := r.finishedJob(0, 1)
	changes := []aio.Kevent{
		{Ident: 7, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear | aio.EvReceipt, Udata: 70},
		{Ident: 8, Filter: aio.FilterUser, Flags: aio.EvDelete, Udata: 80},
		{},
		{Ident: 9, Filter: aio.FilterUser, Flags: aio.EvAdd},
	}
	events := make([]aio.Kevent, 4)
	n, errno := r.Kevent(r.kq, changes, events, -1)
	if n != 2 || errno != 0 {
		t.Fatalf("%d %v", n, errno)
	}
	if e := events[0]; e.Ident != 7 || e.Flags != aio.EvError || e.Data != 0 || e.Udata != 70 {
		t.Errorf("receipt %+v", e)
	}
	if e := events[1]; e.Ident != 8 || e.Flags != aio.EvError || e.Data != int64(aio.ENOENT) || e.Udata != 80 {
		t.Errorf("error %+v", e)
	}
	// Without room the call ends there: the third user event was added, the
	// fourth is not.
	changes = []aio.Kevent{
		{Ident: 9, Filter: aio.FilterUser, Flags: aio.EvDelete},
		{Ident: 8, Filter: aio.FilterUser, Flags: aio.EvDelete},
		{Ident: 10, Filter: aio.FilterUser, Flags: aio.EvAdd},
	}
	_, errno = r.Kevent(r.kq, changes, nil, 0)
	r.wantErrno("no room", errno, aio.ENOENT)
	r.wantErrno("what followed", r.change(aio.Kevent{Ident: 10, Filter: aio.FilterUser, Flags: aio.EvDelete}), aio.ENOENT)
	n, errno = r.Kevent(r.kq, []aio.Kevent{{Ident: 7, Filter: aio.FilterUser, Flags: aio.EvReceipt}, {Ident: 11, Filter: aio.FilterUser, Flags: aio.EvAdd}}, nil, 0)
	if n != 0 || errno != 0 {
		t.Errorf("receipt without room: %d %v", n, errno)
	}
	r.wantErrno("what followed it", r.change(aio.Kevent{Ident: 11, Filter: aio.FilterUser, Flags: aio.EvDelete}), aio.ENOENT)
	r.wantReturn(o, 1, 0)
}

const (
	userAdd = aio.EvAdd | aio.EvClear
	userID  = 3
)

func user(flags uint16, fflags uint32, udata uintptr) aio.Kevent {
	return aio.Kevent{Ident: userID, Filter: aio.FilterUser, Flags: flags, Fflags: fflags, Udata: udata}
}

func TestUserEvent(t *testing.T) {
	r := newRig(t, Config{})
	r.wantErrno("add", r.change(user(userAdd, 0, 1)), 0)
	r.wantEvents(0)
	trigger := user(0, aio.NoteTrigger|aio.NoteFFCopy|5, 2)
	trigger.Data = 9
	for range 3 {
		r.wantErrno("trigger", r.change(trigger), 0)
	}
	ev := r.wantEvents(1) // triggers coalesce
	if e := ev[0]; e.Ident != userID || e.Fflags != 5 || e.Data != 9 || e.Udata != 2 || e.Flags != aio.EvClear {
		t.Errorf("%+v", e)
	}
	r.wantEvents(0)
	r.wantErrno("or", r.change(user(0, aio.NoteTrigger|aio.NoteFFOr|8, 2)), 0)
	if e := r.wantEvents(1)[0]; e.Fflags != 13 {
		t.Errorf("or: %+v", e)
	}
	r.wantErrno("and", r.change(user(0, aio.NoteTrigger|aio.NoteFFAnd|12, 2)), 0)
	if e := r.wantEvents(1)[0]; e.Fflags != 12 {
		t.Errorf("and: %+v", e)
	}
	r.wantErrno("delete", r.change(user(aio.EvDelete, 0, 0)), 0)
	r.wantErrno("trigger of the deleted", r.change(trigger), aio.ENOENT)
}

// The two traps of a wake-up.
func TestUserEventTraps(t *testing.T) {
	r := newRig(t, Config{})
	r.wantErrno("trigger in the adding change", r.change(user(userAdd, aio.NoteTrigger, 1)), 0)
	r.wantEvents(0)
	r.wantErrno("trigger with EV_CLEAR", r.change(user(aio.EvClear, aio.NoteTrigger, 1)), 0)
	r.wantEvents(0)
	r.wantErrno("ADD, CLEAR and trigger on what exists", r.change(user(userAdd, aio.NoteTrigger, 1)), 0)
	r.wantEvents(0)
	r.wantErrno("add and trigger", r.change(user(aio.EvAdd, aio.NoteTrigger, 1)), 0)
	r.wantEvents(1)
}

func TestUserEventWithoutClearStays(t *testing.T) {
	r := newRig(t, Config{})
	r.wantErrno("add", r.change(user(aio.EvAdd, 0, 1)), 0)
	r.wantErrno("trigger", r.change(user(0, aio.NoteTrigger, 1)), 0)
	r.wantEvents(1)
	r.wantEvents(1)
	r.wantErrno("reset", r.change(user(aio.EvClear, 0, 1)), 0)
	r.wantEvents(0)
}

func TestUserEventOneshotAndDispatch(t *testing.T) {
	r := newRig(t, Config{})
	r.wantErrno("add oneshot", r.change(user(aio.EvAdd|aio.EvOneshot, 0, 1)), 0)
	r.wantErrno("trigger", r.change(user(0, aio.NoteTrigger, 1)), 0)
	r.wantEvents(1)
	r.wantErrno("gone", r.change(user(0, aio.NoteTrigger, 1)), aio.ENOENT)
	r.wantErrno("add dispatch", r.change(user(aio.EvAdd|aio.EvDispatch, 0, 1)), 0)
	r.wantErrno("trigger", r.change(user(0, aio.NoteTrigger, 1)), 0)
	r.wantEvents(1)
	r.wantEvents(0)
	r.wantErrno("enable", r.change(user(aio.EvEnable, 0, 1)), 0)
	r.wantEvents(1) // the trigger was never reset
}

func TestKeepUdata(t *testing.T) {
	for _, p := range []Profile{V13, V15} {
		r := newRig(t, Config{Profile: p})
		r.wantErrno("add", r.change(user(userAdd, 0, 1)), 0)
		r.wantErrno("trigger", r.change(user(evKeepUdata, aio.NoteTrigger, 9)), 0)
		want := uintptr(1)
		if p == V13 {
			want = 9
		}
		if e := r.wantEvents(1)[0]; e.Udata != want {
			t.Errorf("%s: %+v", p, e)
		}
	}
}

// An event that stays ready goes to the tail, and comes once per call.
func TestReadyQueueRotates(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	var ops []*op
	for i := range 3 {
		ops = append(ops, r.start(r.Write, r.op(0, int64(i), []byte("x"), r.kevent(0, uintptr(i)))))
	}
	for _, i := range []int{2, 0, 1} {
		r.RunJob(ops[i].cb)
	}
	var got []uintptr
	for _, n := range []int{2, 2, 3} {
		for _, e := range r.poll(n) {
			got = append(got, e.Udata)
		}
	}
	want := []uintptr{2, 0, 1, 2, 0, 1, 2}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if n := len(r.poll(16)); n != 3 {
		t.Errorf("%d events of three knotes in one call", n)
	}
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
}

func TestKeventTimeouts(t *testing.T) {
	r := newRig(t, Config{})
	start := time.Now()
	if ev := r.wait(1, 30*time.Millisecond); len(ev) != 0 || time.Since(start) < 30*time.Millisecond {
		t.Errorf("%v after %v", ev, time.Since(start))
	}
	if n, errno := r.Kevent(r.kq, nil, nil, -1); n != 0 || errno != 0 {
		t.Errorf("no room for events never sleeps: %d %v", n, errno)
	}
	if st := r.Stats(); st.Sleeps != 1 {
		t.Errorf("%d sleeps", st.Sleeps)
	}
}

func (r *rig) asleep(n uint64) {
	for r.Stats().Sleeps < n {
		runtime.Gosched()
	}
}

func TestSleeperIsWoken(t *testing.T) {
	for _, timeout := range []time.Duration{-1, time.Hour} {
		r := newRig(t, Config{})
		r.wantErrno("add", r.change(user(userAdd, 0, 0)), 0)
		got := make(chan int)
		go func() { got <- len(r.wait(4, timeout)) }()
		r.asleep(1)
		r.wantErrno("trigger", r.change(user(0, aio.NoteTrigger, 0)), 0)
		if n := <-got; n != 1 {
			t.Errorf("%d events", n)
		}
	}
}

// Several sleep on one queue: a one-shot event reaches exactly one of them.
func TestOneshotReachesOneOfManySleepers(t *testing.T) {
	const jobs = 200
	r := newRig(t, Config{})
	var ops []*op
	for i := range jobs {
		ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), r.kevent(aio.EvOneshot, uintptr(i))))
	}
	var seen [jobs]atomic.Int32
	var left atomic.Int32
	left.Store(jobs)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			events := make([]aio.Kevent, 3)
			for left.Load() > 0 {
				n, errno := r.Kevent(r.kq, nil, events, 5*time.Millisecond)
				if errno != 0 {
					t.Error(errno)
				}
				for _, e := range events[:n] {
					seen[e.Udata].Add(1)
					left.Add(-1)
					r.wantReturn(ops[e.Udata], 1, 0)
				}
			}
		})
	}
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), 0)
	wg.Wait()
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("event %d seen %d times", i, n)
		}
	}
}

func TestSignalInterruptsSleepers(t *testing.T) {
	r := newRig(t, Config{})
	got := make(chan aio.Errno)
	for range 2 {
		go func() {
			_, errno := r.Kevent(r.kq, []aio.Kevent{user(userAdd, 0, 1)}, make([]aio.Kevent, 1), -1)
			got <- errno
		}()
	}
	r.asleep(2)
	r.Signal()
	r.wantErrno("one", <-got, aio.EINTR)
	r.wantErrno("two", <-got, aio.EINTR)
	// The changes were applied.
	r.wantErrno("trigger", r.change(user(0, aio.NoteTrigger, 1)), 0)
	r.wantEvents(1)
}

// The queue closed under a job: the job completes and is reaped by asking.
func TestCloseKqueueUnderJob(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.start(r.Write, r.op(0, 0, []byte("x"), r.kevent(aio.EvOneshot, 1)))
	kq := r.kq
	r.wantErrno("close", r.CloseKqueue(kq), 0)
	r.wantErrno("close again", r.CloseKqueue(kq), aio.EBADF)
	_, errno := r.Kevent(kq, nil, make([]aio.Kevent, 1), 0)
	r.wantErrno("kevent", errno, aio.EBADF)
	r.Release()
	r.settle()
	r.wantErrno("Error", r.Error(o.cb), 0)
	r.wantReturn(o, 1, 0)
}

// It is not woken, and what it sleeps on stays alive for it.
func TestCloseKqueueUnderSleeper(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.start(r.Write, r.op(0, 0, []byte("x"), r.kevent(aio.EvOneshot, 1)))
	got := make(chan int)
	go func() { got <- len(r.wait(1, -1)) }()
	r.asleep(1)
	r.wantErrno("close", r.Close(r.kq), 0)
	select {
	case <-got:
		t.Error("close woke the sleeper")
	case <-time.After(20 * time.Millisecond):
	}
	r.Release()
	if n := <-got; n != 1 {
		t.Errorf("%d events", n)
	}
	r.wantReturn(o, 1, 0)
	if len(r.orphans) != 0 {
		t.Error("the closed queue is kept")
	}
}

func TestShutdownWakesTheSleeperOfAClosedKqueue(t *testing.T) {
	r := newRig(t, Config{})
	got := make(chan aio.Errno)
	go func() {
		_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), -1)
		got <- errno
	}()
	r.asleep(1)
	r.CloseKqueue(r.kq)
	if err := r.Shutdown(); err != nil {
		t.Error(err)
	}
	r.wantErrno("sleeper", <-got, aio.EBADF)
}

func TestEventsOfTwoQueues(t *testing.T) {
	r := newRig(t, Config{})
	kq2, errno := r.Kqueue()
	if errno != 0 || kq2 == r.kq || kq2 == r.fd {
		t.Fatal(kq2, errno)
	}
	a := r.op(aio.OpWrite, 0, []byte("x"), r.kevent(aio.EvOneshot, 1))
	ev := r.kevent(aio.EvOneshot, 2)
	ev.Kqueue = int32(kq2)
	b := r.op(aio.OpWrite, 0, []byte("x"), ev)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(a, b), nil), 0)
	r.settle()
	if e := r.wantEvents(1)[0]; e.Udata != 1 {
		t.Errorf("%+v", e)
	}
	events := make([]aio.Kevent, 4)
	if n, _ := r.Kevent(kq2, nil, events, 0); n != 1 || events[0].Udata != 2 {
		t.Errorf("%d %+v", n, events[0])
	}
	r.CloseKqueue(kq2)
	r.wantReturn(a, 1, 0)
	r.wantReturn(b, 1, 0)
}

// The memory of a read is the caller's again after the reap, and that of a
// write was the kernel's before: the race detector checks it, with several
// callers.
func TestHappensBefore(t *testing.T) {
	r := newRig(t, Config{})
	if err := r.f.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			kq, _ := r.Kqueue()
			defer r.CloseKqueue(kq)
			ev := aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), KeventFlags: aio.EvOneshot}
			o := r.op(0, 0, make([]byte, 64), ev)
			for i := range 200 {
				for j := range o.buf {
					o.buf[j] = byte(i + g)
				}
				for _, call := range []func(*aio.ControlBlock) aio.Errno{r.Kernel.Write, r.Kernel.Read} {
					o.cb.Prepare(0, r.fd, int64(g*64), unsafe.Pointer(&o.buf[0]), 64, ev)
					if errno := call(o.cb); errno != 0 {
						t.Error(errno)
					}
					events := make([]aio.Kevent, 1)
					if n, errno := r.Kevent(kq, nil, events, -1); n != 1 || errno != 0 {
						t.Error(n, errno)
					}
					if n, errno := r.Return(o.cb); n != 64 || errno != 0 {
						t.Error(n, errno)
					}
				}
				for j := range o.buf {
					if o.buf[j] != byte(i+g) {
						t.Fatalf("read back %d, want %d", o.buf[j], byte(i+g))
					}
				}
			}
		})
	}
	wg.Wait()
}
