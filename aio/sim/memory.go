//go:build unix

package sim

import (
	"os"

	"github.com/aioring/aioring/aio"
)

// Volume is what lies below the model's own files: names, and inodes with bytes.
// It is the seam for a disk that crashes, fills up or rots, as [Disk] does.
// [NewMemory] is the plain one.
//
// Open is called by one goroutine at a time. Nothing here may call the Kernel.
// Errors are FreeBSD's.
type Volume interface {
	// Open finds the file of a name, or with os.O_CREATE makes it; os.O_EXCL is its
	// to heed, other flags are not.
	Open(name string, flag int) (Inode, aio.Errno)
}

// Inode is one file of a [Volume]. The model never writes, truncates or syncs one
// while anything else of it is under way; reads come together. One that is not a
// regular file has a method Type() aio.FileType that says so.
type Inode interface {
	// ID is the number that Fstat gives, no other file's as long as this one is
	// open, and the same on every host.
	ID() uint64

	// ReadAt reads up to the end of the file: fewer bytes than asked for, or none,
	// are no error. off is not negative.
	ReadAt(p []byte, off int64) (int, aio.Errno)

	// WriteAt writes p whole, or fails having moved n bytes of it. The file grows
	// as it must, and what lies between is zero.
	WriteAt(p []byte, off int64) (n int, errno aio.Errno)

	// Sync makes what was written durable; with dataOnly only what is needed to
	// read it back.
	Sync(dataOnly bool) aio.Errno

	Size() int64
	Truncate(size int64) aio.Errno

	// Close: the last open file of the inode is gone.
	Close()
}

// Memory is a [Volume] in memory. It never fails, and everything is durable at
// once.
type Memory struct {
	files map[string]*memFile
	last  uint64
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{files: make(map[string]*memFile)} }

// memFile is one file of a Memory.
type memFile struct {
	id   uint64
	data []byte
}

// Open implements [Volume].
func (m *Memory) Open(name string, flag int) (Inode, aio.Errno) {
	f := m.files[name]
	switch {
	case f == nil && flag&os.O_CREATE == 0:
		return nil, aio.ENOENT
	case f == nil:
		m.last++
		f = &memFile{id: m.last}
		m.files[name] = f
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, aio.EEXIST
	}
	return f, 0
}

// Remove takes a name away. The file lives on where it is open.
func (m *Memory) Remove(name string) aio.Errno {
	if m.files[name] == nil {
		return aio.ENOENT
	}
	delete(m.files, name)
	return 0
}

func (f *memFile) ID() uint64 { return f.id }

func (f *memFile) ReadAt(p []byte, off int64) (int, aio.Errno) {
	if off >= int64(len(f.data)) {
		return 0, 0
	}
	return copy(p, f.data[off:]), 0
}

// maxFile bounds a file in memory.
const maxFile = 1 << 30

func (f *memFile) WriteAt(p []byte, off int64) (int, aio.Errno) {
	if off > maxFile-int64(len(p)) {
		return 0, aio.EFBIG
	}
	if end := int(off) + len(p); end > len(f.data) {
		f.resize(end)
	}
	return copy(f.data[off:], p), 0
}

// resize keeps what lies beyond the end zero.
func (f *memFile) resize(n int) {
	if n <= cap(f.data) {
		old := len(f.data)
		f.data = f.data[:max(n, old)]
		if n > old {
			clear(f.data[old:])
		}
		f.data = f.data[:n]
		return
	}
	grown := make([]byte, n, max(n, 2*cap(f.data)))
	copy(grown, f.data)
	f.data = grown
}

func (f *memFile) Sync(bool) aio.Errno { return 0 }
func (f *memFile) Size() int64         { return int64(len(f.data)) }

func (f *memFile) Truncate(size int64) aio.Errno {
	if size < 0 {
		return aio.EINVAL
	}
	if size > maxFile {
		return aio.EFBIG
	}
	f.resize(int(size))
	return 0
}

func (f *memFile) Close() {}
