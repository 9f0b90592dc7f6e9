package engine

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

	// NopInjectResult makes a NOP's result its SQE's Len.
	NopInjectResult uint32 = 1 << 0

	// FsyncDatasync makes an FSYNC leave out metadata that is not needed to read
	// the data back.
	FsyncDatasync uint32 = 1 << 0

	// CurrentPosition as an offset means the file's own position, which moves.
	CurrentPosition int64 = -1
)

// Flags of an SQE. Source: Linux include/uapi/linux/io_uring.h, IOSQE_*.
const (
	FlagFixedFile    uint8 = 1 << 0 // Fd is an index into the table of files
	FlagIODrain      uint8 = 1 << 1 // starts when all before it is over; all after it waits
	FlagIOLink       uint8 = 1 << 2 // the next starts when this one has succeeded
	FlagIOHardlink   uint8 = 1 << 3 // the next starts when this one is over
	FlagAsync        uint8 = 1 << 4 // not to be tried in the submission, as cached reads are on threads
	FlagBufferSelect uint8 = 1 << 5 // takes a buffer out of a group
	FlagCQESkip      uint8 = 1 << 6 // no CQE if it succeeds

	linkFlags  = FlagIOLink | FlagIOHardlink
	validFlags = FlagCQESkip<<1 - 1
)

// SQE is a submission queue entry: one operation as its user describes it. It is
// a plain value; Prep functions fill it.
type SQE struct {
	Opcode   Opcode
	Flags    uint8    // FlagIOLink and its kin
	IOPrio   uint16   // the operation's own flags of a second kind
	Fd       int32    // the descriptor's number
	OpFlags  uint32   // the operation's own flags: fsync, timeout, cancel, nop
	Len      uint32   // the opcode meant by CancelOp; the result of a NOP
	Off      int64    // in bytes, or CurrentPosition; the count of a TIMEOUT
	Addr     uint64   // the UserData of the operation meant, by ASYNC_CANCEL and TIMEOUT_REMOVE
	Time     int64    // in nanoseconds: how long, or, with TimeoutAbs, when; of what is no timeout, Rest
	UserData uint64   // comes back in the CQE, unchanged
	Buf      []byte   // for OpRead and OpWrite: the ring's until the final CQE
	Bufs     [][]byte // for OpReadv and OpWritev: the buffers are so too, the slice until it is accepted
	Keep     any      // held until the final CQE: an *os.File that must not be finalized
	owner    any
}

// Rest is what else io_uring's entry has: the index of a registered buffer or the group
// that one is taken from, a personality, and a place in the table of files, from 1 on, or
// what stands in its place. An operation that is no timeout has it where those have Time.
func (s *SQE) Rest() (bufIndex, personality uint16, fileIndex int32) {
	return uint16(s.Time), uint16(s.Time >> 16), int32(s.Time >> 32)
}

// SetBufIndex sets the first of Rest.
func (s *SQE) SetBufIndex(i uint16) { s.Time = s.Time&^0xffff | int64(i) }

// SetPersonality sets the second of Rest.
func (s *SQE) SetPersonality(i uint16) { s.Time = s.Time&^0xffff0000 | int64(i)<<16 }

// SetFileIndex sets the third of Rest.
func (s *SQE) SetFileIndex(i int32) { s.Time = s.Time&0xffffffff | int64(i)<<32 }

// Own says who is given the final CQE in place of the completion queue. It
// comes back as Op.Owner.
func Own(s *SQE, owner any) { s.owner = owner }

// Owned reports whether there is one.
func (s *SQE) Owned() bool { return s.owner != nil }

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
	Flags    uint32 // io_uring's CQE flags: CQEMore
}

// CQEMore among the flags of a CQE says that the operation goes on: another follows.
const CQEMore uint32 = 1 << 1
