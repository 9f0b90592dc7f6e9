//go:build unix && !linux && !darwin

package worker

import "golang.org/x/sys/unix"

func fsync(fd int) error { return unix.Fsync(fd) }

// fdatasync does more than it must: x/sys has no fdatasync(2) for these systems.
func fdatasync(fd int) error { return unix.Fsync(fd) }
