package aioring

import (
	"fmt"
	"reflect"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/engine"
)

// Defaults and bounds of a ring.
const (
	// MaxEntries is the most submission queue entries a ring may have.
	MaxEntries = engine.MaxSQEntries
	// DefaultMaxOps is how many operations may be alive at a time, from submission
	// until their CQE is consumed, unless [WithMaxOps] says otherwise.
	DefaultMaxOps = 65536
)

// Option changes how [New] makes a ring.
type Option func(*options) error

type options struct {
	kernel   string
	aio      aio.Kernel
	maxOps   int
	maxBytes int64
	worker   bool
	setup    SetupFlags
	cqSize   int
	locked   bool
	lacks    []Opcode //nolint:unused,nolintlint // opcodes that an older Linux would not have; for tests
}

// Kernels that [WithKernel] can name.
const (
	KernelAuto    = "auto"    // the native kernel of this system, else threads; also where io_uring is forbidden
	KernelFreeBSD = "freebsd" // POSIX AIO and kqueue
	KernelURing   = "uring"   // Linux's own io_uring, 5.11 or later
	KernelThreads = "threads" // plain calls on worker threads; every Unix
	KernelSim     = "sim"     // a model of FreeBSD's AIO and kqueue over this system's files; for tests
)

// WithKernel chooses what runs the operations, by name. [New] answers
// [ErrUnsupported] for a kernel that this system does not have.
func WithKernel(name string) Option {
	return func(o *options) error { o.kernel = name; return nil }
}

// WithAIO runs the operations on this AIO kernel: a model of package aio/sim, set
// up as a test wants it. Rings that are given the same one share its limits, as
// the rings of one process do. Closing a ring does not close it.
func WithAIO(k aio.Kernel) Option {
	return func(o *options) error {
		if k != nil && !reflect.TypeOf(k).Comparable() {
			return fmt.Errorf("aioring: a kernel of type %T cannot be told from another: pass a pointer", k)
		}
		o.aio = k
		return nil
	}
}

// WithMaxOps bounds the number of operations alive, from submission until their
// CQE is consumed. Beyond it Submit answers EAGAIN and Push ErrFull.
func WithMaxOps(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 1<<24 {
			return fmt.Errorf("aioring: %d operations alive: want 1 to %d", n, 1<<24)
		}
		o.maxOps = n
		return nil
	}
}

// WithMaxBytes bounds the bytes of buffers that operations alive hold; 0, the
// default, sets no bound. Beyond it Submit answers EAGAIN and Push ErrFull. One
// operation larger than the bound may go alone.
func WithMaxBytes(n int64) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("aioring: %d bytes held: want 0 or more", n)
		}
		o.maxBytes = n
		return nil
	}
}

// WithWorker gives the ring a goroutine that submits, and one that harvests, so
// that users only push and reap: io_uring's IORING_SETUP_SQPOLL. Submit then
// returns as soon as the entries are published, and a descriptor must stay open
// until the worker has taken its operation, a moment later. Both goroutines sleep
// when there is nothing to do.
func WithWorker() Option {
	return func(o *options) error { o.worker = true; return nil }
}

// WithLockedThread is [WithWorker] whose goroutine is locked to its thread and is
// alone in entering the kernel, to submit and to fetch completions: what
// SetupSingleIssuer and SetupDeferTaskrun need. On kernels other than uring it is
// WithWorker.
func WithLockedThread() Option {
	return func(o *options) error { o.worker, o.locked = true, true; return nil }
}
