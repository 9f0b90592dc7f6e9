//go:build unix && !(freebsd || linux || netbsd || openbsd)

package main

import "golang.org/x/sys/unix"

// mkfifoat has no call to make here.
func mkfifoat(int, string, uint32) error { return unix.ENOTSUP }
