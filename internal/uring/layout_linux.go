package uring

import "unsafe"

// SQE is the kernel's submission queue entry. What the fields mean depends on the
// opcode. Addresses are of memory that the caller keeps in place.
//
// Source: Linux include/uapi/linux/io_uring.h, struct io_uring_sqe.
type SQE struct {
	Opcode      uint8
	Flags       uint8
	IOPrio      uint16
	Fd          int32
	Off         uint64 // addr2
	Addr        uint64
	Len         uint32
	OpFlags     uint32 // rw_flags, fsync_flags, cancel_flags, ...
	UserData    uint64
	BufIndex    uint16 // buf_group
	Personality uint16
	FileIndex   int32 // splice_fd_in, addr_len, optlen
	Addr3       uint64
	Pad         uint64
}

// CQE is the kernel's completion queue entry.
//
// Source: struct io_uring_cqe.
type CQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

// Params is what goes into and comes out of io_uring_setup.
//
// Source: struct io_uring_params.
type Params struct {
	SQEntries    uint32
	CQEntries    uint32 // in: with SetupCQSize
	Flags        uint32
	SQThreadCPU  uint32
	SQThreadIdle uint32 // in milliseconds
	Features     uint32
	WQFd         uint32
	resv         [3]uint32
	sqOff        sqOffsets
	cqOff        cqOffsets
}

// sqOffsets are io_sqring_offsets: where the words of the submission ring are.
type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, resv1 uint32

	userAddr uint64
}

// cqOffsets are io_cqring_offsets.
type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, resv1 uint32

	userAddr uint64
}

// Timespec is a duration or a moment: struct __kernel_timespec.
type Timespec struct {
	Sec  int64
	Nsec int64
}

// eventsArg is struct io_uring_getevents_arg.
type eventsArg struct {
	sigmask     uint64
	sigmaskSize uint32
	minWaitUsec uint32
	ts          uint64
}

// probe is struct io_uring_probe with room for every opcode there can be.
type probe struct {
	lastOp uint8
	opsLen uint8
	resv   uint16
	resv2  [3]uint32
	ops    [registerMaxProbedOpcodes]probeOp
}

// probeOp is struct io_uring_probe_op.
type probeOp struct {
	op    uint8
	resv  uint8
	flags uint16 // 1: supported
	resv2 uint32
}

// filesUpdate is struct io_uring_files_update.
type filesUpdate struct {
	offset uint32
	resv   uint32
	fds    uint64
}

// resources is struct io_uring_rsrc_register.
type resources struct {
	nr    uint32
	flags uint32
	resv2 uint64
	data  uint64
	tags  uint64
}

// resourceUpdate is struct io_uring_rsrc_update2.
type resourceUpdate struct {
	offset uint32
	resv   uint32
	data   uint64
	tags   uint64
	nr     uint32
	resv2  uint32
}

// syncCancel is struct io_uring_sync_cancel_reg.
type syncCancel struct {
	addr    uint64
	fd      int32
	flags   uint32
	timeout Timespec
	opcode  uint8
	pad     [7]uint8
	pad2    [3]uint64
}

// Iovec is struct iovec without a Go pointer in it: the kernel reads it during
// [Ring.Enter], and whoever fills it keeps the buffer.
type Iovec struct {
	Base uintptr
	Len  uintptr
}

// Address is where a buffer is, for an SQE. The caller keeps the buffer, on the
// heap, until the completion.
func Address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// Vectors describes bufs to the kernel, in vec, which grows as it must, and
// returns where the description is. vec must stay until the kernel has taken the
// entry, bufs until the completion.
func Vectors(vec []Iovec, bufs [][]byte) ([]Iovec, uint64) {
	vec = vec[:0]
	for _, b := range bufs {
		vec = append(vec, Iovec{Base: uintptr(unsafe.Pointer(unsafe.SliceData(b))), Len: uintptr(len(b))})
	}
	return vec, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
}

// The layouts, checked where they are compiled: a wrong one makes an index
// negative or an array too long.
var (
	_ = [1]int{}[unsafe.Sizeof(SQE{})-64]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Fd)-4]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Off)-8]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Addr)-16]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Len)-24]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.OpFlags)-28]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.UserData)-32]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.BufIndex)-40]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Personality)-42]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.FileIndex)-44]
	_ = [1]int{}[unsafe.Offsetof(SQE{}.Addr3)-48]
	_ = [1]int{}[unsafe.Sizeof(CQE{})-16]
	_ = [1]int{}[unsafe.Offsetof(CQE{}.Res)-8]
	_ = [1]int{}[unsafe.Offsetof(CQE{}.Flags)-12]
	_ = [1]int{}[unsafe.Sizeof(Params{})-120]
	_ = [1]int{}[unsafe.Offsetof(Params{}.Features)-20]
	_ = [1]int{}[unsafe.Offsetof(Params{}.sqOff)-40]
	_ = [1]int{}[unsafe.Offsetof(Params{}.cqOff)-80]
	_ = [1]int{}[unsafe.Sizeof(Timespec{})-16]
	_ = [1]int{}[unsafe.Sizeof(eventsArg{})-24]
	_ = [1]int{}[unsafe.Sizeof(probe{})-(16+8*registerMaxProbedOpcodes)]
	_ = [1]int{}[unsafe.Sizeof(filesUpdate{})-16]
	_ = [1]int{}[unsafe.Sizeof(resources{})-32]
	_ = [1]int{}[unsafe.Sizeof(resourceUpdate{})-32]
	_ = [1]int{}[unsafe.Sizeof(syncCancel{})-64]
)
