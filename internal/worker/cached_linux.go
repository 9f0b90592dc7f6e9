package worker

import (
	"github.com/aioring/aioring/aio"
	"golang.org/x/sys/unix"
)

// readCached reads what the page cache has. Fewer bytes than there is room for, 0 too,
// may be the end of the file or of what is there. false: it has nothing.
//
// Source: preadv2(2), RWF_NOWAIT; Linux 4.14.
func readCached(fd int, p []byte, bufs [][]byte, off int64) (int, bool) {
	if bufs == nil {
		n, errno := aio.HostFiles{}.PreadNowait(fd, p, off)
		return n, errno == 0
	}
	n, err := unix.Preadv2(fd, bufs, off, unix.RWF_NOWAIT)
	return max(n, 0), err == nil
}

// endsBy reports whether a file has nothing from an offset on.
func endsBy(fd int, off int64) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && off >= st.Size
}

// Direct reports whether reads of a descriptor go past the page cache. Such a one
// waits for the medium whatever is asked.
//
// Source: open(2), O_DIRECT; Linux fs/iomap/direct-io.c, __iomap_dio_rw.
func Direct(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err != nil || flags&unix.O_DIRECT != 0
}
