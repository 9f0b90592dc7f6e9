package engine

import (
	"syscall"
	"testing"
)

func TestTimersGoOffInOrderAndNeverEarly(t *testing.T) { // checks 77, 84
	r := newRig(t)
	r.submit(timeout(30, 0, 30, 0), timeout(10, 0, 10, 0), timeout(20, 0, 20, 0), timeout(11, 0, 10, 0))
	r.Advance(9)
	r.want()
	if at, ok := r.NextDeadline(); at != 10 || !ok {
		t.Errorf("next at %d, %v", at, ok)
	}
	r.Advance(20)
	r.want("10:ETIME", "11:ETIME", "20:ETIME")
	r.Advance(29)
	r.want()
	r.Advance(1000)
	r.want("30:ETIME")
	if _, ok := r.NextDeadline(); ok {
		t.Error("a deadline is left")
	}
	r.over()
}

// A timer that follows something begins when that ends, not when it was submitted.
func TestTimerBeginsWhenItStarts(t *testing.T) {
	r := newRig(t)
	r.submit(read(1, link), timeout(2, 0, 10, 0))
	r.want("1+")
	r.Observe(100)
	r.end(1, 8)
	r.want("1:8")
	r.Advance(109)
	r.want()
	r.Advance(110)
	r.want("2:ETIME")
	r.over()
}

func TestTimesOfEachClock(t *testing.T) { // check 82
	r := newRig(t)
	r.Advance(1000)
	r.SetClocks(-1_000_000, -2_000_000, -3_000_000) // those of the system are later
	r.submit(timeout(1, 0, 1_000_000+1010, TimeoutAbs), timeout(2, 0, 2_000_000+1020, TimeoutAbs|TimeoutBoottime),
		timeout(3, 0, 3_000_000+1030, TimeoutAbs|TimeoutRealtime), timeout(4, 0, 5, TimeoutAbs))
	r.Advance(1000)
	r.want("4:ETIME") // in the past
	r.Advance(1009)
	r.want()
	r.Advance(1010)
	r.want("1:ETIME")
	r.Advance(1029)
	r.want("2:ETIME")
	r.Advance(1030)
	r.want("3:ETIME")
	r.over()
}

func TestTimeBeyondTheEnd(t *testing.T) {
	r := newRig(t)
	r.Advance(100)
	r.submit(timeout(1, 0, 1<<63-1, 0))
	if at, _ := r.NextDeadline(); at != 1<<63-1 {
		t.Errorf("at %d", at)
	}
	r.CancelAll()
	r.want("1:cancelled")
	r.over()
}

func TestCountOfCompletions(t *testing.T) { // check 78
	count := func(data uint64, n int64) SQE { return SQE{Opcode: OpTimeout, UserData: data, Time: 1000, Off: n} }
	r := newRig(t)
	r.submit(read(1, 0), read(2, skip), read(3, 0), count(4, 2), count(5, 1), timeout(6, 0, 10, 0))
	r.want("1+", "2+", "3+")
	r.Advance(10)
	r.want("6:ETIME") // timers do not count
	r.end(2, 8)
	r.want() // nor does what has no CQE
	r.end(1, 8)
	r.want("1:8", "5:0")
	r.end(3, 8)
	r.want("3:8", "4:0")
	// The time may come first.
	r.submit(count(1, 1))
	r.Advance(2000)
	r.want("1:ETIME")
	r.submit(nop(2, 0))
	r.want("2:0")
	r.over()
}

func TestRepeats(t *testing.T) { // checks 41, 83
	r := newRig(t)
	s := timeout(1, 0, 10, TimeoutMultishot)
	s.Off = 3
	r.submit(s)
	for _, want := range []string{"1~", "1~", "1:ETIME"} {
		r.Advance(r.now + 9)
		r.want()
		r.Advance(r.now + 1)
		r.want(want)
	}
	s.Off = 0 // for ever
	r.submit(s)
	for range 10 {
		r.Advance(r.now + 10)
		r.want("1~")
	}
	r.submit(SQE{Opcode: OpTimeoutRemove, UserData: 2, Addr: 1})
	r.want("1:cancelled", "2:0")
	// Set anew it repeats without end, and waits for no count.
	s.Off = 2
	r.submit(s, SQE{Opcode: OpTimeoutRemove, UserData: 2, Addr: 1, Time: 5, OpFlags: TimeoutUpdate})
	r.want("2:0")
	for range 5 {
		r.Advance(r.now + 5)
		r.want("1~")
	}
	r.CancelAll()
	r.want("1:cancelled")
	r.over()
}

func TestRemoveAndUpdate(t *testing.T) { // checks 79 to 81
	remove := func(data, which uint64) SQE { return SQE{Opcode: OpTimeoutRemove, UserData: data, Addr: which} }
	update := func(data, which uint64, t int64, flags uint32) SQE {
		return SQE{Opcode: OpTimeoutRemove, UserData: data, Addr: which, Time: t, OpFlags: TimeoutUpdate | flags}
	}
	r := newRig(t)
	r.submit(timeout(1, 0, 100, 0), remove(2, 1), remove(3, 1))
	r.want("1:cancelled", "2:0", "3:ENOENT")
	r.submit(timeout(1, 0, 100, 0), update(2, 1, 10, 0), update(3, 9, 10, 0))
	r.want("2:0", "3:ENOENT")
	r.Advance(10)
	r.want("1:ETIME")
	r.submit(timeout(1, 0, 100, 0), update(2, 1, 50, TimeoutAbs))
	r.want("2:0")
	r.Advance(49)
	r.want()
	r.Advance(50)
	r.want("1:ETIME")
	// A link timeout is found only as one, and a timeout only as one.
	r.submit(read(1, link), limit(2, 0, 100), timeout(3, 0, 100, 0))
	r.submit(update(4, 2, 10, 0), update(5, 3, 10, LinkTimeoutUpdate), remove(6, 2))
	r.want("4:ENOENT", "5:ENOENT", "6:ENOENT", "1+")
	r.submit(update(7, 2, 10, LinkTimeoutUpdate))
	r.want("7:0")
	r.Advance(60)
	r.want("1?2", "2:ETIME", "1:cancelled")
	r.CancelAll()
	r.want("3:cancelled")
	r.over()
}

func TestLimitOfTheOneBefore(t *testing.T) { // checks 61 to 63, 67
	r := newRig(t)
	r.submit(read(1, link), limit(2, 0, 10))
	r.want("1+")
	r.Advance(9)
	r.want()
	r.Advance(10)
	r.want("1?2", "2:ETIME", "1:cancelled")
	r.submit(read(1, link), limit(2, link, 10), nop(3, 0))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2:cancelled", "3:0")
	r.submit(read(1, link), limit(2, link, 10), nop(3, 0))
	r.Advance(20)
	r.want("1+", "1?2", "2:ETIME", "1:cancelled", "3:cancelled")
	r.submit(read(1, hard), limit(2, link, 10), nop(3, 0))
	r.Advance(30)
	r.want("1+", "1?2", "2:ETIME", "1:cancelled", "3:0")
	// Of the second of a chain, and only then.
	r.submit(read(1, link), read(2, link), limit(3, 0, 10))
	r.Advance(1000)
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2+")
	r.Advance(1010)
	r.want("2?3", "3:ETIME", "2:cancelled")
	r.over()
}

func TestLimitWithNothingToLimit(t *testing.T) { // checks 64, 65
	r := newRig(t)
	r.submit(limit(1, 0, 10))
	r.want("1:EINVAL")
	r.submit(limit(1, link, 10), nop(2, 0))
	r.want("1:EINVAL", "2:cancelled")
	r.submit(nop(1, link), limit(2, link, 10), limit(3, 0, 10))
	r.want("1:cancelled", "2:cancelled", "3:EINVAL")
	r.over()
}

// What the target could not do about it is the limit's result; it ends all the same.
func TestLimitOfWhatCannotBeStopped(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{syscall.EALREADY: "2:EALREADY", syscall.ENOENT: "2:ENOENT", 0: "2:ETIME"} {
		r := newRig(t)
		r.submit(read(1, link), limit(2, 0, 10))
		r.want("1+")
		r.Advance(10)
		target, by := r.NextCancel()
		if target == nil || target.SQE.UserData != 1 || by.SQE.UserData != 2 {
			t.Fatal("1 is not to be cancelled")
		}
		r.Answer(target, errno)
		r.want(want)
		r.end(1, 8)
		r.want("1:8")
		r.over()
	}
}

func TestTimeoutBreaksItsChainUnlessAskedNotTo(t *testing.T) { // check 59
	r := newRig(t)
	r.submit(timeout(1, link, 10, 0), nop(2, 0))
	r.submit(timeout(3, link, 10, TimeoutETimeSuccess), nop(4, 0))
	r.submit(timeout(5, hard, 10, 0), nop(6, 0))
	r.submit(timeout(7, link|skip, 10, TimeoutETimeSuccess), nop(8, 0))
	r.Advance(10)
	r.want("1:ETIME", "2:cancelled", "3:ETIME", "4:0", "5:ETIME", "6:0", "8:0")
	r.over()
}

func TestRefusedTimeouts(t *testing.T) { // check 85
	with := func(s SQE, f func(*SQE)) SQE { f(&s); return s }
	for name, s := range map[string]SQE{
		"negative":                timeout(1, 0, -1, 0),
		"unknown flag":            timeout(1, 0, 1, 1<<10),
		"both clocks":             timeout(1, 0, 1, TimeoutBoottime|TimeoutRealtime),
		"repeats at a time":       timeout(1, 0, 1, TimeoutMultishot|TimeoutAbs),
		"count too large":         with(timeout(1, 0, 1, 0), func(s *SQE) { s.Off = 1 << 32 }),
		"negative count":          with(timeout(1, 0, 1, 0), func(s *SQE) { s.Off = -1 }),
		"removes with a flag":     {Opcode: OpTimeoutRemove, UserData: 1, OpFlags: TimeoutAbs},
		"updates with another":    {Opcode: OpTimeoutRemove, UserData: 1, OpFlags: TimeoutUpdate | TimeoutMultishot},
		"updates to before":       {Opcode: OpTimeoutRemove, UserData: 1, OpFlags: TimeoutUpdate, Time: -1},
		"removes a fixed file":    {Opcode: OpTimeoutRemove, UserData: 1, Flags: FlagFixedFile},
		"limit with a count":      with(limit(1, 0, 1), func(s *SQE) { s.Off = 1 }),
		"limit with unknown flag": with(limit(1, 0, 1), func(s *SQE) { s.OpFlags = 1 << 10 }),
	} {
		r := newRig(t)
		sqes := []SQE{s}
		want := []string{"1:EINVAL"}
		if s.Opcode == OpLinkTimeout {
			sqes, want = []SQE{nop(2, link), s}, []string{"2:cancelled", "1:EINVAL"}
		}
		r.submit(sqes...)
		r.look()
		if len(r.log) != len(want) || r.log[len(want)-1] != "1:EINVAL" {
			t.Errorf("%s: %v", name, r.log)
		}
		r.log = nil
		r.over()
	}
}
