package aio

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestErrnoHasANameAndWordsForEveryNumber(t *testing.T) {
	names, words := map[string]Errno{}, map[string]Errno{}
	for e := Errno(1); e <= maxErrno; e++ {
		name, text := e.String(), e.Error()
		if !strings.HasPrefix(name, "E") || text == "" {
			t.Errorf("%d is %q, %q", int(e), name, text)
		}
		if other, ok := names[name]; ok {
			t.Errorf("%d and %d are both %q", int(e), int(other), name)
		}
		if other, ok := words[text]; ok {
			t.Errorf("%d and %d are both %q", int(e), int(other), text)
		}
		names[name], words[text] = e, e
	}
}

func TestErrnoInWords(t *testing.T) {
	for _, c := range []struct {
		errno       Errno
		name, words string
	}{
		{0, "no error", "no error"},
		{EBADF, "EBADF", "bad file descriptor"},
		{EAGAIN, "EAGAIN", "resource temporarily unavailable"},
		{EINTEGRITY, "EINTEGRITY", "integrity check failed"},
		{98, "errno 98", "error 98"},
		{-1, "errno -1", "error -1"},
	} {
		if c.errno.String() != c.name || c.errno.Error() != c.words {
			t.Errorf("%d is %q, %q, want %q, %q", int(c.errno), c.errno.String(), c.errno.Error(), c.name, c.words)
		}
	}
}

func TestErrnoGoesByName(t *testing.T) {
	for _, c := range []struct {
		freebsd Errno
		host    syscall.Errno
	}{
		{0, 0},
		{EPERM, syscall.EPERM},
		{EBADF, syscall.EBADF},
		{EDEADLK, syscall.EDEADLK},
		{EAGAIN, syscall.EAGAIN},
		{EWOULDBLOCK, syscall.EWOULDBLOCK},
		{EINPROGRESS, syscall.EINPROGRESS},
		{EOPNOTSUPP, syscall.EOPNOTSUPP},
		{ENAMETOOLONG, syscall.ENAMETOOLONG},
		{ENOSYS, syscall.ENOSYS},
		{EOVERFLOW, syscall.EOVERFLOW},
		{ECANCELED, syscall.ECANCELED},
		{EPROTO, syscall.EPROTO},
	} {
		if got := c.freebsd.Host(); got != c.host {
			t.Errorf("%s.Host() = %d, want %d", c.freebsd, int(got), int(c.host))
		}
		if got := FromHost(c.host); got != c.freebsd {
			t.Errorf("FromHost(%d) = %s, want %s", int(c.host), got, c.freebsd)
		}
	}
}

// Whatever number the host gives comes back, named by FreeBSD or not.
func TestHostErrnosSurviveTheRoundTrip(t *testing.T) {
	for host := syscall.Errno(0); host <= 133; host++ {
		e := FromHost(host)
		if got := e.Host(); got != host {
			t.Errorf("FromHost(%d) = %s, its Host() = %d", int(host), e, int(got))
		}
		if host != 0 && !errors.Is(e, host) {
			t.Errorf("errors.Is(FromHost(%d), %[1]d) is false", int(host))
		}
	}
}

// Every number of FreeBSD's becomes some error on the host, and none success.
func TestEveryErrnoIsAnErrorOnTheHost(t *testing.T) {
	for e := Errno(-5); e < 200; e++ {
		if host := e.Host(); (host == 0) != (e == 0) {
			t.Errorf("%s.Host() = %d", e, int(host))
		}
	}
}

func TestErrnoIsComparedOnTheHost(t *testing.T) {
	wrapped := fmt.Errorf("read: %w", ENOENT)
	for _, c := range []struct {
		err, target error
		want        bool
	}{
		{EBADF, syscall.EBADF, true},
		{EBADF, EBADF, true},
		{EBADF, syscall.EINVAL, false},
		{EAGAIN, syscall.EAGAIN, true},
		{wrapped, syscall.ENOENT, true},
		{wrapped, fs.ErrNotExist, true},
		{EACCES, fs.ErrPermission, true},
		{EACCES, fs.ErrNotExist, false},
	} {
		if got := errors.Is(c.err, c.target); got != c.want {
			t.Errorf("errors.Is(%v, %v) = %v", c.err, c.target, got)
		}
	}
}
