package aio

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadSysctl reads an integer of the kernel's by name, of 4 or 8 bytes: it is told
// from anything else by its length alone. The error is a [*SysctlError].
func ReadSysctl(name string) (int64, error) {
	raw, err := unix.SysctlRaw(name)
	if err == nil {
		switch len(raw) {
		case 4:
			return int64(int32(binary.NativeEndian.Uint32(raw))), nil
		case 8:
			return int64(binary.NativeEndian.Uint64(raw)), nil
		}
		err = unix.EFTYPE // not an integer
	}
	return 0, sysctlError(name, err)
}

func sysctlError(name string, err error) error {
	return &SysctlError{Name: name, Err: errnoOf(err), CapabilityMode: CapabilityMode()}
}

// CapabilityMode reports whether the process has given up global names, as
// cap_enter(2) does: then it cannot read the limits of AIO, nor open paths. AIO
// itself goes on working.
// Source: cap_getmode(2).
func CapabilityMode() bool {
	// The kernel stores a u_int here during the call.
	var mode uint32
	_, _, errno := unix.Syscall(unix.SYS_CAP_GETMODE, uintptr(unsafe.Pointer(&mode)), 0, 0)
	return errno == 0 && mode != 0
}
