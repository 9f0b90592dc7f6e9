//go:build unix

package aio

import (
	"math"
	"testing"
	"unsafe"
)

func TestTokenGoesThroughAnEvent(t *testing.T) {
	s := newSlab(t, 300)
	for s.Len() < 300 {
		s.Grow()
	}
	for _, slot := range []uint32{0, 1, 255, 256, 299} {
		for _, gen := range []uint32{1, 2, 1 << 31, math.MaxUint32} {
			want := Token{Slot: slot, Gen: gen}
			ev := Kevent{
				Ident:  uintptr(unsafe.Pointer(s.Block(int(slot)))),
				Filter: FilterAIO,
				Udata:  want.Udata(),
			}
			if ev.Udata == 0 {
				t.Errorf("%+v packs to 0", want)
			}
			if got, ok := TokenOf(&ev, s); got != want || !ok {
				t.Errorf("TokenOf = %+v, %v, want %+v", got, ok, want)
			}
		}
	}
}

func TestTokenIsNotFoundInOtherEvents(t *testing.T) {
	s := newSlab(t, 300)
	s.Grow()
	good := Kevent{Ident: uintptr(unsafe.Pointer(s.Block(7))), Filter: FilterAIO, Udata: Token{7, 1}.Udata()}
	if _, ok := TokenOf(&good, s); !ok {
		t.Fatal("the good event is refused")
	}
	for name, spoil := range map[string]func(*Kevent){
		"list event":      func(ev *Kevent) { ev.Filter = FilterLIO },
		"user event":      func(ev *Kevent) { ev.Filter = FilterUser },
		"udata 0":         func(ev *Kevent) { ev.Udata = 0 },
		"generation 0":    func(ev *Kevent) { ev.Udata = Token{7, 0}.Udata() },
		"between blocks":  func(ev *Kevent) { ev.Ident += 8 },
		"block not grown": func(ev *Kevent) { ev.Ident += 256 * unsafe.Sizeof(ControlBlock{}) },
		"ident 0":         func(ev *Kevent) { ev.Ident = 0 },
	} {
		ev := good
		spoil(&ev)
		if got, ok := TokenOf(&ev, s); ok {
			t.Errorf("%s: TokenOf = %+v", name, got)
		}
	}
	if unsafe.Sizeof(uintptr(0)) == 8 {
		ev := good
		ev.Udata = Token{8, 1}.Udata()
		if got, ok := TokenOf(&ev, s); ok {
			t.Errorf("block 7 with the udata of slot 8: TokenOf = %+v", got)
		}
	}
}

func TestTokenNextSkipsGenerationZero(t *testing.T) {
	for _, c := range []struct{ gen, next uint32 }{{0, 1}, {1, 2}, {math.MaxUint32 - 1, math.MaxUint32}, {math.MaxUint32, 1}} {
		if got := (Token{5, c.gen}).Next(); got != (Token{5, c.next}) {
			t.Errorf("Next of generation %d is %+v, want generation %d", c.gen, got, c.next)
		}
	}
}
