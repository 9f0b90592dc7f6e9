package reactor

import "cmp"

// Timer names a timer that was added. The zero Timer names none.
type Timer struct{ slot, generation uint32 }

// Now is the time by the reactor's clock: nanoseconds, which begin anywhere and never
// go back.
func (r *Reactor) Now() int64 { return r.clock() }

// SetClock gives the reactor another clock, that of a ring or of a simulation. It is
// for the time before the first use. A Sleep takes a difference of two times for as
// long a time of the kernel's.
func (r *Reactor) SetClock(now func() int64) { r.clock = now }

// AddTimer has a Poll or Sleep of the time when, or a later one, bring a Notice with
// this token, once. It is never early. Those of one time come in the order in which
// they were added. A time in the past is for the next Poll.
//
// All timers together are the one timeout of a sleep: adding makes a system call only
// when somebody sleeps for longer than the new one allows. Any goroutine may call it.
func (r *Reactor) AddTimer(when int64, token uint64) Timer {
	r.mu.Lock()
	t := r.timers.add(when, token)
	r.concerns.Add(1)
	// 0: who sleeps next looks at the timers after us.
	early := when < r.until
	r.mu.Unlock()
	if early {
		r.Wake()
	}
	return t
}

// CancelTimer takes a timer back. true: no Notice of it will come. false: it has come,
// or is among those that were just brought, or it was cancelled before. It makes no
// system call: a sleep that was to end with it does so, once, for nothing. Any
// goroutine may call it.
func (r *Reactor) CancelTimer(t Timer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.timers.cancel(t) {
		return false
	}
	r.concerns.Add(-1)
	return true
}

// timerHeap is the timers, the first to expire on top, in an array where those below
// i are at 2i+1 and 2i+2.
type timerHeap struct {
	order []timerNode
	slots []timerSlot
	free  []uint32
	added uint64
}

type timerNode struct {
	when   int64
	number uint64 // decides between equal times
	slot   uint32
}

// timerSlot is where a Timer finds its node.
type timerSlot struct {
	token      uint64
	generation uint32 // of the timer in it, or of the last one
	at         int32  // its index in order; -1 for none
}

func (a timerNode) before(b timerNode) bool {
	if c := cmp.Compare(a.when, b.when); c != 0 {
		return c < 0
	}
	return a.number < b.number
}

func (h *timerHeap) add(when int64, token uint64) Timer {
	var slot uint32
	if n := len(h.free); n > 0 {
		slot, h.free = h.free[n-1], h.free[:n-1]
	} else {
		slot = uint32(len(h.slots))
		h.slots = append(h.slots, timerSlot{})
	}
	s := &h.slots[slot]
	s.token = token
	if s.generation++; s.generation == 0 {
		s.generation = 1
	}
	h.added++
	h.order = append(h.order, timerNode{})
	h.up(len(h.order)-1, timerNode{when: when, number: h.added, slot: slot})
	return Timer{slot, s.generation}
}

func (h *timerHeap) cancel(t Timer) bool {
	if int(t.slot) >= len(h.slots) {
		return false
	}
	s := &h.slots[t.slot]
	if s.generation != t.generation || s.at < 0 {
		return false
	}
	h.remove(int(s.at))
	return true
}

// pop takes out the first timer if it has expired, and returns its token.
func (h *timerHeap) pop(now int64) (token uint64, expired bool) {
	if len(h.order) == 0 || h.order[0].when > now {
		return 0, false
	}
	token = h.slots[h.order[0].slot].token
	h.remove(0)
	return token, true
}

func (h *timerHeap) remove(i int) {
	slot := h.order[i].slot
	h.slots[slot].at = -1
	h.free = append(h.free, slot)
	last := len(h.order) - 1
	moved := h.order[last]
	h.order = h.order[:last]
	if i == last {
		return
	}
	if i > 0 && moved.before(h.order[(i-1)/2]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

// up puts n at i or above.
func (h *timerHeap) up(i int, n timerNode) {
	for i > 0 && n.before(h.order[(i-1)/2]) {
		h.put(i, h.order[(i-1)/2])
		i = (i - 1) / 2
	}
	h.put(i, n)
}

// down puts n at i or below.
func (h *timerHeap) down(i int, n timerNode) {
	for {
		child := 2*i + 1
		if child+1 < len(h.order) && h.order[child+1].before(h.order[child]) {
			child++
		}
		if child >= len(h.order) || !h.order[child].before(n) {
			break
		}
		h.put(i, h.order[child])
		i = child
	}
	h.put(i, n)
}

func (h *timerHeap) put(i int, n timerNode) {
	h.order[i] = n
	h.slots[n.slot].at = int32(i)
}
