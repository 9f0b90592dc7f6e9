package engine

import "testing"

func TestDrainWaitsForAllBeforeAndHoldsAllAfter(t *testing.T) { // checks 72, 73
	r := newRig(t)
	r.submit(read(1, 0), read(2, 0), read(3, bar), read(4, 0))
	r.submit(nop(5, 0), cancel(6, 1, 0))
	r.want("1+", "2+")
	r.end(2, 8)
	r.want("2:8")
	r.end(1, 8)
	r.want("1:8", "3+")
	r.end(3, 8)
	r.want("3:8", "5:0", "4+", "6:ENOENT")
	r.end(4, 8)
	r.want("4:8")
	r.over()
}

func TestDrainsOneAfterTheOther(t *testing.T) {
	r := newRig(t)
	r.submit(nop(1, bar), read(2, bar), read(3, bar), nop(4, bar))
	r.want("1:0", "2+")
	r.end(2, 8)
	r.want("2:8", "3+")
	r.end(3, 8)
	r.want("3:8", "4:0")
	r.over()
}

// What runs alone holds what comes while nothing waits behind it; and what it has let go
// a later one waits for.
func TestDrainsAreTurns(t *testing.T) {
	r := newRig(t)
	r.submit(read(1, bar))
	r.submit(nop(2, 0))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2:0")
	r.submit(read(1, 0), read(2, bar), read(3, 0), read(4, bar))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2+")
	r.end(2, 8)
	r.want("2:8", "3+")
	r.end(3, 8)
	r.want("3:8", "4+")
	r.end(4, 8)
	r.want("4:8")
	r.over()
}

func TestDrainOnAMemberHoldsTheWholeChain(t *testing.T) { // check 74
	r := newRig(t)
	r.submit(read(1, 0), read(2, link), read(3, bar|link), nop(4, 0), nop(5, 0))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2+")
	r.end(2, 8)
	r.want("2:8", "3+")
	r.end(3, eio)
	r.want("3:EIO", "4:cancelled", "5:0")
	r.over()
}

// A chain that is under way counts with all its members.
func TestDrainWaitsForTheChainBefore(t *testing.T) {
	r := newRig(t)
	r.submit(read(1, link), read(2, 0), nop(3, bar))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2+")
	r.end(2, 8)
	r.want("2:8", "3:0")
	r.submit(read(1, link), read(2, 0), nop(3, bar))
	r.want("1+")
	r.end(1, eio)
	r.want("1:EIO", "2:cancelled", "3:0")
	r.over()
}

func TestDrainWaitsForTimersAndTheirLast(t *testing.T) { // check 75
	r := newRig(t)
	s := timeout(1, 0, 10, TimeoutMultishot)
	s.Off = 2
	r.submit(s, nop(2, bar))
	r.Advance(10)
	r.want("1~")
	r.Advance(20)
	r.want("1:ETIME", "2:0")
	r.submit(read(1, link), limit(2, 0, 100), nop(3, bar))
	r.want("1+")
	r.end(1, 8)
	r.want("1:8", "2:cancelled", "3:0")
	r.over()
}

// What a drain holds is not found, and a cancellation that is no operation goes past.
func TestDrainIsReleasedByWhatIsNoOperation(t *testing.T) { // check 76
	r := newRig(t)
	r.submit(read(1, 0), nop(2, bar), nop(3, 0))
	r.want("1+")
	for which, want := range map[uint64]string{2: "ENOENT", 3: "ENOENT", 1: "0"} {
		c, err := NewCancel(SQE{Addr: which})
		if err != nil {
			t.Fatal(err)
		}
		if which == 1 {
			continue
		}
		r.Cancel(c)
		r.want()
		if !c.Over() || result(c.CQE.Res) != want {
			t.Errorf("of %d: %s", which, result(c.CQE.Res))
		}
	}
	c, _ := NewCancel(SQE{Addr: 1})
	r.Cancel(c)
	r.want("1?0", "1:cancelled", "2:0", "3:0")
	if c.CQE.Res != 0 || r.Remains(c) {
		t.Errorf("%+v", c.CQE)
	}
	r.over()
}

func TestNoDrainAfterASkip(t *testing.T) { // check 71
	r := newRig(t)
	if n := r.submit(nop(1, skip), nop(2, bar), nop(3, 0)); n != 2 {
		t.Errorf("%d taken", n)
	}
	r.want("2:EOPNOTSUPP")
	r.submit(nop(1, bar|skip))
	r.want("1:EOPNOTSUPP")
	// An entry that is refused first was not seen.
	r = newRig(t)
	r.submit(bad(1, skip))
	r.submit(nop(2, bar))
	r.want("1:EINVAL", "2:0")
	r.over()
}

func TestEndOfWhatADrainHolds(t *testing.T) {
	r := newRig(t)
	r.submit(read(1, 0), read(2, bar), read(3, 0), read(4, link), nop(5, 0))
	r.want("1+")
	find := func(data uint64) *Op {
		for i := range r.made {
			if op := r.Op(i); op.SQE.UserData == data {
				return op
			}
		}
		return nil
	}
	if r.End(find(3)) {
		t.Error("3 runs")
	}
	r.want("3:cancelled")
	if r.End(find(4)) { // of a chain: when its turn comes
		t.Error("4 runs")
	}
	r.want()
	if !r.End(r.ops[1]) {
		t.Error("1 does not run")
	}
	r.end(1, 8)
	r.want("1:8", "2+")
	r.end(2, 8)
	r.want("2:8", "4:cancelled", "5:cancelled")
	r.over()
}
