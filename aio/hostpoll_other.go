//go:build unix && !linux

package aio

func newHostPoller() (hostPoller, Errno) { return newPollPoller() }
