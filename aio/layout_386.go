//go:build 386

package aio

import "sync/atomic"

// ControlBlock is struct aiocb as the kernel reads it on 386.
// Source: FreeBSD sys/sys/aio.h.
type ControlBlock struct {
	Fd       int32
	Offset   int64
	Buf      uintptr // the data, or an array of Iovec
	Nbytes   uintptr // its length, or the number of Iovecs
	_        [2]int32
	_        uintptr
	Opcode   Opcode
	Reqprio  int32          // the kernel never reads it
	status   atomic.Uintptr // the kernel's words: read with StatusWord
	errno    atomic.Uintptr // and ErrorWord
	_        uintptr        // a job number on 13, spare later
	Sigevent Sigevent
}

// Sigevent is struct sigevent.
// Source: FreeBSD sys/sys/signal.h.
type Sigevent struct {
	Notify      Notify
	Kqueue      int32   // sigev_notify_kqueue; the signal number for NotifySignal
	Value       uintptr // comes back as Kevent.Udata; never a Go pointer
	KeventFlags uint16  // EvOneshot, EvClear or EvDispatch, for a job's own event only
	_           [30]byte
}

// Kevent is struct kevent, the 64-bit-data form of FreeBSD 12 and later.
// Source: FreeBSD sys/sys/event.h.
type Kevent struct {
	Ident  uintptr
	Filter Filter
	Flags  uint16
	Fflags uint32
	Data   int64
	Udata  uintptr
	Ext    [4]uint64
}
