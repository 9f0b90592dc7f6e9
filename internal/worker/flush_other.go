//go:build unix && !freebsd

package worker

// flushDisk is fsync here.
func flushDisk(fd int) error { return fsync(fd) }
