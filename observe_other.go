//go:build !unix

package aioring

import "syscall"

func errnoName(syscall.Errno) string { return "" }
