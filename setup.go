package aioring

import (
	"fmt"

	"github.com/aioring/aioring/internal/engine"
)

// SetupFlags are io_uring's set-up flags, for [WithSetup].
type SetupFlags uint32

// The set-up flags that a ring can have. On a kernel that is not io_uring itself,
// COOP_TASKRUN, TASKRUN_FLAG, SINGLE_ISSUER, DEFER_TASKRUN and NO_SQARRAY are
// accepted and have nothing to show: completions are there when they are. Source:
// io_uring_setup(2).
const (
	SetupIOPoll       = SetupFlags(engine.SetupIOPoll)       // block devices are polled; only io_uring has it
	SetupSQPoll       = SetupFlags(engine.SetupSQPoll)       // a thread of the kernel submits; elsewhere WithWorker
	SetupCQSize       = SetupFlags(engine.SetupCQSize)       // WithCQSize
	SetupClamp        = SetupFlags(engine.SetupClamp)        // sizes above the most become the most
	SetupRDisabled    = SetupFlags(engine.SetupRDisabled)    // takes nothing until Enable
	SetupSubmitAll    = SetupFlags(engine.SetupSubmitAll)    // a bad entry does not stop a submission; Linux 5.18
	SetupCoopTaskrun  = SetupFlags(engine.SetupCoopTaskrun)  // completions wait for the next system call; Linux 5.19
	SetupTaskrunFlag  = SetupFlags(engine.SetupTaskrunFlag)  // with COOP_TASKRUN or DEFER_TASKRUN
	SetupSingleIssuer = SetupFlags(engine.SetupSingleIssuer) // with WithLockedThread; Linux 6.0
	SetupDeferTaskrun = SetupFlags(engine.SetupDeferTaskrun) // with WithLockedThread and SetupSingleIssuer; Linux 6.1
	SetupNoSQArray    = SetupFlags(engine.SetupNoSQArray)    // taken wherever Linux has it; 6.6
)

// WithSetup sets up the ring with these flags, besides those of other options. [New]
// answers EINVAL for flags that are unknown, or that io_uring does not have together,
// or that the Linux there is does not have yet.
//
// SetupSingleIssuer and SetupDeferTaskrun tie an io_uring to the thread that submits,
// and a goroutine moves between threads: without [WithLockedThread] they are left
// out, and Stats.Stripped says so.
//
// With SetupIOPoll only direct I/O (O_DIRECT) on devices that can be polled is taken,
// and whoever waits for completions keeps a processor busy.
//
// With SetupSQPoll a submission returns before the kernel has taken it: a
// descriptor must stay open until the operation's CQE, and nothing stops a
// submission.
func WithSetup(flags SetupFlags) Option {
	return func(o *options) error { o.setup |= flags; return nil }
}

// WithCQSize gives the completion queue so many entries, rounded up to a power of
// two, in place of twice as many as the submission queue has. It must not be the
// smaller of the two.
func WithCQSize(entries int) Option {
	return func(o *options) error {
		o.cqSize, o.setup = entries, o.setup|SetupCQSize
		return nil
	}
}

// WithClamp makes of sizes that are too large the largest there are.
func WithClamp() Option { return WithSetup(SetupClamp) }

// WithDisabled makes a ring that takes nothing until [Ring.Enable].
func WithDisabled() Option { return WithSetup(SetupRDisabled) }

// WithSubmitAll makes Submit go on after an entry that io_uring refuses.
func WithSubmitAll() Option { return WithSetup(SetupSubmitAll) }

// sizes finds how many entries the queues have.
func (o *options) sizes(entries int) (sq, cq int, err error) {
	if errno := engine.CheckSetup(uint32(o.setup &^ SetupIOPoll)); errno != 0 {
		return 0, 0, fmt.Errorf("aioring: set-up flags %#x: %w", uint32(o.setup), errno)
	}
	sq, cq, errno := engine.Sizes(entries, o.cqSize, uint32(o.setup))
	if errno != 0 {
		return 0, 0, fmt.Errorf("aioring: %d entries, %d of completion: %w", entries, o.cqSize, errno)
	}
	return sq, cq, nil
}

// Enable lets a ring made with [WithDisabled] begin. EBADFD: it has begun.
func (r *Ring) Enable() error {
	if r.closed.Load() {
		return ErrClosed
	}
	if !r.disabled.CompareAndSwap(true, false) {
		return EBADFD
	}
	return nil
}

// SQEntries and CQEntries are the sizes of the queues.
func (r *Ring) SQEntries() int { return len(r.sq.entries) }

// CQEntries is the size of the completion queue.
func (r *Ring) CQEntries() int { return len(r.cq.cells) }

// Features are io_uring's feature bits.
type Features uint32

// The features that a ring may have. Source: io_uring_setup(2), IORING_FEAT_*.
const (
	FeatSingleMmap     Features = 1 << 0  // the queues share memory with the kernel
	FeatNoDrop         Features = 1 << 1  // no CQE is lost when the queue is full
	FeatSubmitStable   Features = 1 << 2  // what only describes an operation may be used again when Submit returns
	FeatRWCurPos       Features = 1 << 3  // CurrentPosition
	FeatCurPersonality Features = 1 << 4  // credentials of the submitter
	FeatFastPoll       Features = 1 << 5  // reads of pipes and sockets wait without a thread each
	FeatPoll32Bits     Features = 1 << 6  // poll takes 32 bits of events
	FeatSQPollNonfixed Features = 1 << 7  // SQPOLL with plain descriptors
	FeatExtArg         Features = 1 << 8  // waiting with a timeout submits nothing
	FeatNativeWorkers  Features = 1 << 9  // workers are of the same process
	FeatRsrcTags       Features = 1 << 10 // tags on registered resources
	FeatCQESkip        Features = 1 << 11 // FlagCQESkip
	FeatLinkedFile     Features = 1 << 12 // the file of a chain's follower is looked up when it starts
	FeatMinTimeout     Features = 1 << 15 // SubmitAndWaitMinTimeout
)

// Features says which of io_uring's features the ring has.
func (r *Ring) Features() Features {
	if r.direct != nil {
		return kept & r.direct.features()
	}
	return kept
}

// kept are the features whose rules are kept, if the kernel below has them.
const kept = FeatNoDrop | FeatSubmitStable | FeatRWCurPos | FeatFastPoll | FeatSQPollNonfixed | FeatExtArg |
	FeatNativeWorkers | FeatCQESkip | FeatLinkedFile | FeatMinTimeout

// Probe says which operations a ring can do. Source: io_uring_register(2),
// IORING_REGISTER_PROBE.
type Probe struct{ ops [256]bool }

// Supported reports whether an operation is one of the ring's. Others end with EINVAL.
func (p *Probe) Supported(op Opcode) bool { return p.ops[op] }

// LastOp is the highest opcode there is.
func (p *Probe) LastOp() Opcode {
	for op := len(p.ops) - 1; op > 0; op-- {
		if p.ops[op] {
			return Opcode(op)
		}
	}
	return OpNop
}

// Probe asks which operations the ring can do.
func (r *Ring) Probe() *Probe {
	p := new(Probe)
	for op := range p.ops {
		if r.direct != nil {
			p.ops[op] = r.direct.supports(Opcode(op))
		} else {
			p.ops[op] = engine.Supported(Opcode(op))
		}
	}
	return p
}
