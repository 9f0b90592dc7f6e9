//go:build unix && !linux

package worker

// pipeBuf is PIPE_BUF. A pipe is writable when that much of it is free.
//
// Source: FreeBSD sys/sys/syslimits.h; sys/kern/sys_pipe.c, pipe_poll.
const pipeBuf = 512
