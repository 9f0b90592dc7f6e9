//go:build unix && !linux

package sim

import "golang.org/x/sys/unix"

// pathFlag: what O_PATH opens is not told apart on this host.
const pathFlag = 0

// What this host calls the things that level.go and socket.go ask for.
const (
	askReadable = 0x4004667f // FIONREAD
	askUnsent   = 0x40047473 // TIOCOUTQ; of sockets not everywhere
	pollReadEnd = 0
	noSignal    = 0
)

func fdatasync(fd int) error { return unix.Fsync(fd) }

func pendingConnections(fd int) int64 { return 1 }
