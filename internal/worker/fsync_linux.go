package worker

import "golang.org/x/sys/unix"

func fsync(fd int) error { return unix.Fsync(fd) }

func fdatasync(fd int) error { return unix.Fdatasync(fd) }
