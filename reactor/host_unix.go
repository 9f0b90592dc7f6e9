//go:build unix

package reactor

import "github.com/aioring/aioring/aio"

// NewHost makes a reactor for a system without FreeBSD's kqueue: descriptors, timers
// and wake-ups, over epoll(7) on Linux and poll(2) elsewhere.
func NewHost() (*Reactor, error) { return New(new(aio.HostQueues)) }
