package aio

// Token names one use of one control block: the slot is the block's index in its
// [Slab], the generation tells this use from the earlier ones. It travels
// through the kernel as the udata of the job's event and is never a pointer, so
// an event that comes late names something that can be checked.
type Token struct {
	Slot uint32
	Gen  uint32 // never 0, so that udata is never 0
}

// Next is the token of the slot's next use. The first is Token{slot, 1}, which
// Next makes of Token{slot, 0}; after the largest generation comes 1 again.
func (t Token) Next() Token {
	t.Gen++
	if t.Gen == 0 {
		t.Gen = 1
	}
	return t
}

// Udata packs the token for [Sigevent].Value: slot above generation where a
// pointer has 64 bits, the generation alone where it has 32.
func (t Token) Udata() uintptr { return uintptr(uint64(t.Slot)<<32 | uint64(t.Gen)) }

// TokenOf unpacks the token of an AIO event. The slot is found from the address
// of the control block, which the event has as its ident; where udata has room
// for the slot too, they must agree. false: the event is of another kind, or of
// a block that is not in this slab.
func TokenOf(ev *Kevent, slab *Slab) (Token, bool) {
	if ev.Filter != FilterAIO {
		return Token{}, false
	}
	slot, ok := slab.Index(ev.Ident)
	if !ok {
		return Token{}, false
	}
	t := Token{Slot: uint32(slot), Gen: uint32(ev.Udata)}
	if t.Gen == 0 || t.Udata() != ev.Udata {
		return Token{}, false
	}
	return t, true
}
