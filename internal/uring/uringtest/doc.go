// Package uringtest takes io_uring away from a process, as containers do, for
// tests.
package uringtest
