package aioring

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

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
	first    uint32   // index of both queues
	lacks    []Opcode //nolint:unused,nolintlint // opcodes that an older Linux would not have; for tests
	merge    int
	method   string

	noLatency bool
	slow      time.Duration
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

// WithFirstIndex makes the free-running indexes of the submission and completion
// queues begin at n in place of 0, so that a test need not submit 2^32 operations to
// see them wrap.
func WithFirstIndex(n uint32) Option {
	return func(o *options) error { o.first = n; return nil }
}

// DefaultMerge is what neighbours are merged to unless [WithMerge] says otherwise.
const DefaultMerge = 64 << 10

// maxMerge bounds WithMerge.
const maxMerge = 16 << 20

// WithMerge bounds, in bytes, what neighbouring reads or writes of one open file are
// merged to before the kernel sees them. 0 merges nothing, and lets every FSYNC run
// by itself instead of sharing one with those that wait with it. The environment's
// AIORING_MERGE, a number, goes before it. The threads kernel merges nothing.
//
// Each operation has its own result all the same. When a merged write failed, its
// members are written again one by one, so that each has its own: another process may
// see that.
func WithMerge(bytes int) Option {
	return func(o *options) error { return o.setMerge(bytes) }
}

func (o *options) setMerge(bytes int) error {
	if bytes < 0 || bytes > maxMerge {
		return fmt.Errorf("aioring: merging to %d bytes: want 0 to %d", bytes, maxMerge)
	}
	o.merge = bytes
	return nil
}

// Methods that [WithMethod] can name.
const (
	// MethodAuto takes what was measured to be best: lists of AIO jobs; a plain call
	// by the submitter for an operation that is alone in its ring and waited for, by
	// Do or SubmitAndWait.
	MethodAuto  = "auto"
	MethodAIO   = "aio"   // AIO for whatever it is for, alone or not
	MethodPlain = "plain" // plain calls on worker threads, though there be AIO
)

// WithMethod chooses how operations reach the kernel, by name. The environment's
// AIORING_METHOD goes before it.
func WithMethod(name string) Option {
	return func(o *options) error { return o.setMethod(name) }
}

func (o *options) setMethod(name string) error {
	switch name {
	case MethodAuto, MethodAIO, MethodPlain:
		o.method = name
		return nil
	}
	return fmt.Errorf("aioring: method %q: want %s, %s or %s", name, MethodAuto, MethodAIO, MethodPlain)
}

// fromEnvironment lets whoever runs the program change what its maker chose.
func (o *options) fromEnvironment(lookup func(string) (string, bool)) error {
	if s, ok := lookup("AIORING_METHOD"); ok && s != "" {
		if err := o.setMethod(s); err != nil {
			return fmt.Errorf("AIORING_METHOD: %w", err)
		}
	}
	if s, ok := lookup("AIORING_MERGE"); ok && s != "" {
		n, err := strconv.Atoi(s)
		if err == nil {
			err = o.setMerge(n)
		}
		if err != nil {
			return fmt.Errorf("AIORING_MERGE: %w", err)
		}
	}
	return nil
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
