// Package batch turns a stream of operations into lists for lio_listio, within
// what the kernel allows, and absorbs its refusals.
//
// Jobs come in by Add, in order. Flush fills control blocks and submits them, as
// many to a call as fit. What does not fit waits, in order, and goes with a later
// Flush; the kernel's EAGAIN puts a job back to where it came from. Harvest reaps
// jobs whose events have come. Every job ends in one call of Config.Done.
//
// Add, Flush, Settle and Cancel belong to one owner at a time. Harvest may run
// beside them, one at a time.
package batch

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/aioring/aioring/aio"
	"github.com/google/btree"
)

// Op says what a job does.
type Op uint8

const (
	Read Op = iota
	Write
	Readv
	Writev
	Fsync
	Fdatasync
)

// opcodes are the list opcodes; a sync has none.
var opcodes = [...]aio.Opcode{Read: aio.OpRead, Write: aio.OpWrite, Readv: aio.OpReadv, Writev: aio.OpWritev}

// Job is one operation for the kernel. The caller owns its memory, which must
// stay in place, and fills the exported fields before Add.
type Job struct {
	ID   uint32   // the caller's
	Op   Op       //
	Fd   int      // as given; Config.Hold may put a private descriptor here
	Off  int64    // in bytes, not negative
	Buf  []byte   // Read, Write: untouched by others until Done
	Bufs [][]byte // Readv, Writev: likewise
	Once bool     // is not to wait for room: without it the job is done at once, refused

	N       int       // bytes moved, once done
	Errno   aio.Errno // why it failed, once done
	Refused bool      // of a job that goes Once: the kernel had no room, nothing was done

	place place
	held  bool        // Config.Hold has fixed the file
	seq   uint64      // order of Add
	slot  uint32      // control block, while in the kernel
	iov   []aio.Iovec // its array, kept until the job is reaped
	next  *Job
}

// place is where a job is.
type place uint8

const (
	nowhere  place = iota
	fresh          // added, not flushed yet
	waiting        // for room in the kernel
	inKernel       // submitted, not settled
)

// Config is what a Batch needs of its surroundings.
type Config struct {
	Kernel aio.Kernel
	Kqueue int     // where the events are to go
	Budget *Budget // the process's jobs

	// Done is called once for each job, with its result: by Flush and Cancel on
	// the owner's goroutine, by Harvest on its caller's. The job's control block
	// is its own until Settle.
	Done func(*Job)

	// Hold is called by Flush, once, for a job that has to wait: it must fix the
	// file, by a private descriptor in Job.Fd, because the number that it was given
	// under may be closed and taken by another file meanwhile.
	Hold func(*Job) aio.Errno

	// Elsewhere is called by Flush for a job that the kernel will not take: the
	// file does not do AIO, or the system has no room and no job of ours is there
	// whose end could make some. It must be run as a plain call; Done is not
	// called for it.
	Elsewhere func(*Job)
}

// slot is the owner's knowledge about one control block.
type slot struct {
	// gen is the generation under which the block was submitted last, 0 when it
	// is free. Storing it publishes job to the harvester.
	gen atomic.Uint32
	job *Job
	// reaped is the generation whose job the harvester took. It is set before
	// aio_return, which writes the error word: a submitter that reads the word
	// first and this second can tell a reaped failure from a refusal.
	reaped atomic.Uint32
	last   uint32 // the last generation used
}

const slotChunk = 256

// Batch is one ring's jobs. Make one with New.
type Batch struct {
	cfg  Config
	slab *aio.Slab

	slots []atomic.Pointer[[slotChunk]slot]
	free  []uint32 // slots without a job

	seq     uint64
	fresh   jobs
	waiting *btree.BTreeG[*Job] // by seq

	// list is what lio_listio is shown, listed the job of each entry.
	list   []*aio.ControlBlock
	listed []*Job

	vectors learned // whether lists may hold vectored jobs

	inKernel atomic.Int64
	queued   atomic.Int64 // waiting.Len(), for others to read
	stats    counters
}

// learned is a fact about the kernel that one refusal decides.
type learned uint8

const (
	unknown learned = iota
	yes
	no
)

// jobs is a FIFO of jobs.
type jobs struct {
	head, tail *Job
	n          int
}

func (q *jobs) push(j *Job) {
	j.next = nil
	if q.tail == nil {
		q.head = j
	} else {
		q.tail.next = j
	}
	q.tail = j
	q.n++
}

func (q *jobs) pop() *Job {
	j := q.head
	if j == nil {
		return nil
	}
	if q.head = j.next; q.head == nil {
		q.tail = nil
	}
	j.next = nil
	q.n--
	return j
}

// MaxJobs is the most jobs that one Batch has in the kernel at a time, whatever
// the sysctls allow.
const MaxJobs = 1 << 16

// New makes a Batch.
func New(cfg Config) (*Batch, error) {
	slab, err := aio.NewSlab(MaxJobs)
	if err != nil {
		return nil, err
	}
	return &Batch{
		cfg:     cfg,
		slab:    slab,
		slots:   make([]atomic.Pointer[[slotChunk]slot], MaxJobs/slotChunk),
		waiting: btree.NewWithFreeListG(32, func(a, b *Job) bool { return a.seq < b.seq }, btree.NewFreeListG[*Job](64)),
	}, nil
}

// Add queues a job for the next Flush.
func (b *Batch) Add(j *Job) {
	b.seq++
	j.seq = b.seq
	j.N, j.Errno, j.Refused = 0, 0, false
	j.place, j.held = fresh, false
	b.fresh.push(j)
}

// Budget is the process's, as configured.
func (b *Batch) Budget() *Budget { return b.cfg.Budget }

// InKernel is the number of jobs submitted and not settled. Any goroutine may ask.
func (b *Batch) InKernel() int { return int(b.inKernel.Load()) }

// Waiting is the number of jobs that wait for room. Any goroutine may ask.
func (b *Batch) Waiting() int { return int(b.queued.Load()) }

// plainCalls is how many waiting jobs go Elsewhere at a time when the system has
// no room and none of ours is there to make some.
const plainCalls = 32

// Flush submits what was added, after what waited before, as far as there is
// room. What is left waits, its file held.
func (b *Batch) Flush() {
	if b.fresh.n == 0 && b.waiting.Len() == 0 {
		return
	}
	for full := false; !full && b.fresh.n+b.waiting.Len() > 0; {
		room := b.cfg.Budget.take(min(b.fresh.n+b.waiting.Len(), b.cfg.Budget.Limit()))
		if room > 0 {
			var used int
			used, full = b.submit(room)
			b.cfg.Budget.give(room - used)
		}
		if room == 0 || full {
			full = true
			if b.inKernel.Load() == 0 {
				// No event of ours will ever come to make room.
				b.elsewhere(plainCalls)
			}
		}
	}
	for j := b.fresh.pop(); j != nil; j = b.fresh.pop() {
		b.wait(j)
	}
	b.queued.Store(int64(b.waiting.Len()))
}

// next takes the oldest job.
func (b *Batch) next() *Job {
	if j, ok := b.waiting.DeleteMin(); ok {
		return j
	}
	return b.fresh.pop()
}

// peek is the oldest job, not taken.
func (b *Batch) peek() *Job {
	if j, ok := b.waiting.Min(); ok {
		return j
	}
	return b.fresh.head
}

// wait puts a job among those that wait, in its place.
func (b *Batch) wait(j *Job) {
	if j.Once {
		b.handBack(j)
		return
	}
	if !j.held {
		if errno := b.cfg.Hold(j); errno != 0 {
			b.elsewhereOne(j) // without a descriptor to hold it cannot wait
			return
		}
		j.held = true
		b.stats.held.Add(1)
	}
	j.place = waiting
	b.waiting.ReplaceOrInsert(j)
}

func (b *Batch) elsewhere(n int) {
	for ; n > 0; n-- {
		j := b.next()
		if j == nil {
			return
		}
		if j.Once {
			b.handBack(j)
			continue
		}
		b.elsewhereOne(j)
	}
}

// handBack ends a job that goes Once and found no room.
func (b *Batch) handBack(j *Job) {
	j.place = nowhere
	j.Errno, j.Refused = aio.EAGAIN, true
	b.cfg.Done(j)
}

// Divert makes plain calls of all jobs that are not in the kernel, for when it can
// no longer tell of their end. Owner only.
func (b *Batch) Divert() {
	for j := b.next(); j != nil; j = b.next() {
		b.elsewhereOne(j)
	}
	b.queued.Store(0)
}

func (b *Batch) elsewhereOne(j *Job) {
	j.place = nowhere
	b.stats.elsewhere.Add(1)
	b.cfg.Elsewhere(j)
}

// submit makes one submitting call for up to room jobs. It returns how many of
// them the kernel has now, and whether it has no room for more.
func (b *Batch) submit(room int) (accepted int, full bool) {
	b.list, b.listed = b.list[:0], b.listed[:0]
	for len(b.list) < room {
		j := b.peek()
		if j == nil {
			break
		}
		alone := !b.listable(j)
		if alone && len(b.list) > 0 {
			break // the list goes first
		}
		cb := b.arm(j)
		if cb == nil {
			full = true // no memory for control blocks
			break
		}
		b.next()
		if alone {
			return b.single(j, cb)
		}
		b.list = append(b.list, cb)
		b.listed = append(b.listed, j)
	}
	if len(b.list) == 0 {
		return 0, full
	}
	n, refused := b.submitList()
	return n, full || refused
}

// listable reports whether a job can go in a list.
func (b *Batch) listable(j *Job) bool {
	switch j.Op {
	case Fsync, Fdatasync:
		return false
	case Readv, Writev:
		return b.vectors != no && b.cfg.Budget.Limit() > 1
	}
	return b.cfg.Budget.Limit() > 1
}

// arm gives the job a control block and fills it; nil if there is none.
func (b *Batch) arm(j *Job) *aio.ControlBlock {
	if len(b.free) == 0 && !b.grow() {
		return nil
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	s := b.slot(i)
	if s.last++; s.last == 0 {
		s.last = 1
	}
	s.job = j
	s.gen.Store(s.last)
	j.slot = i
	j.place = inKernel

	var (
		buf unsafe.Pointer
		n   int
		op  aio.Opcode
	)
	switch j.Op {
	case Read, Write:
		// The job holds the slice, and the caller the job, until it is reaped.
		op, buf, n = opcodes[j.Op], unsafe.Pointer(unsafe.SliceData(j.Buf)), len(j.Buf)
	case Readv, Writev:
		j.iov = j.iov[:0]
		for _, p := range j.Bufs {
			j.iov = append(j.iov, aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(p)), Len: uintptr(len(p))})
		}
		op, buf, n = opcodes[j.Op], unsafe.Pointer(unsafe.SliceData(j.iov)), len(j.iov)
	}
	cb := b.slab.Block(int(i))
	cb.Prepare(op, j.Fd, j.Off, buf, n, aio.Sigevent{
		Notify:      aio.NotifyKevent,
		Kqueue:      int32(b.cfg.Kqueue),
		Value:       aio.Token{Slot: i, Gen: s.last}.Udata(),
		KeventFlags: aio.EvOneshot,
	})
	b.inKernel.Add(1)
	return cb
}

// disarm takes the control block of a job back that the kernel does not have.
func (b *Batch) disarm(j *Job) {
	s := b.slot(j.slot)
	s.gen.Store(0)
	s.job = nil
	clear(j.iov)
	b.free = append(b.free, j.slot)
	b.inKernel.Add(-1)
	j.place = nowhere
}

func (b *Batch) grow() bool {
	had := b.slab.Len()
	n, err := b.slab.Grow()
	if err != nil {
		return false
	}
	for i := had; i < n; i++ {
		if i%slotChunk == 0 {
			b.slots[i/slotChunk].Store(new([slotChunk]slot))
		}
		b.free = append(b.free, uint32(i))
	}
	return true
}

func (b *Batch) slot(i uint32) *slot { return &b.slots[i/slotChunk].Load()[i%slotChunk] }

// submitList submits b.list by one call and sorts out what became of each entry.
func (b *Batch) submitList() (accepted int, full bool) {
	b.stats.lists.Add(1)
	errno := b.cfg.Kernel.ListIO(aio.ListNoWait, b.list, nil)
	if errno == 0 {
		for _, j := range b.listed {
			b.learnFrom(j)
		}
		b.stats.listed.Add(uint64(len(b.list)))
		return len(b.list), false
	}
	if errno != aio.EIO && errno != aio.EAGAIN {
		return 0, b.refusedList(errno)
	}
	b.stats.partial.Add(1)
	for i, cb := range b.list {
		j := b.listed[i]
		word := cb.ErrorWord() // before reaped: see slot
		if word == aio.EINPROGRESS || b.slot(j.slot).reaped.Load() == b.slot(j.slot).last {
			b.learnFrom(j)
			accepted++
			b.stats.listed.Add(1)
			continue
		}
		if word == aio.EINVAL && (j.Op == Readv || j.Op == Writev) && b.vectors != yes {
			// Kernels before 14 refuse vectors in a list. Ask again alone: if that
			// works it was the list.
			n, f := b.single(j, cb)
			if n > 0 {
				b.vectors = no
			}
			accepted += n
			full = full || f
			continue
		}
		full = b.refused(j, word) || full
	}
	return accepted, full
}

// learnFrom notes what the acceptance of a job in a list shows.
func (b *Batch) learnFrom(j *Job) {
	if j.Op == Readv || j.Op == Writev {
		b.vectors = yes
	}
}

// refusedList handles the refusal of a call as a whole: a list longer than the
// sysctl allows by now, or something that no list would cure.
func (b *Batch) refusedList(errno aio.Errno) (full bool) {
	if errno != aio.EINVAL {
		for i, j := range b.listed {
			if cb := b.list[i]; cb.Touched() {
				full = b.refused(j, cb.ErrorWord()) || full
			} else {
				b.disarm(j) // it was not even looked at
				b.elsewhereOne(j)
			}
		}
		return full
	}
	b.stats.tooLong.Add(1)
	b.cfg.Budget.tooLong(len(b.list))
	for _, j := range b.listed {
		b.disarm(j)
		b.requeue(j)
	}
	return false
}

// single submits a job by a call of its own.
func (b *Batch) single(j *Job, cb *aio.ControlBlock) (accepted int, full bool) {
	b.stats.singles.Add(1)
	k := b.cfg.Kernel
	var errno aio.Errno
	switch j.Op {
	case Read:
		errno = k.Read(cb)
	case Write:
		errno = k.Write(cb)
	case Readv:
		errno = k.Readv(cb)
	case Writev:
		errno = k.Writev(cb)
	case Fsync:
		errno = k.Fsync(aio.Sync, cb)
	case Fdatasync:
		errno = k.Fsync(aio.DataSync, cb)
	}
	if errno == 0 {
		return 1, false
	}
	return 0, b.refused(j, errno)
}

// refused handles the refusal of one job and reports whether it was for want of
// room.
func (b *Batch) refused(j *Job, errno aio.Errno) (full bool) {
	b.disarm(j)
	switch errno {
	case aio.EAGAIN:
		b.stats.again.Add(1)
		b.requeue(j)
		return true
	case aio.EOPNOTSUPP, aio.ENOMEM: // the file does no AIO; there are no daemons
		b.elsewhereOne(j)
	default:
		j.Errno = errno
		b.cfg.Done(j)
	}
	return false
}

// requeue puts a job that was taken back to its place in the order.
func (b *Batch) requeue(j *Job) {
	b.wait(j)
	if j.place == waiting {
		b.stats.requeued.Add(1)
	}
}

// Harvest reaps the jobs whose events these are and calls Done for each. Events
// of other kinds, and of generations gone, are dropped. It returns the number of
// jobs reaped.
func (b *Batch) Harvest(events []aio.Kevent) int {
	n := 0
	for i := range events {
		ev := &events[i]
		if ev.Filter != aio.FilterAIO {
			continue
		}
		token, ok := aio.TokenOf(ev, b.slab)
		if !ok || !b.reap(token, aio.Errno(ev.Data)) {
			b.stats.stale.Add(1)
			continue
		}
		n++
	}
	if n > 0 {
		b.stats.reaped.Add(uint64(n))
		b.stats.harvests.Add(1)
	}
	return n
}

func (b *Batch) reap(token aio.Token, errno aio.Errno) bool {
	if int(token.Slot) >= b.slab.Len() {
		return false
	}
	s := b.slot(token.Slot)
	if s.gen.Load() != token.Gen || s.reaped.Swap(token.Gen) == token.Gen {
		return false
	}
	j := s.job
	n, failed := b.cfg.Kernel.Return(b.slab.Block(int(token.Slot)))
	if errno == 0 {
		errno = failed
	}
	if errno == 0 {
		j.N = n
	}
	j.Errno = errno
	// Before Done: an owner that hears of the end finds the room that it made.
	b.cfg.Budget.give(1)
	b.cfg.Done(j)
	return true
}

// The next three are for when the event queue is lost: they find the jobs that have
// finished by asking for each. The owner calls Unfinished and HarvestFinished, whoever
// would harvest Await.

// Unfinished is some jobs in the kernel, as few as Await can wait for.
func (b *Batch) Unfinished() []*aio.ControlBlock {
	var jobs []*aio.ControlBlock
	for i := range b.slab.Len() {
		if len(jobs) == b.cfg.Budget.Limit() {
			break
		}
		if s := b.slot(uint32(i)); s.gen.Load() != 0 && s.reaped.Load() != s.gen.Load() {
			jobs = append(jobs, b.slab.Block(i))
		}
	}
	return jobs
}

// Await waits until one of the jobs has finished.
func (b *Batch) Await(jobs []*aio.ControlBlock) {
	if len(jobs) == 0 {
		return
	}
	// Whatever it answers, the jobs are asked next.
	if b.cfg.Kernel.Suspend(jobs, -1) == aio.EINVAL && len(jobs) > 1 {
		_ = b.cfg.Kernel.Suspend(jobs[:1], -1) // the limit is lower by now
	}
}

// HarvestFinished is Harvest of all that have finished.
func (b *Batch) HarvestFinished() int {
	n := 0
	for i := range b.slab.Len() {
		gen := b.slot(uint32(i)).gen.Load()
		if gen == 0 {
			continue
		}
		errno := b.cfg.Kernel.Error(b.slab.Block(i))
		if errno != aio.EINPROGRESS && b.reap(aio.Token{Slot: uint32(i), Gen: gen}, errno) {
			n++
		}
	}
	b.stats.reaped.Add(uint64(n))
	return n
}

// Settle frees the control block of a job that Done was called for. It must be
// called once for each job before the job is used again.
func (b *Batch) Settle(j *Job) {
	if j.place == inKernel {
		b.disarm(j)
	}
	j.place = nowhere
	j.Buf, j.Bufs = nil, nil
}

// Cancel asks for the end of a job. Cancelled: it has ended, or is certain to end,
// with ECANCELED. NotCancelled: it goes on to its own result. AllDone: it has that.
func (b *Batch) Cancel(j *Job) aio.CancelStatus {
	switch j.place {
	case waiting:
		b.waiting.Delete(j)
		b.queued.Store(int64(b.waiting.Len()))
		j.place = nowhere
		j.Errno = aio.ECANCELED
		b.cfg.Done(j)
		return aio.Cancelled
	case inKernel:
		status, errno := b.cfg.Kernel.Cancel(j.Fd, b.slab.Block(int(j.slot)))
		if errno != 0 {
			return aio.NotCancelled
		}
		return status
	case fresh:
		return aio.NotCancelled
	}
	return aio.AllDone
}

// Close releases the control blocks. No job may be in the kernel.
func (b *Batch) Close() error {
	if n := b.inKernel.Load(); n != 0 {
		return fmt.Errorf("batch: %d jobs are still in the kernel", n)
	}
	b.cfg.Budget.Release()
	return b.slab.Release()
}
