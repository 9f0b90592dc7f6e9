//go:build unix

package aio

import (
	"testing"

	"golang.org/x/sys/unix"
)

// x/sys/unix keeps a list of names of its own. On FreeBSD this checks our
// numbers, elsewhere it checks the table: a FreeBSD name that the host has too
// must become the host's number of that name.
func TestHostNumbersHaveTheSameNames(t *testing.T) {
	host := map[string]Errno{}
	for n := 1; n < 256; n++ {
		if name := unix.ErrnoName(unix.Errno(n)); name != "" {
			host[name] = Errno(n)
		}
	}
	for e := Errno(1); e <= maxErrno; e++ {
		want, ok := host[e.String()]
		if !ok {
			t.Logf("%s has no name here, it becomes %s", e.String(), unix.ErrnoName(e.Host()))
			continue
		}
		if got := Errno(e.Host()); got != want {
			t.Errorf("%s becomes %d (%s), want %d", e.String(), int(got), unix.ErrnoName(e.Host()), int(want))
		}
	}
}
