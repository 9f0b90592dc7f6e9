//go:build unix

package sim

import "github.com/aioring/aioring/aio"

// Profile selects the kernel version that is modelled. The zero value is the
// newest.
type Profile uint8

const (
	VDefault Profile = iota // V15
	V13                     // 13.2
	V14                     // 14.1; from manual pages and reviews, no source was read
	V15                     // 15
)

// String is the version as uname prints it, without patch level.
func (p Profile) String() string {
	switch p {
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
	case V13:
		return 1302001
	case V14:
		return 1401000
	}
	return 1500000
}

// features is what one version does otherwise than another.
type features struct {
	vectoredLists bool      // LIO_READV and LIO_WRITEV in a list (14.0, review D31627)
	foffset       bool      // LIO_FOFFSET in a list (14.1)
	keepUdata     bool      // EV_KEEPUDATA means something
	lastErrno     bool      // of several requests of a job to a disk, the last to fail says why; else all errnos are ORed (review D38611)
	notKqueue     aio.Errno // a descriptor that is no kqueue, where one is wanted
}

func (p Profile) features() features {
	switch p {
	case V13:
		return features{notKqueue: aio.EBADF}
	case V14:
		return features{vectoredLists: true, foffset: true, lastErrno: true, notKqueue: aio.EBADF}
	}
	return features{vectoredLists: true, foffset: true, keepUdata: true, lastErrno: true, notKqueue: aio.EINVAL}
}
