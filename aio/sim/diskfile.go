//go:build unix

package sim

import (
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/aioring/aioring/aio"
)

// DiskFile is an open file or directory of a [Disk], with the methods that an os.File
// has. Of a directory there is Sync. Any goroutine may call everything; the position
// of Read, Write and Seek is one for all.
//
// Errors are *fs.PathError with the system's errno, and io.EOF.
type DiskFile struct {
	n    *node
	name string
	flag int

	mu       sync.Mutex // before Disk.mu
	position int64
	closed   bool
}

var _ interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.Closer
} = (*DiskFile)(nil)

// OpenFile opens a file, as os.OpenFile does: flag is of os.O_RDONLY and its kin,
// O_CREATE, O_EXCL, O_TRUNC, O_APPEND and O_SYNC among them. There are no
// permissions, so perm says nothing. The errors of a directory are those of a
// system: one can be opened for reading only.
func (d *Disk) OpenFile(name string, flag int, _ fs.FileMode) (*DiskFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, errno := d.open(name, flag)
	if errno == 0 && flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if errno = n.truncate(0); errno != 0 {
			n.opens--
			d.drop(n)
		}
	}
	if errno != 0 {
		return nil, pathError("open", name, errno)
	}
	return &DiskFile{n: n, name: name, flag: flag}, nil
}

// Name is the name it was opened by.
func (f *DiskFile) Name() string { return f.name }

// use calls do with the file, if it is open and, as the flags have it, may be used so.
func (f *DiskFile) use(op string, write, read bool, do func() aio.Errno) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	mode := f.flag & (os.O_WRONLY | os.O_RDWR)
	if write && mode == 0 || read && mode == os.O_WRONLY {
		return pathError(op, f.name, aio.EBADF)
	}
	f.n.d.mu.Lock()
	defer f.n.d.mu.Unlock()
	if f.n.d.off {
		return pathError(op, f.name, aio.EIO)
	}
	return pathError(op, f.name, do())
}

// read moves bytes from an offset.
func (f *DiskFile) read(p []byte, off int64) (n int, errno aio.Errno) {
	switch {
	case f.n.dir:
		return 0, aio.EISDIR
	case off < 0:
		return 0, aio.EINVAL
	case off >= int64(len(f.n.data)):
		return 0, 0
	}
	return copy(p, f.n.data[off:]), 0
}

// write moves bytes to an offset, and with O_SYNC makes them durable.
func (f *DiskFile) write(p []byte, off int64) (n int, errno aio.Errno) {
	if off < 0 {
		return 0, aio.EINVAL
	}
	n, errno = f.n.write(p, off)
	if errno == 0 && f.flag&os.O_SYNC != 0 {
		errno = f.n.sync()
	}
	return n, errno
}

// ReadAt implements [io.ReaderAt].
func (f *DiskFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.use("read", false, true, func() (errno aio.Errno) {
		n, errno = f.read(p, off)
		return errno
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt implements [io.WriterAt]. It writes p whole or nothing. In a file opened
// with O_APPEND it fails, as os.File's does.
func (f *DiskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.use("write", true, false, func() (errno aio.Errno) {
		if f.flag&os.O_APPEND != 0 {
			return aio.EINVAL
		}
		n, errno = f.write(p, off)
		return errno
	})
	return n, err
}

// Read implements [io.Reader].
func (f *DiskFile) Read(p []byte) (n int, err error) {
	err = f.use("read", false, true, func() (errno aio.Errno) {
		n, errno = f.read(p, f.position)
		f.position += int64(n)
		return errno
	})
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements [io.Writer]: at the position, or with O_APPEND at the end.
func (f *DiskFile) Write(p []byte) (n int, err error) {
	err = f.use("write", true, false, func() (errno aio.Errno) {
		if f.flag&os.O_APPEND != 0 {
			f.position = int64(len(f.n.data))
		}
		n, errno = f.write(p, f.position)
		f.position += int64(n)
		return errno
	})
	return n, err
}

// Seek implements [io.Seeker].
func (f *DiskFile) Seek(offset int64, whence int) (at int64, err error) {
	err = f.use("seek", false, false, func() aio.Errno {
		switch whence {
		case io.SeekCurrent:
			offset += f.position
		case io.SeekEnd:
			offset += int64(len(f.n.data))
		case io.SeekStart:
		default:
			return aio.EINVAL
		}
		if offset < 0 {
			return aio.EINVAL
		}
		f.position, at = offset, offset
		return 0
	})
	return at, err
}

// Size is how many bytes the file has.
func (f *DiskFile) Size() (size int64, err error) {
	err = f.use("stat", false, false, func() aio.Errno {
		size = int64(len(f.n.data))
		return 0
	})
	return size, err
}

// Truncate sets the size; what is added is zero.
func (f *DiskFile) Truncate(size int64) error {
	return f.use("truncate", true, false, func() aio.Errno { return f.n.truncate(size) })
}

// Sync makes the bytes and the size of a file durable, and of a directory its names.
func (f *DiskFile) Sync() error {
	return f.use("sync", false, false, f.n.sync)
}

// Close closes the file. It makes nothing durable. After a power cut it succeeds, so
// that programs can end.
func (f *DiskFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	f.n.Close()
	return nil
}
