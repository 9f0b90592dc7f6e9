package aio

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// Signal sends all other threads of the process SIGURG, which Go's runtime handles
// in any case, for it sends it itself: nothing comes of it but that calls return. A
// program that asks os/signal for SIGURG sees it.
//
// Source: thr_kill(2), id -1; FreeBSD sys/kern/kern_thr.c, sys_thr_kill, and
// kern_event.c, kqueue_scan, which answers EINTR even if the handler is to restart.
func (k *FreeBSD) Signal() {
	const others = ^uintptr(0)
	_, _, errno := unix.RawSyscall(sysThrKill, others, uintptr(unix.SIGURG), 0)
	if errno == unix.ESRCH && runtime.GOARCH == "386" {
		// A 64-bit kernel takes a 32-bit process's -1 for a thread's number.
		for _, id := range threads386() {
			_, _, _ = unix.RawSyscall(sysThrKill, uintptr(id), uintptr(unix.SIGURG), 0)
		}
	}
}

// threads386 is the numbers of a 32-bit process's threads, none in a sandbox.
//
// Source: FreeBSD sys/sys/user.h, struct kinfo_proc, on i386; sys/kern/kern_proc.c.
func threads386() (ids []uint32) {
	const size, tid = 768, 520
	procs, err := unix.SysctlRaw("kern.proc.pid_td", unix.Getpid())
	if err != nil {
		return nil
	}
	for ; len(procs) >= size; procs = procs[size:] {
		ids = append(ids, binary.LittleEndian.Uint32(procs[tid:]))
	}
	return ids
}
