//go:build unix

package aioring_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// writes is a list of n writes of size bytes each, whose UserData count from base.
func writes(fd, n, size int, base uint64) []aioring.SQE {
	sqes := make([]aioring.SQE, n)
	for i := range sqes {
		aioring.PrepWrite(&sqes[i], fd, pattern(size, base+uint64(i)), int64(i*size))
		sqes[i].UserData = base + uint64(i)
	}
	return sqes
}

// members sees that each of a list's members has its result, and only those.
func members(t *testing.T, e *aioring.Entry, n, size int, base uint64) {
	t.Helper()
	for i := range n {
		if c, ok := e.Member(i); !ok || int(c.Res) != size || c.UserData != base+uint64(i) {
			t.Errorf("member %d: %+v, %v", i, c, ok)
		}
	}
	for _, i := range []int{-1, n, n + 1} {
		if c, ok := e.Member(i); ok {
			t.Errorf("there is a member %d: %+v", i, c)
		}
	}
}

// tokio lio::onewrite, and mio's lio smoke test.
func TestListOneWrite(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, f := entry(t, r), tempFile(t, 0)
		aioring.PrepList(e, writes(int(f.Fd()), 1, 512, 7), nil)
		e.SQE().UserData = 42
		start(t, e)
		if cqe := ready(t, e, 1); cqe.UserData != 42 {
			t.Errorf("%+v", cqe)
		}
		members(t, e, 1, 512, 7)
		if r.CQReady() != 0 {
			t.Error("there is a CQE as well")
		}
	})
}

// tokio lio::reuse, point 25, and mio-aio's lists of several: one event for a whole
// list, each time.
func TestListReuse(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		const n, size = 8, 512
		r := v.open(t, n)
		e, f := entry(t, r), tempFile(t, 0)
		got := make([]byte, n*size)
		for round := range uint64(30) {
			sqes := writes(int(f.Fd()), n, size, round*n)
			if round%3 == 2 {
				for i := range sqes {
					aioring.PrepRead(&sqes[i], int(f.Fd()), got[i*size:][:size], int64(i*size))
				}
			}
			aioring.PrepList(e, sqes)
			clear(sqes) // they were copied
			pends(t, e)
			start(t, e)
			cqe := ready(t, e, n)
			members(t, e, n, size, round*n)
			if !r.ClearReady(cqe.Event()) {
				t.Fatal("a current clear was refused")
			}
			pends(t, e)
			if round%3 == 2 && !bytes.Equal(got[:size], pattern(size, (round-1)*n)) {
				t.Fatal("read other bytes")
			}
		}
		// As it is, and then with a single operation again.
		start(t, e)
		r.ClearReady(ready(t, e, n).Event())
		aioring.PrepFsync(e.SQE(), int(f.Fd()), 0)
		start(t, e)
		ready(t, e, 0)
		if _, ok := e.Member(0); ok {
			t.Error("a single operation has members")
		}
		if s := r.Stats(); s.Submitted != 31*n+1 || s.Alive != 0 {
			t.Errorf("each member is an operation of its own: %+v", s)
		}
	})
}

// mio-aio's test_lio_eio: a member that fails is a result, and the others run.
func TestListMemberThatFails(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, f := entry(t, r), tempFile(t, 0)
		for _, opts := range [][]aioring.ListOption{nil, {aioring.HandBack()}} {
			sqes := writes(int(f.Fd()), 5, 64, 0)
			sqes[1].Fd = 1 << 20
			sqes[2].Opcode = 250
			sqes[3].Flags = 1 << 7
			aioring.PrepList(e, sqes, opts...)
			start(t, e)
			r.ClearReady(ready(t, e, 5).Event())
			for i, want := range []int32{64, -int32(syscall.EBADF), -int32(syscall.EINVAL), -int32(syscall.EINVAL), 64} {
				if c, ok := e.Member(i); !ok || c.Res != want {
					t.Errorf("member %d: %+v, %v, want %d", i, c, ok, want)
				}
			}
		}
	})
}

// A short transfer is a result: nobody completes it behind the user's back.
func TestListShortTransferIsAResult(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e, f := entry(t, r), tempFile(t, 0)
		if _, err := f.Write(pattern(1000, 1)); err != nil {
			t.Fatal(err)
		}
		sqes := make([]aioring.SQE, 2)
		aioring.PrepRead(&sqes[0], int(f.Fd()), make([]byte, 800), 0)
		aioring.PrepRead(&sqes[1], int(f.Fd()), make([]byte, 800), 800)
		aioring.PrepList(e, sqes)
		start(t, e)
		ready(t, e, 2)
		if c, _ := e.Member(1); c.Res != 200 {
			t.Errorf("across the end: %+v", c)
		}
	})
}

// Of an empty list no event would ever come: it is ready at once.
func TestListOfNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		e := entry(t, r)
		for range 3 {
			aioring.PrepList(e, nil)
			e.SQE().UserData = 5
			woken := make(chan error, 1)
			if _, ok, err := e.PollReady(aioring.NewWaker(func(err error) { woken <- err })); ok || err != nil {
				t.Fatal(ok, err)
			}
			start(t, e)
			if err := <-woken; err != nil {
				t.Error(err)
			}
			cqe, ok, err := e.PollReady(nil)
			if !ok || err != nil || cqe.Res != 0 || cqe.UserData != 5 || !r.ClearReady(cqe.Event()) {
				t.Errorf("%+v, %v, %v", cqe, ok, err)
			}
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.Submit(t.Context()); err != aioring.ErrClosed {
			t.Errorf("Submit: %v", err)
		}
	})
}

func TestListTooLong(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		e := entry(t, r)
		aioring.PrepList(e, make([]aioring.SQE, 5))
		if err := e.Submit(t.Context()); err != aioring.ErrTooBig {
			t.Errorf("five into four: %v", err)
		}
		pends(t, e)
		aioring.PrepList(e, make([]aioring.SQE, 4))
		start(t, e)
		ready(t, e, 4)
	})
}

// The SQE of a list means nothing without its entry.
func TestListSQEElsewhere(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		e := entry(t, r)
		aioring.PrepList(e, make([]aioring.SQE, 2))
		if err := r.Push(*e.SQE()); err != nil {
			t.Fatal(err)
		}
		if c := reap(t, r); c.Res != -int32(syscall.EINVAL) {
			t.Errorf("%+v", c)
		}
	})
}

// Nor in another entry, which has no list or one of its own.
func TestListSQEInAnotherEntry(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		e, f := entry(t, r), entry(t, r)
		aioring.PrepList(e, make([]aioring.SQE, 2))
		*f.SQE() = *e.SQE()
		start(t, f)
		ready(t, f, -int(syscall.EINVAL))
	})
}

// A list that is prepared before the last completion was cleared takes nothing of it
// away: ready stays ready, with the same answer.
func TestListPreparedBeforeTheClear(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		e := entry(t, r)
		aioring.PrepList(e, make([]aioring.SQE, 2))
		e.SQE().UserData = 77
		start(t, e)
		c := ready(t, e, 2)
		aioring.PrepList(e, make([]aioring.SQE, 3))
		if again, ok, err := e.PollReady(nil); again != c || !ok || err != nil {
			t.Errorf("%+v, %v, %v; it was %+v", again, ok, err, c)
		}
		if _, ok := e.Member(1); !ok {
			t.Error("a member has lost its result")
		}
		if !r.ClearReady(c.Event()) {
			t.Fatal("not cleared")
		}
		start(t, e)
		ready(t, e, 3)
	})
}

// refusals are ways in which the kernel accepts a list in part, or not at all.
var refusals = []struct {
	name   string
	limits aio.Limits
	faults func() []sim.Fault // which count: each ring wants its own
}{
	{name: "room for three", limits: aio.Limits{MaxQueuePerProc: 3}},
	{name: "room for one", limits: aio.Limits{MaxQueuePerProc: 1}},
	{name: "EAGAIN for every third", faults: func() []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.Every(3)), sim.Fail(aio.EAGAIN))}
	}},
	{name: "EAGAIN for the first ten", faults: func() []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.First(10)), sim.Fail(aio.EAGAIN))}
	}},
	{name: "EAGAIN by chance", faults: func() []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), sim.Randomly(3, 0.6)), sim.Fail(aio.EAGAIN))}
	}},
}

// What the kernel does not accept of a list is run for the user, who sees one event
// and no refusal.
func TestListPartlyAcceptedIsCompleted(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			guard(t, time.Minute)
			cfg := sim.Config{Limits: c.limits}
			if c.faults != nil {
				cfg.Faults = c.faults()
			}
			r, _ := modelRing(t, cfg, 16)
			e, f := entry(t, r), tempFile(t, 0)
			for round := range uint64(20) {
				aioring.PrepList(e, writes(int(f.Fd()), 10, 64, round*10))
				start(t, e)
				cqe := ready(t, e, 10)
				members(t, e, 10, 64, round*10)
				if !r.ClearReady(cqe.Event()) {
					t.Fatal("a current clear was refused")
				}
			}
			if s := r.Stats(); s.Held == 0 {
				t.Errorf("nothing was refused: the test proves nothing: %+v", s)
			}
		})
	}
}

// With HandBack the raw partial event comes: for the part that was accepted, at once
// when there is none. Cleared and submitted again, the rest goes; mio-aio's
// lio_listio_incomplete.
func TestListPartlyAcceptedIsHandedBack(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			guard(t, time.Minute)
			cfg := sim.Config{Limits: c.limits}
			if c.faults != nil {
				cfg.Faults = c.faults()
			}
			r, _ := modelRing(t, cfg, 16)
			e, f := entry(t, r), tempFile(t, 0)
			const n = 10
			partial := 0
			for round := range uint64(5) {
				sqes := writes(int(f.Fd()), n, 64, round*n)
				aioring.PrepList(e, sqes, aioring.HandBack())
				for done := 0; done < n; {
					start(t, e)
					cqe, err := e.Ready(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					has := 0
					for i := range n {
						m, ok := e.Member(i)
						if ok && (m.Res != 64 || m.UserData != round*n+uint64(i)) {
							t.Errorf("member %d: %+v", i, m)
						}
						if ok {
							has++
						}
					}
					if has != int(cqe.Res) || has < done {
						t.Fatalf("%d members have a result, the event says %d, before it were %d", has, cqe.Res, done)
					}
					if done = has; done < n {
						partial++
					}
					if !r.ClearReady(cqe.Event()) {
						t.Fatal("a current clear was refused")
					}
					pends(t, e)
				}
				got := make([]byte, n*64)
				if _, err := f.ReadAt(got, 0); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					if !bytes.Equal(got[i*64:][:64], pattern(64, round*n+uint64(i))) {
						t.Fatalf("round %d: block %d is wrong", round, i)
					}
				}
			}
			if partial == 0 {
				t.Error("no event was partial: the test proves nothing")
			}
			if s := r.Stats(); s.Held != 0 || s.Fallbacks != 0 || s.Alive != 0 {
				t.Errorf("something waited, or ran elsewhere: %+v", s)
			}
		})
	}
}

// Nothing accepted: the kernel will never send an event, and the entry is ready all
// the same, without a wait.
func TestListWithNothingAcceptedIsReadyAtOnce(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{
		Limits: aio.Limits{MaxQueuePerProc: 1},
		Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))},
	}, 8)
	e, other, f := entry(t, r), entry(t, r), tempFile(t, 0)
	aioring.PrepWrite(other.SQE(), int(f.Fd()), make([]byte, 8), 4096)
	start(t, other) // takes the only place
	for kernel.Stats().Active == 0 {
		runtime.Gosched()
	}
	aioring.PrepList(e, writes(int(f.Fd()), 4, 64, 0), aioring.HandBack())
	for range 3 {
		start(t, e)
		cqe, ok, err := e.PollReady(nil)
		if !ok || err != nil || cqe.Res != 0 || !r.ClearReady(cqe.Event()) {
			t.Fatalf("%+v, %v, %v", cqe, ok, err)
		}
		for i := range 4 {
			if c, ok := e.Member(i); ok {
				t.Errorf("member %d, which was not accepted: %+v", i, c)
			}
		}
	}
	gate.Open()
	ready(t, other, 8)
	for done := 0; done < 4; {
		start(t, e)
		cqe, err := e.Ready(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done = int(cqe.Res)
		r.ClearReady(cqe.Event())
	}
	members(t, e, 4, 64, 0)
	if s := r.Stats(); s.Held != 0 {
		t.Errorf("something waited: %+v", s)
	}
}

// What AIO would never take is run as a plain call, handed back or not: submitting it
// again would change nothing.
func TestListHandsBackOnlyForRoom(t *testing.T) {
	guard(t, time.Minute)
	r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
		sim.If(sim.And(sim.At(sim.Submit), sim.Entry(1)), sim.Fail(aio.EOPNOTSUPP)),
	}}, 8)
	e, f := entry(t, r), tempFile(t, 0)
	sqes := writes(int(f.Fd()), 4, 64, 0)
	aioring.PrepList(e, sqes, aioring.HandBack())
	start(t, e)
	ready(t, e, 4)
	members(t, e, 4, 64, 0)
	if s := r.Stats(); s.Fallbacks != 1 {
		t.Errorf("%+v", s)
	}
}

// A short write that the kernel makes is a result, whatever the list's option.
func TestListShortWriteIsAResult(t *testing.T) {
	for _, opts := range [][]aioring.ListOption{nil, {aioring.HandBack()}} {
		t.Run(fmt.Sprint(len(opts)), func(t *testing.T) {
			guard(t, time.Minute)
			r, _ := modelRing(t, sim.Config{Faults: []sim.Fault{
				sim.If(sim.And(sim.At(sim.Start), sim.Entry(1)), sim.Short(10)),
				sim.If(sim.And(sim.At(sim.Result), sim.Entry(2)), sim.Fail(aio.EIO)),
			}}, 8)
			e := entry(t, r)
			aioring.PrepList(e, writes(int(tempFile(t, 0).Fd()), 3, 64, 0), opts...)
			start(t, e)
			ready(t, e, 3)
			for i, want := range []int32{64, 10, -int32(syscall.EIO)} {
				if c, ok := e.Member(i); !ok || c.Res != want {
					t.Errorf("member %d: %+v, %v, want %d", i, c, ok, want)
				}
			}
			if n := r.Stats().Submitted; n != 3 {
				t.Errorf("%d operations", n)
			}
		})
	}
}

// Close cancels what a list has under way and waits for it; the waiter learns of it.
func TestListHeldAtClose(t *testing.T) {
	guard(t, time.Minute)
	gate := sim.NewGate()
	r, kernel := modelRing(t, sim.Config{
		Limits: aio.Limits{MaxQueuePerProc: 2},
		Faults: []sim.Fault{sim.If(sim.At(sim.Start), sim.HoldActive(gate))},
	}, 8)
	e := entry(t, r)
	aioring.PrepList(e, writes(int(tempFile(t, 0).Fd()), 5, 64, 0))
	start(t, e)
	for kernel.Stats().Active < 2 {
		runtime.Gosched()
	}
	ended := make(chan error)
	go func() { _, err := e.Ready(t.Context()); ended <- err }()
	closed := make(chan error)
	go func() { closed <- r.Close() }()
	for r.Push(aioring.SQE{}) == nil {
		runtime.Gosched()
	}
	gate.Open()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil && !errors.Is(err, aioring.ErrClosed) {
		t.Errorf("Ready: %v", err)
	}
}
