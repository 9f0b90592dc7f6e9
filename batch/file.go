package batch

import (
	"math"

	"github.com/aioring/aioring/aio"
)

// File is what a Batch knows of one file while jobs name it, and a little longer.
// It is the owner's. Make one with [Batch.File].
//
// Three kinds of jobs are kept in order there. Those whose bytes overlap, of which
// one at least is a write: the later is held until the earlier is settled. Those
// that write at the end, or at the file's own position: they are a lane, one at a
// time. And syncs of one strength: while one is in the kernel the others wait, and
// share the next.
type File struct {
	stat  aio.FileStat
	id    uint64
	users int   // jobs that are not settled
	align int64 // on a disk: the sector, which offsets and lengths are multiples of
	block int64 // what the file system likes to move at a time; 0 if it does not say

	maxIO int // the most bytes of one job, on a disk

	refuses bool // it does no AIO: seen from EOPNOTSUPP

	// ranged are the jobs with bytes of their own, in order of Add, from Add to
	// Settle. As long as they are one, or all reads, nothing can be in anything's
	// way and they are not in Batch.ranges.
	ranged  *Job
	last    *Job
	nRanged int
	writes  int
	indexed bool  // they are in Batch.ranges
	longest int64 // of those
	blocked int   // those of them that are held

	lane    jobs // not yet taken
	laneOut int  // taken and not settled

	syncs [2]shared // by strength

	ready bool // in Batch.readyFiles
	next  *File
}

// shared are the syncs of one strength.
type shared struct {
	waiting jobs
	out     int // taken and not settled
}

// Geometry is what a file's own layout asks of transfers. Both may be 0.
type Geometry struct {
	Align int // offsets and lengths on a disk must be multiples of this
	Block int // what the file likes to move at a time
}

// idleFiles is how many files a Batch remembers that no job names.
const idleFiles = 1024

// File finds the file that a descriptor refers to, by what fstat says of it, or
// makes it; known is false then, and geometry should be told by SetGeometry before
// jobs are added. What it returns is good until the next Flush begins, and as long
// as there are jobs on it. Owner only.
func (b *Batch) File(stat aio.FileStat) (f *File, known bool) {
	if f = b.files[stat]; f != nil {
		return f, true
	}
	b.fileID++
	f = &File{stat: stat, id: b.fileID, maxIO: maxPiece}
	b.files[stat] = f
	return f, false
}

// SetGeometry tells what the file asks for.
func (f *File) SetGeometry(g Geometry) { f.align, f.block = int64(g.Align), int64(g.Block) }

// Refuses reports whether the file was seen not to do AIO.
func (f *File) Refuses() bool { return f.refuses }

func (f *File) disk() bool { return f.stat.Type == aio.TypeDisk }

// forgetIdle bounds what is remembered of files that no job names. That a file does
// no AIO is remembered longer: finding out costs a refusal, and a line in the log.
func (b *Batch) forgetIdle() {
	if len(b.files) <= idleFiles {
		return
	}
	for stat, f := range b.files {
		if f.users == 0 && (!f.refuses || len(b.files) > 16*idleFiles) {
			delete(b.files, stat)
		}
	}
}

// kind is which order of its file a job keeps.
type kind uint8

const (
	loose  kind = iota // none: it has no File
	ranged             // by its bytes
	laned              // the lane's
	synced             // it is a sync that may be shared
)

func kindOf(j *Job, sharing bool) kind {
	switch {
	case j.File == nil:
		return loose
	case j.Op.syncs():
		if sharing {
			return synced
		}
		return loose
	case j.Off == Position || j.Append && j.Op.writes():
		return laned
	}
	return ranged
}

// enter takes a job into its file and reports whether it may go on. If not, it is
// held, in place, until what is before it is settled.
func (b *Batch) enter(j *Job) bool {
	f := j.File
	f.users++
	switch j.kind {
	case ranged:
		return b.enterRange(f, j)
	case laned:
		b.queueIn(f, &f.lane, j, f.laneOut > 0)
		return false
	case synced:
		s := f.syncsLike(j)
		b.queueIn(f, &s.waiting, j, s.out > 0)
		return false
	}
	return true
}

func (f *File) syncsLike(j *Job) *shared {
	if j.Op == Fdatasync {
		return &f.syncs[1]
	}
	return &f.syncs[0]
}

// queueIn puts a job in a queue of its file. The first goes with the next Flush if
// nothing is under way; the others have to wait.
func (b *Batch) queueIn(f *File, q *jobs, j *Job, busy bool) {
	if busy || q.n > 0 {
		if errno := b.fix(j); errno != 0 {
			// It cannot wait. Out of its turn it must not go.
			b.fail(j, errno)
			return
		}
	}
	j.place = barred
	b.held++
	q.push(j)
	if !busy {
		b.readyFile(f)
	}
}

// readyFile notes that a file has something for the next Flush.
func (b *Batch) readyFile(f *File) {
	b.ready = true
	if !f.ready {
		f.ready = true
		f.next, b.readyFiles = b.readyFiles, f
	}
}

// fail ends a job that is nowhere yet.
func (b *Batch) fail(j *Job, errno aio.Errno) {
	j.place = nowhere
	j.Errno = errno
	b.cfg.Done(j)
}

// enterRange puts a job among those with bytes of their own.
func (b *Batch) enterRange(f *File, j *Job) bool {
	if j.prev = f.last; j.prev == nil {
		f.ranged = j
	} else {
		j.prev.after = j
	}
	f.last = j
	f.nRanged++
	if j.Op.writes() {
		f.writes++
	}
	if !f.indexed {
		if f.nRanged == 1 || f.writes == 0 {
			return true
		}
		f.indexed = true
		for k := f.ranged; k != j; k = k.after {
			b.index(k)
		}
	}
	// All that are in the index came before.
	j.blockers = 0
	b.overlap(j, func(k *Job) { j.blockers++ })
	b.index(j)
	if j.blockers == 0 {
		return true
	}
	if b.fix(j) != 0 {
		// It cannot wait: it goes now, as it would without any order.
		j.blockers = 0
		return true
	}
	j.place = barred
	f.blocked++
	b.held++
	b.stats.overlaps.Add(1)
	return false
}

func (b *Batch) index(j *Job) {
	b.ranges.ReplaceOrInsert(j)
	j.File.longest = max(j.File.longest, j.end-j.Off)
}

// overlap calls f for every job in the index that shares bytes with j and may not
// pass it.
func (b *Batch) overlap(j *Job, f func(*Job)) {
	if j.end == j.Off {
		return
	}
	b.pivot.File = j.File
	b.pivot.Off = j.Off - min(j.Off, j.File.longest) // nothing that begins before reaches j
	b.ranges.AscendGreaterOrEqual(&b.pivot, func(k *Job) bool {
		if k.File != j.File || k.Off >= j.end {
			return false
		}
		if k != j && k.end > j.Off && k.end > k.Off && (j.Op.writes() || k.Op.writes()) {
			f(k)
		}
		return true
	})
}

// byRange orders the index.
func byRange(a, b *Job) bool {
	if a.File != b.File {
		return a.File.id < b.File.id
	}
	if a.Off != b.Off {
		return a.Off < b.Off
	}
	return a.seq < b.seq
}

// leave takes a settled job out of its file and lets go on what waited for it.
func (b *Batch) leave(j *Job) {
	f := j.File
	f.users--
	switch j.kind {
	case ranged:
		b.leaveRange(f, j)
	case laned:
		if j.out {
			if f.laneOut--; f.laneOut == 0 && f.lane.n > 0 {
				b.readyFile(f)
			}
		}
	case synced:
		if s := f.syncsLike(j); j.out {
			if s.out--; s.out == 0 && s.waiting.n > 0 {
				b.readyFile(f)
			}
		}
	}
	j.out = false
	j.File = nil
}

func (b *Batch) leaveRange(f *File, j *Job) {
	if j.prev == nil {
		f.ranged = j.after
	} else {
		j.prev.after = j.after
	}
	if j.after == nil {
		f.last = j.prev
	} else {
		j.after.prev = j.prev
	}
	j.prev, j.after = nil, nil
	f.nRanged--
	if j.Op.writes() {
		f.writes--
	}
	if !f.indexed {
		return
	}
	b.ranges.Delete(j)
	if f.blocked > 0 {
		b.overlap(j, func(k *Job) {
			if k.seq < j.seq || k.place != barred {
				return
			}
			if k.blockers--; k.blockers == 0 {
				f.blocked--
				b.held--
				b.admit(k)
				b.ready = true
			}
		})
	}
	if f.nRanged == 0 {
		f.indexed, f.longest = false, 0
	}
}

// takeReady moves what files have become ready to where Flush finds it.
func (b *Batch) takeReady() {
	for f := b.readyFiles; f != nil; f = b.readyFiles {
		b.readyFiles = f.next
		f.next, f.ready = nil, false
		if f.laneOut == 0 && f.lane.n > 0 {
			b.takeLane(f)
		}
		for i := range f.syncs {
			if s := &f.syncs[i]; s.out == 0 && s.waiting.n > 0 {
				b.takeSyncs(f, s)
			}
		}
	}
	b.ready = false
}

// takeOut takes the first job of a queue.
func (b *Batch) takeOut(q *jobs, out *int) *Job {
	j := q.pop()
	j.out = true
	j.place = fresh
	*out++
	b.held--
	return j
}

// takeLane takes the next job of a lane: the oldest, and the writes behind it that
// can be one with it.
func (b *Batch) takeLane(f *File) {
	r := &b.run
	r.begin(b.takeOut(&f.lane, &f.laneOut))
	for k := f.lane.head; k != nil && b.joins(r, k); k = f.lane.head {
		b.join(r, b.takeOut(&f.lane, &f.laneOut))
	}
	b.fresh.push(b.finishRun(r))
}

// takeSyncs takes the syncs that wait, as far as they are of the open file that the
// first names.
func (b *Batch) takeSyncs(f *File, s *shared) {
	first := b.takeOut(&s.waiting, &s.out)
	var (
		others jobs
		g      *Job
	)
	for k := s.waiting.pop(); k != nil; k = s.waiting.pop() {
		if k.number != first.number {
			others.push(k)
			continue
		}
		if g == nil {
			g = b.newMerged(first)
		}
		k.out, k.place = true, fresh
		s.out++
		b.held--
		g.addMember(k)
	}
	s.waiting = others
	if g == nil {
		b.fresh.push(first)
		return
	}
	b.stats.shared.Add(uint64(g.left - 1))
	b.fresh.push(g)
}

// rangeEnd is the end of n bytes from off.
func rangeEnd(off int64, n int) int64 {
	if off < 0 || int64(n) > math.MaxInt64-off {
		return math.MaxInt64
	}
	return off + int64(n)
}
