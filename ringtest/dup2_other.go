//go:build unix && !linux

package ringtest

import "golang.org/x/sys/unix"

// dup2 makes the number to refer to what from refers to.
func dup2(from, to int) error { return unix.Dup2(from, to) }
