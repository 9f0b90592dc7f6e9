package main

import "golang.org/x/sys/unix"

func mkfifoat(dir int, name string, mode uint32) error {
	return unix.Mknodat(dir, name, unix.S_IFIFO|mode, 0)
}
