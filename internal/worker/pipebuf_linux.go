package worker

// pipeBuf is PIPE_BUF. A pipe is writable when a page of it is free.
//
// Source: pipe(7).
const pipeBuf = 4096
