package batch

import (
	"math/bits"

	"github.com/aioring/aioring/aio"
)

// A disk takes no more at a time than its driver does (maxphys, si_iosize_max), nor
// more buffers than max_buf_aio: a longer job is cut into pieces, jobs of the kernel
// of their own, and ends when the last of them has. Its count is that of the pieces
// up to the first that is not full. A piece that is refused for what it is is cut
// again; when that does not help the whole job is sent elsewhere, when the others
// have ended.

const (
	// maxPiece is the most bytes that a disk is asked for at first: maxphys on a
	// 64-bit system, an eighth of that on others. Source: FreeBSD sys/sys/param.h.
	maxPiece = (1 << 17) << (3 * (bits.UintSize / 64))
	// minPiece is what every driver takes (DFLTPHYS).
	minPiece = 1 << 16
	// maxPieceBufs is the most buffers of a vectored job on a disk: the default of
	// vfs.aio.max_buf_aio.
	maxPieceBufs = 16
)

// outsized reports whether a disk is known not to take a job in one piece.
func (f *File) outsized(j *Job) bool {
	if j.bytes > f.maxIO {
		return true
	}
	return j.Op.vector() && len(j.Bufs) > maxPieceBufs
}

// shrink learns from a disk's refusal of a job that it could move by its alignment.
// It reports whether smaller pieces may be taken.
func (f *File) shrink(j *Job) bool {
	if !f.disk() || !f.suits(j) {
		return false
	}
	if j.Op.vector() && len(j.Bufs) > 1 {
		return true // each of its buffers is a piece
	}
	if j.bytes <= minPiece {
		return false
	}
	for f.maxIO >= j.bytes && f.maxIO > minPiece {
		f.maxIO /= 2
	}
	return true
}

// step is how long the pieces for a disk are.
func (f *File) step() int {
	step := f.maxIO
	if f.align > 1 {
		step -= step % int(f.align)
	}
	return step
}

// cut makes pieces of a job, or shorter ones of a piece, and queues them. A buffer
// that the disk cannot move as it is sends the job elsewhere.
func (b *Batch) cut(j *Job) {
	if j.whole != nil {
		b.cutPiece(j)
		return
	}
	f := j.File
	for _, p := range j.Bufs {
		if f.align > 1 && int64(len(p))%f.align != 0 {
			b.elsewhereOne(j)
			return
		}
	}
	n, off := int32(0), j.Off
	add := func(buf []byte) {
		for len(buf) > 0 {
			part := buf[:min(len(buf), f.step())]
			buf = buf[len(part):]
			p := b.newPiece(j, off, part)
			n++
			off += int64(len(part))
			if j.members == nil {
				j.members = p
			} else {
				j.final.after = p
			}
			j.final = p
		}
	}
	if j.Op.vector() {
		for _, p := range j.Bufs {
			add(p)
		}
	} else {
		add(j.Buf)
	}
	if n == 0 {
		b.elsewhereOne(j) // nothing to move: a disk would never end that
		return
	}
	j.place = inPieces
	j.pieces.Store(n)
	b.stats.cuts.Add(1)
	b.stats.pieces.Add(uint64(n))
	for p := j.members; p != nil; p = p.after {
		b.fresh.push(p)
	}
}

// newPiece is a piece of a job, not in any list.
func (b *Batch) newPiece(j *Job, off int64, buf []byte) *Job {
	p := b.newJob()
	p.Op = Read
	if j.Op.writes() {
		p.Op = Write
	}
	p.Fd, p.Off, p.Buf, p.bytes, p.File = j.Fd, off, buf, len(buf), j.File
	p.seq, p.whole, p.place, p.held = j.seq, j, fresh, j.held
	return p
}

// cutPiece makes several of a piece that turned out too long. None of them has ended
// meanwhile, so that nobody looks at the list of them but the owner.
func (b *Batch) cutPiece(p *Job) {
	step := p.File.step()
	rest := p.Buf[step:]
	p.Buf, p.bytes, p.place = p.Buf[:step:step], step, fresh
	b.fresh.push(p)
	for off := p.Off + int64(step); len(rest) > 0; {
		part := rest[:min(len(rest), step)]
		q := b.newPiece(p.whole, off, part)
		q.after, p.after = p.after, q
		if q.after == nil {
			p.whole.final = q
		}
		p.whole.pieces.Add(1)
		b.stats.pieces.Add(1)
		b.fresh.push(q)
		p, rest, off = q, rest[len(part):], off+int64(len(part))
	}
}

// endPiece notes the end of a piece. The last one ends the job, which done is told.
// Owner or harvester calls it.
func (b *Batch) endPiece(p *Job, n int, errno aio.Errno, done func(*Job)) {
	j := p.whole
	if p.N, p.Errno = n, errno; errno != 0 {
		p.N = 0
	}
	// Publishes the result to whoever ends the last piece.
	if j.pieces.Add(-1) > 0 {
		return
	}
	j.N, j.Errno, j.Began, j.Ended = 0, 0, j.members.Began, p.Ended
	refused := false
	for p := j.members; p != nil; p = p.after {
		refused = refused || p.Refused
	}
	if refused {
		b.pushFailed(j)
		return
	}
	for p := j.members; p != nil; p = p.after {
		j.N += p.N
		if p.N < p.bytes || p.Errno != 0 {
			if j.N == 0 {
				j.Errno = p.Errno
			}
			break
		}
	}
	done(j)
}

// refusePiece ends a piece that the kernel does not take.
func (b *Batch) refusePiece(p *Job) {
	p.place = nowhere
	p.Refused = true
	b.endPiece(p, 0, aio.EOPNOTSUPP, b.cfg.Done)
}

// dropPieces frees the pieces of a job that has ended.
func (b *Batch) dropPieces(j *Job) {
	for p := j.members; p != nil; {
		next := p.after
		if p.place == inKernel {
			b.disarm(p)
		}
		b.recycle(p)
		p = next
	}
	j.members, j.final = nil, nil
}
