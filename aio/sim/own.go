//go:build unix

package sim

import (
	"os"
	"runtime/debug"

	"github.com/aioring/aioring/aio"
)

// Descriptors of the model's own, over a [Volume]. Their numbers are given out as
// the kernel does, the lowest first from 3 on, and mean nothing to the host.

// OpenFile is struct file of the model's own.
type OpenFile struct {
	inode    Inode // nil: something without a vnode that has nothing to say
	id       uint64
	typ      aio.FileType
	kqueue   bool
	readable bool
	writable bool
	appends  bool
	offset   int64 // of LIO_FOFFSET
	refs     int   // descriptors, and files that jobs hold
}

// descriptors are the open files of one process, by number.
type descriptors []*OpenFile

// firstOwn is the first number: the three before are taken in any process.
const firstOwn = 3

func (t *descriptors) add(o *OpenFile) int {
	o.refs++
	for i, have := range *t {
		if have == nil {
			(*t)[i] = o
			return firstOwn + i
		}
	}
	*t = append(*t, o)
	return firstOwn + len(*t) - 1
}

func (t *descriptors) get(fd int) *OpenFile {
	if i := fd - firstOwn; i >= 0 && i < len(*t) {
		return (*t)[i]
	}
	return nil
}

func (t *descriptors) remove(fd int) aio.Errno {
	o := t.get(fd)
	if o == nil {
		return aio.EBADF
	}
	(*t)[fd-firstOwn] = nil
	o.release()
	return 0
}

func (o *OpenFile) release() {
	o.refs--
	if o.refs == 0 && o.inode != nil {
		o.inode.Close()
	}
}

// mute marks the inode numbers of what is no file.
const mute = 1 << 63

// ownDevice is the device number of all files of the model's own.
const ownDevice = 1

func (o *OpenFile) describe() hostStat {
	st := hostStat{
		FileStat: aio.FileStat{Dev: ownDevice, Ino: o.id, Type: o.typ},
		readable: o.readable, writable: o.writable,
	}
	if o.inode != nil {
		st.vnode, st.safe = true, true
	}
	return st
}

// Open is open(2) of a file on the machine's [Volume]: flag is of os.O_RDONLY and
// its kin. As everything that Go opens it is closed on exec. It is ENOSYS when
// descriptors are the host's.
func (k *Kernel) Open(name string, flag int) (fd int, errno aio.Errno) {
	s := k.sys
	s.lock()
	defer s.unlock()
	if k.table == nil {
		return -1, aio.ENOSYS
	}
	inode, errno := s.volume.Open(name, flag)
	if errno != 0 {
		return -1, errno
	}
	o := &OpenFile{inode: inode, id: inode.ID(), typ: aio.TypeRegular, appends: flag&os.O_APPEND != 0}
	if other, ok := inode.(interface{ Type() aio.FileType }); ok {
		o.typ = other.Type()
	}
	switch flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) {
	case os.O_RDONLY:
		o.readable = true
	case os.O_WRONLY:
		o.writable = true
	case os.O_RDWR:
		o.readable, o.writable = true, true
	}
	fd = k.table.add(o)
	if flag&os.O_TRUNC != 0 && o.writable {
		s.unlock()
		errno = k.Truncate(fd, 0)
		s.lock()
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, "open").num("fd", int64(fd)).num("ino", int64(o.id)).end()
	}
	return fd, errno
}

// OpenMute makes a descriptor of a thing that AIO is not for, a pipe (TypeFIFO) or
// a terminal (TypeOther) say, at whose other end nobody ever does anything: with
// enable_unsafe a job on it never ends. It is ENOSYS when descriptors are the
// host's.
func (k *Kernel) OpenMute(typ aio.FileType) (fd int, errno aio.Errno) {
	s := k.sys
	s.lock()
	defer s.unlock()
	if k.table == nil {
		return -1, aio.ENOSYS
	}
	s.mutes++
	return k.table.add(&OpenFile{id: mute | s.mutes, typ: typ, readable: true, writable: true}), 0
}

// OwnFiles reports whether descriptors are the model's own: [Kernel.Open] makes them,
// and to the host they mean nothing.
func (k *Kernel) OwnFiles() bool { return k.table != nil }

// Appends reports whether writes through a descriptor go to the end: O_APPEND.
func (k *Kernel) Appends(fd int) bool {
	if k.table == nil {
		return aio.HostFiles{}.Appends(fd)
	}
	c := call{k: k}
	k.sys.lock()
	f, errno := c.plainFile(fd)
	appends := errno == 0 && f.open != nil && f.open.appends
	if errno == 0 {
		c.fds.add(f.release())
	}
	fds := c.end()
	k.sys.unlock()
	fds.close()
	return appends
}

// Pread is pread(2), a plain call that does not go through AIO. As any, it waits
// for a writer that has the file; in stepped mode by making steps. At an offset of
// -1 it is read(2), at the descriptor's own position.
func (k *Kernel) Pread(fd int, p []byte, off int64) (int, aio.Errno) {
	return k.plainCall(fd, p, off, false)
}

// Pwrite is pwrite(2), and at an offset of -1 write(2).
func (k *Kernel) Pwrite(fd int, p []byte, off int64) (int, aio.Errno) {
	return k.plainCall(fd, p, off, true)
}

// SyncFile is fsync(2), or fdatasync(2) when op is DataSync.
func (k *Kernel) SyncFile(fd int, op aio.SyncOp) aio.Errno {
	return k.alone(fd, func(f *file) aio.Errno { return f.sync(op == aio.DataSync) })
}

// Truncate is ftruncate(2) of a descriptor of the model's own.
func (k *Kernel) Truncate(fd int, size int64) aio.Errno {
	return k.alone(fd, func(f *file) aio.Errno {
		if f.open == nil || !f.writable {
			return aio.EINVAL
		}
		return f.open.inode.Truncate(size)
	})
}

// alone does something with a file that nobody else may do anything with meanwhile.
func (k *Kernel) alone(fd int, do func(f *file) aio.Errno) aio.Errno {
	c := call{k: k}
	k.sys.lock()
	f, errno := c.plainFile(fd)
	if errno == 0 {
		errno = f.with(alone, func() aio.Errno { return do(f) })
		c.fds.add(f.release())
	}
	fds := c.end()
	k.sys.unlock()
	fds.close()
	return errno
}

func (k *Kernel) plainCall(fd int, p []byte, off int64, write bool) (n int, errno aio.Errno) {
	c := call{k: k}
	k.sys.lock()
	f, errno := c.plainFile(fd)
	if errno == 0 {
		kind := shared
		if write {
			kind = alone
		}
		switch {
		case off < -1:
			errno = aio.EINVAL
		case write && !f.writable || !write && !f.readable:
			errno = aio.EBADF
		default:
			errno = f.with(kind, func() (errno aio.Errno) {
				t := transfer{fd: f.host, open: f.open, write: write, stream: off == -1, offset: off}
				n, errno = t.plain(p)
				return errno
			})
		}
		c.fds.add(f.release())
	}
	if t := k.sys.tracer; t != nil {
		verb := "pread"
		if write {
			verb = "pwrite"
		}
		t.begin(k.sys, k, verb).num("fd", int64(fd)).num("off", off).result(n, errno).end()
	}
	fds := c.end()
	k.sys.unlock()
	fds.close()
	if errno != 0 {
		return -1, errno
	}
	return n, 0
}

// plainFile is the open file of a descriptor, with a reference.
func (c *call) plainFile(fd int) (*file, aio.Errno) {
	st, errno := c.lookup(fd)
	switch {
	case errno != 0:
		return nil, errno
	case !st.safe:
		return nil, aio.EINVAL
	}
	return c.reference(fd)
}

// with calls f with the vnode's lock and without the system's.
func (f *file) with(kind lockKind, do func() aio.Errno) aio.Errno {
	s := f.k.sys
	v := f.vnode
	if s.stepped != nil {
		for v.writer || kind == alone && v.readers > 0 {
			if !s.step(never) {
				return aio.EDEADLK
			}
		}
		s.unlock()
		defer s.lock()
		return do()
	}
	s.unlock()
	defer s.lock()
	if kind == alone {
		v.Lock()
		defer v.Unlock()
	} else {
		v.RLock()
		defer v.RUnlock()
	}
	return do()
}

// describe looks a descriptor up. The lock is given up for the host.
func (k *Kernel) describe(fd int) (hostStat, aio.Errno) {
	if k.table != nil {
		o := k.table.get(fd)
		if o == nil {
			return hostStat{}, aio.EBADF
		}
		return o.describe(), 0
	}
	k.sys.unlock()
	st, errno := describe(fd)
	k.sys.lock()
	return st, errno
}

// isOpen reports whether a number is open. The lock is given up for the host.
func (k *Kernel) isOpen(fd int) bool {
	if k.table != nil {
		return k.table.get(fd) != nil
	}
	k.sys.unlock()
	open := isOpen(fd)
	k.sys.lock()
	return open
}

// own moves p to or from a file of the model's own. Memory of the caller's that is
// not mapped any more gives EFAULT, as with a kernel, and no crash.
func (t *transfer) own(p []byte) (n int, errno aio.Errno) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if faulted(recover()) {
			n, errno = 0, aio.EFAULT
		}
	}()
	o := t.open
	if o.inode == nil {
		return 0, aio.EIO // whoever is at it has been told to end
	}
	at := t.offset
	if t.stream {
		at = o.offset
	}
	if t.write {
		if o.appends {
			at = o.inode.Size()
		}
		n, errno = o.inode.WriteAt(p, at)
	} else {
		n, errno = o.inode.ReadAt(p, at)
	}
	if t.stream {
		o.offset = at + int64(n)
	}
	t.offset += int64(n)
	return n, errno
}

// faulted reports whether a panic was an access to memory that is not there. Any
// other panic goes on.
func faulted(r any) bool {
	if r == nil {
		return false
	}
	if _, fault := r.(interface{ Addr() uintptr }); !fault {
		panic(r)
	}
	return true
}

// vectorOwn is transfer.vector for a file of the model's own.
func (t *transfer) vectorOwn(iov []aio.Iovec, limit uintptr) (int, aio.Errno) {
	done := 0
	for i := range iov {
		length := min(iov[i].Len, limit)
		n, errno := t.own(view[byte](iov[i].Base, int(length)))
		if errno != 0 {
			return partial(done, errno)
		}
		done += n
		limit -= length
		if n < int(length) {
			break
		}
	}
	return done, 0
}
