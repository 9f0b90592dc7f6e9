//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// copySymlink copies a symbolic link as a link, whatever it leads to.
func (c *copier) copySymlink(from, name string, into *directory, stat *unix.Stat_t) error {
	target, err := os.Readlink(from)
	if err != nil {
		return &pathError{from, "cannot read the link", err}
	}
	err = into.place(from, name, stat, func(temp string) error { return unix.Symlinkat(target, into.fd, temp) })
	if err == nil {
		c.report.symlinks.Add(1)
	}
	return err
}

// copyFIFO makes another FIFO like the one at from.
func (c *copier) copyFIFO(from, name string, into *directory, stat *unix.Stat_t) error {
	return into.place(from, name, stat, func(temp string) error { return mkfifoat(into.fd, temp, 0o600) })
}

// place has something that holds no data made under a temporary name, and names
// it when it has its attributes.
func (d *directory) place(from, name string, stat *unix.Stat_t, create func(temp string) error) error {
	if err := d.mayReplace(name, from, stat); err != nil {
		return err
	}
	temp, err := d.makeTemporary(name, create)
	if err != nil {
		return &pathError{d.path(name), "cannot create a temporary beside it", err}
	}
	what := "cannot set its attributes"
	if err = setLinkAttributes(d.fd, temp, stat); err == nil {
		what = "cannot give the copy its name"
		err = unix.Renameat(d.fd, temp, d.fd, name)
	}
	if err != nil {
		_ = unix.Unlinkat(d.fd, temp, 0)
		return &pathError{d.path(name), what, err}
	}
	return nil
}

// kind is what a file of this mode is called.
func kind[T uint16 | uint32](mode T) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "not a regular file"
}
