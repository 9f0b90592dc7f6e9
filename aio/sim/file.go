//go:build unix

package sim

import (
	"sync"

	"github.com/aioring/aioring/aio"
)

// file is struct file as far as jobs are concerned: the open file behind a
// descriptor number, kept open by a double of the descriptor while any job
// refers to it. Jobs submitted through the same number share one, if the number
// still names the same thing.
//
// Which open file a number has cannot be asked portably, so it is told by the
// number, the file (device, inode) and the status flags. Two numbers made by
// dup(2) count as two open files here: a sync through one does not wait for
// transfers through the other, as it would under the real kernel.
type file struct {
	k         *Kernel
	fd        int // the caller's number
	host      int // ours
	hostStat      // what it was when the first of these jobs came
	refs      int
	transfers int // unfinished jobs that are not syncs
	vnode     *vnode
	next      *file // in Kernel.files[fd], or in System.freeFiles
}

// vnode is one file of the system, whoever has it open, for its lock: readers
// share it, a writer is alone (VOP lock of UFS and tmpfs).
type vnode struct {
	sync.RWMutex
	refs     int
	dev, ino uint64
	byID     link[vnode]
	so       *socket // if it is one; stays when the vnode is used again
	next     *vnode  // in System.freeVnodes
}

// call is what one system call has looked up. A list that names one descriptor
// in every entry asks the host once.
type call struct {
	k    *Kernel
	seen [4]looked
	n    int
	fds  closing
}

type looked struct {
	fd   int
	st   hostStat
	file *file // with a reference of this call's own; nil until a job wants it
}

// closing collects descriptors to close when the lock is free.
type closing []int

func (c *closing) add(fd int) {
	if fd >= 0 {
		*c = append(*c, fd)
	}
}

func (c closing) close() {
	for _, fd := range c {
		drop(fd)
	}
}

// end gives back what the call holds.
func (c *call) end() closing {
	for i := range c.seen {
		c.forget(&c.seen[i])
	}
	return c.fds
}

func (c *call) forget(l *looked) {
	if l.file != nil {
		c.fds.add(l.file.release())
	}
	*l = looked{}
}

// find is what the call knows of fd, or nil.
func (c *call) find(fd int) *looked {
	for i := range min(c.n, len(c.seen)) {
		if c.seen[i].fd == fd {
			return &c.seen[i]
		}
	}
	return nil
}

// lookup is fget: what fd names, or EBADF. The lock is given up for the host.
func (c *call) lookup(fd int) (hostStat, aio.Errno) {
	if l := c.find(fd); l != nil {
		return l.st, 0
	}
	k := c.k
	_, isKqueue := k.kqueues[fd]
	k.sys.unlock()
	st, errno := describe(fd)
	k.sys.lock()
	if errno != 0 {
		return st, errno
	}
	k.sys.asDisk(&st)
	if isKqueue {
		st.vnode, st.charDevice, st.safe = false, false, false
	}
	l := &c.seen[c.n%len(c.seen)]
	c.n++
	c.forget(l)
	l.fd, l.st = fd, st
	return st, 0
}

// reference is a job's own hold on the open file that lookup found.
func (c *call) reference(fd int) (*file, aio.Errno) {
	l := c.find(fd)
	if l.file == nil {
		f, errno := c.open(fd, l.st)
		if errno != 0 {
			return nil, errno
		}
		l.file = f
	}
	l.file.refs++
	return l.file, 0
}

// open finds the open file among those that jobs hold, or makes a double of the
// descriptor, still inside the submitting call.
func (c *call) open(fd int, st hostStat) (*file, aio.Errno) {
	k := c.k
	s := k.sys
	if f := k.openFile(fd, st); f != nil {
		f.refs++
		return f, 0
	}
	s.unlock()
	host, errno := dup(fd)
	if errno == 0 {
		// The number may have changed hands since it was looked at. What counts
		// is what we hold.
		var now hostStat
		now, errno = describe(host)
		s.asDisk(&now)
		if errno == 0 && !now.same(st) {
			errno = aio.EBADF
		}
		if errno != 0 {
			drop(host)
		}
	}
	s.lock()
	if errno != 0 {
		return nil, errno
	}
	if f := k.openFile(fd, st); f != nil {
		// Somebody else was here meanwhile.
		c.fds.add(host)
		f.refs++
		return f, 0
	}
	f := s.freeFiles
	if f != nil {
		s.freeFiles = f.next
	} else {
		f = new(file)
	}
	for len(k.files) <= fd {
		k.files = append(k.files, nil)
	}
	*f = file{k: k, fd: fd, host: host, hostStat: st, refs: 1, vnode: s.vnode(st.Dev, st.Ino), next: k.files[fd]}
	k.files[fd] = f
	return f, 0
}

func (k *Kernel) openFile(fd int, st hostStat) *file {
	if fd >= len(k.files) {
		return nil
	}
	for f := k.files[fd]; f != nil; f = f.next {
		if f.same(st) {
			return f
		}
	}
	return nil
}

// release drops one reference. The last one returns the descriptor to close,
// otherwise it is -1.
func (f *file) release() int {
	f.refs--
	if f.refs > 0 {
		return -1
	}
	s := f.k.sys
	p := &f.k.files[f.fd]
	for *p != f {
		p = &(*p).next
	}
	*p = f.next
	s.releaseVnode(f.vnode)
	host := f.host
	*f = file{next: s.freeFiles}
	s.freeFiles = f
	return host
}

func (s *System) vnode(dev, ino uint64) *vnode {
	id := ino ^ dev<<32
	for l := s.vnodes.first(id); l != nil; l = l.again() {
		if v := l.v; v.dev == dev && v.ino == ino {
			v.refs++
			return v
		}
	}
	v := s.freeVnodes
	if v != nil {
		s.freeVnodes, v.next = v.next, nil
	} else {
		v = new(vnode)
		v.byID.v = v
	}
	v.refs, v.dev, v.ino = 1, dev, ino
	s.vnodes.add(&v.byID, id)
	return v
}

func (s *System) releaseVnode(v *vnode) {
	v.refs--
	if v.refs == 0 {
		s.vnodes.remove(&v.byID)
		v.next, s.freeVnodes = s.freeVnodes, v
	}
}
