package aioring

import (
	"sync/atomic"

	"github.com/aioring/aioring/internal/engine"
)

// opList marks the SQE of an entry that has a list. The engine knows no such opcode
// and refuses it, should a copy of the SQE be submitted elsewhere.
const opList Opcode = 254

// ListOption changes how a list is run.
type ListOption func(*group)

// HandBack asks for what the kernel's own lists do: what it has no room for is handed
// back, not run later. The list's event then comes when the members that were accepted
// have ended, at once if there were none; [Entry.Member] tells which have a result, and
// after a clear the next Submit submits the others. When every member has its
// result, it submits all anew.
//
// Only want of room hands back. A member that the kernel would never take runs as a
// plain call, as all do on a kernel without lists.
//
// Source: lio_listio(2); FreeBSD sys/kern/vfs_aio.c, kern_lio_listio.
func HandBack() ListOption { return func(g *group) { g.handBack = true } }

// PrepList prepares an entry, of which nothing is under way, with a list of
// operations: they are submitted together and have one event, when the last of them
// has ended. The SQEs are copied; their buffers are held and are the ring's as those
// of a single one are. Their UserData comes back in [Entry.Member].
//
// What the kernel does not accept of the list, for want of room, is run later, before
// the event: it shows in no result. A short transfer is a result: it is not completed
// behind anybody's back. Members fail each for itself, and start in no order.
func PrepList(e *Entry, sqes []SQE, opts ...ListOption) {
	g := newGroup(e.entry, len(sqes))
	g.sqes = make([]SQE, len(sqes))
	copy(g.sqes, sqes)
	for i := range g.sqes {
		engine.Own(&g.sqes[i], &g.members[i])
	}
	for _, set := range opts {
		if set != nil {
			set(g)
		}
	}
	e.entry.list = g
	prep(&e.entry.sqe, opList, -1, 0)
}

// Member is the final CQE of a list's i-th operation, counted from 0. It is false if
// there is none: the operation is under way, or was handed back (see [HandBack]), or
// there is no such member.
func (e *Entry) Member(i int) (CQE, bool) {
	g := e.entry.group.Load()
	if g.sqes == nil || i < 0 || i >= len(g.members) {
		return CQE{}, false
	}
	m := &g.members[i]
	if !m.has.Load() {
		return CQE{}, false
	}
	return m.result.load(), true
}

// group is what one Submit of an entry submits: one operation, or a list.
type group struct {
	entry    *entry
	sqes     []SQE // the list's; nil for a single one
	members  []member
	handBack bool
	userData uint64 // of the list's CQE

	// These are the submitter's, then the engine owner's, from Push to arrive.
	left     int // members without an end
	finished int // members with a result

	result result // published by the entry's readiness
}

// member is one operation of a group, and the owner of its engine.Op.
type member struct {
	group      *group
	handedBack bool        // the engine's owner's: the kernel had no room
	has        atomic.Bool // result is one
	result     result
}

// result is a CQE that may be read while the next is written; who reads it finds out
// afterwards.
type result struct{ userData, res atomic.Uint64 }

func (s *result) store(cqe engine.CQE) {
	s.userData.Store(cqe.UserData)
	s.res.Store(uint64(uint32(cqe.Res))<<32 | uint64(cqe.Flags))
}

func (s *result) load() CQE {
	res := s.res.Load()
	return CQE{UserData: s.userData.Load(), Res: int32(res >> 32), Flags: uint32(res)}
}

func newGroup(e *entry, n int) *group {
	g := &group{entry: e, members: make([]member, n)}
	for i := range g.members {
		g.members[i].group = g
	}
	return g
}

// rest appends the members of a list that have no result, or all if all have one.
func (g *group) rest(to []SQE) []SQE {
	if g.finished == len(g.members) {
		g.finished = 0
		for i := range g.members {
			g.members[i].has.Store(false)
		}
	}
	for i := range g.members {
		if !g.members[i].has.Load() {
			to = append(to, g.sqes[i])
		}
	}
	return to
}

// end takes the final CQE of one of the group's operations. The engine's owner calls
// it, with the completion queue's lock.
func (m *member) end(cqe engine.CQE, woken *wakeList) {
	g := m.group
	if m.handedBack {
		m.handedBack = false
	} else {
		m.result.store(cqe)
		m.has.Store(true)
		g.finished++
	}
	if g.left--; g.left > 0 {
		return
	}
	if g.sqes == nil {
		g.result.store(cqe)
		m.has.Store(false)
		g.finished = 0
	}
	g.end(woken)
}

// end is the end of all that was submitted of the group.
func (g *group) end(woken *wakeList) {
	if g.sqes != nil {
		g.result.store(engine.CQE{UserData: g.userData, Res: int32(g.finished)})
	}
	g.entry.arrive(woken)
}

// onlyOnce reports whether an operation is handed back when there is no room for it.
func onlyOnce(op *engine.Op) bool {
	m, _ := op.Owner.(*member)
	return m != nil && m.group.handBack
}

// handBack notes that there was none.
func handBack(op *engine.Op) {
	if m, _ := op.Owner.(*member); m != nil {
		m.handedBack = true
	}
}
