package aio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrSlabFull says that a slab has handed out all the blocks it may.
var ErrSlabFull = errors.New("aio: slab is full")

// Slab is an array of control blocks outside the Go heap. The kernel knows a job
// by the address of its block, so a block must stay where it is, whatever the
// garbage collector does and for as long as a lost job may come back.
//
// The address range of all blocks is reserved at once, and costs memory only
// where a block has been used. Grow hands it out by and by. Hence a block's
// index and its address follow from each other, by one division.
type Slab struct {
	// blocks is the mapping. Its header is written by NewSlab alone; the blocks
	// belong to whoever was given their index.
	blocks []ControlBlock

	// grown is how many blocks have been handed out. It is raised by Grow and read
	// by all; it publishes nothing but itself, fresh blocks are zero already.
	grown atomic.Int64

	mu      sync.Mutex // serializes Grow and Release, and guards mapping
	mapping []byte     // nil once released
}

// slabChunk is how many blocks one Grow adds.
const slabChunk = 256

// maxSlab keeps a slot in 32 bits and the mapping within what every host can
// address.
const maxSlab = 1 << 22

// NewSlab reserves a slab of at most max blocks, 1 to 4,194,304. None is handed
// out before the first Grow.
func NewSlab(max int) (*Slab, error) {
	if max < 1 || max > maxSlab {
		return nil, fmt.Errorf("aio: a slab of %d blocks: 1 to %d are possible", max, maxSlab)
	}
	mapping, err := mapMemory(max * int(unsafe.Sizeof(ControlBlock{})))
	if err != nil {
		return nil, fmt.Errorf("aio: memory for %d control blocks: %w", max, err)
	}
	// Safe: the mapping is max blocks long, zero, and begins on a page, so every
	// block is aligned (a block's size is a multiple of eight, layout_*_test.go).
	// The collector neither scans nor frees it, and the blocks hold no Go
	// pointers.
	blocks := unsafe.Slice((*ControlBlock)(unsafe.Pointer(unsafe.SliceData(mapping))), max)
	return &Slab{blocks: blocks, mapping: mapping}, nil
}

// Grow hands out one chunk of blocks more and returns how many there are now, or
// ErrSlabFull. The new indices are those from the old Len on.
func (s *Slab) Grow() (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = int(s.grown.Load())
	if s.mapping == nil || n == len(s.blocks) {
		return n, ErrSlabFull
	}
	n = min(n+slabChunk, len(s.blocks))
	s.grown.Store(int64(n))
	return n, nil
}

// Len is how many blocks have been handed out.
func (s *Slab) Len() int { return int(s.grown.Load()) }

// Block is block i, 0 <= i < Len, always at the same address. Any goroutine may
// ask. An index out of range is a mistake in the caller and panics.
func (s *Slab) Block(i int) *ControlBlock {
	if uint(i) >= uint(s.grown.Load()) {
		panic("aio: no such control block")
	}
	return &s.blocks[i]
}

// Index is the inverse of Block for an address that the kernel gave back
// ([Kevent].Ident of an AIO event). false: no block of this slab begins there.
func (s *Slab) Index(addr uintptr) (int, bool) {
	// Safe: addr is compared and never followed. An address below the slab wraps
	// around and is out of range.
	offset := addr - uintptr(unsafe.Pointer(unsafe.SliceData(s.blocks)))
	const size = unsafe.Sizeof(ControlBlock{})
	if offset%size != 0 || offset/size >= uintptr(s.grown.Load()) {
		return 0, false
	}
	return int(offset / size), true
}

// Release gives the memory back. The caller warrants that the kernel holds no
// job in it and that no pointer to a block is kept, not even unused: Go's heap
// may later grow into the range. A second Release does nothing.
func (s *Slab) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mapping == nil {
		return nil
	}
	s.grown.Store(0)
	mapping := s.mapping
	s.mapping, s.blocks = nil, nil
	return unmapMemory(mapping)
}
