//go:build unix

package aio

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// HostFiles are this system's descriptors: the part of a [Kernel] that every
// Unix has.
type HostFiles struct{}

// Fstat is fstat(2). It costs a second system call for character devices on
// FreeBSD only. What fstat calls a regular file may also be POSIX shared memory or
// a process descriptor: those are told apart by AIO's EOPNOTSUPP.
func (HostFiles) Fstat(fd int) (FileStat, Errno) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(fd, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return FileStat{}, errnoOf(err)
		}
	}
	file := FileStat{Dev: uint64(st.Dev), Ino: uint64(st.Ino)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		file.Type = TypeRegular
	case unix.S_IFDIR:
		file.Type = TypeDirectory
	case unix.S_IFIFO:
		file.Type = TypeFIFO
	case unix.S_IFSOCK:
		file.Type = TypeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		// Only here: on UFS the st_rdev of a file is the number of its first
		// block, and changes with the first write.
		file.Rdev = uint64(st.Rdev)
		if isDisk(fd, uint32(st.Mode)) {
			file.Type = TypeDisk
		}
	}
	return file, 0
}

// Appends reports whether writes through a descriptor go to the end of its file:
// O_APPEND, by fcntl(F_GETFL).
func (HostFiles) Appends(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_APPEND != 0
}

// Geometry is what a file asks of transfers: on a disk the size of a sector, which
// offsets and lengths must be multiples of, else 0; and what it likes to move at a
// time (st_blksize), 0 if it does not say.
func (HostFiles) Geometry(fd int, file FileType) (sector, block int) {
	if file == TypeDisk {
		sector = sectorSize(fd)
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil {
		block = int(st.Blksize) //nolint:unconvert // the type differs between hosts
	}
	return sector, block
}

// Dup is fcntl(F_DUPFD_CLOEXEC).
func (HostFiles) Dup(fd int) (int, Errno) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, errnoOf(err)
	}
	return dup, 0
}

// Close is close(2).
func (HostFiles) Close(fd int) Errno { return errnoOf(unix.Close(fd)) }

// errnoOf takes the number out of what x/sys/unix returns, which is a bare
// errno or nil.
func errnoOf(err error) Errno {
	if err == nil {
		return 0
	}
	return FromHost(err.(syscall.Errno))
}
