//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"golang.org/x/sys/unix"
)

// opKind is what an operation does.
type opKind uint8

const (
	opWrite opKind = iota
	opWritev
	opRead
	opReadv
	opSync
	opNop
	opBadFd   // on a number that is not open
	opAtEnd   // a read behind the end
	opTimeout // a timer
	opCancel  // the end of another operation
)

func (k opKind) String() string {
	return [...]string{"write", "writev", "read", "readv", "fsync", "nop", "bad-fd", "at-end", "timeout", "cancel"}[k]
}

func (k opKind) writes() bool { return k == opWrite || k == opWritev }
func (k opKind) reads() bool  { return k == opRead || k == opReadv }

// operation is one, from its making until what came of it was taken in.
type operation struct {
	id      uint64
	kind    opKind
	target  *target
	first   int // blocks
	n       int
	version uint64
	buf     []byte
	dirty   []written // of an fsync: what it covers
	cancels atomic.Bool
	victim  uint64 // of opCancel
	chain   *chain // that it is part of
}

// chain is a write, a read of the same blocks and an fsync, linked: each starts when the
// one before has done all that it was to do.
type chain struct {
	mu      sync.Mutex
	members [3]*operation
	results [3]int32
	left    int
}

// round is one ring's life: it is made, used by some goroutines in all ways at a time,
// and ended in one of three. All that is drawn comes from the seed.
type round struct {
	s      *stress
	rng    *rand.Rand
	faults faultSet // of the run's, those that are on
	ring   *aioring.Ring
	model  *sim.Kernel // nil on a real kernel
	porter bool        // completions go to one goroutine by pointer, else to some by value
	worker bool        // the ring has WithWorker
	ending ending
	chains bool // the ring has room for one

	budget  atomic.Int64 // operations to make
	anybody atomic.Bool  // everything may be cancelled
	ended   atomic.Bool  // Close or Shutdown has begun
	mu      sync.Mutex
	pending map[uint64]*operation // submitted to the completion queue
}

// ending is how a ring ends.
type ending uint8

const (
	drain    ending = iota // everything reaped, then Close
	shutdown               // Shutdown while users go on, reaped to ErrClosed, then Close
	cut                    // Close, with everything under way
)

// runRound makes a ring and uses it up.
func (s *stress) runRound(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0xd1b54a32d192ed03))
	r := &round{s: s, rng: rng, pending: make(map[uint64]*operation)}
	for i := range r.faults {
		r.faults[i] = s.faults[i] && rng.IntN(3) > 0 // swarm: some at a time
	}
	r.budget.Store(int64(200 + rng.IntN(3000)))
	r.porter, r.worker = rng.IntN(2) == 0, rng.IntN(3) == 0
	r.ending = ending(rng.IntN(2))
	if r.faults.has("close") {
		r.ending = cut
		s.counts.add("close")
	}
	before := measure()
	if err := r.open(); err != nil {
		return err
	}
	r.use()
	if err := r.close(); err != nil {
		return err
	}
	if err := s.err(); err != nil {
		return err
	}
	for _, t := range s.targets {
		n, err := t.settle()
		s.checks.Add(uint64(n))
		if err != nil {
			return err
		}
	}
	if err := s.bystander.check(); err != nil {
		return err
	}
	return before.compare()
}

func (r *round) open() error {
	opts := []aioring.Option{aioring.WithKernel(r.s.kernel)} // the one that auto has found
	if r.worker {
		opts = append(opts, aioring.WithWorker())
	}
	maxOps, maxBytes := aioring.DefaultMaxOps, int64(0)
	if r.rng.IntN(3) == 0 {
		maxOps = 1 + r.rng.IntN(100)
	}
	if r.rng.IntN(4) == 0 {
		maxBytes = 1 + r.rng.Int64N(1<<20)
	}
	opts = append(opts, aioring.WithMaxOps(maxOps), aioring.WithMaxBytes(maxBytes))
	entries := min(1<<r.rng.IntN(9), r.s.depth)
	r.chains = entries >= 4 && maxOps >= 3 && (maxBytes == 0 || maxBytes >= 2*stressMost*stressBlock)
	r.s.history.begin(fmt.Sprintf("kernel %s, %d entries, at most %d operations and %d bytes (0: any), worker %v, porter %v, ending %d, faults %v",
		r.s.kernel, entries, maxOps, maxBytes, r.worker, r.porter, r.ending, &r.faults))
	if r.s.kernel == aioring.KernelSim {
		cfg := sim.Config{
			Profile: []sim.Profile{sim.V13, sim.VDefault}[r.rng.IntN(2)],
			Faults:  r.faults.modelFaults(r.rng, r.s.unit(), &r.s.counts),
		}
		if r.rng.IntN(2) == 0 {
			cfg.Limits = aio.Limits{MaxQueuePerProc: 1 + r.rng.IntN(64), MaxPerProc: 1 + r.rng.IntN(8)}
		}
		r.model = sim.New(cfg)
		var k aio.Kernel = r.model
		if r.s.wrap != nil {
			k = r.s.wrap(r.model)
		}
		opts = append(opts, aioring.WithAIO(k))
	}
	ring, err := aioring.New(entries, opts...)
	if err != nil {
		return err
	}
	r.ring = ring
	r.s.ring.Store(ring)
	return nil
}

// use lets everybody at the ring, and returns when they are done with it.
func (r *round) use() {
	var users, reapers, storms sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	if r.faults.has("gc") {
		storms.Go(func() { r.s.collectGarbage(over) })
	}
	if r.porter {
		seed := r.rng.Uint64()
		users.Go(func() { r.port(rand.New(rand.NewPCG(seed, 1))) })
	} else {
		for range 1 + r.rng.IntN(3) {
			byIterator := r.rng.IntN(2) == 0
			reapers.Go(func() { r.reap(ctx, byIterator) })
		}
	}
	for range 1 + r.rng.IntN(6) {
		seed := r.rng.Uint64()
		users.Go(func() { r.user(rand.New(rand.NewPCG(seed, 2))) })
	}
	half := r.budget.Load() / 2
	if r.ending != drain {
		storms.Go(func() {
			for r.budget.Load() > half && !r.s.failed() {
				time.Sleep(100 * time.Microsecond)
			}
			r.ended.Store(true)
			if r.ending == cut {
				if err := r.ring.Close(); err != nil {
					r.s.fail(fmt.Errorf("a Close: %w", err))
				}
			} else if err := r.ring.Shutdown(context.Background()); err != nil {
				r.s.fail(fmt.Errorf("a Shutdown: %w", err))
			}
		})
	}
	users.Wait()
	if r.ending == drain {
		for r.waitingFor() > 0 && !r.s.failed() {
			time.Sleep(100 * time.Microsecond) // for the reapers
		}
		cancel()
	}
	reapers.Wait()
	cancel()
	close(over)
	storms.Wait()
}

// close ends the ring and takes in what is left.
func (r *round) close() error {
	err := r.ring.Close()
	if err != nil {
		return fmt.Errorf("a Close: %w", err)
	}
	if r.s.failed() {
		return nil
	}
	left := len(r.pending)
	if r.ending != cut && left > 0 {
		return fmt.Errorf("%d operations have no CQE after everything was reaped", left)
	}
	for _, o := range r.pending {
		r.s.history.add("lost", o, 0)
		// Its CQE went with the ring.
		if err := r.abandon(o); err != nil {
			return err
		}
	}
	st := r.ring.Stats()
	if st.InFlight != 0 {
		return fmt.Errorf("%d in flight after Close", st.InFlight)
	}
	if r.model == nil {
		return nil
	}
	if err := r.model.Shutdown(); err != nil {
		return fmt.Errorf("the kernel's model saw: %w", err)
	}
	return nil
}

// abandon ends an operation that was carried out or not.
func (r *round) abandon(o *operation) error {
	defer r.drop(o)
	c := o.chain
	if c != nil {
		// With the first that is lost of a chain, all of it.
		for _, m := range c.members {
			m.chain = nil
		}
		c.members[1].n = 0 // the blocks are the write's
		for i, m := range c.members {
			if r.pending[m.id] == nil && m != o {
				if m.kind.writes() {
					r.settle(m, c.results[i])
				} else {
					r.drop(m) // an fsync too: it has promised nothing
				}
			}
		}
	}
	if !o.kind.writes() {
		return nil
	}
	if r.faults.has("short") || r.faults.has("error") {
		return r.lost(o)
	}
	o.target.wrote(o.first, o.n, o.version, 0, true)
	return nil
}

func (r *round) waitingFor() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

// newOperation draws one, or nil when the budget is spent.
func (r *round) newOperation(rng *rand.Rand) *operation {
	if r.budget.Add(-1) < 0 || r.s.failed() {
		return nil
	}
	o := &operation{id: r.s.lastID.Add(1), target: r.s.targets[rng.IntN(len(r.s.targets))]}
	switch n := rng.IntN(100); {
	case n < 38:
		o.kind = opWrite
	case n < 46:
		o.kind = opWritev
	case n < 78:
		o.kind = opRead
	case n < 86:
		o.kind = opReadv
	case n < 93:
		o.kind = opSync
	case n < 95:
		o.kind = opNop
	case n < 97:
		o.kind = opBadFd
	case n < 98:
		o.kind = opTimeout
	default:
		o.kind = opAtEnd
	}
	if o.kind == opAtEnd && o.target.device {
		o.kind = opNop
	}
	if o.kind.writes() || o.kind.reads() {
		if o.first, o.n = o.target.reserve(rng, stressMost, o.kind.writes()); o.n == 0 {
			o.kind = opNop // all is busy
		}
	}
	if o.n > 0 || o.kind == opAtEnd {
		buf, err := r.s.buffers.get()
		if err != nil {
			r.s.fail(err)
			return nil
		}
		o.buf = buf
	}
	switch {
	case o.kind.writes():
		o.version = r.s.lastVersion.Add(1)
		for i := range o.n {
			o.target.stamp(o.first+i, o.version).fill(o.buf[i*stressBlock:][:stressBlock])
		}
	case o.kind == opSync:
		o.dirty = o.target.takeDirty()
	}
	return o
}

// badFd is a number that no process has open.
const badFd = 1 << 20

// prep fills an entry, on a descriptor of the operation's file.
func (o *operation) prep(sqe *aioring.SQE, fd int, rng *rand.Rand) {
	p := o.buf
	if o.n > 0 {
		p = o.buf[:o.n*stressBlock]
	}
	off := int64(o.first) * stressBlock
	switch o.kind {
	case opWrite:
		aioring.PrepWrite(sqe, fd, p, off)
	case opWritev:
		aioring.PrepWritev(sqe, fd, o.split(p, rng), off)
	case opRead:
		aioring.PrepRead(sqe, fd, p, off)
	case opReadv:
		aioring.PrepReadv(sqe, fd, o.split(p, rng), off)
	case opSync:
		aioring.PrepFsync(sqe, fd, uint32(rng.IntN(2))*aioring.FsyncDatasync)
	case opNop:
		aioring.PrepNop(sqe)
	case opBadFd:
		aioring.PrepRead(sqe, badFd+rng.IntN(1<<20), nil, 0)
	case opAtEnd:
		aioring.PrepRead(sqe, fd, p, int64(o.target.blocks)*stressBlock)
	case opTimeout:
		aioring.PrepTimeout(sqe, time.Duration(rng.IntN(2000))*time.Microsecond, 0, 0)
	case opCancel:
		aioring.PrepCancel(sqe, o.victim, 0)
	}
	sqe.UserData = o.id
}

// split cuts a buffer into pieces, whole blocks as direct transfers want them.
func (o *operation) split(p []byte, rng *rand.Rand) (bufs [][]byte) {
	unit := o.target.align * stressBlock
	for len(p) > 0 {
		n := min((1+rng.IntN(8))*unit, len(p))
		bufs = append(bufs, p[:n])
		p = p[n:]
	}
	return bufs
}

// done takes in what came of an operation.
func (r *round) done(o *operation, res int32) {
	r.s.history.add("done", o, res)
	r.s.completed.Add(1)
	if o.chain != nil {
		r.doneInChain(o, res)
		return
	}
	r.settle(o, res)
}

// settle judges an operation and lets go of it.
func (r *round) settle(o *operation, res int32) {
	if err := r.judge(o, res); err != nil {
		r.s.fail(fmt.Errorf("#%d, %v of file %d blocks %d+%d: result %d: %w", o.id, o.kind, o.target.id, o.first, o.n, res, err))
	}
	r.drop(o)
}

// drop gives back what an operation holds.
func (r *round) drop(o *operation) {
	if o.n > 0 {
		o.target.release(o.first, o.n, o.kind.writes())
	}
	if o.buf != nil {
		r.s.buffers.put(o.buf)
	}
	if o.dirty != nil {
		o.target.giveDirty(o.dirty)
	}
}

var errUnexpected = errors.New("which cannot be")

// judge says whether a result may be, and whether the bytes are right.
func (r *round) judge(o *operation, res int32) error {
	r.s.checks.Add(1)
	whole := int32(o.n * stressBlock)
	errno := syscall.Errno(-min(res, 0))
	switch {
	case o.kind == opBadFd:
		if errno != syscall.EBADF && !r.cancelled(o, errno) {
			return errUnexpected
		}
	case errno == syscall.EIO && r.faults.has("error"):
		if o.kind.writes() {
			return r.lost(o)
		}
	case r.cancelled(o, errno):
		// Nothing has happened.
	case o.kind == opTimeout:
		if errno != aioring.ETIME {
			return errUnexpected
		}
	case o.kind == opCancel:
		if errno != 0 && errno != syscall.ENOENT && errno != syscall.EALREADY {
			return errUnexpected
		}
	case res < 0:
		return errno
	case o.kind == opSync || o.kind == opNop || o.kind == opAtEnd:
		if res != 0 {
			return errUnexpected
		}
		if o.kind == opSync {
			err := r.s.acks.add(o.target, o.dirty)
			o.dirty = nil
			return err
		}
	case res > whole || res < whole && !r.faults.has("short"):
		return errUnexpected
	case o.kind.writes():
		o.target.wrote(o.first, o.n, o.version, int(res), false)
		if res%stressBlock != 0 {
			return r.s.acks.withdraw(o.target, o.first+int(res)/stressBlock, 1)
		}
	default:
		r.s.checks.Add(uint64(res / stressBlock))
		return o.target.verify(o.first, o.buf[:res])
	}
	return nil
}

// lost takes in that a write may have moved any part of its bytes.
func (r *round) lost(o *operation) error {
	o.target.lost(o.first, o.n, o.version)
	return r.s.acks.withdraw(o.target, o.first, o.n)
}

// cancelled reports whether an operation may end so.
func (r *round) cancelled(o *operation, errno syscall.Errno) bool {
	return errno == syscall.ECANCELED && (o.cancels.Load() || r.anybody.Load() || r.ending == cut && r.ended.Load())
}

// user makes operations and waits for each, or leaves it to the reapers.
func (r *round) user(rng *rand.Rand) {
	for {
		var err error
		if r.faults.has("cancel") && rng.IntN(300) == 0 {
			r.cancelAll()
		}
		switch way := rng.IntN(10); {
		case way < 4 && !r.porter:
			err = r.push(rng)
		case way < 7:
			err = r.do(rng)
		case way < 9:
			err = r.entry(rng)
		default:
			err = r.list(rng)
		}
		if err == errSpent || errors.Is(err, aioring.ErrClosed) && r.ended.Load() {
			return
		}
		if err != nil {
			r.s.fail(err)
			return
		}
	}
}

// cancelAll ends whatever is under way.
func (r *round) cancelAll() {
	r.anybody.Store(true)
	r.s.counts.add("cancel")
	var sqe aioring.SQE
	aioring.PrepCancel(&sqe, 0, aioring.CancelAny)
	n, err := r.ring.CancelSync(context.Background(), sqe)
	if err != nil && !(errors.Is(err, aioring.ErrClosed) && r.ended.Load()) {
		r.s.fail(fmt.Errorf("CancelSync: %d, %w", n, err))
	}
}

var errSpent = errors.New("the budget is spent")

// do is [aioring.Ring.Do], and with cancellation at some time or other.
func (r *round) do(rng *rand.Rand) error {
	o := r.newOperation(rng)
	if o == nil {
		return errSpent
	}
	ctx := context.Background()
	if r.faults.has("cancel") && rng.IntN(2) == 0 {
		r.s.counts.add("cancel")
		o.cancels.Store(true)
		c, cancel := context.WithCancel(ctx)
		ctx = c
		defer cancel()
		if d := time.Duration(rng.IntN(200)) * time.Microsecond; d > 0 {
			defer time.AfterFunc(d, cancel).Stop()
		} else {
			cancel()
		}
	}
	var sqe aioring.SQE
	o.prep(&sqe, o.fd(), rng)
	r.s.history.add("do", o, 0)
	cqe, err := r.ring.Do(ctx, sqe)
	var failed *aioring.OpError
	switch {
	case err == nil || errors.As(err, &failed):
		if err != nil && failed.Err != syscall.Errno(-cqe.Res) {
			return fmt.Errorf("Do: %+v, %w", cqe, err)
		}
		r.done(o, cqe.Res)
		return nil
	case o.cancels.Load() && errors.Is(err, context.Canceled):
		r.done(o, -int32(syscall.ECANCELED)) // never begun, or called off
		return nil
	}
	r.s.history.add("refused", o, 0)
	r.drop(o)
	return err
}

func (o *operation) fd() int { return int(o.target.file.Fd()) }

// push gives some operations to the completion queue.
func (r *round) push(rng *rand.Rand) error {
	if r.chains && rng.IntN(8) == 0 {
		return r.pushChain(rng)
	}
	var ops []*operation
	var sqes []aioring.SQE
	for range 1 + rng.IntN(8) {
		o := r.newOperation(rng)
		if o == nil {
			break
		}
		sqes = append(sqes, aioring.SQE{})
		if r.faults.has("cancel") && o.kind == opNop && rng.IntN(2) == 0 {
			r.cancelAnother(o)
		}
		o.prep(&sqes[len(sqes)-1], o.fd(), rng)
		if rng.IntN(20) == 0 {
			sqes[len(sqes)-1].Flags |= aioring.FlagIODrain
		}
		ops = append(ops, o)
	}
	if len(ops) == 0 {
		return errSpent
	}
	for len(ops) > 0 {
		// They may be done before PushContext returns.
		n := len(ops)
		r.expect(ops[:n])
		err := r.ring.PushContext(context.Background(), sqes[:n]...)
		for n > 1 && err == aioring.ErrTooBig {
			r.forget(ops[n/2 : n])
			n /= 2
			err = r.ring.PushContext(context.Background(), sqes[:n]...)
		}
		if err != nil {
			r.forget(ops[:n])
			for _, o := range ops {
				r.s.history.add("refused", o, 0)
				r.drop(o)
			}
			return err
		}
		ops, sqes = ops[n:], sqes[n:]
	}
	return nil
}

// cancelAnother makes an operation the end of some other.
func (r *round) cancelAnother(o *operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, victim := range r.pending {
		victim.cancels.Store(true)
		r.s.counts.add("cancel")
		o.kind, o.victim = opCancel, id
		return
	}
}

// newChain makes one, or nil when the budget is spent or everything is busy.
func (r *round) newChain(rng *rand.Rand) *chain {
	t := r.s.targets[rng.IntN(len(r.s.targets))]
	if r.budget.Add(-3) < 0 || r.s.failed() {
		return nil
	}
	first, n := t.reserve(rng, stressMost, true)
	if n == 0 {
		return nil
	}
	c := &chain{left: 3}
	for i, k := range [...]opKind{opWrite, opRead, opSync} {
		o := &operation{id: r.s.lastID.Add(1), kind: k, target: t, first: first, n: n, chain: c}
		if c.members[i] = o; k == opSync {
			o.first, o.n, o.dirty = 0, 0, t.takeDirty()
			continue
		}
		buf, err := r.s.buffers.get()
		if err != nil {
			r.s.fail(err)
			return nil
		}
		o.buf = buf
	}
	w := c.members[0]
	w.version = r.s.lastVersion.Add(1)
	for i := range n {
		t.stamp(first+i, w.version).fill(w.buf[i*stressBlock:][:stressBlock])
	}
	c.members[1].version = w.version
	return c
}

// drop gives back what a chain that was not submitted holds.
func (r *round) dropChain(c *chain) {
	c.members[1].n = 0 // the blocks are the write's
	for _, o := range c.members {
		r.drop(o)
	}
}

// doneInChain takes in a member, and with the last the whole.
func (r *round) doneInChain(o *operation, res int32) {
	c := o.chain
	c.mu.Lock()
	i := slices.Index(c.members[:], o)
	c.results[i] = res
	c.left--
	last := c.left == 0
	c.mu.Unlock()
	if !last {
		return
	}
	w, read, fsync := c.members[0], c.members[1], c.members[2]
	n := read.n
	read.n = 0
	whole := int32(n * stressBlock)
	canceled := -int32(syscall.ECANCELED)
	var err error
	switch {
	case c.results[0] != whole && (c.results[1] != canceled || c.results[2] != canceled):
		err = errors.New("its first did not do all, and the others were not called off")
	case c.results[0] == whole && c.results[1] != whole && c.results[2] != canceled:
		err = errors.New("its second did not do all, and the third was not called off")
	case c.results[0] == whole && c.results[1] > 0:
		// The write has the blocks still: nobody else has changed them.
		for b := 0; (b+1)*stressBlock <= int(c.results[1]) && err == nil; b++ {
			err = w.target.stamp(w.first+b, w.version).check(read.buf[b*stressBlock:][:stressBlock])
			r.s.checks.Add(1)
		}
	}
	// What each may be by itself.
	for i, o := range c.members[1:] {
		before, res := c.results[i], c.results[i+1]
		if severed := before != whole; err == nil && !severed &&
			res < 0 && !(res == -int32(syscall.EIO) && r.faults.has("error")) && !r.cancelled(o, syscall.Errno(-res)) {
			err = fmt.Errorf("its %v: %w", o.kind, syscall.Errno(-res))
		}
	}
	if err == nil && c.results[0] == whole && c.results[1] >= 0 && c.results[1] < whole && !r.faults.has("short") {
		err = errUnexpected
	}
	if err != nil {
		r.s.fail(fmt.Errorf("#%d, a chain on file %d blocks %d+%d: results %d: %w", w.id, w.target.id, w.first, n, c.results, err))
	}
	durable := fsync.dirty
	fsync.dirty = nil
	r.settle(w, c.results[0])
	r.drop(read)
	if c.results[2] != 0 {
		w.target.giveDirty(durable)
		return
	}
	if err := r.s.acks.add(w.target, append(durable, written{w.first, n, w.version})); err != nil {
		r.s.fail(err)
	}
}

// prepChain fills the entries of a chain.
func (r *round) prepChain(c *chain, sqes []*aioring.SQE, rng *rand.Rand) {
	for i, o := range c.members {
		o.prep(sqes[i], o.fd(), rng)
		if i < len(c.members)-1 {
			sqes[i].Flags |= aioring.FlagIOLink
		}
	}
}

// pushChain pushes one.
func (r *round) pushChain(rng *rand.Rand) error {
	c := r.newChain(rng)
	if c == nil {
		if r.budget.Load() <= 0 || r.s.failed() {
			return errSpent
		}
		return nil
	}
	sqes := make([]aioring.SQE, len(c.members))
	r.prepChain(c, []*aioring.SQE{&sqes[0], &sqes[1], &sqes[2]}, rng)
	r.expect(c.members[:])
	err := r.ring.PushContext(context.Background(), sqes...)
	if err == nil {
		return nil
	}
	r.forget(c.members[:])
	r.dropChain(c)
	if err == aioring.ErrTooBig {
		return nil
	}
	return err
}

// expect waits for the CQEs of operations.
func (r *round) expect(ops []*operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range ops {
		r.s.history.add("push", o, 0)
		r.pending[o.id] = o
	}
}

func (r *round) forget(ops []*operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range ops {
		delete(r.pending, o.id)
	}
}

// complete takes a CQE.
func (r *round) complete(cqe aioring.CQE) {
	r.mu.Lock()
	o := r.pending[cqe.UserData]
	delete(r.pending, cqe.UserData)
	r.mu.Unlock()
	if o == nil {
		r.s.fail(fmt.Errorf("a CQE of nobody's, or the second of an operation: %+v", cqe))
		return
	}
	r.done(o, cqe.Res)
}

// reap takes CQEs by value until ctx or the ring ends.
func (r *round) reap(ctx context.Context, byIterator bool) {
	if byIterator {
		for cqe := range r.ring.CQEs(ctx) {
			r.complete(cqe)
		}
		return
	}
	for {
		cqe, err := r.ring.Wait(ctx)
		if err != nil {
			if ctx.Err() == nil && !(errors.Is(err, aioring.ErrClosed) && r.ended.Load()) {
				r.s.fail(fmt.Errorf("a Wait: %w", err))
			}
			return
		}
		r.complete(cqe)
	}
}

// entry is a kept entry, used some times.
func (r *round) entry(rng *rand.Rand) error {
	e, err := r.ring.NewEntry()
	if err != nil {
		return err
	}
	defer e.Release()
	for range 1 + rng.IntN(4) {
		o := r.newOperation(rng)
		if o == nil {
			return errSpent
		}
		o.prep(e.SQE(), o.fd(), rng)
		r.s.history.add("entry", o, 0)
		if err := e.Submit(context.Background()); err != nil {
			r.drop(o)
			return err
		}
		cqe, err := e.Ready(context.Background())
		if err != nil {
			r.unsure(o)
			return err
		}
		r.done(o, cqe.Res)
		if !r.ring.ClearReady(cqe.Event()) && !r.ended.Load() {
			return fmt.Errorf("an event was stale at once: %+v", cqe)
		}
		if r.ring.ClearReady(cqe.Event()) {
			return fmt.Errorf("an event was cleared twice: %+v", cqe)
		}
	}
	return nil
}

// unsure ends an operation of which the ring, that is closed, has not told the end.
func (r *round) unsure(o *operation) {
	r.expect([]*operation{o}) // close takes it from there
}

// list is some operations that have one event.
func (r *round) list(rng *rand.Rand) error {
	e, err := r.ring.NewEntry()
	if err != nil {
		return err
	}
	defer e.Release()
	var ops []*operation
	for range 1 + rng.IntN(4) {
		if o := r.newOperation(rng); o != nil {
			ops = append(ops, o)
		}
	}
	if len(ops) == 0 {
		return errSpent
	}
	sqes := make([]aioring.SQE, len(ops))
	for i, o := range ops {
		o.prep(&sqes[i], o.fd(), rng)
		r.s.history.add("list", o, 0)
	}
	aioring.PrepList(e, sqes)
	if err := e.Submit(context.Background()); err != nil {
		for _, o := range ops {
			r.drop(o)
		}
		if err == aioring.ErrTooBig {
			return nil
		}
		return err
	}
	cqe, err := e.Ready(context.Background())
	if err != nil {
		for _, o := range ops {
			r.unsure(o)
		}
		return err
	}
	if int(cqe.Res) != len(ops) {
		return fmt.Errorf("a list of %d: %+v", len(ops), cqe)
	}
	for i, o := range ops {
		m, ok := e.Member(i)
		if !ok || m.UserData != o.id {
			return fmt.Errorf("member %d of a list: %+v, %v, want #%d", i, m, ok, o.id)
		}
		r.done(o, m.Res)
	}
	return nil
}

// port uses the ring as a program from Linux does: one goroutine fills, submits and reaps.
func (r *round) port(rng *rand.Rand) {
	cqes := make([]*aioring.CQE, 64)
	var filled []*operation
	for spent := false; !spent || len(filled) > 0 || r.waitingFor() > 0; {
		var doubles []int
		for !spent && r.ring.SQSpaceLeft() > 0 && len(filled) < 64 && rng.IntN(10) > 0 {
			if r.chains && rng.IntN(10) == 0 && r.ring.SQSpaceLeft() >= 3 && r.fillChain(rng, &filled) {
				continue
			}
			o := r.newOperation(rng)
			if spent = o == nil; spent {
				break
			}
			if r.faults.has("cancel") && o.kind == opNop && rng.IntN(2) == 0 {
				r.cancelAnother(o)
			}
			sqe := r.ring.GetSQE()
			if sqe == nil { // the ring is ending
				r.drop(o)
				spent = true
				break
			}
			fd := o.fd()
			if !r.worker && r.faults.has("reuse") && rng.IntN(4) == 0 {
				if d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
					fd = d
					doubles = append(doubles, d)
				}
			}
			o.prep(sqe, fd, rng)
			r.expect([]*operation{o})
			filled = append(filled, o)
		}
		var n int
		var err error
		wait := min(len(filled)+r.waitingFor(), 1+rng.IntN(8))
		if rng.IntN(2) == 0 && len(doubles) == 0 {
			// No entry is bad, and what is waited for comes.
			n, err = r.ring.SubmitAndWait(min(wait, 1))
		} else {
			n, err = r.ring.Submit()
		}
		r.swap(doubles, n == len(filled))
		filled = filled[n:]
		if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
			if !(errors.Is(err, aioring.ErrClosed) && r.ended.Load()) {
				r.s.fail(fmt.Errorf("a Submit: %w", err))
				return
			}
			if r.ending == cut {
				return // close takes the rest
			}
			// Shutdown: what was not submitted never will be.
			r.forget(filled)
			for _, o := range filled {
				r.drop(o)
			}
			filled, spent = nil, true
		}
		if rng.IntN(4) == 0 && r.waitingFor() > len(filled) {
			cqe, err := r.ring.WaitCQE()
			if err == nil {
				r.complete(*cqe)
				r.ring.CQESeen(cqe)
			}
		}
		k := r.ring.PeekBatchCQE(cqes[:1+rng.IntN(len(cqes))])
		for _, cqe := range cqes[:k] {
			r.complete(*cqe)
		}
		r.ring.CQAdvance(k)
		if k == 0 {
			if r.ended.Load() && r.ending == cut || r.s.failed() {
				return
			}
			runtime.Gosched()
		}
	}
}

// fillChain puts a chain into three entries, if there are as many.
func (r *round) fillChain(rng *rand.Rand, filled *[]*operation) bool {
	c := r.newChain(rng)
	if c == nil {
		return false
	}
	var sqes []*aioring.SQE
	for range c.members {
		sqes = append(sqes, r.ring.GetSQE())
	}
	if slices.Contains(sqes, nil) { // the ring is ending, and what was got is never submitted
		r.dropChain(c)
		return false
	}
	r.prepChain(c, sqes, rng)
	r.expect(c.members[:])
	*filled = append(*filled, c.members[:]...)
	return true
}

// swap closes descriptors whose operations were submitted, and gives their numbers to a
// file that none of them may touch.
func (r *round) swap(doubles []int, submitted bool) {
	if len(doubles) == 0 {
		return
	}
	for _, d := range doubles {
		if !submitted {
			// Some are still to be submitted: their numbers stay.
			r.s.bystander.later(d)
			continue
		}
		if err := unix.Dup2(int(r.s.bystander.file.Fd()), d); err != nil {
			r.s.fail(fmt.Errorf("dup2: %w", err))
			return
		}
		r.s.counts.add("reuse")
		r.s.bystander.later(d)
	}
}

// bystander is a file that nobody has any business with.
type bystander struct {
	file  *os.File
	want  []byte
	mu    sync.Mutex
	spare []int // descriptors, to be closed at the end of the round
}

func newBystander(path string) (*bystander, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	b := &bystander{file: f, want: make([]byte, 64<<10)}
	for i := range b.want {
		b.want[i] = byte(i * 7)
	}
	_, err = f.WriteAt(b.want, 0)
	return b, err
}

func (b *bystander) later(fd int) {
	b.mu.Lock()
	b.spare = append(b.spare, fd)
	b.mu.Unlock()
}

// check sees that nobody has touched it. The ring is closed.
func (b *bystander) check() error {
	for _, fd := range b.spare {
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("a descriptor of ours was closed by somebody else: %w", err)
		}
	}
	b.spare = b.spare[:0]
	got, err := os.ReadFile(b.file.Name())
	if err != nil {
		return err
	}
	if !slices.Equal(got, b.want) {
		return errors.New("an operation has written to the file that got its descriptor's number")
	}
	return nil
}

// footprint is what must not grow from one round to the next.
type footprint struct{ goroutines, descriptors int }

// countedDescriptors is how many numbers are looked at.
const countedDescriptors = 2048

func measure() footprint {
	now := footprint{goroutines: runtime.NumGoroutine()}
	for fd := range countedDescriptors {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			now.descriptors++
		}
	}
	return now
}

// compare waits a moment for goroutines that are on their way out.
func (before footprint) compare() error {
	var now footprint
	for range 2000 {
		if now = measure(); now.goroutines <= before.goroutines {
			break
		}
		time.Sleep(time.Millisecond)
	}
	switch {
	case now.goroutines > before.goroutines:
		return fmt.Errorf("%d goroutines before the ring, %d after it", before.goroutines, now.goroutines)
	case now.descriptors > before.descriptors:
		return fmt.Errorf("%d descriptors were left open", now.descriptors-before.descriptors)
	}
	return nil
}
