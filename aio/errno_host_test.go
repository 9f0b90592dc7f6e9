//go:build !freebsd

package aio

import (
	"syscall"
	"testing"
)

// A host errno without a FreeBSD name keeps the host's words.
func TestForeignErrnoSpeaksForTheHost(t *testing.T) {
	e := Errno(hostBase + 125)
	if e.String() != "host errno 125" || e.Error() != syscall.Errno(125).Error() || e.Host() != 125 {
		t.Errorf("%d is %q, %q, on the host %d", int(e), e.String(), e.Error(), int(e.Host()))
	}
}
