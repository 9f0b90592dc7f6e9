package aio

import "syscall"

// On FreeBSD both numberings are the same one.

func errnoToHost(e Errno) syscall.Errno { return syscall.Errno(e) }

func errnoFromHost(host syscall.Errno) Errno { return Errno(host) }
