package aio

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

// FuzzControlBlock prepares blocks with hostile values over hostile memory, and reads
// the bytes as the kernel would: each value is in its place and nowhere else.
func FuzzControlBlock(f *testing.F) {
	f.Add([]byte{}, int32(2), int32(3), int64(1<<40), uint32(10), uint32(6), uint16(EvOneshot))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, int32(-1), int32(-1), int64(-1), ^uint32(0), ^uint32(0), ^uint16(0))
	f.Fuzz(func(t *testing.T, dirt []byte, op, fd int32, off int64, n, value uint32, flags uint16) {
		cb := new(ControlBlock)
		memory := unsafe.Slice((*byte)(unsafe.Pointer(cb)), unsafe.Sizeof(*cb))
		copy(memory, dirt)
		buf := new([1]byte)
		ev := Sigevent{Notify: NotifyKevent, Kqueue: fd ^ 1, Value: uintptr(value), KeventFlags: flags}
		cb.Prepare(Opcode(op), int(fd), off, unsafe.Pointer(buf), int(int32(n)), ev)

		word := func(at uintptr) uintptr {
			if unsafe.Sizeof(at) == 4 {
				return uintptr(binary.NativeEndian.Uint32(memory[at:]))
			}
			return uintptr(binary.NativeEndian.Uint64(memory[at:]))
		}
		int32At := func(at uintptr) int32 { return int32(binary.NativeEndian.Uint32(memory[at:])) }
		for name, ok := range map[string]bool{
			"fd":     int32At(unsafe.Offsetof(cb.Fd)) == fd,
			"offset": int64(binary.NativeEndian.Uint64(memory[unsafe.Offsetof(cb.Offset):])) == off,
			"buffer": word(unsafe.Offsetof(cb.Buf)) == uintptr(unsafe.Pointer(buf)),
			"length": word(unsafe.Offsetof(cb.Nbytes)) == uintptr(int(int32(n))),
			"opcode": int32At(unsafe.Offsetof(cb.Opcode)) == op,
			"status": word(unsafe.Offsetof(cb.status)) == 0,
			"error":  word(unsafe.Offsetof(cb.errno)) == ^uintptr(0) && !cb.Touched(),
			"notify": int32At(unsafe.Offsetof(cb.Sigevent)) == int32(NotifyKevent),
			"kqueue": int32At(unsafe.Offsetof(cb.Sigevent)+unsafe.Offsetof(ev.Kqueue)) == fd^1,
			"value":  word(unsafe.Offsetof(cb.Sigevent)+unsafe.Offsetof(ev.Value)) == uintptr(value),
			"flags":  binary.NativeEndian.Uint16(memory[unsafe.Offsetof(cb.Sigevent)+unsafe.Offsetof(ev.KeventFlags):]) == flags,
		} {
			if !ok {
				t.Errorf("the %s is not where the kernel looks: % x", name, memory)
			}
		}
		// What the kernel stores into the two words changes nothing else.
		before := append([]byte(nil), memory...)
		cb.StoreWords(int(int32(n)), Errno(op))
		if cb.StatusWord() != int(int32(n)) || int32(cb.ErrorWord()) != op {
			t.Errorf("words %d, %d, stored %d, %d", cb.StatusWord(), cb.ErrorWord(), int32(n), op)
		}
		const from, to = unsafe.Offsetof(cb.status), unsafe.Offsetof(cb.errno) + unsafe.Sizeof(cb.errno)
		if string(memory[:from]) != string(before[:from]) || string(memory[to:]) != string(before[to:]) {
			t.Error("the words have changed what is beside them")
		}
	})
}

// FuzzTokenOf shows hostile events to those who look for blocks in them: what is
// accepted is a block of the slab, under the token that would send this event, and
// nothing follows an address that came from outside.
func FuzzTokenOf(f *testing.F) {
	f.Add(int16(FilterAIO), uint64(0), uint64(1), true)
	f.Add(int16(FilterLIO), uint64(160), uint64(1)<<32|1, true)
	f.Add(int16(FilterAIO), ^uint64(0), ^uint64(0), false)
	f.Add(int16(FilterAIO), uint64(255*unsafe.Sizeof(ControlBlock{})), uint64(255)<<32|7, true)
	s, err := NewSlab(1000)
	if err != nil {
		f.Fatal(err)
	}
	defer s.Release()
	if _, err := s.Grow(); err != nil {
		f.Fatal(err)
	}
	base := uintptr(unsafe.Pointer(s.Block(0)))
	f.Fuzz(func(t *testing.T, filter int16, ident, udata uint64, inside bool) {
		ev := Kevent{Filter: Filter(filter), Ident: uintptr(ident), Udata: uintptr(udata)}
		if inside {
			ev.Ident += base
		}
		token, ok := TokenOf(&ev, s)
		if !ok {
			return
		}
		if int(token.Slot) >= s.Len() || token.Gen == 0 || ev.Filter != FilterAIO ||
			ev.Ident != uintptr(unsafe.Pointer(s.Block(int(token.Slot)))) || token.Udata() != ev.Udata {
			t.Errorf("%+v is taken for %+v", ev, token)
		}
	})
}
