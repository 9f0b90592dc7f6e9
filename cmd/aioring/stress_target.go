//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// target is a file, or the device, that is written and read, and what is known of it.
type target struct {
	id     uint32
	run    uint64
	path   string
	file   *os.File
	blocks int
	align  int  // in blocks: where transfers may begin, and how long they may be
	device bool // it goes on behind its blocks, with what is nobody's business

	mu      sync.Mutex
	version []uint64 // of each block; 0 was never written
	busy    []int16  // operations that read it, or -1 for one that writes
	maybe   []uint64 // version of a write of which nobody knows whether it came to it
	torn    []bool   // and it may have come to a part
	dirty   []written
}

// written is a stretch that one write has written, and that no fsync has covered.
type written struct {
	first, n int
	version  uint64
}

func newTarget(id uint32, run uint64, path string, size int64, align int) *target {
	n := int(size / stressBlock)
	return &target{
		id: id, run: run, path: path, blocks: n, align: align,
		version: make([]uint64, n), busy: make([]int16, n), maybe: make([]uint64, n), torn: make([]bool, n),
	}
}

func (t *target) stamp(block int, version uint64) stamp {
	return stamp{run: t.run, target: t.id, block: uint64(block), version: version}
}

// reserve finds a stretch of up to most blocks that nobody writes and, to write it,
// nobody reads. None is 0 blocks.
func (t *target) reserve(rng *rand.Rand, most int, write bool) (first, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range 8 {
		first = rng.IntN(t.blocks/t.align) * t.align
		want := min((1+rng.IntN(max(most/t.align, 1)))*t.align, t.blocks-first)
		for n = 0; n < want && t.free(first+n, write); n++ {
		}
		if n -= n % t.align; n == 0 {
			continue
		}
		for i := range n {
			if write {
				t.busy[first+i] = -1
			} else {
				t.busy[first+i]++
			}
		}
		return first, n
	}
	return 0, 0
}

func (t *target) free(block int, write bool) bool {
	if write {
		return t.busy[block] == 0
	}
	// What is not known could not be checked.
	return t.busy[block] >= 0 && t.maybe[block] == 0
}

// release ends the use of a stretch.
func (t *target) release(first, n int, write bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for b := first; b < first+n; b++ {
		if write {
			t.busy[b] = 0
		} else {
			t.busy[b]--
		}
	}
}

// wrote takes in what a write has done: bytes of it, for certain; of the rest nothing,
// unless unsure.
func (t *target) wrote(first, n int, version uint64, bytes int, unsure bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	whole := bytes / stressBlock
	for b := first; b < first+n; b++ {
		switch {
		case b < first+whole:
			t.version[b], t.maybe[b], t.torn[b] = version, 0, false
		case b == first+whole && bytes%stressBlock != 0:
			t.maybe[b], t.torn[b] = version, true
		case unsure:
			t.maybe[b] = version
		}
	}
	if whole > 0 {
		t.dirty = append(t.dirty, written{first, whole, version})
	}
}

// lost takes in that a write has failed after it may have moved any part.
func (t *target) lost(first, n int, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for b := first; b < first+n; b++ {
		t.maybe[b], t.torn[b] = version, true
	}
}

// takeDirty is what an fsync that is submitted now will cover.
func (t *target) takeDirty() []written {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dirty
	t.dirty = nil
	return d
}

// intact is that part of some stretches which no write has been cut off in since.
func (t *target) intact(all []written) (some []written) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range all {
		from := w.first
		for b := w.first; b <= w.first+w.n; b++ {
			if b < w.first+w.n && !t.torn[b] {
				continue
			}
			if b > from {
				some = append(some, written{from, b - from, w.version})
			}
			from = b + 1
		}
	}
	return some
}

// giveDirty takes it back: the fsync has failed.
func (t *target) giveDirty(d []written) {
	t.mu.Lock()
	t.dirty = append(d, t.dirty...)
	t.mu.Unlock()
}

// verify checks a stretch that was read.
func (t *target) verify(first int, p []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 0; (i+1)*stressBlock <= len(p); i++ {
		b := first + i
		if err := t.stamp(b, t.version[b]).check(p[i*stressBlock:][:stressBlock]); err != nil {
			return err
		}
	}
	return nil
}

// settle reads the whole target by plain calls, when nothing is under way: every block
// that is known is as it must be, and the others become known.
func (t *target) settle() (checks int, err error) {
	buf := alignedBuffer(1 << 16)
	for at := 0; at < t.blocks; {
		p := buf[:min(len(buf), (t.blocks-at)*stressBlock)]
		n, err := t.file.ReadAt(p, int64(at)*stressBlock)
		if n < len(p) {
			return checks, fmt.Errorf("%s: read %d bytes of %d at block %d: %w", t.path, n, len(p), at, errors.Join(err, io.ErrUnexpectedEOF))
		}
		for ; len(p) > 0; p = p[stressBlock:] {
			if err := t.settleBlock(at, p[:stressBlock]); err != nil {
				return checks, err
			}
			checks++
			at++
		}
	}
	return checks, nil
}

func (t *target) settleBlock(b int, p []byte) error {
	if t.maybe[b] == 0 {
		return t.stamp(b, t.version[b]).check(p)
	}
	old := t.stamp(b, t.version[b]).check(p)
	done := t.stamp(b, t.maybe[b]).check(p)
	switch {
	case done == nil:
		t.version[b] = t.maybe[b]
	case old == nil:
	case t.torn[b]:
		return nil // not known, and not looked at before it is written again
	default:
		return fmt.Errorf("neither as before nor as written: %w", errors.Join(old, done))
	}
	t.maybe[b], t.torn[b] = 0, false
	return nil
}
