//go:build unix

package main

import (
	"context"
	"errors"
	"hash/maphash"

	"github.com/aioring/aioring"
	"golang.org/x/sys/unix"
)

// copier is the loop around the ring, and its only user. The walk begins files;
// files and directories hand out operations, one in each block; the ring brings
// the blocks back, and what began them goes on from there. Reads, writes and syncs
// go this way; opening, naming and attributes are plain calls in between.
type copier struct {
	ring   *aioring.Ring
	verify bool
	sync   bool
	report *report

	walk  walk
	ready []work             // have operations to hand out, the last first
	files map[*file]struct{} // begun and not ended

	blocks   []block
	free     []*block
	cqes     []*aioring.CQE
	maxFiles int
	seed     maphash.Seed
}

// work is something whose operations go through the ring.
type work interface {
	// next puts one operation into the ring by way of b, or reports that there is
	// none to begin now.
	next(b *block) bool
	// drained says that next had nothing; the work is asked no more until it is
	// made ready again.
	drained()
	// done takes the result of b's operation and reports whether it put another
	// one in its place.
	done(b *block, res int32) bool
}

// block is a buffer and the transfer it is for. Its index is the operations'
// user data.
type block struct {
	index    uint64
	buf      []byte
	work     work
	off      int64 // in the file
	n        int   // bytes of the transfer
	moved    int   // of them, in this direction
	writing  bool
	checksum *uint64 // where it goes, or what it must be
}

// start gives the block a transfer that begins with a read.
func (b *block) start(off int64, n int) {
	b.off, b.n, b.moved, b.writing, b.checksum = off, n, 0, false, nil
}

// rest is what is left to move.
func (b *block) rest() []byte { return b.buf[b.moved:b.n] }

// copyAll copies the command's sources. What fails is reported, and the rest
// goes on; the error is ctx's cause, or the ring's failure.
func copyAll(ctx context.Context, ring *aioring.Ring, cmd *cpCommand, report *report) error {
	c := &copier{
		ring: ring, verify: cmd.Verify, sync: cmd.Sync, report: report,
		files: make(map[*file]struct{}), maxFiles: maxOpenFiles(), seed: maphash.MakeSeed(),
	}
	c.allocate(cmd.Depth, int(cmd.Block))
	last := len(cmd.Paths) - 1
	if err := c.walk.init(c, cmd.Paths[:last], cmd.Paths[last]); err != nil {
		report.fail(err)
		return nil
	}
	// In the kernel nothing ends by itself when the user is tired of it.
	defer context.AfterFunc(ctx, func() { ring.Close() })()
	err := c.run(ctx)
	if err != nil {
		ring.Close() // waits until no buffer and no file is in use
		c.abandon()
	}
	if err != nil && ctx.Err() == nil {
		report.fail(&pathError{"kernel " + ring.Kernel(), "the ring failed", err})
	}
	return err
}

// allocate makes all the memory for data that the copy will use.
func (c *copier) allocate(depth, size int) {
	pool := make([]byte, depth*size)
	c.blocks = make([]block, depth)
	c.free = make([]*block, depth)
	c.cqes = make([]*aioring.CQE, depth)
	for i := range c.blocks {
		c.blocks[i] = block{index: uint64(i), buf: pool[i*size : (i+1)*size : (i+1)*size]}
		c.free[depth-1-i] = &c.blocks[i]
	}
}

// run copies until there is nothing left to do, or ctx ends.
func (c *copier) run(ctx context.Context) error {
	for {
		c.fill(ctx)
		flying := len(c.blocks) - len(c.free)
		if flying == 0 || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// A few at a time: what they free is submitted as one list.
		_, err := c.ring.SubmitAndWait((flying + 7) / 8)
		if ctx.Err() != nil {
			return context.Cause(ctx) // whatever came back may only be cancelled
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		n := c.ring.PeekBatchCQE(c.cqes)
		for _, cqe := range c.cqes[:n] {
			c.complete(&c.blocks[cqe.UserData], cqe.Res)
		}
		c.ring.CQAdvance(n)
	}
}

// fill gives every free block an operation, as far as there are any.
func (c *copier) fill(ctx context.Context) {
	for len(c.free) > 0 && ctx.Err() == nil {
		if len(c.ready) == 0 {
			if len(c.files) >= c.maxFiles || !c.walk.next() {
				return
			}
			continue
		}
		w, b := c.ready[len(c.ready)-1], c.free[len(c.free)-1]
		if w.next(b) {
			b.work = w
			c.free = c.free[:len(c.free)-1]
			continue
		}
		c.ready = c.ready[:len(c.ready)-1]
		w.drained()
	}
}

// complete brings a block back to the work that it is for.
func (c *copier) complete(b *block, res int32) {
	if b.work.done(b, res) {
		return
	}
	b.work = nil
	c.free = append(c.free, b)
}

// enqueue makes a work ready to hand out operations, before all others: what is
// nearly finished frees descriptors.
func (c *copier) enqueue(w work) { c.ready = append(c.ready, w) }

// abandon removes what is not finished. The ring is closed.
func (c *copier) abandon() {
	for f := range c.files {
		f.discard()
	}
}

// sqe is the entry for a block's next operation. It is nil when the ring is being
// closed, which the next submission will say: no block has two entries, so there
// is always one for it otherwise.
func (c *copier) sqe(b *block) *aioring.SQE {
	sqe := c.ring.GetSQE()
	if sqe == nil {
		sqe = new(aioring.SQE)
	}
	sqe.UserData = b.index
	return sqe
}

func (c *copier) startRead(b *block, fd int) {
	aioring.PrepRead(c.sqe(b), fd, b.rest(), b.off+int64(b.moved))
}

func (c *copier) startWrite(b *block, fd int) {
	aioring.PrepWrite(c.sqe(b), fd, b.rest(), b.off+int64(b.moved))
}

func (c *copier) startFsync(b *block, fd int) {
	aioring.PrepFsync(c.sqe(b), fd, 0)
}

// maxOpenFiles is how many files may be under way at a time: each has two
// descriptors, and the ring may hold duplicates of both.
func maxOpenFiles() int {
	const others = 64
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1
	}
	// Compared as unsigned: no limit is the largest number, on some systems -1.
	return int(max(1, (min(uint64(limit.Cur), 1<<20)-min(others, uint64(limit.Cur)))/4))
}
