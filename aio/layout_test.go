package aio

import (
	"testing"
	"unsafe"
)

// The offsets and sizes are checked by the compiler, in layout_*_test.go. What
// is left is that the two words are where the kernel finds them: it stores
// through its own idea of the offsets.
func TestStoreWordsReachesTheKernelsWords(t *testing.T) {
	cb := new(ControlBlock)
	cb.StoreWords(-1, EINPROGRESS)
	status := *(*int)(unsafe.Add(unsafe.Pointer(cb), unsafe.Offsetof(cb.status)))
	errno := *(*int)(unsafe.Add(unsafe.Pointer(cb), unsafe.Offsetof(cb.errno)))
	if status != -1 || errno != 36 {
		t.Errorf("the words in memory are %d and %d, want -1 and 36", status, errno)
	}
	if cb.StatusWord() != -1 || cb.ErrorWord() != EINPROGRESS {
		t.Errorf("StatusWord, ErrorWord = %d, %v, want -1, EINPROGRESS", cb.StatusWord(), cb.ErrorWord())
	}
}

func TestPrepareForgetsTheEarlierJob(t *testing.T) {
	cb := new(ControlBlock)
	cb.StoreWords(4096, 0)
	cb.Reqprio = 7
	buf := make([]byte, 10)
	ev := Sigevent{Notify: NotifyKevent, Kqueue: 5, Value: 6, KeventFlags: EvOneshot}
	cb.Prepare(OpRead, 3, 1<<40, unsafe.Pointer(&buf[0]), len(buf), ev)
	if cb.Touched() || cb.StatusWord() != 0 || cb.Reqprio != 0 {
		t.Errorf("touched %v, status %d, priority %d, want false, 0, 0", cb.Touched(), cb.StatusWord(), cb.Reqprio)
	}
	if cb.Opcode != OpRead || cb.Fd != 3 || cb.Offset != 1<<40 || cb.Nbytes != 10 || cb.Sigevent != ev ||
		cb.Buf != uintptr(unsafe.Pointer(&buf[0])) {
		t.Errorf("prepared %+v", cb)
	}
	for _, errno := range []Errno{0, EINPROGRESS, EBADF} {
		if cb.StoreWords(-1, errno); !cb.Touched() {
			t.Errorf("not touched by %v", errno)
		}
	}
}
