//go:build unix && !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sim

import "github.com/aioring/aioring/aio"

// hostWatch needs epoll or kqueue. Without either descriptors cannot be watched.
type hostWatch struct{}

func newHostWatch() (*hostWatch, aio.Errno)              { return nil, aio.ENOSYS }
func (*hostWatch) add(int, direction) aio.Errno          { return aio.ENOSYS }
func (*hostWatch) remove(int, direction)                 {}
func (*hostWatch) sleep()                                {}
func (*hostWatch) take(events []watchEvent) []watchEvent { return events }
func (*hostWatch) wake()                                 {}
func (*hostWatch) close()                                {}
