//go:build unix && !darwin && !freebsd && !linux && !netbsd && !openbsd

package main

// filesystemOf is not known here.
func filesystemOf(int) *filesystemFact { return nil }
