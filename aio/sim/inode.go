//go:build unix

package sim

import (
	"slices"

	"github.com/aioring/aioring/aio"
)

// node is a file or a directory of a [Disk]: the [Inode] that kernels and DiskFiles
// have open. Disk.mu guards all of it.
type node struct {
	d     *Disk
	id    uint64
	dir   bool
	name  string // its last one, for messages
	named bool   // it still has it
	opens int

	data    []byte           // as programs see it
	entries map[string]*node // of a directory

	// What the medium has: data and entries but for what follows.
	synced  map[string]*node  // the names of a directory that are durable
	before  int64             // the size at the last sync
	sizes   []resize          // since then
	sectors map[int64]*sector // written since then, by number
}

// resize is one change of a file's size.
type resize struct {
	seq  uint64
	size int64
}

// sector is what a sector that was written since the last sync may hold.
type sector struct {
	before []byte // then
	since  []version
}

// version is a sector's content after a write, or after a truncation that cut into
// it.
type version struct {
	seq  uint64
	cut  bool
	data []byte
}

// maxVersions is how many contents of a sector are kept besides that at the last
// sync.
const maxVersions = 4

func (d *Disk) newNode(dir bool) *node {
	d.lastID++
	n := &node{d: d, id: d.lastID, dir: dir, sectors: make(map[int64]*sector)}
	if dir {
		n.entries, n.synced = make(map[string]*node), make(map[string]*node)
	}
	return n
}

// ID implements [Inode].
func (n *node) ID() uint64 { return n.id }

// Type is what [Kernel.Open] says of the file.
func (n *node) Type() aio.FileType {
	if n.dir {
		return aio.TypeDirectory
	}
	return aio.TypeRegular
}

// ReadAt implements [Inode].
func (n *node) ReadAt(p []byte, off int64) (int, aio.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	switch {
	case n.d.off:
		return 0, aio.EIO
	case n.dir:
		return 0, aio.EISDIR
	case off >= int64(len(n.data)):
		return 0, 0
	}
	return copy(p, n.data[off:]), 0
}

// WriteAt implements [Inode].
func (n *node) WriteAt(p []byte, off int64) (int, aio.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	return n.write(p, off)
}

func (n *node) write(p []byte, off int64) (int, aio.Errno) {
	switch {
	case n.dir:
		return 0, aio.EISDIR
	case off > maxFile-int64(len(p)):
		return 0, aio.EFBIG
	case len(p) == 0:
		return 0, 0
	}
	if errno := n.d.begin("write", n.name, off, int64(len(p))); errno != 0 {
		return 0, errno
	}
	end := off + int64(len(p))
	size := int64(len(n.data))
	if errno := n.d.reserve(end - size); errno != 0 {
		return 0, errno
	}
	first, last := n.span(off, end)
	for s := first; s < last; s++ {
		n.touch(s)
	}
	n.d.seq++
	if end > size {
		n.data = append(n.data, make([]byte, end-size)...)
		n.sizes = append(n.sizes, resize{n.d.seq, end})
	}
	copy(n.data[off:], p)
	for s := first; s < last; s++ {
		n.keep(s, false)
	}
	return len(p), 0
}

// reserve takes room for a file that grows.
func (d *Disk) reserve(bytes int64) aio.Errno {
	if bytes <= 0 {
		return 0
	}
	if d.cfg.Capacity > 0 && d.used+bytes > d.cfg.Capacity {
		return aio.ENOSPC
	}
	d.used += bytes
	return 0
}

// span is the sectors of a stretch of bytes.
func (n *node) span(off, end int64) (first, last int64) {
	size := int64(n.d.cfg.SectorSize)
	return off / size, (end + size - 1) / size
}

// content is a sector as it is now, filled up with zeros.
func (n *node) content(s int64) []byte {
	p := make([]byte, n.d.cfg.SectorSize)
	if off := s * int64(len(p)); off < int64(len(n.data)) {
		copy(p, n.data[off:])
	}
	return p
}

// touch remembers what a sector has, before it changes for the first time since the
// last sync.
func (n *node) touch(s int64) {
	if n.sectors[s] == nil {
		n.sectors[s] = &sector{before: n.content(s)}
	}
}

// keep remembers what a sector has now.
func (n *node) keep(s int64, cut bool) {
	v := n.sectors[s]
	if len(v.since) == maxVersions {
		// A truncation counts for what comes after it too, so that it stays.
		oldest := max(0, slices.IndexFunc(v.since, func(v version) bool { return !v.cut }))
		v.since = slices.Delete(v.since, oldest, oldest+1)
	}
	v.since = append(v.since, version{n.d.seq, cut, n.content(s)})
}

// Sync implements [Inode]. dataOnly makes no difference: the size belongs to what is
// needed to read the data back.
func (n *node) Sync(bool) aio.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	return n.sync()
}

func (n *node) sync() aio.Errno {
	if errno := n.d.begin("sync", n.name); errno != 0 {
		return errno
	}
	n.settle()
	if n.dir {
		n.d.syncNames(n)
	}
	return 0
}

// settle makes bytes and size durable.
func (n *node) settle() {
	n.before, n.sizes = int64(len(n.data)), nil
	clear(n.sectors)
}

// Size implements [Inode].
func (n *node) Size() int64 {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	return int64(len(n.data))
}

// Truncate implements [Inode].
func (n *node) Truncate(size int64) aio.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	return n.truncate(size)
}

func (n *node) truncate(size int64) aio.Errno {
	old := int64(len(n.data))
	switch {
	case n.dir:
		return aio.EISDIR
	case size < 0:
		return aio.EINVAL
	case size > maxFile:
		return aio.EFBIG
	}
	if errno := n.d.begin("truncate", n.name, size); errno != 0 {
		return errno
	}
	if errno := n.d.reserve(size - old); errno != 0 {
		return errno
	}
	n.d.seq++
	if size >= old {
		n.data = append(n.data, make([]byte, size-old)...)
	} else {
		n.d.used -= old - size
		first, last := n.span(size, old)
		for s := first; s < last; s++ {
			n.touch(s)
		}
		clear(n.data[size:])
		n.data = n.data[:size]
		for s := first; s < last; s++ {
			n.keep(s, true)
		}
	}
	if size != old {
		n.sizes = append(n.sizes, resize{n.d.seq, size})
	}
	return 0
}

// Close implements [Inode].
func (n *node) Close() {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	n.opens--
	n.d.drop(n)
}
