//go:build darwin || dragonfly || freebsd || linux

package main

import "golang.org/x/sys/unix"

// dataFrom finds the first data at or after off, [start, end), by SEEK_DATA and
// SEEK_HOLE; both are size when only a hole is left. A file system that cannot
// tell has no holes.
func dataFrom(fd int, off, size int64) (start, end int64, err error) {
	switch start, err = unix.Seek(fd, off, unix.SEEK_DATA); err {
	case nil:
	case unix.ENXIO:
		return size, size, nil
	case unix.EINVAL, unix.ENOTTY, unix.ENOTSUP, unix.ENOSYS:
		return off, size, nil
	default:
		return 0, 0, err
	}
	if start >= size { // it has grown, which will be noticed
		return size, size, nil
	}
	if end, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil || end <= start {
		return start, size, nil // it has shrunk, or is being written to: so will that
	}
	return start, min(end, size), nil
}
