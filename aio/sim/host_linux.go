package sim

import "golang.org/x/sys/unix"

// pathFlag marks a descriptor that only names a file.
const pathFlag = unix.O_PATH

// What this host calls the things that level.go and socket.go ask for.
const (
	askReadable = unix.TIOCINQ
	askUnsent   = unix.SIOCOUTQ
	pollReadEnd = unix.POLLRDHUP // the other side has stopped sending
	noSignal    = unix.MSG_NOSIGNAL
)

func fdatasync(fd int) error { return unix.Fdatasync(fd) }

// pendingConnections is how many a listening socket has, where the host counts
// them, else 1.
func pendingConnections(fd int) int64 {
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.Unacked > 0 {
		return int64(info.Unacked)
	}
	return 1
}
