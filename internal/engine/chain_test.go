package engine

import "testing"

func TestMembersRunOneAfterTheOther(t *testing.T) { // check 46
	r := newRig(t)
	r.submit(read(1, link), nop(2, link), read(3, hard), read(4, 0), read(5, 0))
	r.want("1+", "5+")
	r.end(5, 8)
	r.end(1, 8)
	r.want("5:8", "1:8", "2:0", "3+")
	r.end(3, 8)
	r.want("3:8", "4+")
	r.end(4, 3) // its last breaks nothing
	r.want("4:3")
	r.over()
}

func TestWhatBreaksAChain(t *testing.T) { // checks 47 to 50, 53 to 55
	for _, c := range []struct {
		name string
		sqe  SQE
		res  int32
		cut  bool
	}{
		{"all of it", read(1, link), 8, false},
		{"an error", read(1, link), eio, true},
		{"a short read", read(1, link), 7, true},
		{"the end of the file", read(1, link), 0, true},
		{"hard, an error", read(1, hard), eio, false},
		{"hard, a short read", read(1, hard), 1, false},
		{"link and hard are hard", read(1, link|hard), eio, false},
		{"fsync's error", SQE{Opcode: OpFsync, UserData: 1, Flags: link}, eio, true},
		{"fsync", SQE{Opcode: OpFsync, UserData: 1, Flags: link}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.submit(c.sqe, read(2, 0))
			r.want("1+")
			r.end(1, c.res)
			if c.cut {
				r.want("1:"+result(c.res), "2:cancelled")
			} else {
				r.want("1:"+result(c.res), "2+")
				r.end(2, 8)
				r.want("2:8")
			}
			r.over()
		})
	}
}

// A positive result of a NOP breaks nothing, and a long transfer is whole at
// MaxTransfer.
func TestWhatBreaksNoChain(t *testing.T) {
	for res, want := range map[int32]bool{-1: true, 0: false, 5: false} {
		if got := breaks(&Op{}, res); got != want {
			t.Errorf("NOP with %d breaks: %v", res, got)
		}
	}
	long := &Op{SQE: SQE{Opcode: OpRead}, bytes: MaxTransfer + 10}
	if breaks(long, MaxTransfer) || !breaks(long, MaxTransfer-1) {
		t.Error("a transfer longer than the longest")
	}
}

func TestHardLinkProtectsOnlyWhereItIs(t *testing.T) { // check 55
	r := newRig(t)
	r.submit(read(1, hard), read(2, link), nop(3, link), nop(4, 0))
	r.want("1+")
	r.end(1, eio)
	r.want("1:EIO", "2+")
	r.end(2, eio)
	r.want("2:EIO", "3:cancelled", "4:cancelled")
	r.over()
}

func TestRefusedMemberEndsItsWholeChain(t *testing.T) { // checks 18, 56
	r := newRig(t)
	if n := r.submit(read(1, hard), nop(2, hard), bad(3, hard), nop(4, 0), read(5, 0)); n != 5 {
		t.Errorf("%d taken", n)
	}
	r.want("1:cancelled", "2:cancelled", "3:EINVAL", "4:cancelled", "5+")
	r.end(5, 8)
	r.want("5:8")
	// One that ends its chain, or is none, stops the submission.
	if n := r.submit(nop(1, link), bad(2, 0), nop(3, 0)); n != 2 {
		t.Errorf("%d taken", n)
	}
	r.want("1:cancelled", "2:EINVAL")
	if n := r.submit(nop(1, 0), bad(2, 0), nop(3, 0)); n != 2 {
		t.Errorf("%d taken", n)
	}
	r.want("1:0", "2:EINVAL")
	if n := r.submit(bad(1, link), bad(2, 0), nop(3, 0)); n != 2 {
		t.Errorf("%d taken", n)
	}
	r.want("1:EINVAL", "2:EINVAL")
	r.over()
}

func TestChainEndsWithItsSubmission(t *testing.T) { // checks 57, 58
	r := newRig(t)
	r.submit(read(1, link))
	if r.InChain() {
		t.Error("a chain is open")
	}
	r.submit(read(2, link), nop(3, 0))
	r.want("1+", "2+")
	r.end(1, eio)
	r.want("1:EIO")
	r.end(2, 8)
	r.want("2:8", "3:0")
	r.over()
}

func TestSkipOfTheOneThatFailsDecides(t *testing.T) { // checks 68 to 70
	for _, c := range []struct {
		name string
		sqes []SQE
		want []string
	}{
		{"success is silent", []SQE{read(1, link|skip), nop(2, skip), nop(3, 0)}, []string{"3:0", "1+"}},
		{"failure is told", []SQE{read(1, skip)}, []string{"1+", "1:EIO"}},
		{"and the rest is silent", []SQE{read(1, link|skip), nop(2, link), nop(3, 0)}, []string{"1+", "1:EIO"}},
		{"the rest is told", []SQE{read(1, link), nop(2, link|skip), nop(3, skip)}, []string{"1+", "1:EIO", "2:cancelled", "3:cancelled"}},
		{"of a refused chain the head decides", []SQE{nop(1, link|skip), bad(2, link), nop(3, 0)}, []string{"1:cancelled"}},
		{"also so", []SQE{nop(1, link), bad(2, link|skip), nop(3, skip)}, []string{"1:cancelled", "2:EINVAL", "3:cancelled"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.submit(c.sqes...)
			r.look()
			if r.ops[1] != nil {
				res := eio
				if c.name == "success is silent" {
					res = 8
				}
				r.end(1, res)
			}
			r.want(c.want...)
			r.over()
		})
	}
}
