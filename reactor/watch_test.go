//go:build unix

package reactor

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
)

// eachQueue runs a test on every kernel that is here, and on the queues of hosts that
// have none.
func eachQueue(t *testing.T, test func(t *testing.T, r *Reactor)) {
	queues := map[string]func(testing.TB) Queues{
		"host": func(testing.TB) Queues { return new(aio.HostQueues) },
		"poll": func(testing.TB) Queues { return &aio.HostQueues{Poll: true} },
	}
	for name, open := range kernels {
		queues[name] = func(t testing.TB) Queues { return open(t) }
	}
	for name, open := range queues {
		t.Run(name, func(t *testing.T) {
			r, err := New(open(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
			within(t, func() { test(t, r) })
		})
	}
}

// pipe is a pipe's ends, in non-blocking mode.
func pipe(t testing.TB) (read, write int) {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		if err := syscall.SetNonblock(end, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(end) })
	}
	return ends[0], ends[1]
}

// pair is two ends of a connection.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		t.Cleanup(func() { syscall.Close(end) })
	}
	return ends[0], ends[1]
}

func say(t testing.TB, fd int) {
	t.Helper()
	if _, err := syscall.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, fd int) {
	t.Helper()
	if _, err := syscall.Read(fd, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, r *Reactor, fd int, events Events, token uint64) Watch {
	t.Helper()
	w, errno := r.AddFd(fd, events, token)
	if errno != 0 {
		t.Fatalf("AddFd: %v", errno)
	}
	return w
}

// none checks that nothing has happened.
func none(t testing.TB, r *Reactor) {
	t.Helper()
	for range 3 {
		if events := r.Poll(); len(events) != 0 || len(r.Notices()) != 0 {
			t.Fatalf("events %v, notices %v, want none", events, r.Notices())
		}
	}
}

// next sleeps until there are notices.
func next(t testing.TB, r *Reactor) []Notice {
	t.Helper()
	for {
		r.PrepareSleep()
		if events := r.Sleep(); len(events) != 0 {
			t.Fatalf("events %v", events)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		if n := r.Notices(); len(n) > 0 {
			return n
		}
	}
}

func want(t testing.TB, got []Notice, want ...Notice) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
}

func TestWatchComesOnceWhenReadable(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		w := add(t, r, in, In, 7)
		none(t, r)
		say(t, out)
		want(t, next(t, r), Notice{7, In})
		none(t, r) // though it is readable still
		if r.RemoveFd(w) {
			t.Error("removed a watch that has come")
		}
		add(t, r, in, In, 8)
		want(t, next(t, r), Notice{8, In})
		hear(t, in)
		add(t, r, in, In, 9)
		none(t, r)
		if s := r.Stats(); s.Fds != 2 || s.Stale != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWatchComesOnceWhenWritable(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		add(t, r, out, Out, 1)
		want(t, next(t, r), Notice{1, Out})
		none(t, r)
		fill := make([]byte, 1<<16)
		for {
			if _, err := syscall.Write(out, fill); err == syscall.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		add(t, r, out, Out, 2)
		none(t, r)
		for {
			if _, err := syscall.Read(in, fill); err == syscall.EAGAIN {
				break
			}
		}
		want(t, next(t, r), Notice{2, Out})
	})
}

// Watched for both, it comes once, with what there is, and leaves nothing behind.
func TestWatchOfBothDirectionsComesOnce(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		a, b := pair(t)
		add(t, r, a, In|Out, 1)
		want(t, next(t, r), Notice{1, Out})
		say(t, b)
		none(t, r)
		add(t, r, a, In|Out, 2)
		want(t, next(t, r), Notice{2, In | Out})
		none(t, r)
		hear(t, a)
		add(t, r, a, In, 3)
		none(t, r)
		if s := r.Stats(); s.Fds != 2 || s.Stale != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestHangUpIsNews(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		add(t, r, in, In, 1)
		if err := syscall.Close(out); err != nil {
			t.Fatal(err)
		}
		got := next(t, r)
		if len(got) != 1 || got[0].Token != 1 || got[0].Events != In|Hup {
			t.Fatalf("%v", got)
		}
	})
}

func TestRemovedWatchDoesNotCome(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		w := add(t, r, in, In, 1)
		if !r.RemoveFd(w) || r.RemoveFd(w) {
			t.Fatal("a watch is to be removed once")
		}
		say(t, out)
		none(t, r)
		w = add(t, r, in, In, 2) // ready before it is removed
		if !r.RemoveFd(w) {
			t.Fatal("not removed")
		}
		none(t, r)
	})
}

// A handle of an earlier watch does nothing to a later one, whose descriptor may be
// another file by now.
func TestWatchOfAReusedNumber(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		other, _ := pipe(t)
		old := add(t, r, in, In, 1)
		if !r.RemoveFd(old) {
			t.Fatal("not removed")
		}
		say(t, out)
		if err := dup2(other, in); err != nil {
			t.Fatal(err)
		}
		add(t, r, in, In, 2)
		if r.RemoveFd(old) {
			t.Error("an old handle removed another's watch")
		}
		none(t, r) // what the old file had to say does not reach the new one's
	})
}

// An event fetched before its watch was removed, and one of a watch that was added to
// the same number since: counted, and dropped.
func TestEventOfAnEarlierWatchIsDropped(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, _ := pipe(t)
		old := add(t, r, in, In, 1)
		fetched := []aio.Kevent{{Ident: uintptr(in), Filter: aio.FilterRead, Udata: uintptr(old.generation)}}
		r.RemoveFd(old)
		r.attend(fetched, true)
		want(t, r.Notices())
		add(t, r, in, In, 2)
		r.attend(fetched, true)
		want(t, r.Notices())
		hostile := []aio.Kevent{{Ident: ^uintptr(0), Filter: aio.FilterWrite}, {Ident: 1 << 20, Filter: aio.FilterRead}}
		r.attend(hostile, true)
		want(t, r.Notices())
		if s := r.Stats(); s.Stale != 4 || s.Fds != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAddFdRefusals(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, _ := pipe(t)
		add(t, r, in, In, 1)
		for _, c := range []struct {
			fd     int
			events Events
			want   aio.Errno
		}{{in, In, aio.EEXIST}, {in, 0, aio.EINVAL}, {in, Hup, aio.EINVAL}, {-1, In, aio.EBADF}, {9999, In, aio.EBADF}, {math.MaxInt32, In | Out, aio.EBADF}} {
			if w, errno := r.AddFd(c.fd, c.events, 2); errno != c.want || w != (Watch{}) {
				t.Errorf("AddFd(%d, %#x): %v, %v, want %v", c.fd, c.events, w, errno, c.want)
			}
		}
		if len(r.watches) > 9999 {
			t.Errorf("%d places for numbers that are not open", len(r.watches))
		}
		if r.RemoveFd(Watch{}) {
			t.Error("the zero Watch was removed")
		}
	})
}

// A regular file is ready at once, at its end too, and so is what cannot be watched.
func TestUnwatchableIsReadyAtOnce(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		for _, c := range []struct {
			f      *os.File
			events Events
			token  uint64
		}{
			{file, In | Out, 1},
			{null, Out, 2}, // to FreeBSD 15 it is never readable
		} {
			fd := int(c.f.Fd())
			add(t, r, fd, c.events, c.token)
			want(t, next(t, r), Notice{c.token, c.events})
			none(t, r)
			w := add(t, r, fd, c.events, c.token)
			if !r.RemoveFd(w) {
				t.Error("not removed")
			}
			none(t, r)
		}
	})
}

// What is added while somebody sleeps is for that sleep.
func TestWatchAndTimerReachASleeper(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		in, out := pipe(t)
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // what most queues do not watch
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		for i := range uint64(300) {
			var wg sync.WaitGroup
			wg.Go(func() {
				for range i % 8 {
					runtime.Gosched()
				}
				for i%4 == 3 && r.inside.Load() == 0 { // in the kernel, or on its last step there
					runtime.Gosched()
				}
				switch i % 3 {
				case 0:
					add(t, r, in, In, i)
					say(t, out)
				case 1:
					r.AddTimer(r.Now()+int64(i%5)*10_000, i)
				case 2:
					add(t, r, int(null.Fd()), Out, i)
				}
			})
			got := next(t, r)
			wg.Wait()
			if len(got) != 1 || got[0].Token != i {
				t.Fatalf("%v, want that of %d", got, i)
			}
			if i%3 == 0 {
				hear(t, in)
			}
		}
	})
}

func TestTimersComeInOrderAndNeverEarly(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		began := r.Now()
		due := map[uint64]int64{}
		for token := range uint64(40) {
			when := began + int64(token*7%20)*int64(time.Millisecond)
			due[token] = when
			r.AddTimer(when, token)
		}
		var last Notice
		for len(due) > 0 {
			got := next(t, r)
			now := r.Now()
			for _, n := range got {
				when, ok := due[n.Token]
				if !ok || n.Events != 0 {
					t.Fatalf("notice %v", n)
				}
				if now < when {
					t.Fatalf("timer %d is %d ns early", n.Token, when-now)
				}
				if before := began + int64(last.Token*7%20)*int64(time.Millisecond); before > when || before == when && last.Token > n.Token {
					t.Fatalf("timer %d after %d", n.Token, last.Token)
				}
				last = n
				delete(due, n.Token)
			}
		}
		none(t, r)
		if s := r.Stats(); s.Timers != 40 || s.Wakes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Many timers of about one time are one sleep, however they were added.
func TestTimersOfOneTimeCoalesce(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		when := r.Now() + int64(20*time.Millisecond)
		for i := range uint64(200) {
			r.AddTimer(when-int64(i), i)
		}
		for r.Stats().Timers < 200 {
			next(t, r)
		}
		if s := r.Stats(); s.Sleeps > 3 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCancelledTimerDoesNotCome(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		soon := r.AddTimer(r.Now(), 1)
		late := r.AddTimer(r.Now()+int64(time.Hour), 2)
		if !r.CancelTimer(soon) || r.CancelTimer(soon) {
			t.Fatal("a timer is to be cancelled once")
		}
		none(t, r)
		again := r.AddTimer(r.Now(), 3) // in the slot of the first
		if r.CancelTimer(soon) || r.CancelTimer(Timer{}) {
			t.Error("an old handle cancelled another's timer")
		}
		want(t, next(t, r), Notice{Token: 3})
		if r.CancelTimer(again) || !r.CancelTimer(late) {
			t.Error("an expired timer was cancelled, or one that has not")
		}
	})
}

// A timer for later than the sleep lasts wakes nobody, one for earlier does.
func TestOnlyAnEarlierTimerWakes(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		r.AddTimer(r.Now()+int64(time.Hour), 1)
		got := make(chan []Notice)
		go func() { got <- slices.Clone(next(t, r)) }()
		for asleep := false; !asleep; runtime.Gosched() {
			r.mu.Lock()
			asleep = r.until != 0
			r.mu.Unlock()
		}
		r.AddTimer(r.Now()+int64(2*time.Hour), 2)
		if s := r.Stats(); s.Wakes != 0 {
			t.Errorf("%+v", s)
		}
		r.AddTimer(r.Now(), 3)
		want(t, <-got, Notice{Token: 3})
		if s := r.Stats(); s.Wakes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// More than a batch of timers is several batches, and no sleep in between.
func TestTimersComeInBatches(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		for i := range uint64(3*batchSize + 1) {
			r.AddTimer(0, i)
		}
		for _, n := range []int{batchSize, batchSize, batchSize, 1, 0} {
			r.Poll()
			if got := len(r.Notices()); got != n {
				t.Fatalf("a batch of %d, want %d", got, n)
			}
		}
	})
}

// The heap against a sorted map.
func TestTimerHeapAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h timerHeap
	type entry struct {
		when  int64
		timer Timer
	}
	model := map[uint64]entry{}
	for token := range uint64(20_000) {
		switch rng.IntN(5) {
		case 0, 1:
			when := int64(rng.IntN(1000))
			model[token] = entry{when, h.add(when, token)}
		case 2:
			for k, e := range model { // any
				if !h.cancel(e.timer) || h.cancel(e.timer) {
					t.Fatal("cancel")
				}
				delete(model, k)
				break
			}
		default:
			now := int64(rng.IntN(1000))
			got, expired := h.pop(now)
			first := ^uint64(0)
			for _, k := range slices.Sorted(maps.Keys(model)) {
				if e := model[k]; e.when <= now && (first == ^uint64(0) || e.when < model[first].when) {
					first = k
				}
			}
			if expired != (first != ^uint64(0)) || expired && got != first {
				t.Fatalf("pop(%d): %d, %v, want %d", now, got, expired, first)
			}
			delete(model, got)
		}
		if len(h.order) != len(model) {
			t.Fatalf("%d timers, want %d", len(h.order), len(model))
		}
	}
	if len(h.slots) > 20_000/2 {
		t.Errorf("%d slots: they are not used again", len(h.slots))
	}
}

// Many descriptors at once: each comes, none twice.
func TestManyWatches(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		const n = 300 // more than a batch; within the usual limit of descriptors
		ends := make([]int, n)
		for i := range n {
			a, b := pair(t)
			ends[i] = b
			add(t, r, a, In, uint64(i))
		}
		none(t, r)
		for _, end := range ends {
			say(t, end)
		}
		seen := map[uint64]bool{}
		for len(seen) < n {
			for _, notice := range next(t, r) {
				if seen[notice.Token] || notice.Events != In {
					t.Fatalf("%v", notice)
				}
				seen[notice.Token] = true
			}
		}
		none(t, r)
	})
}

func TestWatchesAndTimersUnderLoad(t *testing.T) {
	eachQueue(t, func(t *testing.T, r *Reactor) {
		const adders, each = 4, 300
		came := make([]int, adders*each*2)
		var wg sync.WaitGroup
		withdrawn := make([]bool, len(came))
		for g := range adders {
			in, out := pipe(t)
			say(t, out)
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 0))
				for i := range each {
					token := (g*each + i) * 2
					timer := r.AddTimer(r.Now()+int64(rng.IntN(200_000)), uint64(token))
					if rng.IntN(3) == 0 && r.CancelTimer(timer) {
						withdrawn[token] = true
					}
					for {
						w, errno := r.AddFd(in, In, uint64(token+1))
						if errno == aio.EEXIST {
							runtime.Gosched()
							continue
						}
						if errno != 0 {
							panic(fmt.Sprint("AddFd: ", errno))
						}
						if rng.IntN(3) == 0 && r.RemoveFd(w) {
							withdrawn[token+1] = true
						}
						break
					}
				}
			})
		}
		over := make(chan struct{})
		go func() { wg.Wait(); close(over); r.AddTimer(r.Now()+int64(time.Millisecond), uint64(len(came))) }()
		for last := false; !last; {
			for _, n := range next(t, r) {
				if n.Token == uint64(len(came)) {
					last = true
				} else {
					came[n.Token]++
				}
			}
		}
		<-over
		r.Poll()
		for _, n := range r.Notices() {
			came[n.Token]++
		}
		for token, n := range came {
			if n > 1 || (n == 0) != withdrawn[token] {
				t.Fatalf("token %d came %d times, withdrawn %v", token, n, withdrawn[token])
			}
		}
	})
}
