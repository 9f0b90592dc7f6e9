package aioring

import "github.com/aioring/aioring/internal/engine"

// Opcode says what an operation does, in io_uring's numbers.
type Opcode = engine.Opcode

// The operations that an [SQE] can ask for.
const (
	OpNop           = engine.OpNop           // nothing
	OpTimeout       = engine.OpTimeout       // a timer, or a count of completions
	OpTimeoutRemove = engine.OpTimeoutRemove // ends a timer or sets it anew
	OpAsyncCancel   = engine.OpAsyncCancel   // ends other operations
	OpLinkTimeout   = engine.OpLinkTimeout   // a limit on the time of the operation before it in its chain
	OpRead          = engine.OpRead          // read into one buffer
	OpWrite         = engine.OpWrite         // write one buffer
	OpReadv         = engine.OpReadv         // read into several buffers
	OpWritev        = engine.OpWritev        // write several buffers
	OpFsync         = engine.OpFsync         // write a file back to its medium
)

const (
	// CurrentPosition as the offset of a read or write means the file's own
	// position, which the operation moves. Two such operations on one open file
	// at a time race for it.
	CurrentPosition = engine.CurrentPosition
	// FsyncDatasync among the flags of [PrepFsync] leaves out metadata that is not
	// needed to read the data back, as fdatasync(2) does.
	FsyncDatasync = engine.FsyncDatasync
	// MaxTransfer is the most bytes that one operation moves. A longer one is
	// short.
	MaxTransfer = engine.MaxTransfer
	// NopInjectResult in SQE.OpFlags of a NOP makes SQE.Len its result.
	NopInjectResult = engine.NopInjectResult
)

// Flags of an SQE: io_uring's IOSQE_ flags.
const (
	// FlagFixedFile says that Fd is an index into the table of registered files.
	FlagFixedFile = engine.FlagFixedFile
	// FlagIODrain makes an operation wait for everything submitted before it, and
	// everything submitted after it wait for the operation. On one of a chain it
	// goes for the whole chain.
	FlagIODrain = engine.FlagIODrain
	// FlagIOLink makes the next entry of the same submission, or of the same Push,
	// start when this one has succeeded. If it fails, or moves fewer bytes than it
	// was to, the rest of the chain ends with ECANCELED.
	FlagIOLink = engine.FlagIOLink
	// FlagIOHardlink is FlagIOLink whatever the result.
	FlagIOHardlink = engine.FlagIOHardlink
	// FlagAsync is accepted, and changes nothing where the kernel is not io_uring.
	FlagAsync = engine.FlagAsync
	// FlagBufferSelect takes the buffer out of a registered group.
	FlagBufferSelect = engine.FlagBufferSelect
	// FlagCQESkip leaves out the CQE of an operation that succeeds. Once a ring has
	// seen it, an entry with FlagIODrain is refused with EOPNOTSUPP.
	FlagCQESkip = engine.FlagCQESkip
)

// SQE is a submission queue entry: one operation. It is a plain value with the
// fields
//
//	Opcode   Opcode
//	Flags    uint8    // FlagIOLink and its kin
//	Fd       int32    // the descriptor's number
//	OpFlags  uint32   // the operation's own flags: fsync, timeout, cancel
//	Len      uint32   // the opcode that CancelOp means; a NOP's result
//	Off      int64    // bytes, or CurrentPosition; the count of a timeout
//	Addr     uint64   // the UserData of the operation to cancel, remove or update
//	Time     int64    // nanoseconds, of a timeout; else what SetBufIndex and its kin set
//	IOPrio   uint16   // of operations that only io_uring has
//	UserData uint64   // comes back in the CQE
//	Buf      []byte   // of OpRead and OpWrite
//	Bufs     [][]byte // of OpReadv and OpWritev
//	Keep     any      // kept reachable until the final CQE
//
// A Prep function sets all but Flags, UserData and Keep. The zero SQE is a NOP.
//
// Buf and Bufs belong to the ring from submission to the final CQE: until then
// nobody may change what is written or look at what is read into. Keep is for
// the *os.File behind Fd: an os.File that nobody holds is closed by the garbage
// collector, and its number may come to mean another file.
type SQE = engine.SQE

// PrepNop prepares an operation that does nothing, successfully.
func PrepNop(sqe *SQE) {
	prep(sqe, OpNop, -1, 0)
}

// PrepRead prepares a read of up to len(buf) bytes at offset off into buf, as
// pread(2) does it: the result is the number of bytes, 0 at the end of the file.
// buf is the ring's until the final CQE.
func PrepRead(sqe *SQE, fd int, buf []byte, off int64) {
	prep(sqe, OpRead, fd, off)
	sqe.Buf = buf
}

// PrepWrite prepares a write of buf at offset off, as pwrite(2) does it. The
// result is the number of bytes, and may be short. A descriptor opened with
// O_APPEND appends whatever the offset. buf is the ring's until the final CQE.
func PrepWrite(sqe *SQE, fd int, buf []byte, off int64) {
	prep(sqe, OpWrite, fd, off)
	sqe.Buf = buf
}

// PrepReadv prepares a read at offset off that fills bufs one after the other, as
// preadv(2) does it. There may be at most 1024 of them; bufs itself may be used again
// when Submit returns, after a Push or with [WithWorker] at the final CQE.
func PrepReadv(sqe *SQE, fd int, bufs [][]byte, off int64) {
	prep(sqe, OpReadv, fd, off)
	sqe.Bufs = bufs
}

// PrepWritev prepares a write at offset off of bufs one after the other, as
// pwritev(2) does it. There may be at most 1024 of them; bufs itself may be used again
// when Submit returns, after a Push or with [WithWorker] at the final CQE.
func PrepWritev(sqe *SQE, fd int, bufs [][]byte, off int64) {
	prep(sqe, OpWritev, fd, off)
	sqe.Bufs = bufs
}

// PrepFsync prepares an fsync(2) of a file, or an fdatasync(2) with
// [FsyncDatasync]. It covers the writes that have completed; one still in flight
// may be covered or not.
func PrepFsync(sqe *SQE, fd int, flags uint32) {
	prep(sqe, OpFsync, fd, 0)
	sqe.OpFlags = flags
}

// prep sets what every operation has and clears what only some have.
func prep(sqe *SQE, op Opcode, fd int, off int64) {
	sqe.Opcode, sqe.Off, sqe.OpFlags = op, off, 0
	sqe.Len, sqe.Addr, sqe.Time = 0, 0, 0
	sqe.IOPrio = 0
	sqe.Buf, sqe.Bufs = nil, nil
	sqe.Fd = int32(fd)
	if int(sqe.Fd) != fd {
		sqe.Fd = -1 // no descriptor has this number: EBADF, not another file
	}
}
