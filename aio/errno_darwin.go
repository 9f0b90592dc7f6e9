package aio

import "syscall"

// moreHostErrnos are the names that macOS has beyond those of hostErrnos.
var moreHostErrnos = [...]errnoPair{
	{ENOTBLK, syscall.ENOTBLK},
	{ETXTBSY, syscall.ETXTBSY},
	{ESOCKTNOSUPPORT, syscall.ESOCKTNOSUPPORT},
	{EPFNOSUPPORT, syscall.EPFNOSUPPORT},
	{ESHUTDOWN, syscall.ESHUTDOWN},
	{ETOOMANYREFS, syscall.ETOOMANYREFS},
	{EHOSTDOWN, syscall.EHOSTDOWN},
	{EPROCLIM, syscall.EPROCLIM},
	{EUSERS, syscall.EUSERS},
	{EREMOTE, syscall.EREMOTE},
	{EBADRPC, syscall.EBADRPC},
	{ERPCMISMATCH, syscall.ERPCMISMATCH},
	{EPROGUNAVAIL, syscall.EPROGUNAVAIL},
	{EPROGMISMATCH, syscall.EPROGMISMATCH},
	{EPROCUNAVAIL, syscall.EPROCUNAVAIL},
	{EFTYPE, syscall.EFTYPE},
	{EAUTH, syscall.EAUTH},
	{ENEEDAUTH, syscall.ENEEDAUTH},
	{ENOATTR, syscall.ENOATTR},
	{EMULTIHOP, syscall.EMULTIHOP},
	{ENOLINK, syscall.ENOLINK},
	{ENOTRECOVERABLE, syscall.ENOTRECOVERABLE},
	{EOWNERDEAD, syscall.EOWNERDEAD},
}
