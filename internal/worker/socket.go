//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// receive is read(2) on a socket, but gives EAGAIN rather than block. A vector gets
// one datagram, not one each.
//
// Source: recv(2), recvmsg(2).
func receive(c *Call) (n int, errno syscall.Errno) {
	bufs, p := parts(c)
	for {
		var err error
		if bufs != nil {
			n, _, _, _, err = unix.RecvmsgBuffers(c.Fd, bufs, nil, unix.MSG_DONTWAIT)
		} else {
			// unix.Recvfrom would allocate for the address that nobody wants.
			n, _, err = syscall.Recvfrom(c.Fd, p, unix.MSG_DONTWAIT)
		}
		if n >= 0 {
			return n, 0 // with an error, too: that the sender has an unknown kind of address
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}

// send is write(2) on a socket, but gives EAGAIN rather than block, and EPIPE
// without SIGPIPE. A vector is one datagram.
//
// Source: send(2), sendmsg(2).
func send(c *Call) (n int, errno syscall.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	bufs, p := parts(c)
	for {
		var err error
		if bufs != nil {
			n, err = unix.SendmsgBuffers(c.Fd, bufs, nil, nil, flags)
		} else {
			n, err = unix.SendmsgN(c.Fd, p, nil, nil, flags)
		}
		if err != unix.EINTR {
			return result(n, err)
		}
	}
}
