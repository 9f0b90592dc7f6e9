//go:build unix

package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setAttributes gives the open file fd, which is name in directory dir, the
// owner, mode and times in stat. As with cp -p it is no failure to have no right
// to give files away, but then the copy does not run with anybody's rights.
func setAttributes(fd, dir int, name string, stat *unix.Stat_t) error {
	mode := permissions(stat.Mode)
	if err := unix.Fchown(fd, int(stat.Uid), int(stat.Gid)); errors.Is(err, unix.EPERM) {
		mode &^= unix.S_ISUID | unix.S_ISGID
	} else if err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	return setTimes(dir, name, stat)
}

// setLinkAttributes does the same for a symbolic link or another file that is not
// opened. Not every system knows modes of links.
func setLinkAttributes(dir int, name string, stat *unix.Stat_t) error {
	mode := permissions(stat.Mode)
	if err := unix.Fchownat(dir, name, int(stat.Uid), int(stat.Gid), unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.EPERM) {
		mode &^= unix.S_ISUID | unix.S_ISGID
	} else if err != nil {
		return err
	}
	if err := unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW); err != nil && stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		return err
	}
	return setTimes(dir, name, stat)
}

func setTimes(dir int, name string, stat *unix.Stat_t) error {
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{stat.Atim, stat.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// permissions are the bits of a mode that chmod sets. Systems differ in the
// type.
func permissions[T uint16 | uint32](mode T) uint32 { return uint32(mode) & 0o7777 }
