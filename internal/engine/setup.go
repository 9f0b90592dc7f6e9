package engine

import (
	"math/bits"
	"syscall"
)

// Setting up. Contract parts 1.3 and 5.5. Source: Linux io_uring/io_uring.c,
// io_uring_create, io_uring_sanitise_params.

// Set-up flags.
const (
	SetupIOPoll       uint32 = 1 << 0 // only a kernel's own ring can have it
	SetupSQPoll       uint32 = 1 << 1
	SetupCQSize       uint32 = 1 << 3
	SetupClamp        uint32 = 1 << 4
	SetupRDisabled    uint32 = 1 << 6
	SetupSubmitAll    uint32 = 1 << 7
	SetupCoopTaskrun  uint32 = 1 << 8
	SetupTaskrunFlag  uint32 = 1 << 9
	SetupSingleIssuer uint32 = 1 << 12
	SetupDeferTaskrun uint32 = 1 << 13
	SetupNoSQArray    uint32 = 1 << 16

	setupFlags = SetupSQPoll | SetupCQSize | SetupClamp | SetupRDisabled | SetupSubmitAll | SetupCoopTaskrun |
		SetupTaskrunFlag | SetupSingleIssuer | SetupDeferTaskrun | SetupNoSQArray
)

// The most entries of either queue.
const (
	MaxSQEntries = 32768
	MaxCQEntries = 2 * MaxSQEntries
)

// Sizes decides how many entries the queues have, or EINVAL. cqEntries counts only
// with SetupCQSize: it is rounded up to a power of two as entries is, and then must
// not be the smaller.
func Sizes(entries, cqEntries int, flags uint32) (sq, cq int, errno syscall.Errno) {
	clamp := flags&SetupClamp != 0
	if sq = round(entries, MaxSQEntries, clamp); sq == 0 {
		return 0, 0, syscall.EINVAL
	}
	if flags&SetupCQSize == 0 {
		return sq, 2 * sq, 0
	}
	if cq = round(cqEntries, MaxCQEntries, clamp); cq < sq {
		return 0, 0, syscall.EINVAL
	}
	return sq, cq, 0
}

// round rounds up to a power of two; 0 for what is out of range.
func round(n, most int, clamp bool) int {
	if n > most && clamp {
		n = most
	}
	if n < 1 || n > most {
		return 0
	}
	return 1 << bits.Len(uint(n-1))
}

// CheckSetup finds combinations of flags that io_uring refuses, and flags that only
// a kernel's own ring can have.
func CheckSetup(flags uint32) syscall.Errno {
	has := func(f uint32) bool { return flags&f != 0 }
	switch {
	case flags&^setupFlags != 0,
		has(SetupTaskrunFlag) && !has(SetupCoopTaskrun|SetupDeferTaskrun),
		has(SetupDeferTaskrun) && !has(SetupSingleIssuer),
		has(SetupSQPoll) && has(SetupCoopTaskrun|SetupDeferTaskrun|SetupTaskrunFlag):
		return syscall.EINVAL
	}
	return 0
}
