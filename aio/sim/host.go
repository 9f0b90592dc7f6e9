//go:build unix

package sim

import (
	"fmt"
	"hash/fnv"
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// This file asks the host. Its errors leave here in FreeBSD's numbers.

func fromHost(err error) aio.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return aio.FromHost(e)
	}
	return aio.EIO
}

// hostStat is what a submission needs to know of a descriptor.
type hostStat struct {
	aio.FileStat
	flags      int  // F_GETFL
	readable   bool // opened for reading
	writable   bool // opened for writing
	path       bool // opened with O_PATH
	charDevice bool
	vnode      bool    // has a vnode: a file, a device, a named pipe; not a socket, not a pipe
	safe       bool    // a daemon never hangs on it: a regular file or a directory
	disk       *Device // what it is, if a disk of the model
}

func (a *hostStat) same(b hostStat) bool { return a.FileStat == b.FileStat && a.flags == b.flags }

// describe looks a descriptor up: EBADF, or what it names.
func describe(fd int) (hostStat, aio.Errno) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return hostStat{}, fromHost(err)
	}
	st, errno := fstat(fd)
	if errno != 0 {
		return st, errno
	}
	st.flags = flags
	st.path = flags&pathFlag != 0
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		st.readable = !st.path
	case unix.O_WRONLY:
		st.writable = !st.path
	case unix.O_RDWR:
		st.readable, st.writable = !st.path, !st.path
	}
	if st.Type == aio.TypeFIFO && !st.vnode {
		// FreeBSD's pipes go both ways, so that both ends pass this check.
		st.readable, st.writable = true, true
	}
	return st, 0
}

// fstat is fstat(2). A block device counts as a character device that is no
// disk: a disk of the model is a [Disk].
func fstat(fd int) (hostStat, aio.Errno) {
	var u unix.Stat_t
	for {
		err := unix.Fstat(fd, &u)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return hostStat{}, fromHost(err)
		}
	}
	// The types of these fields differ between hosts.
	st := hostStat{FileStat: aio.FileStat{Dev: uint64(u.Dev), Ino: uint64(u.Ino)}} //nolint:unconvert
	switch uint32(u.Mode) & unix.S_IFMT {                                          //nolint:unconvert
	case unix.S_IFREG:
		st.Type = aio.TypeRegular
		st.vnode, st.safe = true, true
	case unix.S_IFDIR:
		st.Type = aio.TypeDirectory
		st.vnode, st.safe = true, true
	case unix.S_IFCHR, unix.S_IFBLK:
		// Only here: on UFS the st_rdev of a file is the number of its first block,
		// and changes with the first write.
		st.Rdev = uint64(u.Rdev) //nolint:unconvert
		st.Type = aio.TypeOther
		st.vnode, st.charDevice = true, true
	case unix.S_IFIFO:
		st.Type = aio.TypeFIFO
		st.vnode = st.Dev != pipeDevice() // a named pipe
	case unix.S_IFSOCK:
		st.Type = aio.TypeSocket
		if st.Ino == 0 {
			st.Ino = endpoints(fd)
		}
	}
	return st, 0
}

// endpoints tells sockets apart where the host does not number them, as FreeBSD does
// not those of TCP: by their two ends. Those that have neither count as one.
func endpoints(fd int) uint64 {
	h := fnv.New64a()
	add := func(at unix.Sockaddr) {
		switch at := at.(type) {
		case *unix.SockaddrInet4:
			fmt.Fprint(h, at.Addr, at.Port)
		case *unix.SockaddrInet6:
			fmt.Fprint(h, at.Addr, at.Port, at.ZoneId)
		}
	}
	if local, err := unix.Getsockname(fd); err == nil {
		add(local)
	}
	if peer, err := unix.Getpeername(fd); err == nil {
		add(peer)
	}
	return h.Sum64()
}

// pipeDevice is the device that the host's pipes are on, by which they are told
// from named pipes.
var pipeDevice = sync.OnceValue(func() uint64 {
	var p [2]int
	var u unix.Stat_t
	if err := unix.Pipe(p[:]); err != nil {
		return math.MaxUint64
	}
	err := unix.Fstat(p[0], &u)
	drop(p[0])
	drop(p[1])
	if err != nil {
		return math.MaxUint64
	}
	return uint64(u.Dev) //nolint:unconvert
})

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func dup(fd int) (int, aio.Errno) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fromHost(err)
	}
	return d, 0
}

func openNull() (int, aio.Errno) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fromHost(err)
	}
	return fd, 0
}

func closeHost(fd int) aio.Errno { return fromHost(unix.Close(fd)) }

// drop closes a descriptor of the model's own; -1 is none. Whatever close
// answers, the number is gone.
func drop(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// transfer is one read or write on the host.
type transfer struct {
	fd     int
	open   *OpenFile // instead of fd, of a file of the model's own
	write  bool
	stream bool // at the descriptor's own offset, or it has none
	offset int64
}

// maxChunk bounds one call of the host: some refuse, some shorten what is 2 GiB
// or more, and FreeBSD does neither.
const maxChunk = 1 << 30

// once is one system call. A signal that comes before the first byte is no
// news to a kernel daemon, which gets none.
func (t *transfer) once(p []byte) (n int, err error) {
	for {
		switch {
		case t.write && t.stream:
			n, err = unix.Write(t.fd, p)
		case t.write:
			n, err = unix.Pwrite(t.fd, p, t.offset)
		case t.stream:
			n, err = unix.Read(t.fd, p)
		default:
			n, err = unix.Pread(t.fd, p, t.offset)
		}
		if err != unix.EINTR {
			return n, err
		}
	}
}

// plain moves p, as far as the file goes.
func (t *transfer) plain(p []byte) (int, aio.Errno) {
	if t.open != nil {
		n, errno := t.own(p)
		if errno != 0 {
			return -1, errno
		}
		return n, 0
	}
	done := 0
	for {
		chunk := p[:min(len(p), maxChunk)]
		n, err := t.once(chunk)
		if err != nil {
			return partial(done, fromHost(err))
		}
		done += n
		t.offset += int64(n)
		p = p[n:]
		if n < len(chunk) || len(p) == 0 {
			return done, 0
		}
	}
}

// vector moves the first limit bytes of iov, as far as the file goes.
func (t *transfer) vector(iov []aio.Iovec, limit uintptr) (int, aio.Errno) {
	// As many as x/sys/unix turns into iovecs without allocating.
	var chunk [8][]byte
	done := 0
	if len(iov) == 0 && t.write {
		return t.plain(nil)
	}
	if t.open != nil {
		return t.vectorOwn(iov, limit)
	}
	for len(iov) > 0 && limit > 0 {
		n, want := 0, 0
		for n < len(chunk) && len(iov) > 0 && limit > 0 {
			length := int(min(iov[0].Len, limit))
			if want+length > maxChunk {
				if n > 0 {
					break
				}
				// One element that fills a call by itself.
				m, errno := t.plain(view[byte](iov[0].Base, length))
				if errno != 0 {
					return partial(done, errno)
				}
				done += m
				if m < length {
					return done, 0
				}
				limit -= uintptr(length)
				iov = iov[1:]
				continue
			}
			chunk[n] = view[byte](iov[0].Base, length)
			want += length
			limit -= uintptr(length)
			iov = iov[1:]
			n++
		}
		if n == 0 {
			break
		}
		m, err := t.onceVector(chunk[:n])
		if err != nil {
			return partial(done, fromHost(err))
		}
		done += m
		t.offset += int64(m)
		if m < want {
			break
		}
	}
	return done, 0
}

// partial is the result of a transfer that failed after some bytes: only an
// interruption lets them count, any other error hides them.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_process_rw.
func partial(done int, errno aio.Errno) (int, aio.Errno) {
	if errno == 0 || done > 0 && (errno == aio.EINTR || errno == aio.EAGAIN) {
		return done, 0
	}
	return -1, errno
}

// lockMemory is mlock(2) of a job's buffer.
func lockMemory(j *job) aio.Errno {
	switch {
	case j.nbytes == 0:
		return 0
	case j.badAddr:
		return aio.ENOMEM
	}
	return fromHost(unix.Mlock(view[byte](j.buf, int(j.nbytes))))
}

// syncFile is fsync(2), or fdatasync(2) where the host has it.
func syncFile(fd int, dataOnly bool) aio.Errno {
	for {
		sync := unix.Fsync
		if dataOnly {
			sync = fdatasync
		}
		if err := sync(fd); err != unix.EINTR {
			return fromHost(err)
		}
	}
}
