package aio

import (
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

// The library gives the kernel addresses of heap buffers and holds only a
// reference: no Pinner. That is sound as long as Go's collector does not move
// heap objects, which the language does not promise. The day this fails, buffers
// have to be pinned.
func TestHeapDoesNotMove(t *testing.T) {
	type object struct {
		p    any     // keeps it alive
		addr uintptr // where it was; not a reference
	}
	var objects []object
	for size := 1; size <= 1<<20; size *= 4 {
		for range 8 {
			buf := make([]byte, size)
			objects = append(objects, object{buf, uintptr(unsafe.Pointer(unsafe.SliceData(buf)))})
			_ = make([]byte, size) // a hole beside it after the next collection
		}
	}
	for range 64 {
		iovecs := make([]Iovec, 16)
		iovecs[0].Base = unsafe.Pointer(&iovecs[1])
		objects = append(objects, object{iovecs, uintptr(unsafe.Pointer(&iovecs[0]))})
	}
	for range 10 {
		for range 1000 {
			garbage = make([]byte, 4096)
		}
		runtime.GC()
		debug.FreeOSMemory()
	}
	for _, o := range objects {
		var now uintptr
		switch p := o.p.(type) {
		case []byte:
			now = uintptr(unsafe.Pointer(unsafe.SliceData(p)))
		case []Iovec:
			now = uintptr(unsafe.Pointer(unsafe.SliceData(p)))
		}
		if now != o.addr {
			t.Fatalf("a heap object went from %#x to %#x", o.addr, now)
		}
	}
}

var garbage []byte

// A buffer declared on the stack is put on the heap because Prepare is given its
// address: stacks do move.
func TestPreparedBufferIsNotOnAStack(t *testing.T) {
	done := make(chan struct{})
	go func() { // a fresh goroutine has a small stack, which growStack must move
		defer close(done)
		var buf [64]byte
		var marker byte
		was := uintptr(unsafe.Pointer(&marker))
		cb := new(ControlBlock)
		cb.Prepare(OpRead, 0, 0, unsafe.Pointer(&buf), len(buf), Sigevent{})
		growStack(1000)
		if uintptr(unsafe.Pointer(&marker)) == was {
			t.Error("the stack did not move, so nothing was tested")
		}
		if now := uintptr(unsafe.Pointer(&buf)); now != cb.Buf {
			t.Errorf("the buffer went from %#x to %#x", cb.Buf, now)
		}
	}()
	<-done
}

//go:noinline
func growStack(depth int) int {
	var frame [256]byte
	if depth == 0 {
		return 0
	}
	frame[depth%256] = byte(depth)
	return growStack(depth-1) + int(frame[depth%256])
}
