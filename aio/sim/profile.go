//go:build unix

package sim

import "github.com/aioring/aioring/aio"

// Profile selects the kernel version that is modelled. The zero value is the
// newest.
type Profile uint8

const (
	VDefault Profile = iota // V15
	V12                     // 12.x; the library does not run there, and is to be seen not to
	V13                     // 13.2
	V14                     // 14.1; unproven: from manual pages and reviews, and no 14 kernel has run package aiotest
	V15                     // 15
)

// String is the version as uname prints it, without patch level.
func (p Profile) String() string {
	switch p {
	case V12:
		return "12.1"
	case V13:
		return "13.2"
	case V14:
		return "14.1"
	}
	return "15.0"
}

// OSRelDate is what kern.osreldate would answer.
func (p Profile) OSRelDate() int {
	switch p {
	case V12:
		return 1201517
	case V13:
		return 1302001
	case V14:
		return 1401000
	}
	return 1500000
}

// features is what one version does otherwise than another.
type features struct {
	vectoredLists  bool      // LIO_READV and LIO_WRITEV in a list (14.0, review D31627)
	foffset        bool      // LIO_FOFFSET in a list (14.1)
	keepUdata      bool      // EV_KEEPUDATA means something
	kernelInfo     bool      // the third of the kernel's words is written
	noVectors      bool      // aio_readv and aio_writev are unknown system calls (12)
	noDataSync     bool      // aio_fsync knows O_SYNC only (12)
	lastErrno      bool      // of several requests of a job to a disk, the last to fail says why; else all errnos are ORed (review D38611)
	deafToShutdown bool      // a read of a local stream does not hear of the peer's SHUT_WR (15)
	notKqueue      aio.Errno // a descriptor that is no kqueue, where one is wanted
}

func (p Profile) features() features {
	switch p {
	case V12:
		return features{notKqueue: aio.EBADF, kernelInfo: true, noVectors: true, noDataSync: true}
	case V13:
		return features{notKqueue: aio.EBADF, kernelInfo: true}
	case V14:
		return features{vectoredLists: true, foffset: true, lastErrno: true, notKqueue: aio.EBADF}
	}
	return features{vectoredLists: true, foffset: true, keepUdata: true, lastErrno: true, deafToShutdown: true, notKqueue: aio.EINVAL}
}
