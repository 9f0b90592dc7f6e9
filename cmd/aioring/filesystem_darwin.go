package main

import "golang.org/x/sys/unix"

func filesystemOf(fd int) *filesystemFact {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil
	}
	return &filesystemFact{
		Type: unix.ByteSliceToString(fs.Fstypename[:]), Mounted: unix.ByteSliceToString(fs.Mntonname[:]),
		From: unix.ByteSliceToString(fs.Mntfromname[:]),
	}
}
