//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"golang.org/x/sys/unix"
)

// The rules of io_uring as a ring's user sees them, in every way a ring can be made.
// Each test is named after the checks of the contract that it holds.

const (
	cancelled = -int32(syscall.ECANCELED)
	etime     = -int32(aioring.ETIME)
)

// entryOf makes an entry with user data and flags.
func entryOf(data uint64, flags uint8, prep func(*aioring.SQE)) aioring.SQE {
	var s aioring.SQE
	prep(&s)
	s.UserData, s.Flags = data, flags
	return s
}

func nop(data uint64, flags uint8) aioring.SQE { return entryOf(data, flags, aioring.PrepNop) }

// put fills entries, and submits them unless it is told not to.
func put(t *testing.T, r *aioring.Ring, sqes ...aioring.SQE) {
	t.Helper()
	for i := range sqes {
		s := r.GetSQE()
		if s == nil {
			t.Fatal("no entry left")
		}
		*s = sqes[i]
	}
}

func submitAll(t *testing.T, r *aioring.Ring, sqes ...aioring.SQE) {
	t.Helper()
	put(t, r, sqes...)
	submit(t, r, len(sqes))
}

// results reaps n CQEs: user data and result of each, as text.
func results(t *testing.T, r *aioring.Ring, n int) []string {
	t.Helper()
	var all []string
	for range n {
		c := reap(t, r)
		all = append(all, fmt.Sprintf("%d:%d", c.UserData, c.Res))
	}
	if _, err := r.PeekCQE(); err != syscall.EAGAIN {
		t.Errorf("there is more after %v: %v", all, err)
	}
	return all
}

func wantResults(t *testing.T, r *aioring.Ring, want ...string) {
	t.Helper()
	if got := results(t, r, len(want)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// wantSet is wantResults in any order.
func wantSet(t *testing.T, r *aioring.Ring, want ...string) {
	t.Helper()
	got := results(t, r, len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func is(data uint64, res int32) string { return fmt.Sprintf("%d:%d", data, res) }

// emptyPipe is a pipe with nothing in it.
func emptyPipe(t *testing.T) (rd, wr int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// pendingRead reads from a pipe that is empty.
func pendingRead(t *testing.T, data uint64, flags uint8) (s aioring.SQE, wr int) {
	rd, wr := emptyPipe(t)
	return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepRead(s, rd, make([]byte, 4), aioring.CurrentPosition) }), wr
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func timeout(data uint64, flags uint8, d time.Duration, count, op uint32) aioring.SQE {
	return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepTimeout(s, d, count, op) })
}

func TestLinkOrderAndFailure(t *testing.T) { // checks 46 to 50, 53, 54, 57, 58
	const link, hard = aioring.FlagIOLink, aioring.FlagIOHardlink
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		f := tempFile(t, 0)
		if _, err := f.WriteString("abcdef"); err != nil {
			t.Fatal(err)
		}
		read := func(data uint64, flags uint8, n int, off int64) aioring.SQE {
			return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepRead(s, int(f.Fd()), make([]byte, n), off) })
		}
		bad := func(data uint64, flags uint8) aioring.SQE {
			return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepRead(s, 9999, make([]byte, 1), 0) })
		}
		ebadf := -int32(syscall.EBADF)
		for _, c := range []struct {
			name string
			sqes []aioring.SQE
			want []string
		}{
			{"order", []aioring.SQE{read(1, link, 6, 0), read(2, link, 2, 0), nop(3, 0)}, []string{is(1, 6), is(2, 2), is(3, 0)}},
			{"failing head", []aioring.SQE{bad(1, link), read(2, link, 1, 0), nop(3, 0)}, []string{is(1, ebadf), is(2, cancelled), is(3, cancelled)}},
			{"failing middle", []aioring.SQE{nop(1, link), bad(2, link), nop(3, 0)}, []string{is(1, 0), is(2, ebadf), is(3, cancelled)}},
			{"short read", []aioring.SQE{read(1, link, 9, 0), nop(2, 0)}, []string{is(1, 6), is(2, cancelled)}},
			{"end of file", []aioring.SQE{read(1, link, 9, 6), nop(2, 0)}, []string{is(1, 0), is(2, cancelled)}},
			{"hard short", []aioring.SQE{read(1, hard, 9, 0), nop(2, 0)}, []string{is(1, 6), is(2, 0)}},
			{"hard error", []aioring.SQE{bad(1, hard), nop(2, 0)}, []string{is(1, ebadf), is(2, 0)}},
			{"hard, then link", []aioring.SQE{bad(1, hard), bad(2, link), nop(3, link), nop(4, 0)}, []string{is(1, ebadf), is(2, ebadf), is(3, cancelled), is(4, cancelled)}},
			{"dangling", []aioring.SQE{bad(1, link)}, []string{is(1, ebadf)}},
			{"after the dangling one", []aioring.SQE{nop(2, 0)}, []string{is(2, 0)}},
		} {
			submitAll(t, r, c.sqes...)
			if got := results(t, r, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			if err := r.Push(c.sqes...); err != nil {
				t.Fatal(err)
			}
			if got := results(t, r, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("%s, pushed: %v, want %v", c.name, got, c.want)
			}
		}
	})
}

// A chain's follower works on the file that its number means when it starts.
func TestLinkFollowerFindsItsFileAtStart(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		first, wr := pendingRead(t, 1, aioring.FlagIOLink)
		before, after := tempFile(t, 0), tempFile(t, 0)
		fd, err := unix.Dup(int(before.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		submitAll(t, r, first, entryOf(2, 0, func(s *aioring.SQE) { aioring.PrepWrite(s, fd, []byte("here"), 0) }))
		if err := dup2(int(after.Fd()), fd); err != nil {
			t.Fatal(err)
		}
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4), is(2, 4))
		if b, _ := os.ReadFile(after.Name()); string(b) != "here" {
			t.Errorf("the file that the number means has %q", b)
		}
	})
}

func TestRefusedEntriesInChains(t *testing.T) { // checks 15 to 18, 56
	const link, hard = aioring.FlagIOLink, aioring.FlagIOHardlink
	einval := -int32(syscall.EINVAL)
	bad := func(data uint64, flags uint8) aioring.SQE {
		s := nop(data, flags)
		s.Opcode = 200
		return s
	}
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		submitAll(t, r, nop(1, hard), bad(2, link), nop(3, 0), nop(4, 0))
		wantSet(t, r, is(1, cancelled), is(2, einval), is(3, cancelled), is(4, 0))
		put(t, r, bad(1, 0), nop(2, 0))
		want := 1
		if v.worker {
			want = 2
		}
		if n, err := r.SubmitAndWait(2); n != want || err != nil {
			t.Errorf("submitted %d, %v", n, err)
		}
		if !v.worker {
			submit(t, r, 1)
		}
		wantSet(t, r, is(1, einval), is(2, 0))
		// One that ends its chain stops the submission, as one alone does. Where a worker
		// submits nothing stops it.
		if !v.worker {
			put(t, r, nop(1, hard), nop(2, link), bad(3, 0), nop(4, 0))
			if n, err := r.SubmitAndWait(4); n != 3 || err != nil {
				t.Errorf("with a bad end of a chain: submitted %d, %v", n, err)
			}
			wantSet(t, r, is(1, cancelled), is(2, cancelled), is(3, einval))
			submit(t, r, 1)
			wantSet(t, r, is(4, 0))
		}
		all := v.open(t, 16, aioring.WithSubmitAll())
		submitAll(t, all, nop(1, 0), bad(2, 0), nop(3, 0), nop(4, 0))
		wantSet(t, all, is(1, 0), is(2, einval), is(3, 0), is(4, 0))
	})
}

func TestCQESkip(t *testing.T) { // checks 68 to 71
	const link, skip = aioring.FlagIOLink, aioring.FlagCQESkip
	fails := func(data uint64, flags uint8) aioring.SQE {
		s := nop(data, flags)
		s.OpFlags, s.Len = aioring.NopInjectResult, uint32(0xffffffff-uint32(syscall.EIO)+1)
		return s
	}
	eio := -int32(syscall.EIO)
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		submitAll(t, r, nop(1, skip), nop(2, 0))
		wantResults(t, r, is(2, 0))
		submitAll(t, r, fails(1, skip))
		wantResults(t, r, is(1, eio))
		submitAll(t, r, fails(1, link|skip), nop(2, link), nop(3, 0))
		wantResults(t, r, is(1, eio))
		submitAll(t, r, fails(1, link), nop(2, link|skip), nop(3, 0))
		wantResults(t, r, is(1, eio), is(2, cancelled), is(3, cancelled))
		submitAll(t, r, entryOf(1, skip, func(s *aioring.SQE) { aioring.PrepLinkTimeout(s, time.Hour, 0) }))
		wantResults(t, r, is(1, -int32(syscall.EINVAL)))
		submitAll(t, r, entryOf(1, skip|aioring.FlagIODrain, func(s *aioring.SQE) { aioring.PrepLinkTimeout(s, time.Hour, 0) }))
		wantResults(t, r, is(1, -int32(syscall.EOPNOTSUPP)))
		submitAll(t, r, nop(1, aioring.FlagIODrain))
		wantResults(t, r, is(1, -int32(syscall.EOPNOTSUPP)))
		rd, _ := emptyPipe(t)
		fsync := func(data uint64, flags uint8) aioring.SQE {
			return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepFsync(s, rd, 0) })
		}
		submitAll(t, r, fsync(1, link|skip), fsync(2, 0), nop(3, 0))
		if v.kernel == aioring.KernelURing { // there it breaks no chain
			wantSet(t, r, is(1, -int32(syscall.EINVAL)), is(2, -int32(syscall.EINVAL)), is(3, 0))
		} else {
			wantSet(t, r, is(1, -int32(syscall.EINVAL)), is(3, 0))
		}
		if s := r.Stats(); s.InFlight != 0 || s.Alive != 0 {
			t.Errorf("%+v", s)
		}
		if c, err := r.Do(t.Context(), nop(7, skip)); err != nil || c.UserData != 7 {
			t.Errorf("Do: %+v, %v", c, err)
		}
	})
}

// What a submission has not reached is not seen.
func TestSkipCountsFromItsSubmission(t *testing.T) { // check 71
	const drain, skip = aioring.FlagIODrain, aioring.FlagCQESkip
	eachVariant(t, func(t *testing.T, v variant) {
		if v.worker {
			return // nothing stops a submission
		}
		r := v.open(t, 16)
		bad := nop(1, skip)
		bad.Opcode = 200
		put(t, r, bad, nop(2, drain), nop(3, skip), nop(4, drain), nop(5, 0))
		submit(t, r, 1)
		wantResults(t, r, is(1, -int32(syscall.EINVAL)))
		submit(t, r, 3)
		wantSet(t, r, is(2, 0), is(4, -int32(syscall.EOPNOTSUPP)))
		submit(t, r, 1)
		wantResults(t, r, is(5, 0))
		r = v.open(t, 16)
		submitAll(t, r, bad) // refused before the flag is looked at
		submitAll(t, r, nop(2, drain))
		wantResults(t, r, is(1, -int32(syscall.EINVAL)), is(2, 0))
	})
}

func TestDrain(t *testing.T) { // checks 72 to 74, 76
	const drain, link = aioring.FlagIODrain, aioring.FlagIOLink
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		blocker, wr := pendingRead(t, 1, 0)
		submitAll(t, r, blocker, nop(2, link), nop(3, drain), nop(4, 0))
		submitAll(t, r, entryOf(5, 0, func(s *aioring.SQE) { aioring.PrepCancel(s, 1, 0) }))
		if c, err := r.PeekCQE(); err != syscall.EAGAIN {
			t.Fatalf("%v, %v before what was submitted first", c, err)
		}
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4), is(2, 0), is(3, 0), is(4, 0), is(5, -int32(syscall.ENOENT)))

		blocker, _ = pendingRead(t, 1, 0)
		submitAll(t, r, blocker, nop(2, drain))
		if v.worker {
			for r.Stats().InFlight < 2 {
				time.Sleep(time.Millisecond) // until the worker has taken them
			}
		}
		var who aioring.SQE
		aioring.PrepCancel(&who, 2, 0)
		if n, err := r.CancelSync(t.Context(), who); err != syscall.ENOENT {
			t.Errorf("what is drained was found: %d, %v", n, err)
		}
		aioring.PrepCancel(&who, 1, 0)
		n, err := r.CancelSync(t.Context(), who)
		for v.kernel == aioring.KernelURing && err == syscall.ENOENT {
			// Linux hands what comes after a drain to a worker. On the way there it is
			// not to be found.
			n, err = r.CancelSync(t.Context(), who)
		}
		if n != 1 || err != nil {
			t.Errorf("CancelSync: %d, %v", n, err)
		}
		wantResults(t, r, is(1, cancelled), is(2, 0))
	})
}

func TestTimeouts(t *testing.T) { // checks 59, 77 to 85
	const ms = time.Millisecond
	const link = aioring.FlagIOLink
	remove := func(data, which uint64) aioring.SQE {
		return entryOf(data, 0, func(s *aioring.SQE) { aioring.PrepTimeoutRemove(s, which, 0) })
	}
	update := func(data, which uint64, d time.Duration) aioring.SQE {
		return entryOf(data, 0, func(s *aioring.SQE) { aioring.PrepTimeoutUpdate(s, d, which, 0) })
	}
	enoent, einval := -int32(syscall.ENOENT), -int32(syscall.EINVAL)
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		began := time.Now()
		submitAll(t, r, timeout(90, 0, 90*ms, 0, 0), timeout(30, 0, 30*ms, 0, 0), timeout(60, 0, 60*ms, 0, 0))
		wantResults(t, r, is(30, etime), is(60, etime), is(90, etime))
		if took := time.Since(began); took < 90*ms {
			t.Errorf("90 ms were over after %v", took)
		}
		submitAll(t, r, timeout(1, 0, time.Hour, 2, 0), nop(2, 0), nop(3, 0))
		wantResults(t, r, is(2, 0), is(3, 0), is(1, 0))
		submitAll(t, r, timeout(1, 0, time.Hour, 0, 0), remove(2, 1), remove(3, 1))
		wantSet(t, r, is(1, cancelled), is(2, 0), is(3, enoent))
		other, wr := pendingRead(t, 1, 0) // what is no timer is not meant
		submitAll(t, r, other)
		submitAll(t, r, timeout(1, 0, time.Hour, 0, 0), remove(2, 1))
		wantSet(t, r, is(1, cancelled), is(2, 0))
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4))
		submitAll(t, r, timeout(1, 0, time.Hour, 0, 0), update(2, 1, ms), update(3, 9, ms))
		wantSet(t, r, is(1, etime), is(2, 0), is(3, enoent))
		submitAll(t, r, timeout(1, 0, 1, 0, aioring.TimeoutAbs), timeout(2, 0, 1, 0, aioring.TimeoutAbs|aioring.TimeoutRealtime),
			timeout(3, 0, 1, 0, aioring.TimeoutAbs|aioring.TimeoutBoottime))
		wantSet(t, r, is(1, etime), is(2, etime), is(3, etime))
		began = time.Now()
		submitAll(t, r, entryOf(4, 0, func(s *aioring.SQE) { aioring.PrepTimeoutAt(s, began.Add(20*ms), 0, 0) }),
			timeout(5, 0, aioring.Monotonic()+20*ms, 0, aioring.TimeoutAbs))
		wantSet(t, r, is(5, etime), is(4, etime))
		if took := time.Since(began); took < 20*ms {
			t.Errorf("20 ms were over after %v", took)
		}
		for _, s := range []aioring.SQE{
			timeout(1, 0, -1, 0, 0), timeout(1, 0, ms, 0, 1<<10), timeout(1, 0, ms, 0, aioring.TimeoutBoottime|aioring.TimeoutRealtime),
			timeout(1, 0, ms, 0, aioring.TimeoutMultishot|aioring.TimeoutAbs),
			entryOf(1, 0, func(s *aioring.SQE) { aioring.PrepTimeoutRemove(s, 1, aioring.TimeoutAbs) }),
		} {
			submitAll(t, r, s)
			wantResults(t, r, is(1, einval))
		}
		submitAll(t, r, timeout(1, link, ms, 0, 0), nop(2, 0))
		wantResults(t, r, is(1, etime), is(2, cancelled))
		submitAll(t, r, timeout(1, link, ms, 0, aioring.TimeoutETimeSuccess), nop(2, 0))
		wantResults(t, r, is(1, etime), is(2, 0))
		submitAll(t, r, timeout(1, 0, ms, 3, aioring.TimeoutMultishot))
		for i := range 3 {
			if c := reap(t, r); c.Res != etime || c.Flags&aioring.CQEMore != 0 != (i < 2) {
				t.Errorf("repeat %d: %+v", i, c)
			}
		}
		submitAll(t, r, timeout(1, 0, ms, 0, aioring.TimeoutMultishot))
		reap(t, r)
		submitAll(t, r, remove(2, 1))
		for c := reap(t, r); c.UserData != 1 || c.Flags != 0; c = reap(t, r) {
			switch {
			case c.UserData == 2 && c.Res == enoent && v.kernel == aioring.KernelURing:
				submitAll(t, r, remove(2, 1)) // Linux does not find one that is just going off
			case c.UserData == 1 && c.Res != etime, c.UserData == 2 && c.Res != 0:
				t.Errorf("%+v", c)
			}
		}
		for r.Stats().Alive > 0 {
			reap(t, r)
		}
	})
}

func TestMultishotTimeoutEndsWhenTheQueueIsFull(t *testing.T) { // check 41
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 2)
		submitAll(t, r, timeout(1, 0, time.Millisecond, 0, aioring.TimeoutMultishot))
		for !r.CQHasOverflow() {
			time.Sleep(time.Millisecond) // until the fifth has come
		}
		for i := range 5 {
			if c := reap(t, r); c.Res != etime || c.Flags&aioring.CQEMore != 0 != (i < 4) {
				t.Errorf("CQE %d: %+v", i, c)
			}
		}
		if s := r.Stats(); s.Alive != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLinkTimeout(t *testing.T) { // checks 61 to 67
	const ms = time.Millisecond
	const link, hard = aioring.FlagIOLink, aioring.FlagIOHardlink
	limit := func(data uint64, flags uint8, d time.Duration) aioring.SQE {
		return entryOf(data, flags, func(s *aioring.SQE) { aioring.PrepLinkTimeout(s, d, 0) })
	}
	einval := -int32(syscall.EINVAL)
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		read, _ := pendingRead(t, 1, link)
		submitAll(t, r, read, limit(2, 0, ms))
		wantResults(t, r, is(2, etime), is(1, cancelled))
		submitAll(t, r, nop(1, link), limit(2, 0, time.Hour))
		wantResults(t, r, is(1, 0), is(2, cancelled))
		submitAll(t, r, timeout(1, link, time.Hour, 0, 0), limit(2, link, ms), nop(3, 0))
		wantResults(t, r, is(2, etime), is(1, cancelled), is(3, cancelled))
		submitAll(t, r, timeout(1, hard, time.Hour, 0, 0), limit(2, link, ms), nop(3, 0))
		wantResults(t, r, is(2, etime), is(1, cancelled), is(3, 0))
		submitAll(t, r, limit(1, 0, ms))
		wantResults(t, r, is(1, einval))
		submitAll(t, r, nop(1, link), limit(2, link, ms), limit(3, link, ms), nop(4, 0))
		wantResults(t, r, is(1, cancelled), is(2, cancelled), is(3, einval), is(4, cancelled))
		read, _ = pendingRead(t, 1, link)
		submitAll(t, r, read, limit(2, 0, time.Hour))
		submitAll(t, r, entryOf(3, 0, func(s *aioring.SQE) { aioring.PrepTimeoutUpdate(s, ms, 2, aioring.LinkTimeoutUpdate) }))
		wantResults(t, r, is(3, 0), is(2, etime), is(1, cancelled))
		read, _ = pendingRead(t, 1, link)
		submitAll(t, r, read, limit(2, 0, time.Hour))
		submitAll(t, r, entryOf(3, 0, func(s *aioring.SQE) { aioring.PrepCancel(s, 1, 0) }),
			entryOf(4, 0, func(s *aioring.SQE) { aioring.PrepCancel(s, 2, 0) }))
		wantSet(t, r, is(3, 0), is(1, cancelled), is(2, cancelled), is(4, -int32(syscall.ENOENT)))
	})
}

func TestCancel(t *testing.T) { // checks 86 to 93, 98
	cancel := func(data, which uint64, flags uint32) aioring.SQE {
		return entryOf(data, 0, func(s *aioring.SQE) { aioring.PrepCancel(s, which, flags) })
	}
	enoent, einval, ebadf := -int32(syscall.ENOENT), -int32(syscall.EINVAL), -int32(syscall.EBADF)
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		pending := func(n int) (rds []int) {
			for range n {
				s, _ := pendingRead(t, 1, 0)
				submitAll(t, r, s)
				rds = append(rds, int(s.Fd))
			}
			return rds
		}
		pending(1)
		submitAll(t, r, cancel(2, 1, 0))
		wantSet(t, r, is(1, cancelled), is(2, 0))
		submitAll(t, r, cancel(2, 1, 0), cancel(3, 1, aioring.CancelAll))
		wantSet(t, r, is(2, enoent), is(3, 0))
		pending(3)
		submitAll(t, r, cancel(2, 1, 0))
		wantSet(t, r, is(1, cancelled), is(2, 0))
		submitAll(t, r, cancel(2, 1, aioring.CancelAll))
		wantSet(t, r, is(1, cancelled), is(1, cancelled), is(2, 2))
		pending(1)
		submitAll(t, r, timeout(4, 0, time.Hour, 0, 0), cancel(2, 99, aioring.CancelAny))
		wantSet(t, r, is(1, cancelled), is(4, cancelled), is(2, 2))
		rds := pending(2)
		submitAll(t, r, entryOf(2, 0, func(s *aioring.SQE) { aioring.PrepCancelFd(s, rds[1], 0) }),
			entryOf(3, 0, func(s *aioring.SQE) { aioring.PrepCancelFd(s, 9999, 0) }),
			entryOf(5, 0, func(s *aioring.SQE) { aioring.PrepCancelFd(s, 0, aioring.CancelFdFixed) }))
		wantSet(t, r, is(1, cancelled), is(2, 0), is(3, ebadf), is(5, ebadf))
		submitAll(t, r, timeout(4, 0, time.Hour, 0, 0), entryOf(2, 0, func(s *aioring.SQE) { aioring.PrepCancelOp(s, aioring.OpRead, 0) }))
		wantSet(t, r, is(1, cancelled), is(2, 0))
		submitAll(t, r, cancel(2, 4, 0))
		wantSet(t, r, is(4, cancelled), is(2, 0))
		for _, flags := range []uint32{1 << 10, aioring.CancelAny | aioring.CancelFd, aioring.CancelAny | aioring.CancelOp} {
			submitAll(t, r, cancel(2, 1, flags))
			wantSet(t, r, is(2, einval))
		}
		head, wr := pendingRead(t, 1, aioring.FlagIOLink)
		submitAll(t, r, head, nop(7, 0), cancel(2, 7, 0))
		wantSet(t, r, is(2, enoent))
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4), is(7, 0))
	})
}

// A cancellation by number does not reach what was begun on another file of that
// number.
func TestCancelByNumberMeansItsFile(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		s, wr := pendingRead(t, 1, 0)
		submitAll(t, r, s)
		if v.worker {
			submitAll(t, r, nop(9, 0))
			wantResults(t, r, is(9, 0)) // it was taken
		}
		other, _ := emptyPipe(t)
		if err := dup2(other, int(s.Fd)); err != nil {
			t.Fatal(err)
		}
		submitAll(t, r, entryOf(2, 0, func(c *aioring.SQE) { aioring.PrepCancelFd(c, int(s.Fd), 0) }))
		wantResults(t, r, is(2, -int32(syscall.ENOENT)))
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4))
	})
}

func TestCancelSync(t *testing.T) { // check 97
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		var sqes []aioring.SQE
		for range 3 {
			s, _ := pendingRead(t, 1, 0)
			sqes = append(sqes, s)
		}
		submitAll(t, r, append(sqes, timeout(2, 0, time.Hour, 0, 0), nop(3, 0))...)
		wantResults(t, r, is(3, 0))
		var who aioring.SQE
		aioring.PrepCancel(&who, 1, aioring.CancelAll)
		if n, err := r.CancelSync(t.Context(), who); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if r.CQReady() != 3 {
			t.Errorf("%d are over", r.CQReady())
		}
		wantResults(t, r, is(1, cancelled), is(1, cancelled), is(1, cancelled))
		aioring.PrepCancelFd(&who, 9999, 0)
		if _, err := r.CancelSync(t.Context(), who); err != syscall.EBADF {
			t.Errorf("of no file: %v", err)
		}
		aioring.PrepCancel(&who, 2, 0)
		if n, err := r.CancelSync(t.Context(), who); n != 1 || err != nil {
			t.Errorf("of a timer: %d, %v", n, err)
		}
		wantResults(t, r, is(2, cancelled))
		aioring.PrepCancel(&who, 2, 1<<9)
		if _, err := r.CancelSync(t.Context(), who); err != syscall.EINVAL {
			t.Errorf("with a bad flag: %v", err)
		}
	})
}

func TestDoEndsTimersAndDrained(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		s, wr := pendingRead(t, 1, 0)
		submitAll(t, r, s)
		sqes := []aioring.SQE{timeout(2, 0, time.Hour, 0, 0), nop(3, aioring.FlagIODrain)}
		if v.kernel == aioring.KernelURing {
			sqes = sqes[:1] // Linux does not find what waits behind a drain
		}
		for _, sqe := range sqes {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for r.Stats().InFlight < 2 {
					time.Sleep(100 * time.Microsecond)
				}
				cancel()
			}()
			if c, err := r.Do(ctx, sqe); !errors.Is(err, context.Canceled) || c.Res != cancelled {
				t.Errorf("%v: %+v, %v", sqe.Opcode, c, err)
			}
		}
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4))
	})
}

func TestCloseEndsTimersChainsAndDrains(t *testing.T) { // checks 45, 99
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		s, _ := pendingRead(t, 1, aioring.FlagIOLink)
		submitAll(t, r, s, nop(2, 0), timeout(3, aioring.FlagIOLink, time.Hour, 0, 0), nop(4, 0),
			timeout(5, 0, time.Hour, 0, aioring.TimeoutMultishot), nop(6, aioring.FlagIODrain), nop(7, 0))
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if s := r.Stats(); s.InFlight != 0 || s.Submitted != 7 {
			t.Errorf("%+v", s)
		}
	})
}

// What Close ends lets others start, which it ends too.
func TestCloseEndsWhatStartsMeanwhile(t *testing.T) {
	const hard, drain = aioring.FlagIOHardlink, aioring.FlagIODrain
	eachVariant(t, func(t *testing.T, v variant) {
		for i := range 10 {
			r := v.open(t, 16)
			chains := [...][]uint8{{hard, hard, 0, 0, 0, hard, hard, 0}, {hard, hard, 0, drain, 0, drain | hard, hard, 0}}
			for _, flags := range chains[i%2] {
				s, _ := pendingRead(t, 1, flags)
				put(t, r, s)
			}
			submit(t, r, 8)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if s := r.Stats(); s.InFlight != 0 || s.Completed != 8 {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestShutdownLetsChainsAndTimersFinish(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		submitAll(t, r, timeout(1, aioring.FlagIOLink, 5*time.Millisecond, 0, aioring.TimeoutETimeSuccess), nop(2, 0), nop(3, aioring.FlagIODrain))
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for c := range r.CQEs(t.Context()) {
			got = append(got, is(c.UserData, c.Res))
		}
		if want := []string{is(1, etime), is(2, 0), is(3, 0)}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestWaitsWithATime(t *testing.T) { // checks 23 to 25, 30, 32, 35, 36
	const ms = time.Millisecond
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 16)
		for _, d := range []time.Duration{0, -1, 5 * ms} {
			if c, err := r.WaitCQETimeout(d); c != nil || err != aioring.ETIME {
				t.Errorf("%v: %v, %v", d, c, err)
			}
			if n, err := r.SubmitAndWaitTimeout(1, d); n != 0 || err != aioring.ETIME {
				t.Errorf("%v: submitted %d, %v", d, n, err)
			}
		}
		put(t, r, nop(1, 0))
		if _, err := r.WaitCQETimeout(ms); err != aioring.ETIME || r.SQReady() != 1 {
			t.Errorf("a wait has submitted: %v, %d left", err, r.SQReady())
		}
		if n, err := r.SubmitAndWaitTimeout(3, 5*ms); n != 1 || err != nil {
			t.Errorf("one of three: %d, %v", n, err)
		}
		if _, err := r.WaitCQENr(1); err != nil { // a thread of the kernel's may take its time
			t.Fatal(err)
		}
		if n, err := r.SubmitAndWaitTimeout(3, ms); n != 0 || err != nil {
			t.Errorf("one there, none submitted: %d, %v", n, err)
		}
		if c, err := r.WaitCQEs(2, ms); err != nil || c.UserData != 1 {
			t.Errorf("two, of which one is there when the time is over: %v, %v", c, err)
		}
		began := time.Now()
		if n, err := r.SubmitAndWaitMinTimeout(3, time.Hour, 5*ms); n != 0 || err != nil || time.Since(began) < 5*ms {
			t.Errorf("content with one: %d, %v after %v", n, err, time.Since(began))
		}
		submitAll(t, r, nop(2, 0), nop(3, 0))
		if c, err := r.WaitCQENr(3); err != nil || c.UserData != 1 {
			t.Errorf("three: %v, %v", c, err)
		}
		var seen []uint64
		for c := range r.ForEachCQE() {
			seen = append(seen, c.UserData)
		}
		if !slices.Equal(seen, []uint64{1, 2, 3}) || r.CQReady() != 3 {
			t.Errorf("ForEachCQE: %v, %d left", seen, r.CQReady())
		}
		r.CQAdvance(3)
		if _, err := r.WaitCQENr(0); err != syscall.EAGAIN {
			t.Errorf("WaitCQENr(0): %v", err)
		}
	})
}

func TestSetup(t *testing.T) { // checks 1 to 5, 21
	ring := func(entries int, opts ...aioring.Option) (string, error) {
		r, err := aioring.New(entries, append(opts, aioring.WithKernel(aioring.KernelThreads))...)
		if err != nil {
			return "", err
		}
		defer r.Close()
		return fmt.Sprintf("%d/%d", r.SQEntries(), r.CQEntries()), nil
	}
	for _, c := range []struct {
		entries int
		opt     aioring.Option
		want    string // "" is EINVAL
	}{
		{0, nil, ""},
		{0, aioring.WithClamp(), ""},
		{3, nil, "4/8"},
		{32769, nil, ""},
		{32769, aioring.WithClamp(), "32768/65536"},
		{4, aioring.WithCQSize(5), "4/8"},
		{4, aioring.WithCQSize(3), "4/4"},
		{4, aioring.WithCQSize(2), ""},
		{4, aioring.WithCQSize(0), ""},
		{4, aioring.WithSetup(1 << 30), ""},
		{4, aioring.WithSetup(1 << 0), ""}, // IOPOLL
		{4, aioring.WithSetup(aioring.SetupTaskrunFlag), ""},
		{4, aioring.WithSetup(aioring.SetupTaskrunFlag | aioring.SetupCoopTaskrun), "4/8"},
		{4, aioring.WithSetup(aioring.SetupDeferTaskrun), ""},
		{4, aioring.WithSetup(aioring.SetupDeferTaskrun | aioring.SetupSingleIssuer), "4/8"},
		{4, aioring.WithSetup(aioring.SetupSQPoll | aioring.SetupCoopTaskrun), ""},
	} {
		got, err := ring(c.entries, c.opt)
		if got != c.want || (c.want == "") != errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d entries, %v: %q, %v", c.entries, c.want, got, err)
		}
	}
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8, aioring.WithDisabled())
		put(t, r, nop(1, 0))
		if n, err := r.Submit(); n != 0 || err != aioring.EBADFD || r.SQReady() != 1 {
			t.Errorf("Submit: %d, %v, %d left", n, err, r.SQReady())
		}
		if err := r.Push(nop(2, 0)); err != aioring.EBADFD {
			t.Errorf("Push: %v", err)
		}
		if err := r.Enable(); err != nil {
			t.Error(err)
		}
		if err := r.Enable(); err != aioring.EBADFD {
			t.Errorf("a second time: %v", err)
		}
		submit(t, r, 1)
		wantResults(t, r, is(1, 0))
		p := r.Probe()
		uring := r.Kernel() == aioring.KernelURing
		for op := range 256 {
			s := nop(1, 0)
			s.Opcode, s.Fd = aioring.Opcode(op), -1
			if op == int(aioring.OpLinkTimeout) {
				continue // EINVAL alone, though it is known
			}
			submitAll(t, r, s)
			res, known := reap(t, r).Res, p.Supported(aioring.Opcode(op))
			for r.Stats().Alive > 0 {
				reap(t, r) // some have two CQEs
			}
			// Of io_uring's, many find nothing to do in an SQE that says nothing.
			if refused := res == -int32(syscall.EINVAL); refused == known && !(uring && known) {
				t.Errorf("opcode %d: %d, probed %v", op, res, known)
			}
		}
		last := aioring.OpWrite
		if uring {
			last = max(last, p.LastOp()) // it is the Linux's
		}
		if p.LastOp() != last || r.Features()&aioring.FeatNoDrop == 0 {
			t.Errorf("last op %v, features %#x", p.LastOp(), r.Features())
		}
	})
}

// What only describes an operation may be used again when Submit returns.
func TestVectorMayBeReusedAfterSubmit(t *testing.T) { // check 22
	eachVariant(t, func(t *testing.T, v variant) {
		if v.worker {
			return // there Submit only publishes
		}
		r := v.open(t, 64)
		f := tempFile(t, 0)
		bufs := make([][]byte, 2)
		for i := range 40 {
			bufs[0], bufs[1] = []byte{byte(i)}, []byte{byte(i), byte(i)}
			s := r.GetSQE()
			aioring.PrepWritev(s, int(f.Fd()), bufs, int64(i*3))
			submit(t, r, 1)
			clear(bufs)
		}
		for range 40 {
			if c := reap(t, r); c.Res != 3 {
				t.Errorf("%+v", c)
			}
		}
		b, _ := os.ReadFile(f.Name())
		for i := range b {
			if b[i] != byte(i/3) {
				t.Fatalf("byte %d is %d", i, b[i])
			}
		}
	})
}

// The buffers of a vector are the ring's though the vector is not: nobody else need
// hold them.
func TestBuffersOfAVectorAreKept(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		if v.worker {
			return // there Submit only publishes
		}
		r := v.open(t, 8)
		rd, wr := emptyPipe(t)
		var gone atomic.Bool
		bufs := make([][]byte, 2)
		for i := range bufs {
			buf := new([4096]byte)
			runtime.AddCleanup(buf, func(int) { gone.Store(true) }, 0)
			bufs[i] = buf[:]
		}
		submitAll(t, r, entryOf(1, 0, func(s *aioring.SQE) { aioring.PrepReadv(s, rd, bufs, aioring.CurrentPosition) }))
		clear(bufs)
		for range 3 {
			runtime.GC()
		}
		if gone.Load() {
			t.Error("a buffer under way was collected")
		}
		write(t, wr, "1234")
		wantResults(t, r, is(1, 4))
		for deadline := time.Now().Add(20 * time.Second); !gone.Load(); runtime.GC() {
			r.Stats() // what was consumed is let go
			if time.Now().After(deadline) {
				t.Fatal("a buffer is kept after its operation")
			}
		}
	})
}

func TestNotification(t *testing.T) { // checks 42 to 44
	readable := func(fd int) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n == 1
	}
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 8)
		if err := r.UnregisterEventfd(); err != syscall.ENXIO {
			t.Errorf("none: %v", err)
		}
		fd, err := r.OpenEventfd()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.OpenEventfd(); err != syscall.EBUSY {
			t.Errorf("a second one: %v", err)
		}
		if err := r.RegisterEventfd(int(tempFile(t, 0).Fd())); err != syscall.EINVAL {
			t.Errorf("a file: %v", err)
		}
		ch := r.Notify()
		f := tempFile(t, 0)
		for i := range 20 {
			submitAll(t, r, entryOf(uint64(i), 0, func(s *aioring.SQE) { aioring.PrepWrite(s, int(f.Fd()), make([]byte, 8), 0) }))
			for r.CQReady() == 0 {
				<-ch
			}
			if p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}; true {
				if n, err := unix.Poll(p, 10_000); n != 1 {
					t.Fatalf("not readable: %v", err)
				}
			}
			buf := make([]byte, 64)
			for {
				if _, err := unix.Read(fd, buf); err != nil {
					break
				}
			}
			wantResults(t, r, is(uint64(i), 8))
		}
		if err := r.ToggleEventfd(false); err != nil {
			t.Error(err)
		}
		submitAll(t, r, nop(1, 0))
		wantResults(t, r, is(1, 0))
		if readable(fd) {
			t.Error("silenced, it is readable")
		}
		if err := r.ToggleEventfd(true); err != nil {
			t.Error(err)
		}
		submitAll(t, r, nop(1, 0))
		reap(t, r)
		<-ch
		if err := r.UnregisterEventfd(); err != nil {
			t.Error(err)
		}
	})
}

// A descriptor of the caller's is written to while it is registered, and stays open.
func TestRegisteredEventfd(t *testing.T) { // checks 42, 44
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		write, read := ownEventfd(t)
		told := func(timeout int) bool {
			p := []unix.PollFd{{Fd: int32(read), Events: unix.POLLIN}}
			n, _ := unix.Poll(p, timeout)
			for n == 1 {
				if _, err := unix.Read(read, make([]byte, 64)); err != nil {
					break
				}
			}
			return n == 1
		}
		if err := r.RegisterEventfd(-1); err != syscall.EBADF {
			t.Errorf("no descriptor: %v", err)
		}
		if err := r.RegisterEventfd(write); err != nil {
			t.Fatal(err)
		}
		if err := r.RegisterEventfd(write); err != syscall.EBUSY {
			t.Errorf("a second time: %v", err)
		}
		if _, err := r.OpenEventfd(); err != syscall.EBUSY {
			t.Errorf("another beside it: %v", err)
		}
		for i := range 12 { // the last ones wait behind a full queue
			submitAll(t, r, nop(uint64(i), 0))
			if !told(10_000) {
				t.Fatalf("nobody tells of %d", i)
			}
		}
		if !r.CQHasOverflow() {
			t.Error("no overflow")
		}
		for range 12 {
			reap(t, r)
		}
		if err := r.UnregisterEventfd(); err != nil {
			t.Error(err)
		}
		if err := r.UnregisterEventfd(); err != syscall.ENXIO {
			t.Errorf("a second time: %v", err)
		}
		submitAll(t, r, nop(1, 0))
		reap(t, r)
		if told(0) {
			t.Error("told of what came later")
		}
		if _, err := unix.FcntlInt(uintptr(write), unix.F_GETFD, 0); err != nil {
			t.Errorf("the ring has closed it: %v", err)
		}
	})
}

// A closed ring tells those who listen, once, and takes no more of them.
func TestNotificationAfterClose(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 4)
		ch := r.Notify()
		fd, err := r.OpenEventfd()
		if err != nil {
			t.Fatal(err)
		}
		same, err := unix.Dup(fd) // the ring closes its own
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(same)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		<-ch
		p := []unix.PollFd{{Fd: int32(same), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 0); n != 1 {
			t.Errorf("the descriptor does not tell: %v", err)
		}
		write, _ := ownEventfd(t)
		if err := r.RegisterEventfd(write); err != aioring.ErrClosed {
			t.Errorf("RegisterEventfd: %v", err)
		}
		if _, err := r.OpenEventfd(); err != aioring.ErrClosed {
			t.Errorf("OpenEventfd: %v", err)
		}
		if err := r.ToggleEventfd(false); err != aioring.ErrClosed {
			t.Errorf("ToggleEventfd: %v", err)
		}
		if err := r.UnregisterEventfd(); err != syscall.ENXIO {
			t.Errorf("UnregisterEventfd: %v", err)
		}
		if r.Notify() != ch {
			t.Error("another channel")
		}
	})
}
