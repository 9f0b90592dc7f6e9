package main

import "golang.org/x/sys/unix"

func filesystemOf(fd int) *filesystemFact {
	var fs unix.Statvfs_t
	if err := unix.Fstatvfs1(fd, &fs, unix.ST_WAIT); err != nil {
		return nil
	}
	return &filesystemFact{
		Type: unix.ByteSliceToString(fs.Fstypename[:]), Mounted: unix.ByteSliceToString(fs.Mntonname[:]),
		From: unix.ByteSliceToString(fs.Mntfromname[:]),
	}
}
