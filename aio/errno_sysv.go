//go:build linux || windows || solaris || illumos

package aio

import "syscall"

// moreHostErrnos are the names that Linux, Solaris and Windows have beyond those of hostErrnos.
var moreHostErrnos = [...]errnoPair{
	{ENOTBLK, syscall.ENOTBLK},
	{ETXTBSY, syscall.ETXTBSY},
	{ESOCKTNOSUPPORT, syscall.ESOCKTNOSUPPORT},
	{EPFNOSUPPORT, syscall.EPFNOSUPPORT},
	{ESHUTDOWN, syscall.ESHUTDOWN},
	{ETOOMANYREFS, syscall.ETOOMANYREFS},
	{EHOSTDOWN, syscall.EHOSTDOWN},
	{EUSERS, syscall.EUSERS},
	{EREMOTE, syscall.EREMOTE},
	{EMULTIHOP, syscall.EMULTIHOP},
	{ENOLINK, syscall.ENOLINK},
	{ENOTRECOVERABLE, syscall.ENOTRECOVERABLE},
	{EOWNERDEAD, syscall.EOWNERDEAD},
}
