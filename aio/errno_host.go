//go:build !freebsd

package aio

import (
	"math"
	"syscall"
)

// errnoPair is one name in both numberings.
type errnoPair struct {
	freebsd Errno
	host    syscall.Errno
}

// toHost is indexed by FreeBSD's number. It is made of hostErrnos (the names
// every host has), moreHostErrnos (those this host has besides) and, for the
// rest, nearestErrnos.
var toHost = func() (t [maxErrno + 1]syscall.Errno) {
	for i := range t[1:] {
		t[1+i] = syscall.EIO
	}
	for _, pairs := range [][]errnoPair{nearestErrnos[:], hostErrnos[:], moreHostErrnos[:]} {
		for _, p := range pairs {
			t[p.freebsd] = p.host
		}
	}
	return t
}()

// named says which entries of toHost are names and not neighbours: only those
// are turned back.
var named = func() (t [maxErrno + 1]bool) {
	for _, pairs := range [][]errnoPair{hostErrnos[:], moreHostErrnos[:]} {
		for _, p := range pairs {
			t[p.freebsd] = true
		}
	}
	return t
}()

func errnoToHost(e Errno) syscall.Errno {
	switch {
	case e >= 0 && e <= maxErrno:
		return toHost[e]
	case e > hostBase:
		return syscall.Errno(e - hostBase)
	}
	return syscall.EIO
}

func errnoFromHost(host syscall.Errno) Errno {
	if host == 0 {
		return 0
	}
	if host <= syscall.Errno(maxErrno) && named[host] && toHost[host] == host {
		return Errno(host) // below 35 most hosts agree with FreeBSD
	}
	for e := Errno(1); e <= maxErrno; e++ {
		if named[e] && toHost[e] == host {
			return e
		}
	}
	if host > math.MaxInt32-hostBase {
		return EIO // a Windows status that is no errno at all
	}
	return hostBase + Errno(host)
}

// nearestErrnos stand in for names that some hosts lack. They are used towards
// the host only. What is missing here and there becomes EIO.
var nearestErrnos = [...]errnoPair{
	{EPROCLIM, syscall.EAGAIN},
	{EBADRPC, syscall.EPROTO},
	{ERPCMISMATCH, syscall.EPROTO},
	{EPROGUNAVAIL, syscall.EPROTO},
	{EPROGMISMATCH, syscall.EPROTO},
	{EPROCUNAVAIL, syscall.EPROTO},
	{EFTYPE, syscall.EINVAL},
	{EAUTH, syscall.EACCES},
	{ENEEDAUTH, syscall.EACCES},
	{ENOATTR, syscall.ENOENT},
	{EDOOFUS, syscall.EINVAL},
	{EMULTIHOP, syscall.EPROTO},
	{ENOLINK, syscall.EPROTO},
	{ENOTCAPABLE, syscall.EPERM},
	{ECAPMODE, syscall.EPERM},
}

// hostErrnos are the names that every host has.
var hostErrnos = [...]errnoPair{
	{EPERM, syscall.EPERM},
	{ENOENT, syscall.ENOENT},
	{ESRCH, syscall.ESRCH},
	{EINTR, syscall.EINTR},
	{EIO, syscall.EIO},
	{ENXIO, syscall.ENXIO},
	{E2BIG, syscall.E2BIG},
	{ENOEXEC, syscall.ENOEXEC},
	{EBADF, syscall.EBADF},
	{ECHILD, syscall.ECHILD},
	{EDEADLK, syscall.EDEADLK},
	{ENOMEM, syscall.ENOMEM},
	{EACCES, syscall.EACCES},
	{EFAULT, syscall.EFAULT},
	{EBUSY, syscall.EBUSY},
	{EEXIST, syscall.EEXIST},
	{EXDEV, syscall.EXDEV},
	{ENODEV, syscall.ENODEV},
	{ENOTDIR, syscall.ENOTDIR},
	{EISDIR, syscall.EISDIR},
	{EINVAL, syscall.EINVAL},
	{ENFILE, syscall.ENFILE},
	{EMFILE, syscall.EMFILE},
	{ENOTTY, syscall.ENOTTY},
	{EFBIG, syscall.EFBIG},
	{ENOSPC, syscall.ENOSPC},
	{ESPIPE, syscall.ESPIPE},
	{EROFS, syscall.EROFS},
	{EMLINK, syscall.EMLINK},
	{EPIPE, syscall.EPIPE},
	{EDOM, syscall.EDOM},
	{ERANGE, syscall.ERANGE},
	{EAGAIN, syscall.EAGAIN},
	{EINPROGRESS, syscall.EINPROGRESS},
	{EALREADY, syscall.EALREADY},
	{ENOTSOCK, syscall.ENOTSOCK},
	{EDESTADDRREQ, syscall.EDESTADDRREQ},
	{EMSGSIZE, syscall.EMSGSIZE},
	{EPROTOTYPE, syscall.EPROTOTYPE},
	{ENOPROTOOPT, syscall.ENOPROTOOPT},
	{EPROTONOSUPPORT, syscall.EPROTONOSUPPORT},
	{EOPNOTSUPP, syscall.EOPNOTSUPP},
	{EAFNOSUPPORT, syscall.EAFNOSUPPORT},
	{EADDRINUSE, syscall.EADDRINUSE},
	{EADDRNOTAVAIL, syscall.EADDRNOTAVAIL},
	{ENETDOWN, syscall.ENETDOWN},
	{ENETUNREACH, syscall.ENETUNREACH},
	{ENETRESET, syscall.ENETRESET},
	{ECONNABORTED, syscall.ECONNABORTED},
	{ECONNRESET, syscall.ECONNRESET},
	{ENOBUFS, syscall.ENOBUFS},
	{EISCONN, syscall.EISCONN},
	{ENOTCONN, syscall.ENOTCONN},
	{ETIMEDOUT, syscall.ETIMEDOUT},
	{ECONNREFUSED, syscall.ECONNREFUSED},
	{ELOOP, syscall.ELOOP},
	{ENAMETOOLONG, syscall.ENAMETOOLONG},
	{EHOSTUNREACH, syscall.EHOSTUNREACH},
	{ENOTEMPTY, syscall.ENOTEMPTY},
	{EDQUOT, syscall.EDQUOT},
	{ESTALE, syscall.ESTALE},
	{ENOLCK, syscall.ENOLCK},
	{ENOSYS, syscall.ENOSYS},
	{EIDRM, syscall.EIDRM},
	{ENOMSG, syscall.ENOMSG},
	{EOVERFLOW, syscall.EOVERFLOW},
	{ECANCELED, syscall.ECANCELED},
	{EILSEQ, syscall.EILSEQ},
	{EBADMSG, syscall.EBADMSG},
	{EPROTO, syscall.EPROTO},
}
