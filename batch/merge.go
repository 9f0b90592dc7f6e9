package batch

import (
	"slices"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// A merged job is one job of the kernel that stands for several neighbours, its
// members. It is made by plan or takeLane within a Flush, and ends there again if
// the kernel does not take it: what waits is always a member. When it is reaped its
// count is shared out in order, so that after a short transfer there are full, short
// and empty members. When it failed, nothing is known of any member, and each is
// sent again, once, alone: another process may see the bytes of such a write
// written twice.

// run is a merged job in the making: neighbours, first to last.
type run struct {
	first, last *Job
	merged      *Job
	bytes       int
	iovecs      int
}

func (r *run) begin(j *Job) {
	*r = run{first: j, last: j, bytes: j.bytes, iovecs: max(1, len(j.Bufs))}
}

// tails are the ends of the last few stretches that plan has come by.
type tails struct {
	last  [4]*Job
	bytes [4]int
	n     int
}

// maxWindow is the most jobs that one plan takes.
const maxWindow = 4096

// plan takes jobs in their order, as many as may come to n jobs of the kernel, sorts
// them and merges neighbours. What comes of it is in b.planned.
func (b *Batch) plan(n int) {
	if b.planned.n > 0 {
		return // the rest of the plan before
	}
	w := b.window[:0]
	var t tails
	for stretches := 0; len(w) < maxWindow; {
		j := b.peekOldest()
		if j == nil {
			break
		}
		if !b.extends(&t, j) {
			if stretches++; stretches > n {
				break
			}
		}
		w = append(w, b.oldest())
	}
	if len(w) > 1 && !slices.IsSortedFunc(w, byPlace) {
		slices.SortFunc(w, byPlace)
	}
	var single jobs // what no list may hold goes behind the list
	put := func(j *Job) {
		if b.listable(j) {
			b.planned.push(j)
		} else {
			single.push(j)
		}
	}
	for i := 0; i < len(w); {
		r := &b.run
		r.begin(w[i])
		for i++; i < len(w) && b.joins(r, w[i]); i++ {
			b.join(r, w[i])
		}
		put(b.finishRun(r))
	}
	for j := single.pop(); j != nil; j = single.pop() {
		b.planned.push(j)
	}
	clear(w)
	b.window = w[:0]
}

// extends reports whether a job follows one of the stretches taken last, and notes it
// as the end of that, or of a new one.
func (b *Batch) extends(t *tails, j *Job) bool {
	if j.kind != ranged {
		return false
	}
	for i, k := range t.last {
		if k != nil && k.File == j.File && k.Op == j.Op && k.end == j.Off && k.number == j.number && t.bytes[i]+j.bytes <= b.mergeLimit(j.File) {
			t.last[i] = j
			t.bytes[i] += j.bytes
			return true
		}
	}
	i := t.n % len(t.last)
	t.n++
	t.last[i], t.bytes[i] = j, j.bytes
	return false
}

// byPlace orders jobs for a list: those that have their place in a file by file,
// descriptor, kind and offset, the others behind them as they came.
func byPlace(a, b *Job) int {
	ra, rb := a.kind == ranged, b.kind == ranged
	switch {
	case ra != rb:
		if ra {
			return -1
		}
		return 1
	case !ra:
		return order(a.seq, b.seq)
	case a.File != b.File:
		return order(a.File.id, b.File.id)
	case a.number != b.number:
		return order(a.number, b.number)
	case a.Op != b.Op:
		return order(a.Op, b.Op)
	case a.Off != b.Off:
		return order(a.Off, b.Off)
	}
	return order(a.seq, b.seq)
}

func order[T uint64 | int64 | int | Op](a, b T) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// joins reports whether a job can be the next of a run: the same call on the same
// open file, the next bytes, and together not more than is good. The files of both
// are held from then on: if it fails, they are used again later.
func (b *Batch) joins(r *run, j *Job) bool {
	f := r.first
	switch {
	case b.cfg.Merge == 0, f.kind == loose, f.kind == synced, f.left > 0,
		f.File != j.File, f.kind != j.kind, f.Op != j.Op, f.number != j.number,
		f.alone, j.alone, f.bytes == 0, j.bytes == 0, f.Off == Position, j.Off == Position,
		f.File.refuses:
		return false
	case f.kind == ranged && !b.adjacent(r, j), r.bytes+j.bytes > b.mergeLimit(f.File):
		return false
	}
	gap := !together(r.last, j)
	if f.File.disk() {
		if f.Op.vector() || !f.File.suits(f) || !f.File.suits(j) {
			return false
		}
		// A disk makes a request of every iovec: scattered buffers are copied.
		if gap && (r.merged == nil || r.merged.bounce == nil) && !b.bounces.left() {
			return false
		}
	} else if gap && r.iovecs+max(1, len(j.Bufs)) > aio.MaxIovecs {
		return false
	}
	return b.fix(f) == 0 && b.fix(j) == 0 && f.Fd == j.Fd
}

// adjacent reports whether a job's bytes follow a run's, in one stretch of the file
// that begins at a multiple of what the file likes to move.
func (b *Batch) adjacent(r *run, j *Job) bool {
	limit := int64(b.mergeLimit(j.File))
	return r.last.end == j.Off && r.first.Off/limit == (j.end-1)/limit
}

// mergeLimit is the most bytes of a merged job on a file.
func (b *Batch) mergeLimit(f *File) int {
	if f.disk() {
		return min(b.cfg.Merge, f.maxIO)
	}
	if f.block <= int64(b.cfg.Merge) || f.block > maxBlock {
		return b.cfg.Merge
	}
	return int(f.block)
}

// maxBlock is the largest block that merging fills: ZFS's records are up to it as a
// rule.
const maxBlock = 1 << 20

// suits reports whether a disk can move a job's bytes as they are.
func (f *File) suits(j *Job) bool {
	return f.align <= 1 || j.Off%f.align == 0 && int64(j.bytes)%f.align == 0
}

// together reports whether two jobs' bytes are next to each other in memory too.
func together(a, b *Job) bool {
	return a.Bufs == nil && b.Bufs == nil &&
		uintptr(unsafe.Pointer(unsafe.SliceData(a.Buf)))+uintptr(len(a.Buf)) == uintptr(unsafe.Pointer(unsafe.SliceData(b.Buf)))
}

// join makes a job that joins the next of a run.
func (b *Batch) join(r *run, j *Job) {
	g := r.merged
	if g == nil {
		g = b.newMerged(r.first)
		r.merged = g
	}
	if !together(r.last, j) {
		if g.File.disk() {
			if g.bounce == nil {
				g.bounce = b.bounces.take()
			}
		} else {
			g.base = nil
		}
		r.iovecs += max(1, len(j.Bufs))
	}
	g.addMember(j)
	r.bytes += j.bytes
	r.last = j
}

// finishRun is the job that a run comes to.
func (b *Batch) finishRun(r *run) *Job {
	j, g := r.first, r.merged
	*r = run{}
	if g == nil {
		return j
	}
	b.stats.merges.Add(1)
	b.stats.members.Add(uint64(g.left))
	switch {
	case g.bounce != nil:
		b.stats.bounced.Add(1)
		g.base = unsafe.Pointer(unsafe.SliceData(g.bounce))
		if g.Op == Write {
			at := 0
			for m := g.members; m != nil; m = m.next {
				at += copy(g.bounce[at:], m.Buf)
			}
		}
	case g.base == nil && g.Op == Read:
		g.Op = Readv
	case g.base == nil && g.Op == Write:
		g.Op = Writev
	}
	return g
}

// newJob is a job of the batch's own, empty.
func (b *Batch) newJob() *Job {
	j := b.spare
	if j == nil {
		return new(Job)
	}
	b.spare, j.next = j.next, nil
	return j
}

// newMerged begins a merged job with its first member.
func (b *Batch) newMerged(first *Job) *Job {
	g := b.newJob()
	g.Op, g.Fd, g.Off, g.File, g.seq = first.Op, first.Fd, first.Off, first.File, first.seq
	if first.Bufs == nil {
		g.base = unsafe.Pointer(unsafe.SliceData(first.Buf))
	}
	g.addMember(first)
	return g
}

func (j *Job) addMember(m *Job) {
	m.merged, m.next, m.place = j, nil, inKernel
	if j.members == nil {
		j.members = m
	} else {
		j.final.next = m
	}
	j.final = m
	j.left++
	j.bytes += m.bytes
}

// gather fills the iovecs of a merged job, one for each stretch of memory.
func (j *Job) gather() {
	var last *Job
	for m := j.members; m != nil; m = m.next {
		switch {
		case last != nil && together(last, m):
			j.iov[len(j.iov)-1].Len += uintptr(len(m.Buf))
		case m.Bufs == nil:
			j.iov = append(j.iov, aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(m.Buf)), Len: uintptr(len(m.Buf))})
		}
		for _, p := range m.Bufs {
			j.iov = append(j.iov, aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(p)), Len: uintptr(len(p))})
		}
		last = m
	}
}

// recycle keeps a job of the batch's own, which is not in the kernel, for later.
func (b *Batch) recycle(g *Job) {
	if g.bounce != nil {
		b.bounces.give(g.bounce)
	}
	*g = Job{iov: g.iov, next: b.spare}
	b.spare = g
}

// dissolve ends a merged job that is not in the kernel and gives each member, in
// order, to f; of a lane's, the first, and the others go back to the lane.
func (b *Batch) dissolve(g *Job, f func(*Job)) {
	var rest jobs
	file := g.File
	for m := g.members; m != nil; {
		next := m.next
		m.merged, m.next, m.place = nil, nil, nowhere
		if m.kind == laned && m != g.members {
			m.out, m.place = false, barred
			file.laneOut--
			b.held++
			rest.push(m)
		} else {
			f(m)
		}
		m = next
	}
	file.lane.prepend(&rest)
	b.recycle(g)
}

// putBack makes the members of a merged job wait.
func (b *Batch) putBack(g *Job) {
	b.dissolve(g, b.requeue)
}

// sendElsewhere sends the members of a merged job elsewhere.
func (b *Batch) sendElsewhere(g *Job) {
	b.dissolve(g, b.elsewhereOne)
}

// reissue sends the members of a merged job again, each alone.
func (b *Batch) reissue(g *Job) {
	for m := g.members; m != nil; m = m.next {
		m.alone = true
		b.stats.reissued.Add(1)
	}
	b.dissolve(g, b.admit)
}

// refuseMerged handles a merged job's refusal that more room would not cure.
func (b *Batch) refuseMerged(g *Job, errno aio.Errno) {
	if !g.Op.syncs() {
		b.reissue(g)
		return
	}
	b.dissolve(g, func(j *Job) { b.fail(j, errno) })
}

// split gives each member of a reaped job its result. The harvester calls it.
func (b *Batch) split(g *Job, n int, errno aio.Errno) {
	if errno != 0 && !g.Op.syncs() {
		b.pushFailed(g)
		return
	}
	b.stats.splits.Add(1)
	copied := g.bounce
	if g.Op != Read {
		copied = nil
	}
	for m := g.members; m != nil; {
		next := m.next
		m.Errno, m.Began, m.Ended = errno, g.Began, g.Ended
		if errno == 0 {
			m.N = min(n, m.bytes)
			n -= m.N
		}
		if copied != nil {
			copied = copied[copy(m.Buf[:m.N], copied):]
		}
		b.end(m)
		m = next
	}
}

// pushFailed leaves a job that failed to the owner.
func (b *Batch) pushFailed(g *Job) {
	for {
		top := b.failed.Load()
		g.next = top
		// Publishes the job to takeFailed's Swap.
		if b.failed.CompareAndSwap(top, g) {
			return
		}
	}
}

// takeFailed reissues merged jobs that failed, and sends jobs elsewhere of which the
// kernel did not take a piece.
func (b *Batch) takeFailed() {
	// Acquires what split published.
	for g := b.failed.Swap(nil); g != nil; {
		next := g.next
		g.next = nil
		if g.place == inPieces {
			b.dropPieces(g)
			b.elsewhereOne(g)
		} else {
			b.disarm(g)
			for m := g.members; m != nil; m = m.next {
				m.begun = m.Op.writes()
			}
			b.reissue(g)
		}
		g = next
	}
}

// bounces are the buffers through which scattered bytes go to a disk.
type bounces struct {
	size int
	made int
	free [][]byte
}

const (
	// maxBounces bounds the buffers made: with the default Merge 2 MiB.
	maxBounces = 32
	// bounceAlign is at what addresses they begin: a page.
	bounceAlign = 4096
)

func (p *bounces) left() bool { return len(p.free) > 0 || p.made < maxBounces }

func (p *bounces) take() []byte {
	if n := len(p.free); n > 0 {
		buf := p.free[n-1]
		p.free = p.free[:n-1]
		return buf
	}
	p.made++
	buf := make([]byte, p.size+bounceAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (bounceAlign - 1)
	return buf[skip : skip+p.size : skip+p.size]
}

func (p *bounces) give(buf []byte) { p.free = append(p.free, buf) }
