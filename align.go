package aioring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// Alignment is what a file asks of transfers, in bytes; 1 where anything will do.
// Merging and splitting keep to it.
type Alignment struct {
	Buffer    int // of a buffer's address, for a raw disk or O_DIRECT
	Offset    int // of an offset in the file
	Length    int // of a length
	Preferred int // what the file likes to move at a time; 0 if it does not say
}

// Align finds what a file asks for: a disk's sector (DIOCGSECTORSIZE on FreeBSD),
// what statx(2) says of direct transfers on Linux (STATX_DIOALIGN, 6.1 and later),
// st_blksize. [ErrUnsupported] where the library has no kernel.
func Align(f *os.File) (Alignment, error) {
	if f == nil {
		return Alignment{}, fmt.Errorf("aioring: align: %w", os.ErrInvalid)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return Alignment{}, fmt.Errorf("aioring: align: %w", err)
	}
	var (
		a     Alignment
		inner error
	)
	if err := conn.Control(func(fd uintptr) { a, inner = align(int(fd)) }); err != nil {
		if _, inner = f.Stat(); inner == nil { // says os.ErrClosed
			inner = err
		}
	}
	if inner != nil {
		return Alignment{}, fmt.Errorf("aioring: align %s: %w", f.Name(), inner)
	}
	return a, nil
}

// ArenaAlign is at what addresses an Arena's buffers begin: multiples of it. That is
// enough for every disk and file system known.
const ArenaAlign = 4096

// Arena is a number of aligned buffers outside the Go heap, for raw disks and
// O_DIRECT. Make one with [NewArena]. Any goroutine may use it.
type Arena struct {
	mu      sync.Mutex
	mapping []byte
	size    int      // of a buffer
	step    int      // from one to the next
	free    [][]byte // those that are not out
	out     []bool
	at      map[*byte]int // the number of a buffer by its first byte
}

// NewArena makes n buffers of size bytes, each beginning at a multiple of
// [ArenaAlign]. They cost no memory before they are used.
//
// Errors: EINVAL for numbers that are not positive or too large together; ENOMEM;
// [ErrUnsupported] where the library has no kernel.
func NewArena(n, size int) (*Arena, error) {
	const most = 1<<(30+10*(^uint(0)>>63)) - 1 // 1 GiB on 32 bits, 1 TiB on 64
	if n < 1 || size < 1 || size > most-ArenaAlign || n > most/(size+ArenaAlign) {
		return nil, fmt.Errorf("aioring: an arena of %d buffers of %d bytes: %w", n, size, syscall.EINVAL)
	}
	step := (size + ArenaAlign - 1) &^ (ArenaAlign - 1)
	mapping, err := mapArena(n * step)
	if err != nil {
		return nil, fmt.Errorf("aioring: an arena of %d buffers of %d bytes: %w", n, size, err)
	}
	a := &Arena{mapping: mapping, size: size, step: step, out: make([]bool, n), at: make(map[*byte]int, n)}
	for i := n - 1; i >= 0; i-- {
		buf := a.buffer(i)
		a.at[&buf[0]] = i
		a.free = append(a.free, buf)
	}
	return a, nil
}

func (a *Arena) buffer(i int) []byte { return a.mapping[i*a.step:][:a.size:a.size] }

// Get takes a buffer, nil if all are out or the arena is closed. What is in it is
// what was left there, zeros at first.
func (a *Arena) Get() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.free)
	if n == 0 {
		return nil
	}
	buf := a.free[n-1]
	a.free = a.free[:n-1]
	a.out[a.index(buf)] = true
	return buf
}

// index is the number of the buffer that begins where buf does, -1 if none does.
func (a *Arena) index(buf []byte) int {
	if cap(buf) == 0 {
		return -1
	}
	i, ok := a.at[&buf[:1][0]]
	if !ok {
		return -1
	}
	return i
}

// Put gives a buffer back, by a slice that begins where it does. No operation may be
// using it: its final CQE has come. EINVAL for what is not out.
func (a *Arena) Put(buf []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.index(buf)
	if i < 0 || !a.out[i] {
		return fmt.Errorf("aioring: a buffer that is not out of this arena: %w", syscall.EINVAL)
	}
	a.out[i] = false
	a.free = append(a.free, a.buffer(i))
	return nil
}

// errArenaBusy is why an arena cannot be closed.
var errArenaBusy = errors.New("aioring: buffers of the arena are out")

// Close gives the memory back. It fails, and does nothing, while buffers are out: the
// kernel may write to them. Closing a closed arena does nothing.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mapping == nil {
		return nil
	}
	if n := len(a.out) - len(a.free); n > 0 {
		return fmt.Errorf("%w: %d", errArenaBusy, n)
	}
	mapping := a.mapping
	a.mapping, a.free, a.at = nil, nil, nil
	return unmapArena(mapping)
}
