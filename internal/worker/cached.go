//go:build unix

package worker

const (
	// cachedSize is the most bytes of a read that a Cache asks for: a longer one is
	// worth a goroutine.
	cachedSize = 64 << 10
	// cachedTurn is the most bytes that it reads in one turn.
	cachedTurn = 1 << 20
	// maxMisses bounds the pause after misses: after n in a row 2^n-2 reads are not
	// asked for.
	maxMisses = 8
)

// Pages says where that is what a descriptor reads. The zero value is not known yet;
// then [Cache.Read] finds out. It holds as long as the number is the same open file's
// and its flags are the same.
type Pages uint8

const (
	pagesUnknown Pages = iota
	pagesCached        // perhaps in the page cache, and the system can tell
	pagesMemory        // in memory, always
	pagesMedium        // on the medium, for all that can be known
)

// Cache makes reads that the page cache can answer in the calling goroutine: those
// take no goroutine of a Pool, no descriptor of their own, and nobody has to be woken.
// Whether it can is known only by asking, which costs a system call, so that a Cache
// that is often asked in vain is asked less. One goroutine at a time uses it.
type Cache struct {
	misses uint // in a row, at most maxMisses
	skip   int  // reads that are not asked for
	read   int  // bytes in this turn
}

// Read makes a Read, or a Readv if bufs is not nil, at an offset of a regular file. It
// returns the number of bytes, or false: the read has to wait for the medium, or fails,
// or is not to be asked for; its buffers may have been written to. There are no more
// buffers than a Call may have.
func (h *Cache) Read(fd int, p []byte, bufs [][]byte, off int64, where *Pages) (n int, ok bool) {
	size := len(p)
	for i := 0; i < len(bufs) && size <= cachedSize; i++ {
		size += len(bufs[i])
	}
	if size == 0 || size > cachedSize || h.read+size > cachedTurn {
		return 0, false
	}
	if h.skip > 0 {
		h.skip--
		return 0, false
	}
	if *where == pagesUnknown {
		*where = pagesOf(fd)
	}
	if *where == pagesMedium {
		return 0, false
	}
	if *where == pagesCached {
		n, ok = readCached(fd, p, bufs, off, where)
		ok = ok && (n == size || endsBy(fd, off+int64(n)))
	}
	if *where == pagesMemory {
		n, ok = readMemory(fd, p, bufs, off)
	}
	if !ok {
		h.misses = min(h.misses+1, maxMisses)
		h.skip = 1<<h.misses - 2
		return 0, false
	}
	h.misses = 0
	h.read += n
	return n, true
}

// NextTurn begins a turn. What others wait for meanwhile is done between turns.
func (h *Cache) NextTurn() { h.read = 0 }

// readMemory makes a read that waits for nothing but memory.
func readMemory(fd int, p []byte, bufs [][]byte, off int64) (int, bool) {
	if bufs == nil {
		n, errno := read(fd, p, off)
		return n, errno == 0
	}
	c := Call{Op: Readv, Fd: fd, Bufs: bufs}
	n, errno := vector(&c, off)
	return n, errno == 0
}
