package engine

// Opcode says what an operation does. The numbers are io_uring's.
type Opcode uint8

// The operations. Source: Linux include/uapi/linux/io_uring.h, enum io_uring_op.
const (
	OpNop    Opcode = 0
	OpReadv  Opcode = 1
	OpWritev Opcode = 2
	OpFsync  Opcode = 3
	OpRead   Opcode = 22
	OpWrite  Opcode = 23
)

// String is io_uring's name of the operation.
func (o Opcode) String() string {
	switch o {
	case OpNop:
		return "NOP"
	case OpReadv:
		return "READV"
	case OpWritev:
		return "WRITEV"
	case OpFsync:
		return "FSYNC"
	case OpRead:
		return "READ"
	case OpWrite:
		return "WRITE"
	}
	return "OP" + utoa(uint(o))
}

func utoa(n uint) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return utoa(n/10) + string(rune('0'+n%10))
}

// Sizes and flags.
const (
	// MaxTransfer is the most bytes that one operation moves; a longer one is
	// short. Source: Linux MAX_RW_COUNT.
	MaxTransfer = 0x7ffff000
	// MaxVectors is the most buffers of one vectored operation (IOV_MAX).
	MaxVectors = 1024

	// FlagAsync asks not to try the operation in the submitter. Nothing here
	// ever does, so it changes nothing.
	FlagAsync uint8 = 1 << 4

	// FsyncDatasync makes an FSYNC leave out metadata that is not needed to read
	// the data back.
	FsyncDatasync uint32 = 1 << 0

	// CurrentPosition as an offset means the file's own position, which moves.
	CurrentPosition int64 = -1
)

// SQE is a submission queue entry: one operation as its user describes it. It is
// a plain value; Prep functions fill it.
type SQE struct {
	Opcode   Opcode
	Flags    uint8    // FlagAsync
	Fd       int32    // the descriptor's number
	OpFlags  uint32   // FsyncDatasync for OpFsync; otherwise 0
	Off      int64    // in bytes, or CurrentPosition
	UserData uint64   // comes back in the CQE, unchanged
	Buf      []byte   // for OpRead and OpWrite: the ring's until the final CQE
	Bufs     [][]byte // for OpReadv and OpWritev: so is all of it
	Keep     any      // held until the final CQE: an *os.File that must not be finalized
	owner    any
}

// Own says who is given the final CQE in place of the completion queue. It
// comes back as Op.Owner.
func Own(s *SQE, owner any) { s.owner = owner }

// Bytes is the amount of memory that the operation names.
func (s *SQE) Bytes() int64 {
	n := int64(len(s.Buf))
	for _, b := range s.Bufs {
		n += int64(len(b))
	}
	return n
}

// CQE is a completion queue entry: what became of one operation.
type CQE struct {
	UserData uint64
	Res      int32  // bytes or another non-negative result; or a negative errno, in the host's numbering
	Flags    uint32 // io_uring's CQE flags; 0 so far
}
