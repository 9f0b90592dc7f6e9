package uringtest

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Forbid makes io_uring's system calls answer errno in this process, for ever: a
// seccomp filter as Docker and containerd install it.
//
// Source: seccomp(2).
func Forbid(errno syscall.Errno) error {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		least = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		above = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
		give  = unix.BPF_RET | unix.BPF_K

		setModeFilter  = 1
		flagTsync      = 1
		returnErrno    = 0x00050000
		returnAllow    = 0x7fff0000
		offsetOfNumber = 0 // in struct seccomp_data
	)
	filter := [...]unix.SockFilter{
		{Code: load, K: offsetOfNumber},
		{Code: least, Jf: 2, K: unix.SYS_IO_URING_SETUP},
		{Code: above, Jt: 1, K: unix.SYS_IO_URING_REGISTER},
		{Code: give, K: returnErrno | uint32(errno)},
		{Code: give, K: returnAllow},
	}
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Both calls are of one thread; TSYNC gives the filter to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, flagTsync, uintptr(unsafe.Pointer(program)))
	runtime.KeepAlive(&filter)
	if failed != 0 {
		return fmt.Errorf("seccomp: %w", failed)
	}
	return nil
}
