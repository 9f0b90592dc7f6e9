//go:build unix

package worker

import "syscall"

// Op says which call to make.
type Op uint8

const (
	Read      Op = iota // pread(2); read(2) at Off -1 and on a stream
	Write               // pwrite(2); write(2) at Off -1 and on a stream
	Readv               // preadv(2), readv(2)
	Writev              // pwritev(2), writev(2)
	Fsync               // fsync(2); F_FULLFSYNC on macOS, where fsync(2) stops at the drive's cache
	Fdatasync           // fdatasync(2) where x/sys has it, which is Linux; else as Fsync
)

// moves reports whether the operation moves bytes.
func (op Op) moves() bool { return op <= Writev }

// writes reports whether it moves them out.
func (op Op) writes() bool { return op == Write || op == Writev }

// vectored reports whether its bytes are in Bufs.
func (op Op) vectored() bool { return op == Readv || op == Writev }

// Call is one file call. Its maker fills the fields from Op to ID and reads Res
// and Err in done. From Submit until done is called for it, it is the pool's: it
// must stay in place and unchanged, its buffers must stay, and its descriptor must
// stay open and mean the same file. From then on it may be used anew.
type Call struct {
	Op  Op
	Fd  int
	Off int64 // in bytes; -1 is the file's own position, which moves; below that EINVAL

	// Buf is for Read and Write, Bufs for Readv and Writev: at most 1024, which
	// may be empty. More than eight cost an allocation in x/sys.
	Buf  []byte
	Bufs [][]byte

	// Stream marks a pipe, FIFO, socket, terminal or other descriptor that may
	// block for ever. Its reads and writes have no offset, and a Pool makes them
	// only when poll(2) says that they have something to do.
	Stream bool

	// Disk marks a disk device, whose Fsync and Fdatasync have the device write out
	// its cache: fsync(2) of a FreeBSD device does not.
	Disk bool

	ID uint32 // the maker's; the pool does not look at it

	Res int           // bytes moved; 0 with an error
	Err syscall.Errno // in the host's numbering; 0 if the call succeeded, though it be short

	// The rest is guarded by Pool.mu.

	state      state
	cancelled  bool          // Cancel came while nothing could be done about it
	blocks     bool          // being made, it may block
	fault      syscall.Errno // the result, whatever the call would give
	line       *line         // where a stream call has its place, from its first look at the descriptor
	watch      uint32        // tells its event in poller.queues from earlier ones
	prev, next *Call         // in the one list that its state names
}

// state is where a call is.
type state uint8

const (
	fresh   state = iota // not submitted
	queued               // in Pool.queue
	taken                // with a goroutine, or done
	parked               // in line.behind
	waiting              // for readiness: in poller.calls
	moving               // with a goroutine that makes a stream call, which was not cancelled before; or done
)

// settle stores the result of a call. An error after some bytes gives the bytes.
func (c *Call) settle(n int, errno syscall.Errno) {
	if n > 0 {
		errno = 0
	}
	c.Res, c.Err = max(n, 0), errno
}
