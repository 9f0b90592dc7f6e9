//go:build unix

package aioring

import (
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/batch"
	"github.com/aioring/aioring/internal/worker"
)

// descriptors are the calls on descriptor numbers that deciding about files
// takes. An aio.Kernel has them.
type descriptors interface {
	Fstat(fd int) (aio.FileStat, aio.Errno)
	Dup(fd int) (int, aio.Errno)
	Close(fd int) aio.Errno
}

// appender is a kernel with numbers of its own, which knows of O_APPEND.
type appender interface{ Appends(fd int) bool }

// fileCache remembers what descriptor numbers refer to, and holds files by
// private descriptors.
//
// A number may be closed, and be another file's, whenever its user likes. So what
// is known about one holds until forget, which ends each handing-down, and an
// operation that is not in the kernel by then has a descriptor of its own. It shares
// that with those before it on the number, if the kernel can tell that the number is
// still the same open file's. All methods are the engine's owner's.
type fileCache struct {
	sys   descriptors
	tells bool // sameOpenFile may know
	own   bool // the numbers are sys's own, and mean nothing to the system
	epoch uint64
	known map[int32]*knownFile
	last  *knownFile // the one that was looked at last, under number
	num   int32
	spare []*heldFile
}

// knownFile is what a number refers to in one epoch.
type knownFile struct {
	epoch uint64
	stat  aio.FileStat
	errno aio.Errno
	held  *heldFile

	pages worker.Pages // where what is read is

	file *batch.File // what the batch knows of it
	// appends: writes through this number go to the end; once asked for.
	appendsAsked, appends bool
}

// heldFile is a private descriptor, shared by operations on one number.
type heldFile struct {
	fd    int
	users int
	known *knownFile
}

func (c *fileCache) init(sys descriptors) {
	c.sys, c.epoch, c.known = sys, 1, make(map[int32]*knownFile)
	_, c.tells = sys.(aio.HostFiles) // else the numbers may be a model's
}

// forget ends what is known.
func (c *fileCache) forget() { c.epoch++ }

// look finds what a number refers to now.
func (c *fileCache) look(fd int32) *knownFile {
	if k := c.last; k != nil && c.num == fd && k.epoch == c.epoch {
		return k
	}
	k := c.known[fd]
	c.last, c.num = k, fd
	if k != nil && k.epoch == c.epoch {
		return k
	}
	if k != nil && k.held != nil && c.tells {
		// What one open file is a file of never changes; its flags may.
		var same bool
		if same, c.tells = sameOpenFile(int(fd), k.held.fd); same {
			*k = knownFile{epoch: c.epoch, stat: k.stat, held: k.held}
			return k
		}
	}
	stat, errno := c.sys.Fstat(int(fd))
	if k == nil {
		k = new(knownFile)
		if errno == 0 { // of numbers that are not open there are too many
			c.known[fd] = k
		}
	}
	*k = knownFile{epoch: c.epoch, stat: stat, errno: errno}
	c.last = k
	return k
}

// stat says what kind of file a number refers to.
func (c *fileCache) stat(fd int32) (aio.FileStat, aio.Errno) {
	k := c.look(fd)
	return k.stat, k.errno
}

// appends reports whether writes through a number go to the end of its file.
func (c *fileCache) appends(fd int32) bool {
	k := c.look(fd)
	if !k.appendsAsked {
		k.appendsAsked = true
		if m, ok := c.sys.(appender); ok {
			k.appends = m.Appends(int(fd))
		} else if !c.own {
			k.appends = (aio.HostFiles{}).Appends(int(fd))
		}
	}
	return k.appends
}

// file finds what the batch knows of a number's file.
func (c *fileCache) file(b *batch.Batch, fd int32) *batch.File {
	k := c.look(fd)
	if k.file == nil {
		f, known := b.File(k.stat)
		switch {
		case known:
		case !c.own:
			align, block := (aio.HostFiles{}).Geometry(int(fd), k.stat.Type)
			f.SetGeometry(batch.Geometry{Align: align, Block: block})
		case k.stat.Type == aio.TypeDisk:
			f.SetGeometry(batch.Geometry{Align: 512}) // as every model of a disk has it
		}
		k.file = f
	}
	return k.file
}

// hold gives one operation a private descriptor of the file. release ends it.
func (c *fileCache) hold(fd int32) (*heldFile, aio.Errno) {
	k := c.look(fd)
	if k.errno != 0 {
		return nil, k.errno
	}
	if k.held == nil {
		dup, errno := c.sys.Dup(int(fd))
		if errno != 0 {
			return nil, errno
		}
		k.held = c.newHeld()
		*k.held = heldFile{fd: dup, known: k}
	}
	k.held.users++
	return k.held, 0
}

// release ends one operation's use of a private descriptor.
func (c *fileCache) release(f *heldFile) {
	if f.users--; f.users > 0 {
		return
	}
	if f.known.held == f {
		f.known.held = nil
	}
	_ = c.sys.Close(f.fd) // a double: nothing was written through it alone
	c.spare = append(c.spare, f)
}

func (c *fileCache) newHeld() *heldFile {
	n := len(c.spare)
	if n == 0 {
		return new(heldFile)
	}
	f := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return f
}
