// Package aio speaks POSIX AIO and kqueue in FreeBSD's own words: the control
// block, the list, the sigevent, the kevent, error numbers and limits, and
// [Kernel], the seam behind which either FreeBSD's system calls or the model in
// aio/sim answer.
//
// Everything here has FreeBSD's layout and FreeBSD's numbers on every host, so
// that code above the seam is compiled and tested everywhere. Only
// kernel_freebsd.go makes system calls, but for the two with which a [Slab] takes
// its memory and gives it back.
//
// Sources: aio(4), lio_listio(2), kqueue(2); FreeBSD sys/sys/aio.h,
// sys/sys/event.h, sys/kern/vfs_aio.c, sys/kern/kern_event.c.
package aio
