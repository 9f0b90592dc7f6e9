//go:build unix

package main

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// stressMost is the most blocks of one operation.
	stressMost = 32
	poison     = 0xa5
)

// buffers are what operations move. One whose operation has ended is poisoned and put
// aside for a while: nobody may touch it then, the kernel least of all.
type buffers struct {
	direct bool

	mu    sync.Mutex
	aside [][]byte
}

// asideFor is how many others a buffer waits for.
const asideFor = 128

func (b *buffers) get() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.aside) < asideFor {
		if b.direct {
			return alignedBuffer(stressMost * stressBlock), nil
		}
		return make([]byte, stressMost*stressBlock), nil
	}
	p := b.aside[0]
	b.aside = b.aside[1:]
	for i, v := range p {
		if v != poison {
			return nil, fmt.Errorf("a buffer was changed after its operation had ended: byte %d is %#x", i, v)
		}
	}
	return p, nil
}

func (b *buffers) put(p []byte) {
	for i := range p {
		p[i] = poison
	}
	b.mu.Lock()
	b.aside = append(b.aside, p)
	b.mu.Unlock()
}

// alignedBuffer begins with a page, as direct transfers need it.
func alignedBuffer(size int) []byte {
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, size) // the transfer will say what it thinks of that
	}
	return p
}
