package aio_test

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mdIoctl is struct md_ioctl. Source: FreeBSD sys/sys/mdioctl.h.
type mdIoctl struct {
	version    uint32
	unit       uint32
	kind       int32
	file       uintptr
	mediaSize  int64
	sectorSize uint32
	options    uint32
	base       uint64
	heads      int32
	sectors    int32
	label      uintptr
	pad        [96]int32
}

const (
	mdNull     = 4    // MD_NULL: takes everything and gives zeros
	mdAutoUnit = 0x04 // MD_AUTOUNIT
)

// newNullDisk makes a memory disk of the null kind, whose requests need mapped
// buffers, as those of few real disks do today.
// Source: md(4); FreeBSD sys/dev/md/md.c, mdinit (G_PF_ACCEPT_UNMAPPED).
func newNullDisk(t *testing.T, size int64) (path string) {
	t.Helper()
	ctl, err := unix.Open("/dev/mdctl", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no memory disks here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(ctl) })
	md := &mdIoctl{kind: mdNull, mediaSize: size, sectorSize: 512, options: mdAutoUnit}
	call := func(n uintptr) error {
		// _IOWR('m', n, struct md_ioctl). The kernel reads and writes it in the call.
		request := 0xc0000000 | unsafe.Sizeof(*md)<<16 | 'm'<<8 | n
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(ctl), request, uintptr(unsafe.Pointer(md)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := call(0); err != nil {
		t.Skipf("no memory disk can be made: %v", err)
	}
	t.Cleanup(func() {
		*md = mdIoctl{unit: md.unit}
		// A job's reference to the device goes with its reap, the last close a moment later.
		err := call(1)
		for deadline := time.Now().Add(10 * time.Second); err == unix.EBUSY && time.Now().Before(deadline); err = call(1) {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			t.Errorf("the memory disk cannot be removed: %v", err)
		}
	})
	return fmt.Sprintf("/dev/md%d", md.unit)
}
