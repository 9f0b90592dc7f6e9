//go:build unix

package aioring

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/batch"
	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/worker"
	"github.com/aioring/aioring/reactor"
)

// openLower opens the kernel that the ring's options name.
func openLower(r *Ring) (lower, error) {
	k := r.opts.aio
	var closeKernel func() error
	if k == nil {
		var err error
		switch r.opts.kernel {
		case KernelAuto:
			if k, err = nativeAIO(); errors.Is(err, ErrUnsupported) {
				return autoURing(r)
			}
		case KernelURing:
			l, err := openURing(r)
			if err != nil {
				return nil, fmt.Errorf("aioring: kernel %q: %w", r.opts.kernel, err)
			}
			return l, nil
		case KernelFreeBSD:
			k, err = nativeAIO()
		case KernelThreads:
		case KernelSim:
			model := sim.New(sim.Config{})
			k, closeKernel = model, model.Shutdown
		default:
			err = ErrUnsupported
		}
		if err != nil {
			return nil, fmt.Errorf("aioring: kernel %q: %w", r.opts.kernel, err)
		}
	}
	if k == nil {
		return openThreads(r), nil
	}
	l, err := openAIO(r, k)
	if err != nil {
		if closeKernel != nil {
			err = errors.Join(err, closeKernel())
		}
		return nil, fmt.Errorf("aioring: kernel %q: %w", k.Name(), err)
	}
	l.closeKernel = closeKernel
	return l, nil
}

// autoURing takes io_uring if it is to be had, else threads. Containers forbid it
// as a rule; that is said once, and in Stats.
func autoURing(r *Ring) (lower, error) {
	l, err := openURing(r)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS), errors.Is(err, ErrUnsupported):
	default:
		return nil, fmt.Errorf("aioring: kernel %q: %w", KernelURing, err)
	}
	t := openThreads(r)
	if runtime.GOOS == "linux" {
		t.forbidden = err.Error()
		sayForbidden.Do(func() {
			slog.Warn("aioring: no io_uring here, plain calls on threads instead", "error", err)
		})
	}
	return t, nil
}

var sayForbidden sync.Once

// kernelLower is everything below the engine for the kernels that are not rings
// themselves. With an aio.Kernel, files and disks go through batch and reactor,
// and what AIO is not for goes to the workers; without one, the threads kernel,
// all goes to the workers.
type kernelLower struct {
	ring  *Ring
	files fileCache
	pool  *worker.Pool
	calls []*worker.Call // started, for the pool at the next flush
	cache worker.Cache   // the engine's owner's; without AIO

	lanes      map[aio.FileStat]*lane
	spareLanes []*lane

	// Without AIO these are nil.
	aio         aio.Kernel
	model       modelFiles // whose plain calls are aio's; mostly nil
	reactor     *reactor.Reactor
	batch       *batch.Batch
	closeKernel func() error // also nil if the kernel is another's
	// lost: the event queue is gone. The jobs in the kernel are asked for their end
	// themselves then, and nothing more is given to it.
	lost atomic.Bool

	// tasks[i] is set by the engine's owner before any task of it is known to
	// others.
	tasks []atomic.Pointer[[taskChunk]task]

	// done is a stack of tasks that have their result. Harvester and workers push;
	// the owner takes all at once.
	done atomic.Pointer[task]

	clock   func() int64 // nil: latency is not measured
	latency latency

	callsOwn bool // submitters may make their calls themselves
	own      ownCall

	plain, fallbacks, cached, direct atomic.Uint64

	forbidden string // why it is not io_uring
}

// task is what an operation is below the engine, one for each slot of the
// engine's table.
type task struct {
	op    *engine.Op
	file  *heldFile // its private descriptor, if it has one
	stat  aio.FileStat
	plain bool        // it is call's, not job's
	own   bool        // and its submitter's
	ended atomic.Bool // call is over; the store publishes its result
	job   batch.Job
	call  worker.Call
	next  *task

	began, doneAt int64 // of a plain call: given to the pool, over

	lane   *lane // of a plain call that keeps an order
	queued bool  // behind others there
	behind *task
}

const taskChunk = 256

func openThreads(r *Ring) *kernelLower {
	l := &kernelLower{
		ring: r, tasks: make([]atomic.Pointer[[taskChunk]task], r.opts.maxOps/taskChunk+1),
		lanes: make(map[aio.FileStat]*lane),
	}
	l.files.init(aio.HostFiles{})
	l.pool = worker.New(0, l.called)
	// A model is for those who want to see AIO.
	l.callsOwn = r.opts.method == MethodAuto && r.opts.aio == nil && r.opts.kernel != KernelSim
	if !r.opts.noLatency {
		l.clock = r.now
	}
	return l
}

func openAIO(r *Ring, k aio.Kernel) (*kernelLower, error) {
	l := openThreads(r)
	l.files.init(k)
	l.aio, l.model = k, plainCalls(k)
	l.files.own = l.model != nil
	budget, err := batch.ShareBudget(k)
	if err != nil {
		return nil, err
	}
	l.reactor, err = reactor.New(k)
	if err != nil {
		budget.Release()
		return nil, err
	}
	l.batch, err = batch.New(batch.Config{
		Kernel: k, Kqueue: l.reactor.Kqueue(), Budget: budget,
		Merge: r.opts.merge, Now: l.clock,
		Done: l.ended, Reaped: l.reaped, Hold: l.holdJob, Elsewhere: l.elsewhere, Refuses: l.refuses,
	})
	if err != nil {
		budget.Release()
		return nil, errors.Join(err, l.reactor.Close())
	}
	return l, nil
}

func (l *kernelLower) name() string {
	if l.aio == nil {
		return KernelThreads
	}
	return l.aio.Name()
}

// task finds an operation's task.
func (l *kernelLower) task(slot uint32) *task {
	return &l.tasks[slot/taskChunk].Load()[slot%taskChunk]
}

// start looks at the file and sends the operation the way that suits it: by the
// file's type, never by trying.
func (l *kernelLower) start(op *engine.Op) {
	if p := &l.tasks[op.Slot()/taskChunk]; p.Load() == nil {
		p.Store(new([taskChunk]task))
	}
	t := l.task(op.Slot())
	t.op = op
	stat, errno := l.files.stat(op.SQE.Fd)
	if errno != 0 {
		l.ring.eng.Complete(op, -int32(errno.Host()))
		return
	}
	if l.batch == nil && l.readCached(op) {
		return
	}
	t.stat = stat
	if l.startOwn(t, stat) {
		return
	}
	if l.batch == nil || l.lost.Load() || !suitsBatch(&op.SQE, stat) || l.ring.opts.method == MethodPlain {
		if l.inLane(&op.SQE, stat) {
			l.startInLane(t, stat)
		} else {
			l.startPlain(t, stat)
		}
		return
	}
	t.plain = false
	s := &op.SQE
	j := &t.job
	j.ID, j.Op, j.Fd, j.Off = op.Slot(), jobOp(s), int(s.Fd), s.Off
	j.Buf, j.Bufs = s.Buf[:min(len(s.Buf), engine.MaxTransfer)], s.Bufs
	j.Once = onlyOnce(op)
	j.File = l.files.file(l.batch, s.Fd)
	j.Append = (j.Op == batch.Write || j.Op == batch.Writev) && l.files.appends(s.Fd)
	l.batch.Add(j)
}

// suitsBatch reports whether an operation is one for AIO, or has its place among
// those: at the file's own position, which AIO has not, but which others share. A
// sync of a disk is not, which AIO refuses, nor is an empty vector.
func suitsBatch(s *engine.SQE, stat aio.FileStat) bool {
	if !stat.AIO() {
		return false
	}
	switch s.Opcode {
	case engine.OpFsync:
		return stat.Type != aio.TypeDisk
	case engine.OpReadv, engine.OpWritev:
		if len(s.Bufs) == 0 || s.Bytes() > engine.MaxTransfer {
			return false
		}
	}
	return true
}

func jobOp(s *engine.SQE) batch.Op {
	switch s.Opcode {
	case engine.OpRead:
		return batch.Read
	case engine.OpWrite:
		return batch.Write
	case engine.OpReadv:
		return batch.Readv
	case engine.OpWritev:
		return batch.Writev
	}
	if s.OpFlags&engine.FsyncDatasync != 0 {
		return batch.Fdatasync
	}
	return batch.Fsync
}

func callOp(s *engine.SQE) worker.Op {
	switch s.Opcode {
	case engine.OpRead:
		return worker.Read
	case engine.OpWrite:
		return worker.Write
	case engine.OpReadv:
		return worker.Readv
	case engine.OpWritev:
		return worker.Writev
	}
	if s.OpFlags&engine.FsyncDatasync != 0 {
		return worker.Fdatasync
	}
	return worker.Fsync
}

// startPlain makes an operation a plain call on a worker, on a descriptor of its
// own. Where there is none to be had, a call that cannot block for long is made
// at once.
func (l *kernelLower) startPlain(t *task, stat aio.FileStat) {
	t.plain = true
	t.began, t.doneAt = 0, 0
	l.plain.Add(1)
	s := &t.op.SQE
	stream := stat.Stream()
	t.call = worker.Call{
		Op: callOp(s), Fd: int(s.Fd), Off: s.Off, Buf: s.Buf, Bufs: s.Bufs,
		Stream: stream && s.Opcode != engine.OpFsync, ID: t.op.Slot(),
		Disk: stat.Type == aio.TypeDisk,
	}
	if l.model != nil {
		if t.file != nil {
			t.call.Fd = t.file.fd
		}
		runOn(l.model, &t.call)
	} else if errno := l.hold(t); errno == 0 {
		t.call.Fd = t.file.fd
		l.calls = append(l.calls, &t.call)
		return
	} else if stream {
		t.call.Err = errno.Host()
	} else {
		worker.Run(&t.call)
	}
	l.push(t)
	l.ring.again.Store(true) // what waits for its end gets another turn
}

// hold gives a task a private descriptor of its file, once.
func (l *kernelLower) hold(t *task) aio.Errno {
	if t.file != nil {
		return 0
	}
	f, errno := l.files.hold(t.op.SQE.Fd)
	t.file = f
	return errno
}

// holdJob is batch's Hold.
func (l *kernelLower) holdJob(j *batch.Job) aio.Errno {
	t := l.task(j.ID)
	errno := l.hold(t)
	if errno == 0 {
		j.Fd = t.file.fd
	}
	return errno
}

// elsewhere is batch's Elsewhere.
func (l *kernelLower) elsewhere(j *batch.Job) {
	if j.Off != batch.Position {
		l.fallbacks.Add(1)
	}
	j.Buf, j.Bufs = nil, nil
	l.startPlain(l.task(j.ID), aio.FileStat{Type: aio.TypeRegular}) // or another that does not stream
}

// refuses is batch's Refuses.
func (l *kernelLower) refuses(fd int, stat aio.FileStat) {
	// Not here: whoever takes the line may want something of the ring.
	go slog.Warn("aioring: a file does no AIO; operations on it are plain calls from now on",
		"fd", fd, "dev", stat.Dev, "ino", stat.Ino)
}

func (l *kernelLower) flush() {
	switch {
	case l.batch == nil:
	case l.lost.Load():
		l.batch.Divert()
	default:
		l.batch.Flush()
	}
	if len(l.calls) > 0 {
		if l.clock != nil {
			now := l.clock()
			for _, c := range l.calls {
				l.task(c.ID).began = now
			}
		}
		l.pool.Submit(l.calls...)
		clear(l.calls)
		l.calls = l.calls[:0]
	}
	l.files.forget()
	l.cache.NextTurn()
}

// ended is batch's Done.
func (l *kernelLower) ended(j *batch.Job) { l.push(l.task(j.ID)) }

// reaped is batch's Reaped.
func (l *kernelLower) reaped(j *batch.Job) {
	last := l.task(j.ID) // the lowest of the stack's new part
	top := last
	for j = j.Mate(); j != nil; j = j.Mate() {
		t := l.task(j.ID)
		t.next, top = top, t
	}
	l.pushAll(top, last)
}

// called is the pool's done.
func (l *kernelLower) called(c *worker.Call) {
	t := l.task(c.ID)
	if l.clock != nil {
		t.doneAt = l.clock()
	}
	t.ended.Store(true)
	l.push(t)
	l.ring.kick()
}

// push puts a task with its result where settle finds it.
func (l *kernelLower) push(t *task) { l.pushAll(t, t) }

// pushAll is push of several, each above its next, down to last.
func (l *kernelLower) pushAll(first, last *task) {
	for {
		top := l.done.Load()
		last.next = top
		// Publishes the results to settle's Swap.
		if l.done.CompareAndSwap(top, first) {
			return
		}
	}
}

func (l *kernelLower) settle() {
	// Acquires what push published; turned round it is the order of arrival.
	var first *task
	for t := l.done.Swap(nil); t != nil; {
		next := t.next
		t.next, first = first, t
		t = next
	}
	now := int64(0)
	if first != nil {
		now = l.ring.now()
		l.ring.eng.Observe(now) // what follows on these begins now, not before
	}
	for t := first; t != nil; {
		next := t.next
		t.next = nil
		if l.clock != nil {
			l.latency.note(t, now)
		}
		l.finish(t)
		t = next
	}
	if l.batch != nil && l.batch.Ready() {
		l.ring.again.Store(true) // what was let go wants a flush
	}
}

// finish gives the engine a task's result and makes the task anew.
func (l *kernelLower) finish(t *task) {
	var res int32
	if t.plain {
		if res = int32(t.call.Res); t.call.Err != 0 {
			res = -int32(t.call.Err)
		}
		t.call = worker.Call{}
		if t.own {
			l.endOwn(t)
		}
		if t.lane != nil {
			l.nextInLane(t)
		}
		if t.job.File != nil {
			l.batch.Settle(&t.job) // what waited for its end may go
		}
		t.ended.Store(false)
	} else {
		if res = int32(t.job.N); t.job.Errno != 0 {
			res = -int32(t.job.Errno.Host())
		}
		if t.job.Refused {
			handBack(t.op)
		}
		l.batch.Settle(&t.job)
		if (t.job.Errno == aio.EBADF || t.job.Errno == aio.EINVAL) && l.queueGone() {
			// That was about the event queue, or else it is the same again.
			l.startPlain(t, t.stat)
			l.ring.again.Store(true) // for the flush
			return
		}
	}
	if t.file != nil {
		l.files.release(t.file)
		t.file = nil
	}
	op := t.op
	t.op = nil
	l.ring.eng.Complete(op, res)
}

func (l *kernelLower) cancel(op *engine.Op) syscall.Errno {
	t := l.task(op.Slot())
	switch {
	case t.queued:
		l.cancelInLane(t)
		return 0
	case t.plain:
		ends := !t.own && l.pool.Cancel(&t.call)
		stuck := !t.own && l.pool.Stuck(&t.call)
		switch {
		case t.ended.Load() && t.call.Err == syscall.ECANCELED:
			return 0
		case t.ended.Load():
			return syscall.ENOENT
		case ends, t.call.Stream && !stuck:
			return syscall.EINPROGRESS // it is just finding out whether it has to wait
		}
		return syscall.EALREADY
	}
	switch l.batch.Cancel(&t.job) {
	case aio.Cancelled:
		return 0
	case aio.AllDone:
		return syscall.ENOENT
	}
	return syscall.EALREADY
}

func (l *kernelLower) open(fd int32) bool {
	_, errno := l.files.stat(fd)
	return errno == 0
}

func (l *kernelLower) uses(op *engine.Op, fd int32) bool {
	stat, errno := l.files.stat(fd)
	return errno == 0 && stat == l.task(op.Slot()).stat
}

func (l *kernelLower) inKernel() int {
	if l.batch == nil {
		return 0
	}
	return l.batch.InKernel()
}

func (l *kernelLower) waiting() int {
	if l.batch == nil {
		return 0
	}
	return l.batch.Waiting()
}

func (l *kernelLower) harvests() bool {
	return l.batch != nil && (!l.lost.Load() || l.batch.InKernel() > 0)
}

func (l *kernelLower) poll() int {
	if l.lost.Load() {
		return l.ask(false)
	}
	n := l.batch.Harvest(l.reactor.Poll())
	l.check()
	return n
}

func (l *kernelLower) prepareSleep() { l.reactor.PrepareSleep() }
func (l *kernelLower) cancelSleep()  { l.reactor.CancelSleep() }

func (l *kernelLower) sleep() int {
	if l.lost.Load() {
		return l.ask(true)
	}
	n := l.batch.Harvest(l.reactor.Sleep())
	l.check()
	return n
}

// check sees whether the event queue is still there: without it poll and sleep would
// return at once for ever.
func (l *kernelLower) check() {
	err := l.reactor.Err()
	if err == nil {
		return
	}
	l.lost.Store(true)
	l.ring.fail(fmt.Errorf("%w: %w", ErrQueueLost, err))
}

// queueGone reports whether the event queue is lost. The engine's owner calls it.
func (l *kernelLower) queueGone() bool {
	if l.lost.Load() {
		return true
	}
	err := l.reactor.Check()
	if err == nil {
		return false
	}
	l.lost.Store(true)
	go l.ring.fail(fmt.Errorf("%w: %w", ErrQueueLost, err)) // which wants the engine
	return true
}

// ask brings in the results of jobs without their events, having waited for one of
// them if it is to. Whoever submits is kept out: what it has half submitted looks
// like a job that failed.
func (l *kernelLower) ask(wait bool) int {
	if wait {
		l.ring.owner.Lock()
		jobs := l.batch.Unfinished()
		l.ring.owner.Unlock()
		l.batch.Await(jobs)
	}
	l.ring.owner.Lock()
	n := l.batch.HarvestFinished()
	l.ring.owner.Unlock()
	return n
}

func (l *kernelLower) wake() {
	if l.reactor != nil && !l.lost.Load() {
		l.reactor.Wake()
	}
}

func (l *kernelLower) stats(s *Stats) {
	s.Forbidden = l.forbidden
	s.Plain, s.Cached, s.Fallbacks, s.Direct = l.plain.Load(), l.cached.Load(), l.fallbacks.Load(), l.direct.Load()
	s.Queueing, s.Serving, s.Delivering = l.latency.queued, l.latency.served, l.latency.delivered
	if l.batch == nil {
		return
	}
	b := l.batch.Stats()
	s.Lists, s.Listed, s.Singles, s.Reaped = b.Lists, b.Listed, b.Singles, b.Reaped
	s.Held, s.Again, s.Partial, s.TooLong, s.Stale = b.Held, b.Again, b.Partial, b.TooLong, b.Stale
	s.Merges, s.Members, s.Splits, s.Bounces, s.Reissued = b.Merges, b.Members, b.Splits, b.Bounced, b.Reissued
	s.Overlaps, s.Shared, s.Cuts, s.Refusing = b.Overlaps, b.Shared, b.Cuts, b.Refusing
	s.ListSizes, s.ReapSizes = histogramOf(b.ListSizes), histogramOf(b.ReapSizes)
	s.HighWater, s.Limit = l.batch.Budget().HighWater(), l.batch.Budget().Limit()
	e := l.reactor.Stats()
	s.Polls, s.Sleeps, s.Wakes = e.Polls, e.Sleeps, e.Wakes
}

func (l *kernelLower) close() error {
	l.pool.Close()
	if l.batch == nil {
		return nil
	}
	var errs []error
	if !l.lost.Load() { // its number may be another's by now
		if err := l.reactor.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrQueueLost, err))
		}
	}
	errs = append(errs, l.batch.Close())
	if l.closeKernel != nil {
		errs = append(errs, l.closeKernel())
	}
	return errors.Join(errs...)
}
