package worker

import (
	"github.com/aioring/aioring/aio"
	"golang.org/x/sys/unix"
)

// readCached reads what the page cache has. Fewer bytes than there is room for, 0 too,
// may be the end of the file or of what is there. false: it has nothing, or the file
// system cannot tell (overlayfs, FUSE, tmpfs), and where says so from now on.
//
// Source: preadv2(2), RWF_NOWAIT; Linux 4.14.
func readCached(fd int, p []byte, bufs [][]byte, off int64, where *Pages) (n int, ok bool) {
	var errno aio.Errno
	if bufs == nil {
		n, errno = aio.HostFiles{}.PreadNowait(fd, p, off)
	} else {
		var err error
		if n, err = unix.Preadv2(fd, bufs, off, unix.RWF_NOWAIT); err != nil {
			n, errno = 0, aio.FromHost(err.(unix.Errno))
		}
	}
	if errno == aio.EOPNOTSUPP {
		*where = pagesMedium
		if inMemory(fd) {
			*where = pagesMemory
		}
	}
	return n, errno == 0
}

// endsBy reports whether a file has nothing from an offset on.
func endsBy(fd int, off int64) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && off >= st.Size
}

// inMemory reports whether a file has no medium but memory.
func inMemory(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	//nolint:unconvert // narrower on other processors
	magic := uint32(st.Type)
	return magic == unix.TMPFS_MAGIC || magic == unix.RAMFS_MAGIC
}

// pagesOf looks at the flags: reads past the page cache wait for the medium whatever is
// asked.
//
// Source: open(2), O_DIRECT; Linux fs/iomap/direct-io.c, __iomap_dio_rw.
func pagesOf(fd int) Pages {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_DIRECT != 0 {
		return pagesMedium
	}
	return pagesCached
}
