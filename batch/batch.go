// Package batch turns a stream of operations into lists for lio_listio, within
// what the kernel allows, and absorbs its refusals. Neighbours in a file become one
// job of the kernel, whose result is split among them; see merge.go. What must not
// pass one another is held; see file.go.
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

func (o Op) writes() bool { return o == Write || o == Writev }
func (o Op) syncs() bool  { return o == Fsync || o == Fdatasync }
func (o Op) vector() bool { return o == Readv || o == Writev }

// Position as a Job's Off means the file's own position, for which AIO has no
// means: such jobs go Elsewhere, one at a time for each file.
const Position int64 = -1

// opcodes are the list opcodes; a sync has none.
var opcodes = [...]aio.Opcode{Read: aio.OpRead, Write: aio.OpWrite, Readv: aio.OpReadv, Writev: aio.OpWritev}

// Job is one operation for the kernel. The caller owns its memory, which must
// stay in place, and fills the exported fields before Add.
type Job struct {
	ID   uint32   // the caller's
	Op   Op       //
	Fd   int      // as given; Config.Hold may put a private descriptor here
	Off  int64    // in bytes, not negative; or Position, with a File
	Buf  []byte   // Read, Write: untouched by others until Done
	Bufs [][]byte // Readv, Writev: likewise
	Once bool     // is not to wait for room: without it the job is done at once, refused

	// File is what the descriptor refers to. Jobs without one are merged with none,
	// and go in the order of Add beside whatever they overlap.
	File   *File
	Append bool // of a write: the descriptor appends (O_APPEND), Off does not matter

	N       int       // bytes moved, once done
	Errno   aio.Errno // why it failed, once done
	Refused bool      // of a job that goes Once: the kernel had no room, nothing was done

	// When it was given to the kernel and when it was reaped, by Config.Now; 0 if
	// it was not.
	Began, Ended int64

	place  place
	kind   kind
	held   bool        // Config.Hold has fixed the file
	alone  bool        // is not to be merged
	begun  bool        // a write of which the kernel may have done a part, in a merged job that failed
	out    bool        // taken from its file's lane or syncs
	seq    uint64      // order of Add
	passed int         // jobs that came later and went before it, by refusals
	number int         // Fd as given
	bytes  int         // of its buffers
	end    int64       // of its range
	slot   uint32      // control block, while in the kernel
	iov    []aio.Iovec // its array, kept until the job is reaped
	next   *Job

	mate *Job // ended by the same Harvest

	prev, after *Job // in File.ranged
	blockers    int  // earlier jobs that it must not pass

	merged *Job // the job of the kernel that it is a member of

	// Of a merged job: how many members are not settled, the members in order of
	// their bytes, linked by next until the kernel is done with them, where their
	// bytes are if together, and the copy of them otherwise.
	left           int
	members, final *Job
	base           unsafe.Pointer
	bounce         []byte

	// A job that is too long for its disk has pieces, linked by after from members
	// on: how many have not ended. Of a piece: what it is a piece of.
	pieces atomic.Int32
	whole  *Job
}

// Mate is the job after this one in what Config.Reaped is given, and forgets it.
func (j *Job) Mate() *Job {
	next := j.mate
	j.mate = nil
	return next
}

// place is where a job is.
type place uint8

const (
	nowhere  place = iota
	fresh          // added, not flushed yet
	waiting        // for room in the kernel
	inPieces       // which are where they are
	barred         // by what is before it in its file
	inKernel       // submitted, not settled
)

// Config is what a Batch needs of its surroundings.
type Config struct {
	Kernel aio.Kernel
	Kqueue int     // where the events are to go
	Budget *Budget // the process's jobs

	// Merge is the most bytes that neighbours are merged to; 0 merges nothing, and
	// shares no syncs. Only jobs with a File are.
	Merge int

	// Done is called once for each job, with its result: by Flush and Cancel on
	// the owner's goroutine, by Harvest on its caller's. The job's control block
	// is its own until Settle.
	Done func(*Job)

	// Reaped, if it is set, is called by Harvest in place of Done, once for all jobs
	// that have ended: each leads to the next by Mate.
	Reaped func(first *Job)

	// Hold is called by Add or Flush, once, for a job that has to wait or is merged:
	// it must fix the file, by a private descriptor in Job.Fd, because the number that
	// it was given under may be closed and taken by another file meanwhile. Jobs of
	// one number between two Flushes should get the same descriptor.
	Hold func(*Job) aio.Errno

	// Elsewhere is called by Flush for a job that the kernel will not take: the
	// file does not do AIO, or the system has no room and no job of ours is there
	// whose end could make some. It must be run as a plain call; Done is not
	// called for it. If it has a File, Settle must be called at its end.
	Elsewhere func(*Job)

	// Now, if it is set, is the clock, in nanoseconds and never 0, read once for each
	// submitting call and each Harvest.
	Now func() int64

	// Refuses, if it is set, is called by Flush, once for each file that turns out
	// not to do AIO: its jobs go Elsewhere from then on.
	Refuses func(fd int, stat aio.FileStat)
}

// slot is the owner's knowledge about one control block.
type slot struct {
	// gen is the generation under which the block was submitted last, 0 if the kernel
	// did not take it. Storing it publishes job to the harvester.
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

	// planned is what goes next, merged already. See plan.
	planned jobs
	window  []*Job
	run     run
	spare   *Job // merged jobs not in use
	bounces bounces
	// failed is a stack of merged jobs that failed. The harvester pushes, the owner
	// takes all at once.
	failed atomic.Pointer[Job]

	files      map[aio.FileStat]*File
	fileID     uint64
	readyFiles *File               // with something for Flush
	ready      bool                // there is something for Flush that none has seen
	held       int                 // jobs barred
	ranges     *btree.BTreeG[*Job] // jobs whose bytes matter to others, by file and offset
	pivot      Job

	// list is what lio_listio is shown, listed the job of each entry, back those of
	// them that the kernel had no room for.
	list   []*aio.ControlBlock
	listed []*Job
	back   []*Job

	vectors learned // whether lists may hold vectored jobs

	now    int64 // of the submitting call, the owner's
	reaped int64 // of the Harvest, the harvester's
	live   int   // control blocks armed, the owner's

	// What the Harvest has ended, the harvester's.
	ended, endedLast *Job

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

// remove takes a job out of the middle.
func (q *jobs) remove(j *Job) {
	var before *Job
	for k := q.head; k != j; k = k.next {
		before = k
	}
	if before == nil {
		q.pop()
		return
	}
	if before.next = j.next; before.next == nil {
		q.tail = before
	}
	j.next = nil
	q.n--
}

// prepend puts all of p, which is then empty, before q.
func (q *jobs) prepend(p *jobs) {
	if p.n == 0 {
		return
	}
	if p.tail.next = q.head; q.head == nil {
		q.tail = p.tail
	}
	q.head = p.head
	q.n += p.n
	*p = jobs{}
}

// bySeq is the order of Add, and of the pieces of one job.
func bySeq(a, b *Job) bool {
	return a.seq < b.seq || a.seq == b.seq && a.Off < b.Off
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
		waiting: btree.NewWithFreeListG(32, bySeq, btree.NewFreeListG[*Job](64)),
		ranges:  btree.NewWithFreeListG(32, byRange, btree.NewFreeListG[*Job](64)),
		files:   make(map[aio.FileStat]*File),
		bounces: bounces{size: cfg.Merge},
	}, nil
}

// Add queues a job for the next Flush.
func (b *Batch) Add(j *Job) {
	b.seq++
	j.seq = b.seq
	j.N, j.Errno, j.Refused, j.Began, j.Ended = 0, 0, false, 0, 0
	j.place, j.held = fresh, false
	j.kind = loose
	if j.File != nil {
		j.kind = kindOf(j, b.cfg.Merge > 0)
		j.alone, j.begun, j.out, j.passed, j.number = false, false, false, 0, j.Fd
		j.bytes = len(j.Buf)
		for _, p := range j.Bufs {
			j.bytes += len(p)
		}
		j.end = rangeEnd(j.Off, j.bytes)
		if !b.enter(j) {
			return
		}
	}
	b.fresh.push(j)
}

// Budget is the process's, as configured.
func (b *Batch) Budget() *Budget { return b.cfg.Budget }

// InKernel is the number of jobs submitted and not settled, as it was at the end of the
// last Flush, or 0 if there are none by now. Any goroutine may ask.
func (b *Batch) InKernel() int { return int(b.inKernel.Load()) }

// Waiting is the number of jobs that wait: for room, or for others before them. Any
// goroutine may ask.
func (b *Batch) Waiting() int { return int(b.queued.Load()) }

// Ready reports whether there is something for Flush that none has seen: what jobs
// settled since have let go. Owner only.
func (b *Batch) Ready() bool { return b.ready }

func (b *Batch) count() {
	b.queued.Store(int64(b.waiting.Len() + b.held))
	b.inKernel.Store(int64(b.live))
}

// plainCalls is how many waiting jobs go Elsewhere at a time when the system has
// no room and none of ours is there to make some.
const plainCalls = 32

// passLimit is how many jobs may go before one that came earlier, for the kernel's
// refusing it among others that it takes. Then it goes by itself, and nothing goes
// before it any more. What is in one list with it may exceed the limit.
const passLimit = 256

// Flush submits what was added, after what waited before, as far as there is
// room. What is left waits, its file held.
func (b *Batch) Flush() {
	b.flush()
	for b.failed.Load() != nil { // pieces that were refused, if not the harvester's
		b.flush()
	}
}

func (b *Batch) flush() {
	clear(b.back)
	b.back = b.back[:0]
	b.takeFailed()
	b.takeReady()
	if b.ahead() == 0 {
		b.count()
		return
	}
	for full := false; !full && b.ahead() > 0; {
		want := min(b.ahead(), b.cfg.Budget.Limit())
		if j, ok := b.waiting.Min(); ok && j.passed >= passLimit && b.planned.n == 0 {
			want = 1
		}
		room := b.cfg.Budget.take(want)
		if room > 0 {
			if b.cfg.Merge > 0 {
				b.plan(room)
			}
			var used int
			used, full = b.submit(room)
			b.cfg.Budget.give(room - used)
		}
		if room == 0 || full {
			full = true
			for j := b.planned.pop(); j != nil; j = b.planned.pop() {
				b.wait(j)
			}
			if b.live == 0 {
				// No event of ours will ever come to make room.
				b.elsewhere(plainCalls)
			}
		}
	}
	for j := b.fresh.pop(); j != nil; j = b.fresh.pop() {
		b.wait(j)
	}
	b.count()
	b.forgetIdle()
}

// ahead is how many jobs Flush has before it.
func (b *Batch) ahead() int { return b.planned.n + b.fresh.n + b.waiting.Len() }

// next takes the job that goes next.
func (b *Batch) next() *Job {
	if b.planned.n > 0 {
		return b.planned.pop()
	}
	return b.oldest()
}

// oldest takes the oldest job that is not planned.
func (b *Batch) oldest() *Job {
	if j, ok := b.waiting.DeleteMin(); ok {
		return j
	}
	return b.fresh.pop()
}

// peek is the job that goes next, not taken.
func (b *Batch) peek() *Job {
	if b.planned.n > 0 {
		return b.planned.head
	}
	return b.peekOldest()
}

func (b *Batch) peekOldest() *Job {
	if j, ok := b.waiting.Min(); ok {
		return j
	}
	return b.fresh.head
}

// wait puts a job among those that wait, in its place.
func (b *Batch) wait(j *Job) {
	if j.left > 0 {
		b.putBack(j)
		return
	}
	if j.Once {
		b.handBack(j)
		return
	}
	if !j.held {
		if b.fix(j) != 0 {
			b.elsewhereOne(j) // without a descriptor to hold it cannot wait
			return
		}
		b.stats.held.Add(1)
	}
	b.admit(j)
}

// admit puts a job whose file is held among those that wait.
func (b *Batch) admit(j *Job) {
	j.place = waiting
	b.waiting.ReplaceOrInsert(j)
}

// fix holds the file of a job, once.
func (b *Batch) fix(j *Job) aio.Errno {
	if j.held {
		return 0
	}
	if j.whole != nil {
		errno := b.fix(j.whole)
		j.held, j.Fd = errno == 0, j.whole.Fd
		return errno
	}
	if errno := b.cfg.Hold(j); errno != 0 {
		return errno
	}
	j.held = true
	return 0
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
	b.takeFailed()
	b.takeReady()
	for j := b.next(); j != nil; j = b.next() {
		b.elsewhereOne(j)
	}
	b.count()
}

func (b *Batch) elsewhereOne(j *Job) {
	if j.left > 0 {
		b.sendElsewhere(j)
		return
	}
	if j.whole != nil {
		b.refusePiece(j)
		return
	}
	j.place = nowhere
	b.stats.elsewhere.Add(1)
	b.cfg.Elsewhere(j)
}

// submit makes one submitting call for up to room jobs. It returns how many of
// them the kernel has now, and whether it has no room for more.
func (b *Batch) submit(room int) (accepted int, full bool) {
	b.list, b.listed = b.list[:0], b.listed[:0]
	if b.cfg.Now != nil {
		b.now = b.cfg.Now()
	}
	for len(b.list) < room {
		j := b.peek()
		if j == nil {
			break
		}
		if b.diverts(j) {
			continue
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
	if len(b.list) == 1 {
		n, refused := b.single(b.listed[0], b.list[0]) // the direct call costs less
		return n, full || refused
	}
	n, refused := b.submitList()
	return n, full || refused
}

// diverts sees whether the next job is one that the kernel will not take as it is,
// and takes it away if so.
func (b *Batch) diverts(j *Job) bool {
	f := j.File
	switch {
	case f == nil:
		return false
	case f.refuses, j.Off == Position:
		b.elsewhereOne(b.next())
	case !f.disk() || j.kind != ranged && j.whole == nil:
		return false
	case j.bytes == 0 || !f.suits(j): // an empty one might never end
		b.elsewhereOne(b.next())
	case f.outsized(j):
		b.cut(b.next())
	default:
		return false
	}
	return true
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
	j.Began = b.now

	var (
		buf unsafe.Pointer
		n   int
		op  aio.Opcode
	)
	switch j.Op {
	case Read, Write:
		// The job holds the slice, and the caller the job, until it is reaped.
		op, buf, n = opcodes[j.Op], unsafe.Pointer(unsafe.SliceData(j.Buf)), len(j.Buf)
		if j.left > 0 {
			buf, n = j.base, j.bytes // its members' slices hold that
		}
	case Readv, Writev:
		j.iov = j.iov[:0]
		if j.left > 0 {
			j.gather()
		}
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
	b.live++
	return cb
}

// disarm takes the control block of a job back that the kernel does not have.
func (b *Batch) disarm(j *Job) {
	s := b.slot(j.slot)
	if s.reaped.Load() != s.last {
		s.gen.Store(0) // of a reaped one no event is taken any more
	}
	s.job = nil
	if len(j.iov) > 0 {
		clear(j.iov)
	}
	b.free = append(b.free, j.slot)
	if b.live--; b.live == 0 {
		b.inKernel.Store(0)
	}
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
	b.stats.listSizes.note(len(b.list))
	b.back = b.back[:0]
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
	passes := 0 // operations that went
	for i, cb := range b.list {
		j := b.listed[i]
		word := cb.ErrorWord() // before reaped: see slot
		if word == aio.EINPROGRESS || b.slot(j.slot).reaped.Load() == b.slot(j.slot).last {
			b.learnFrom(j)
			accepted++
			passes += max(1, j.left)
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
			passes += n
			full = full || f
			continue
		}
		full = b.refused(j, word) || full
	}
	for i, j := range b.back {
		if j.place == waiting {
			j.passed += passes
		}
		b.back[i] = nil
	}
	b.back = b.back[:0]
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
	case aio.EOPNOTSUPP:
		b.unsupported(j)
	case aio.ENOMEM: // there are no daemons
		b.elsewhereOne(j)
	default:
		switch {
		case j.left > 0:
			b.refuseMerged(j, errno)
		case j.whole != nil:
			j.place = nowhere
			b.endPiece(j, 0, errno, b.cfg.Done)
		default:
			j.Errno = errno
			b.cfg.Done(j)
		}
	}
	return false
}

// unsupported handles EOPNOTSUPP. Of a file it means that the file does no AIO, and
// holds for all its jobs; of a disk it means this request.
func (b *Batch) unsupported(j *Job) {
	f := j.File
	switch {
	case f == nil:
	case f.disk() && j.left > 0 && !j.Op.syncs():
		f.shrink(j)
		b.reissue(j)
		return
	case f.disk() && (j.kind == ranged || j.whole != nil) && f.shrink(j):
		b.cut(j)
		return
	case f.stat.Type == aio.TypeRegular && !f.refuses:
		f.refuses = true
		b.stats.refusing.Add(1)
		if b.cfg.Refuses != nil {
			b.cfg.Refuses(j.Fd, f.stat)
		}
	}
	b.elsewhereOne(j)
}

// requeue puts a job that was taken back to its place in the order.
func (b *Batch) requeue(j *Job) {
	b.wait(j) // which does not end with a merged job waiting: its members do
	if j.place == waiting {
		b.stats.requeued.Add(1)
		b.back = append(b.back, j)
	}
}

// Harvest reaps the jobs whose events these are and calls Done for each. Events
// of other kinds, and of generations gone, are dropped. It returns the number of
// jobs reaped.
func (b *Batch) Harvest(events []aio.Kevent) int {
	n := 0
	if b.cfg.Now != nil && len(events) > 0 {
		b.reaped = b.cfg.Now()
	}
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
		b.stats.reapSizes.note(n)
	}
	b.report(n)
	return n
}

// end notes that a job has ended.
func (b *Batch) end(j *Job) {
	if b.ended == nil {
		b.ended = j
	} else {
		b.endedLast.mate = j
	}
	b.endedLast = j
}

// report ends a Harvest of n jobs of the kernel: it says which jobs that ended.
func (b *Batch) report(n int) {
	// First: an owner that hears of the end finds the room that it made.
	b.cfg.Budget.give(n)
	first := b.ended
	b.ended, b.endedLast = nil, nil
	if first != nil && b.cfg.Reaped != nil {
		b.cfg.Reaped(first)
		return
	}
	for j := first; j != nil; {
		next := j.Mate() // before Done, from which j is the owner's
		b.cfg.Done(j)
		j = next
	}
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
	j.Ended = b.reaped
	n, failed := b.cfg.Kernel.Return(b.slab.Block(int(token.Slot)))
	if errno == 0 {
		errno = failed
	}
	if j.left > 0 {
		b.split(j, n, errno)
		return true
	}
	if j.whole != nil {
		b.endPiece(j, n, errno, b.end)
		return true
	}
	if errno == 0 {
		j.N = n
	}
	j.Errno = errno
	b.end(j)
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
	if b.cfg.Now != nil {
		b.reaped = b.cfg.Now()
	}
	for i := range b.slab.Len() {
		s := b.slot(uint32(i))
		gen := s.gen.Load()
		if gen == 0 || s.reaped.Load() == gen {
			continue
		}
		errno := b.cfg.Kernel.Error(b.slab.Block(i))
		if errno != aio.EINPROGRESS && b.reap(aio.Token{Slot: uint32(i), Gen: gen}, errno) {
			n++
		}
	}
	b.stats.reaped.Add(uint64(n))
	b.report(n)
	return n
}

// Settle frees the control block of a job that Done was called for, and lets go on
// what waited for its end. It must be called once for each job before the job is
// used again; of those that went Elsewhere, for those with a File.
func (b *Batch) Settle(j *Job) {
	switch {
	case j.merged != nil:
		g := j.merged
		j.merged, j.next = nil, nil
		if g.left--; g.left == 0 {
			b.disarm(g)
			b.recycle(g)
		}
	case j.place == inKernel:
		b.disarm(j)
	case j.place == inPieces:
		b.dropPieces(j)
	}
	j.place = nowhere
	if j.File != nil {
		b.leave(j)
	}
	j.Buf, j.Bufs = nil, nil
}

// Cancel asks for the end of a job. Cancelled: it has ended, or is certain to end,
// with ECANCELED. NotCancelled: it goes on to its own result, because it has begun
// or because others share its job in the kernel. AllDone: it has that.
func (b *Batch) Cancel(j *Job) aio.CancelStatus {
	if j.begun && j.place != nowhere {
		return aio.NotCancelled // it would say that nothing was written
	}
	switch j.place {
	case waiting:
		b.waiting.Delete(j)
		b.fail(j, aio.ECANCELED)
		b.count()
		return aio.Cancelled
	case barred:
		b.unhold(j)
		b.fail(j, aio.ECANCELED)
		b.count()
		return aio.Cancelled
	case inKernel:
		if j.merged != nil {
			return aio.NotCancelled
		}
		status, errno := b.cfg.Kernel.Cancel(j.Fd, b.slab.Block(int(j.slot)))
		if errno != 0 {
			return aio.NotCancelled
		}
		return status
	case fresh, inPieces:
		return aio.NotCancelled
	}
	return aio.AllDone
}

// State is where a job is.
type State uint8

const (
	Gone        State = iota // not added, or settled, or gone Elsewhere
	Added                    // not flushed yet
	WaitsRoom                // for room in the kernel
	WaitsOthers              // for earlier jobs on its file
	InKernel                 // submitted, or done and not settled
)

// State says where the job is. Owner only.
func (j *Job) State() State {
	switch j.place {
	case fresh:
		return Added
	case waiting:
		return WaitsRoom
	case barred:
		return WaitsOthers
	case inKernel, inPieces:
		return InKernel
	}
	return Gone
}

// unhold takes a job out of where it is held.
func (b *Batch) unhold(j *Job) {
	b.held--
	switch f := j.File; j.kind {
	case ranged:
		f.blocked--
	case laned:
		f.lane.remove(j)
	case synced:
		f.syncsLike(j).waiting.remove(j)
	}
}

// Close releases the control blocks. No job may be in the kernel.
func (b *Batch) Close() error {
	if n := b.live; n != 0 {
		return fmt.Errorf("batch: %d jobs are still in the kernel", n)
	}
	b.cfg.Budget.Release()
	return b.slab.Release()
}
