//go:build unix

package sim

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/aioring/aioring/aio"
)

// Disk is a disk in memory with a file system on it, for programs whose files must
// survive a power cut. It remembers what was synced and what was not, and
// [Disk.CrashClone] is what a power cut would leave: of the rest any part.
//
// A program works on it in two ways, at the same time if it likes: by calls as
// package os has them ([Disk.OpenFile]), or through a ring, for it is a [Volume]:
//
//	disk := sim.NewDisk(sim.DiskConfig{})
//	kernel := sim.New(sim.Config{Volume: disk})
//	ring, err := aioring.New(64, aioring.WithAIO(kernel))
//	fd, errno := kernel.Open("log", os.O_RDWR|os.O_CREATE)
//
// What holds after a power cut, and nothing else:
//
//   - Bytes and size of a file are as of its last sync, of whatever kind. Each sector
//     written since has what it had then, or what any later write put there (of a
//     sector written often, one of the last few), whatever became of the others;
//     the size is that of then or after any later write or truncation.
//   - A file's name is its directory's. Creations, renames and removals hold when the
//     directory is synced: open it and sync it. A file synced under a name that was
//     not may be gone.
//   - A change of a name that was not synced has happened or not, whatever became of
//     other names; of one name the changes keep their order. A rename is one
//     change, in both its directories: nobody finds the file under neither name, and
//     a sync of either holds for both.
//
// That is what POSIX leaves open and file systems use in part. What works here
// works on those; what fails here may work on one of them.
//
// A Disk draws nothing by itself: the same calls in the same order give the same
// disk, and the same seed the same images of it, on every system. The order is the
// program's: calls of one goroutine have one, operations of a ring that are awaited one
// by one have, and so have those of a ring on a kernel in stepped mode that one
// goroutine drives by SubmitAndWait and PeekCQE or their kin. Several operations at a
// time on a kernel in threaded mode, or calls of several goroutines, reach the disk in
// an order of that run. Every image is a possible one then too, but the next run may
// have others.
//
// Names are paths with slashes, absolute or not: there is one root. There are
// regular files and directories, no links, no permissions and no times. Any
// goroutine may call everything.
type Disk struct {
	cfg DiskConfig

	mu      sync.Mutex
	root    *node
	lastID  uint64
	used    int64
	seq     uint64            // of changes, to files and names
	pending []*change         // to names, not synced, in order
	latest  map[entry]*change // of these, the last of each name
	moved   *change           // and the last that moved a directory
	ops     int               // how many calls have changed something, or synced
	limit   int               // when so many were made the power is cut; -1 never
	off     bool              // it was
	missed  string            // the call that it was cut before
	damage  []string          // what CrashClone did to this one
}

// DiskConfig describes a [Disk]. The zero value has sectors of 512 bytes and no end.
type DiskConfig struct {
	SectorSize int   // what is written whole or not at all, in bytes
	Capacity   int64 // of all files, in bytes: beyond it writes fail with ENOSPC
}

// NewDisk makes an empty disk.
func NewDisk(cfg DiskConfig) *Disk {
	if cfg.SectorSize <= 0 {
		cfg.SectorSize = 512
	}
	d := &Disk{cfg: cfg, limit: -1, latest: make(map[entry]*change)}
	d.root = d.newNode(true)
	return d
}

// entry is a name in a directory.
type entry struct {
	dir  *node
	name string
}

// change is one creation, removal or rename that no sync has made durable.
type change struct {
	what  string
	sets  []set
	after []*change // earlier ones that it takes for granted
	done  bool      // durable by now
}

// set gives a name to a file, or to none.
type set struct {
	entry
	to *node
}

// begin is the beginning of every call that changes something: where the power may
// be cut. d.mu is held.
func (d *Disk) begin(what string, name string, where ...int64) aio.Errno {
	if !d.off && d.ops == d.limit {
		d.off, d.missed = true, what+" "+name
		for _, v := range where {
			d.missed += fmt.Sprint(" ", v)
		}
	}
	if d.off {
		return aio.EIO
	}
	d.ops++
	return 0
}

// Ops is how many calls so far have changed something, or were syncs: each may be the
// one that the power is cut before.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// CutPowerAfter cuts the power when n more calls have changed something, or have
// synced: from then on every call fails with EIO and nothing changes any more. A
// program that goes on nevertheless does so in vain. 0 cuts it before the next.
func (d *Disk) CutPowerAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = d.ops + max(n, 0)
}

// PowerIsCut reports whether the power has been cut.
func (d *Disk) PowerIsCut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// split is a path's components.
func split(name string) []string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// walk finds the file of a path. d.mu is held.
func (d *Disk) walk(parts []string) (*node, aio.Errno) {
	n := d.root
	for _, part := range parts {
		if !n.dir {
			return nil, aio.ENOTDIR
		}
		if n = n.entries[part]; n == nil {
			return nil, aio.ENOENT
		}
	}
	return n, 0
}

// parent finds the directory of a path, and the last component. The root has none:
// EBUSY. d.mu is held.
func (d *Disk) parent(name string) (e entry, errno aio.Errno) {
	parts := split(name)
	if len(parts) == 0 {
		return e, aio.EBUSY
	}
	e.name = parts[len(parts)-1]
	e.dir, errno = d.walk(parts[:len(parts)-1])
	if errno == 0 && !e.dir.dir {
		errno = aio.ENOTDIR
	}
	return e, errno
}

// apply makes a change to names, for programs; a sync makes it for good. d.mu is
// held.
func (d *Disk) apply(what string, sets ...set) {
	c := &change{what: what, sets: sets}
	follow := func(earlier *change) {
		if earlier != nil && !earlier.done {
			c.after = append(c.after, earlier)
		}
	}
	for _, s := range sets {
		follow(d.latest[s.entry])
		d.latest[s.entry] = c
		if old := s.dir.entries[s.name]; old != nil {
			old.named = false
			defer d.drop(old)
		}
		if s.to == nil {
			delete(s.dir.entries, s.name)
		} else {
			s.dir.entries[s.name] = s.to
		}
	}
	for _, s := range sets {
		if s.to == nil {
			continue
		}
		s.to.named, s.to.name = true, s.name
		if s.to.dir && len(sets) > 1 {
			// In their order, or two of them might hide each in the other.
			follow(d.moved)
			d.moved = c
		}
	}
	d.pending = append(d.pending, c)
}

// syncNames makes durable what was done to a directory's names, and what that takes
// for granted. d.mu is held.
func (d *Disk) syncNames(dir *node) {
	needed := make(map[*change]bool)
	for _, c := range slices.Backward(d.pending) {
		if !needed[c] && !slices.ContainsFunc(c.sets, func(s set) bool { return s.dir == dir }) {
			continue
		}
		needed[c] = true
		for _, earlier := range c.after {
			needed[earlier] = true
		}
	}
	d.pending = slices.DeleteFunc(d.pending, func(c *change) bool {
		if !needed[c] {
			return false
		}
		c.done, c.after = true, nil
		for _, s := range c.sets {
			s.commit(s.dir.synced)
			if d.latest[s.entry] == c {
				delete(d.latest, s.entry)
			}
		}
		return true
	})
}

// commit does it in a table of names.
func (s set) commit(names map[string]*node) {
	if s.to == nil {
		delete(names, s.name)
	} else {
		names[s.name] = s.to
	}
}

// drop gives back the room of a file that has no name and that nobody has open. Its
// bytes stay, as long as a power cut may bring the name back. d.mu is held.
func (d *Disk) drop(n *node) {
	if !n.named && n.opens == 0 {
		d.used -= int64(len(n.data))
	}
}

// open finds or makes a file. d.mu is held.
func (d *Disk) open(name string, flag int) (*node, aio.Errno) {
	if d.off {
		return nil, aio.EIO
	}
	n, errno := d.walk(split(name))
	switch {
	case errno == 0 && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, aio.EEXIST
	case errno == 0 && n.dir && flag&(os.O_WRONLY|os.O_RDWR) != 0:
		return nil, aio.EISDIR
	case errno == aio.ENOENT && flag&os.O_CREATE != 0:
		e, errno := d.parent(name)
		if errno == 0 {
			errno = d.begin("create", name)
		}
		if errno != 0 {
			return nil, errno
		}
		n = d.newNode(false)
		d.apply("create "+name, set{e, n})
	case errno != 0:
		return nil, errno
	}
	n.opens++
	return n, 0
}

// Open implements [Volume]. A directory can be opened too, for its sync.
func (d *Disk) Open(name string, flag int) (Inode, aio.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, errno := d.open(name, flag)
	if errno != 0 {
		return nil, errno
	}
	return n, 0
}

// Mkdir makes a directory, as os.Mkdir does.
func (d *Disk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, errno := d.parent(name)
	switch {
	case errno != 0:
	case e.dir.entries[e.name] != nil:
		errno = aio.EEXIST
	default:
		if errno = d.begin("mkdir", name); errno == 0 {
			d.apply("mkdir "+name, set{e, d.newNode(true)})
		}
	}
	return pathError("mkdir", name, errno)
}

// Rename gives a file or directory another name, and replaces what has that, as
// os.Rename does.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, errno := d.parent(from)
	var n *node
	if errno == 0 {
		if n = old.dir.entries[old.name]; n == nil {
			errno = aio.ENOENT
		}
	}
	var dst entry
	if errno == 0 {
		dst, errno = d.parent(to)
	}
	if errno == 0 {
		errno = mayReplace(n, dst.dir.entries[dst.name])
	}
	switch {
	case errno != 0:
	case dst == old:
		return nil
	case n.dir && within(dst.dir, n):
		errno = aio.EINVAL
	default:
		if errno = d.begin("rename", from+" to "+to); errno == 0 {
			d.apply("rename "+from+" to "+to, set{dst, n}, set{old, nil})
		}
	}
	if errno != 0 {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: errno.Host()}
	}
	return nil
}

// mayReplace reports why n may not take the place of another.
// Source: rename(2).
func mayReplace(n, old *node) aio.Errno {
	switch {
	case old == nil || old == n:
		return 0
	case n.dir && !old.dir:
		return aio.ENOTDIR
	case !n.dir && old.dir:
		return aio.EISDIR
	case len(old.entries) > 0:
		return aio.ENOTEMPTY
	}
	return 0
}

// within reports whether a directory is another, or in it.
func within(n, dir *node) bool {
	if n == dir {
		return true
	}
	for _, sub := range dir.entries {
		if sub.dir && within(n, sub) {
			return true
		}
	}
	return false
}

// Remove takes away a file's name, or an empty directory, as os.Remove does. The file
// lives on where it is open.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, errno := d.parent(name)
	if errno == 0 {
		switch n := e.dir.entries[e.name]; {
		case n == nil:
			errno = aio.ENOENT
		case len(n.entries) > 0:
			errno = aio.ENOTEMPTY
		default:
			if errno = d.begin("remove", name); errno == 0 {
				d.apply("remove "+name, set{e, nil})
			}
		}
	}
	return pathError("remove", name, errno)
}

// ReadDir lists a directory's names, sorted.
func (d *Disk) ReadDir(name string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, errno := d.walk(split(name))
	switch {
	case d.off:
		errno = aio.EIO
	case errno == 0 && !n.dir:
		errno = aio.ENOTDIR
	}
	if errno != 0 {
		return nil, pathError("readdir", name, errno)
	}
	return sortedNames(n.entries), nil
}

func sortedNames(entries map[string]*node) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ReadFile is a file's content.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, errno := d.walk(split(name))
	switch {
	case d.off:
		errno = aio.EIO
	case errno == 0 && n.dir:
		errno = aio.EISDIR
	}
	if errno != 0 {
		return nil, pathError("read", name, errno)
	}
	return slices.Clone(n.data), nil
}

// Sync makes everything durable, as sync(2) does that waits.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.begin("sync", "everything"); errno != 0 {
		return pathError("sync", "/", errno)
	}
	for len(d.pending) > 0 {
		d.syncNames(d.pending[0].sets[0].dir)
	}
	var all func(n *node)
	all = func(n *node) {
		n.settle()
		for _, sub := range n.entries {
			all(sub)
		}
	}
	all(d.root)
	return nil
}

func pathError(op, name string, errno aio.Errno) error {
	if errno == 0 {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: errno.Host()}
}
