//go:build unix && !linux

package sim

import "golang.org/x/sys/unix"

// pathFlag: what O_PATH opens is not told apart on this host.
const pathFlag = 0

func fdatasync(fd int) error { return unix.Fsync(fd) }
