//go:build linux || netbsd || openbsd

package main

import "golang.org/x/sys/unix"

func mkfifoat(dir int, name string, mode uint32) error { return unix.Mkfifoat(dir, name, mode) }
