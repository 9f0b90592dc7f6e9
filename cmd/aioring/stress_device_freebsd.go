package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// directFlag and exclusiveDevice are for open(2). GEOM itself refuses to open for
// writing what is mounted.
const (
	directFlag      = unix.O_DIRECT
	exclusiveDevice = 0
)

// usesOfDevice looks for a disk, and for its partitions and slices, among the mounts.
// Source: getfsstat(2).
func usesOfDevice(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return "", usageError{fmt.Errorf("--device %s: not a disk", path)}
	}
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return "", err
	}
	mounts := make([]unix.Statfs_t, n+8)
	if n, err = unix.Getfsstat(mounts, unix.MNT_NOWAIT); err != nil {
		return "", err
	}
	for _, m := range mounts[:n] {
		from := unix.ByteSliceToString(m.Mntfromname[:])
		if partOf(from, path) || sameDevice(from, path) {
			return "mounted on " + unix.ByteSliceToString(m.Mntonname[:]), nil
		}
	}
	return "", nil
}

// sameDevice compares device files as the system does.
func sameDevice(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Rdev == y.Rdev
}

// partOf reports whether a device is another, or by its name a slice or a partition of
// it: ada0 has ada0p1, ada0s1 and ada0s1a, and ada0a. ada01 is none of its.
func partOf(part, disk string) bool {
	rest, ok := strings.CutPrefix(filepath.Clean(part), filepath.Clean(disk))
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}
