package aio

import (
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sleeper whose queue has lost its number returns, and then finds out.
func TestSignalEndsASleepInALostQueue(t *testing.T) {
	k, err := NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		kq, errno := k.Kqueue()
		if errno != 0 {
			t.Fatal(errno)
		}
		slept := make(chan Errno)
		go func() {
			_, errno := k.Kevent(kq, nil, make([]Kevent, 1), -1)
			slept <- errno
		}()
		runtime.Gosched()
		if errno := k.CloseKqueue(kq); errno != 0 {
			t.Fatal(errno)
		}
		// It may not be asleep yet at the first.
		for began := time.Now(); ; {
			k.Signal()
			select {
			case errno := <-slept:
				if errno != EINTR && errno != EBADF {
					t.Fatalf("%v, want EINTR, or EBADF if it came late", errno)
				}
			case <-time.After(time.Millisecond):
				if time.Since(began) > 30*time.Second {
					t.Fatal("it sleeps on")
				}
				continue
			}
			break
		}
	}
}

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
