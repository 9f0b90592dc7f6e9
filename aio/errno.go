package aio

import (
	"strconv"
	"syscall"
)

// Errno is an error number in FreeBSD's numbering, on every host. The zero value
// is no error, so compare with 0 before using one as an error.
//
// Hosts number the same names differently (EAGAIN is 35 here and 11 on Linux),
// so numbers cross between FreeBSD and the host in two places only: [Errno.Host]
// and [FromHost], which go by name.
//
// Source: FreeBSD sys/sys/errno.h.
type Errno int32

const (
	EPERM           Errno = 1
	ENOENT          Errno = 2
	ESRCH           Errno = 3
	EINTR           Errno = 4
	EIO             Errno = 5
	ENXIO           Errno = 6
	E2BIG           Errno = 7
	ENOEXEC         Errno = 8
	EBADF           Errno = 9
	ECHILD          Errno = 10
	EDEADLK         Errno = 11
	ENOMEM          Errno = 12
	EACCES          Errno = 13
	EFAULT          Errno = 14
	ENOTBLK         Errno = 15
	EBUSY           Errno = 16
	EEXIST          Errno = 17
	EXDEV           Errno = 18
	ENODEV          Errno = 19
	ENOTDIR         Errno = 20
	EISDIR          Errno = 21
	EINVAL          Errno = 22
	ENFILE          Errno = 23
	EMFILE          Errno = 24
	ENOTTY          Errno = 25
	ETXTBSY         Errno = 26
	EFBIG           Errno = 27
	ENOSPC          Errno = 28
	ESPIPE          Errno = 29
	EROFS           Errno = 30
	EMLINK          Errno = 31
	EPIPE           Errno = 32
	EDOM            Errno = 33
	ERANGE          Errno = 34
	EAGAIN          Errno = 35
	EINPROGRESS     Errno = 36
	EALREADY        Errno = 37
	ENOTSOCK        Errno = 38
	EDESTADDRREQ    Errno = 39
	EMSGSIZE        Errno = 40
	EPROTOTYPE      Errno = 41
	ENOPROTOOPT     Errno = 42
	EPROTONOSUPPORT Errno = 43
	ESOCKTNOSUPPORT Errno = 44
	EOPNOTSUPP      Errno = 45
	EPFNOSUPPORT    Errno = 46
	EAFNOSUPPORT    Errno = 47
	EADDRINUSE      Errno = 48
	EADDRNOTAVAIL   Errno = 49
	ENETDOWN        Errno = 50
	ENETUNREACH     Errno = 51
	ENETRESET       Errno = 52
	ECONNABORTED    Errno = 53
	ECONNRESET      Errno = 54
	ENOBUFS         Errno = 55
	EISCONN         Errno = 56
	ENOTCONN        Errno = 57
	ESHUTDOWN       Errno = 58
	ETOOMANYREFS    Errno = 59
	ETIMEDOUT       Errno = 60
	ECONNREFUSED    Errno = 61
	ELOOP           Errno = 62
	ENAMETOOLONG    Errno = 63
	EHOSTDOWN       Errno = 64
	EHOSTUNREACH    Errno = 65
	ENOTEMPTY       Errno = 66
	EPROCLIM        Errno = 67
	EUSERS          Errno = 68
	EDQUOT          Errno = 69
	ESTALE          Errno = 70
	EREMOTE         Errno = 71
	EBADRPC         Errno = 72
	ERPCMISMATCH    Errno = 73
	EPROGUNAVAIL    Errno = 74
	EPROGMISMATCH   Errno = 75
	EPROCUNAVAIL    Errno = 76
	ENOLCK          Errno = 77
	ENOSYS          Errno = 78
	EFTYPE          Errno = 79
	EAUTH           Errno = 80
	ENEEDAUTH       Errno = 81
	EIDRM           Errno = 82
	ENOMSG          Errno = 83
	EOVERFLOW       Errno = 84
	ECANCELED       Errno = 85
	EILSEQ          Errno = 86
	ENOATTR         Errno = 87
	EDOOFUS         Errno = 88
	EBADMSG         Errno = 89
	EMULTIHOP       Errno = 90
	ENOLINK         Errno = 91
	EPROTO          Errno = 92
	ENOTCAPABLE     Errno = 93
	ECAPMODE        Errno = 94
	ENOTRECOVERABLE Errno = 95
	EOWNERDEAD      Errno = 96
	EINTEGRITY      Errno = 97

	EWOULDBLOCK = EAGAIN
	ENOTSUP     = EOPNOTSUPP
)

// maxErrno is the last number that FreeBSD gives a name (ELAST).
const maxErrno = EINTEGRITY

// hostBase begins the range of host errnos that FreeBSD has no name for. They
// pass through as hostBase plus the host's number.
const hostBase = 1 << 16

// Error says what went wrong, in the same words on every host.
func (e Errno) Error() string {
	switch {
	case e == 0:
		return "no error"
	case e > 0 && e <= maxErrno:
		return errnoText[e].words
	case e > hostBase:
		return e.Host().Error()
	}
	return "error " + strconv.Itoa(int(e))
}

// String is the name, as in "EBADF".
func (e Errno) String() string {
	switch {
	case e == 0:
		return "no error"
	case e > 0 && e <= maxErrno:
		return errnoText[e].name
	case e > hostBase:
		return "host errno " + strconv.Itoa(int(e-hostBase))
	}
	return "errno " + strconv.Itoa(int(e))
}

// Is makes errors.Is(e, syscall.EBADF) and errors.Is(e, fs.ErrPermission) work on
// every host: the comparison is made in the host's numbering.
func (e Errno) Is(target error) bool {
	if host, ok := target.(syscall.Errno); ok {
		return e.Host() == host
	}
	return e.Host().Is(target)
}

// Host is the host's number for the same name; 0 for 0. A name that the host
// lacks becomes the nearest that it has, a number without a name EIO.
func (e Errno) Host() syscall.Errno { return errnoToHost(e) }

// FromHost is the inverse of Host. A host errno that FreeBSD has no name for
// (Linux ENODATA or ETIME) becomes an Errno above FreeBSD's range that Host turns
// back into the same number. That goes, too, for a second number where FreeBSD
// has one: ENOTSUP on the hosts that tell it from EOPNOTSUPP.
func FromHost(host syscall.Errno) Errno { return errnoFromHost(host) }

// errnoText is indexed by number.
var errnoText = [...]struct{ name, words string }{
	EPERM:           {"EPERM", "operation not permitted"},
	ENOENT:          {"ENOENT", "no such file or directory"},
	ESRCH:           {"ESRCH", "no such process"},
	EINTR:           {"EINTR", "interrupted system call"},
	EIO:             {"EIO", "input/output error"},
	ENXIO:           {"ENXIO", "device not configured"},
	E2BIG:           {"E2BIG", "argument list too long"},
	ENOEXEC:         {"ENOEXEC", "exec format error"},
	EBADF:           {"EBADF", "bad file descriptor"},
	ECHILD:          {"ECHILD", "no child processes"},
	EDEADLK:         {"EDEADLK", "resource deadlock avoided"},
	ENOMEM:          {"ENOMEM", "cannot allocate memory"},
	EACCES:          {"EACCES", "permission denied"},
	EFAULT:          {"EFAULT", "bad address"},
	ENOTBLK:         {"ENOTBLK", "block device required"},
	EBUSY:           {"EBUSY", "device busy"},
	EEXIST:          {"EEXIST", "file exists"},
	EXDEV:           {"EXDEV", "cross-device link"},
	ENODEV:          {"ENODEV", "operation not supported by device"},
	ENOTDIR:         {"ENOTDIR", "not a directory"},
	EISDIR:          {"EISDIR", "is a directory"},
	EINVAL:          {"EINVAL", "invalid argument"},
	ENFILE:          {"ENFILE", "too many open files in the system"},
	EMFILE:          {"EMFILE", "too many open files"},
	ENOTTY:          {"ENOTTY", "inappropriate ioctl for device"},
	ETXTBSY:         {"ETXTBSY", "text file busy"},
	EFBIG:           {"EFBIG", "file too large"},
	ENOSPC:          {"ENOSPC", "no space left on device"},
	ESPIPE:          {"ESPIPE", "illegal seek"},
	EROFS:           {"EROFS", "read-only filesystem"},
	EMLINK:          {"EMLINK", "too many links"},
	EPIPE:           {"EPIPE", "broken pipe"},
	EDOM:            {"EDOM", "numerical argument out of domain"},
	ERANGE:          {"ERANGE", "result too large"},
	EAGAIN:          {"EAGAIN", "resource temporarily unavailable"},
	EINPROGRESS:     {"EINPROGRESS", "operation now in progress"},
	EALREADY:        {"EALREADY", "operation already in progress"},
	ENOTSOCK:        {"ENOTSOCK", "socket operation on non-socket"},
	EDESTADDRREQ:    {"EDESTADDRREQ", "destination address required"},
	EMSGSIZE:        {"EMSGSIZE", "message too long"},
	EPROTOTYPE:      {"EPROTOTYPE", "protocol wrong type for socket"},
	ENOPROTOOPT:     {"ENOPROTOOPT", "protocol not available"},
	EPROTONOSUPPORT: {"EPROTONOSUPPORT", "protocol not supported"},
	ESOCKTNOSUPPORT: {"ESOCKTNOSUPPORT", "socket type not supported"},
	EOPNOTSUPP:      {"EOPNOTSUPP", "operation not supported"},
	EPFNOSUPPORT:    {"EPFNOSUPPORT", "protocol family not supported"},
	EAFNOSUPPORT:    {"EAFNOSUPPORT", "address family not supported by protocol family"},
	EADDRINUSE:      {"EADDRINUSE", "address already in use"},
	EADDRNOTAVAIL:   {"EADDRNOTAVAIL", "cannot assign requested address"},
	ENETDOWN:        {"ENETDOWN", "network is down"},
	ENETUNREACH:     {"ENETUNREACH", "network is unreachable"},
	ENETRESET:       {"ENETRESET", "network dropped connection on reset"},
	ECONNABORTED:    {"ECONNABORTED", "software caused connection abort"},
	ECONNRESET:      {"ECONNRESET", "connection reset by peer"},
	ENOBUFS:         {"ENOBUFS", "no buffer space available"},
	EISCONN:         {"EISCONN", "socket is already connected"},
	ENOTCONN:        {"ENOTCONN", "socket is not connected"},
	ESHUTDOWN:       {"ESHUTDOWN", "cannot send after socket shutdown"},
	ETOOMANYREFS:    {"ETOOMANYREFS", "too many references: cannot splice"},
	ETIMEDOUT:       {"ETIMEDOUT", "operation timed out"},
	ECONNREFUSED:    {"ECONNREFUSED", "connection refused"},
	ELOOP:           {"ELOOP", "too many levels of symbolic links"},
	ENAMETOOLONG:    {"ENAMETOOLONG", "file name too long"},
	EHOSTDOWN:       {"EHOSTDOWN", "host is down"},
	EHOSTUNREACH:    {"EHOSTUNREACH", "no route to host"},
	ENOTEMPTY:       {"ENOTEMPTY", "directory not empty"},
	EPROCLIM:        {"EPROCLIM", "too many processes"},
	EUSERS:          {"EUSERS", "too many users"},
	EDQUOT:          {"EDQUOT", "disk quota exceeded"},
	ESTALE:          {"ESTALE", "stale NFS file handle"},
	EREMOTE:         {"EREMOTE", "too many levels of remote in path"},
	EBADRPC:         {"EBADRPC", "RPC struct is bad"},
	ERPCMISMATCH:    {"ERPCMISMATCH", "RPC version wrong"},
	EPROGUNAVAIL:    {"EPROGUNAVAIL", "RPC program not available"},
	EPROGMISMATCH:   {"EPROGMISMATCH", "program version wrong"},
	EPROCUNAVAIL:    {"EPROCUNAVAIL", "bad procedure for program"},
	ENOLCK:          {"ENOLCK", "no locks available"},
	ENOSYS:          {"ENOSYS", "function not implemented"},
	EFTYPE:          {"EFTYPE", "inappropriate file type or format"},
	EAUTH:           {"EAUTH", "authentication error"},
	ENEEDAUTH:       {"ENEEDAUTH", "need authenticator"},
	EIDRM:           {"EIDRM", "identifier removed"},
	ENOMSG:          {"ENOMSG", "no message of desired type"},
	EOVERFLOW:       {"EOVERFLOW", "value too large to be stored in data type"},
	ECANCELED:       {"ECANCELED", "operation canceled"},
	EILSEQ:          {"EILSEQ", "illegal byte sequence"},
	ENOATTR:         {"ENOATTR", "attribute not found"},
	EDOOFUS:         {"EDOOFUS", "programming error"},
	EBADMSG:         {"EBADMSG", "bad message"},
	EMULTIHOP:       {"EMULTIHOP", "multihop attempted"},
	ENOLINK:         {"ENOLINK", "link has been severed"},
	EPROTO:          {"EPROTO", "protocol error"},
	ENOTCAPABLE:     {"ENOTCAPABLE", "capabilities insufficient"},
	ECAPMODE:        {"ECAPMODE", "not permitted in capability mode"},
	ENOTRECOVERABLE: {"ENOTRECOVERABLE", "state not recoverable"},
	EOWNERDEAD:      {"EOWNERDEAD", "previous owner died"},
	EINTEGRITY:      {"EINTEGRITY", "integrity check failed"},
}
