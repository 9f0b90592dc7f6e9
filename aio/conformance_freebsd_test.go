package aio_test

import (
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/aiotest"
)

// The kernel itself, judged by the suite that judges its model.
func TestConformance(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	aiotest.Run(t, aiotest.Target{
		New:       func(*testing.T) aio.Kernel { return k },
		Osreldate: k.Osreldate(),
		SetLimits: setLimits,
	})
}

// setLimits writes the sysctls that differ, as root may.
func setLimits(k aio.Kernel, l aio.Limits) error {
	now, err := k.Limits()
	if err != nil {
		return err
	}
	unsafeNow, unsafeThen := 0, 0
	if now.EnableUnsafe {
		unsafeNow = 1
	}
	if l.EnableUnsafe {
		unsafeThen = 1
	}
	for _, s := range []struct {
		name      string
		now, then int
	}{
		{"vfs.aio.max_aio_queue", now.MaxQueue, l.MaxQueue},
		{"vfs.aio.max_aio_queue_per_proc", now.MaxQueuePerProc, l.MaxQueuePerProc},
		{"vfs.aio.enable_unsafe", unsafeNow, unsafeThen},
	} {
		if s.now == s.then {
			continue
		}
		if err := setSysctl(s.name, int32(s.then)); err != nil {
			return err
		}
	}
	return nil
}

// setSysctl is __sysctlbyname(2), which x/sys/unix has for reading only.
func setSysctl(name string, value int32) error {
	const sysctlbyname = 570 // 12.2 and later
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(sysctlbyname, uintptr(unsafe.Pointer(p)), uintptr(len(name)), 0, 0,
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
	if errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}
