// Package uring speaks to Linux's io_uring: set-up, the rings in shared memory,
// io_uring_enter and io_uring_register. It knows the kernel's layouts and numbers
// and keeps its memory ordering; it has no opinion on what is submitted, and keeps
// nothing alive that an SQE points to.
//
// An SQE goes in by [Ring.NextSQE] and [Ring.Enter]; a CQE comes out by
// [Ring.NextCQE]. Needs Linux 5.11; [Setup] says why it refuses. Elsewhere the
// package is empty.
package uring
