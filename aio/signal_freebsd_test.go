package aio

import (
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestThreadsOf386(t *testing.T) {
	if runtime.GOARCH != "386" {
		t.Skip("for 32-bit processes")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var self int32
	if _, _, errno := unix.RawSyscall(unix.SYS_THR_SELF, uintptr(unsafe.Pointer(&self)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	if ids := threads386(); len(ids) < 2 || !slices.Contains(ids, uint32(self)) {
		t.Errorf("threads %v, of which this one is %d", ids, self)
	}
}
