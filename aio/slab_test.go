//go:build unix

package aio

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

func newSlab(t *testing.T, max int) *Slab {
	t.Helper()
	s, err := NewSlab(max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Release(); err != nil {
			t.Errorf("Release: %v", err)
		}
	})
	return s
}

func TestSlabGrowsByChunksToItsMax(t *testing.T) {
	s := newSlab(t, 600)
	if s.Len() != 0 {
		t.Fatalf("a new slab has %d blocks", s.Len())
	}
	for _, want := range []int{256, 512, 600} {
		if n, err := s.Grow(); n != want || err != nil || s.Len() != want {
			t.Fatalf("Grow = %d, %v and Len %d, want %d", n, err, s.Len(), want)
		}
	}
	if n, err := s.Grow(); n != 600 || !errors.Is(err, ErrSlabFull) {
		t.Errorf("Grow at the max = %d, %v, want 600, ErrSlabFull", n, err)
	}
}

func TestSlabRefusesSizesOutOfRange(t *testing.T) {
	for _, max := range []int{-1, 0, maxSlab + 1} {
		if s, err := NewSlab(max); err == nil {
			t.Errorf("NewSlab(%d) made one", max)
			s.Release()
		}
	}
}

func TestSlabBlockOutOfRangePanics(t *testing.T) {
	s := newSlab(t, 600)
	s.Grow()
	for _, i := range []int{-1, 256, 599, 600} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Block(%d) of 256 did not panic", i)
				}
			}()
			s.Block(i)
		}()
	}
}

func TestSlabBlocksAreAlignedApartZeroAndWritable(t *testing.T) {
	s := newSlab(t, 600)
	for s.Len() < 600 {
		s.Grow()
	}
	for i := range 600 {
		cb := s.Block(i)
		if uintptr(unsafe.Pointer(cb))%8 != 0 {
			t.Fatalf("block %d is at %p", i, cb)
		}
		if cb.Fd != 0 || cb.StatusWord() != 0 {
			t.Fatalf("block %d is not zero: block %d reaches into it", i, i-1)
		}
		for b := range unsafe.Sizeof(*cb) {
			*(*byte)(unsafe.Add(unsafe.Pointer(cb), b)) = 0xff
		}
	}
}

// Growing moves nothing, collections move nothing, and an address leads back to
// its index and to nothing else.
func TestSlabIndexInvertsBlock(t *testing.T) {
	s := newSlab(t, 600)
	s.Grow()
	addr := make([]uintptr, 0, 600)
	for i := range 256 {
		addr = append(addr, uintptr(unsafe.Pointer(s.Block(i))))
	}
	if _, ok := s.Index(addr[255] + unsafe.Sizeof(ControlBlock{})); ok {
		t.Error("Index knows a block that has not been handed out")
	}
	s.Grow()
	runtime.GC()
	for i := range 512 {
		a := uintptr(unsafe.Pointer(s.Block(i)))
		if i < 256 && a != addr[i] {
			t.Fatalf("block %d went from %#x to %#x", i, addr[i], a)
		}
		if got, ok := s.Index(a); got != i || !ok {
			t.Fatalf("Index of block %d = %d, %v", i, got, ok)
		}
		for _, off := range []uintptr{1, 8, unsafe.Sizeof(ControlBlock{}) - 1} {
			if got, ok := s.Index(a + off); ok {
				t.Fatalf("Index of the middle of block %d = %d", i, got)
			}
		}
	}
	base := addr[0]
	for _, a := range []uintptr{0, 1, base - 1, base - unsafe.Sizeof(ControlBlock{}), ^uintptr(0)} {
		if got, ok := s.Index(a); ok {
			t.Errorf("Index(%#x) = %d, the slab begins at %#x", a, got, base)
		}
	}
}

func TestSlabBlocksAreReadWhileItGrows(t *testing.T) {
	s := newSlab(t, 4096)
	s.Grow()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for s.Len() < 4096 {
				n := s.Len()
				if got, ok := s.Index(uintptr(unsafe.Pointer(s.Block(n - 1)))); got != n-1 || !ok {
					t.Errorf("Index of block %d = %d, %v", n-1, got, ok)
					return
				}
				runtime.Gosched()
			}
		})
	}
	for s.Len() < 4096 {
		if _, err := s.Grow(); err != nil {
			t.Error(err)
			break
		}
		runtime.Gosched()
	}
	wg.Wait()
}

func TestSlabReleasedHasNoBlocks(t *testing.T) {
	s := newSlab(t, 10)
	s.Grow()
	addr := uintptr(unsafe.Pointer(s.Block(0)))
	for range 2 {
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := s.Index(addr); ok || s.Len() != 0 {
		t.Error("a released slab still has blocks")
	}
	if _, err := s.Grow(); !errors.Is(err, ErrSlabFull) {
		t.Errorf("Grow after Release: %v, want ErrSlabFull", err)
	}
}
