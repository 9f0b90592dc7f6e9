//go:build unix

package main

import (
	"errors"
	"math/rand/v2"
	"syscall"

	"golang.org/x/sys/unix"
)

// directory is a directory that is copied into, held open. All names in it are
// reached from its descriptor, one step at a time and never through a symbolic
// link, so that nobody can plant one and have the copy written elsewhere.
//
// It ends when the walk and everything in it have ended: then come its
// attributes, which new entries would change, and its fsync.
type directory struct {
	copier *copier
	parent *directory // nil for the one that DST names or lies in
	name   string     // in parent
	where  string     // its path, for messages
	fd     int
	stat   *unix.Stat_t // the attributes it is to have; nil to leave them
	users  int
	synced bool
}

// openBase opens the directory that everything goes into. This one may be reached
// through links: the user named it.
func (c *copier) openBase(path string) (*directory, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &pathError{path, "cannot open the destination", err}
	}
	return &directory{copier: c, where: path, fd: fd, users: 1}, nil
}

// enter opens the directory name in d, made if it does not exist, to become a
// copy of the one at from. It has one user.
func (d *directory) enter(name, from string, stat *unix.Stat_t) (*directory, error) {
	path := d.path(name)
	made := true
	if err := unix.Mkdirat(d.fd, name, 0o700); errors.Is(err, unix.EEXIST) {
		made = false
	} else if err != nil {
		return nil, &pathError{path, "cannot make the directory", err}
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil && !d.hasDirectory(name) {
		err = unix.ENOTDIR // systems differ in what they say of a link
	}
	if err != nil {
		return nil, &pathError{path, "cannot open the directory", err}
	}
	if !made {
		var now unix.Stat_t
		if err := unix.Fstat(fd, &now); err == nil && sameFile(&now, stat) {
			_ = unix.Close(fd)
			return nil, &pathError{path, "is the same directory as " + from, nil}
		}
	}
	d.hold()
	d.copier.report.dirs.Add(1)
	return &directory{copier: d.copier, parent: d, name: name, where: path, fd: fd, stat: stat, users: 1}, nil
}

// hasDirectory reports whether name is a directory itself, not a link to one.
func (d *directory) hasDirectory(name string) bool {
	var stat unix.Stat_t
	err := unix.Fstatat(d.fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR
}

// path is the path of a name in d, for messages.
func (d *directory) path(name string) string {
	if d.where == "/" {
		return "/" + name
	}
	return d.where + "/" + name
}

// hold adds a user, release takes one away.
func (d *directory) hold() { d.users++ }

func (d *directory) release() {
	if d.users--; d.users > 0 {
		return
	}
	if d.stat != nil {
		if err := setAttributes(d.fd, d.parent.fd, d.name, d.stat); err != nil {
			d.copier.report.fail(&pathError{d.where, "cannot set its attributes", err})
		}
	}
	if d.copier.sync {
		d.copier.enqueue(d)
		return
	}
	d.close()
}

// next, drained and done make the fsync a work.
func (d *directory) next(b *block) bool {
	if d.synced {
		return false
	}
	d.synced = true
	d.copier.startFsync(b, d.fd)
	return true
}

func (d *directory) drained() {}

func (d *directory) done(_ *block, res int32) bool {
	if res < 0 {
		d.copier.report.fail(&pathError{d.where, "cannot sync", syscall.Errno(-res)})
	}
	d.close()
	return false
}

func (d *directory) close() {
	_ = unix.Close(d.fd)
	if d.parent != nil {
		d.parent.release()
	}
}

// mayReplace reports why what is at name now must not be replaced by a copy of
// the file at from: it is that file, or a directory.
func (d *directory) mayReplace(name, from string, stat *unix.Stat_t) error {
	var now unix.Stat_t
	err := unix.Fstatat(d.fd, name, &now, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &pathError{d.path(name), "cannot stat", err}
	}
	if now.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &pathError{d.path(name), "cannot replace it with " + from, unix.EISDIR}
	}
	if now.Mode&unix.S_IFMT == unix.S_IFLNK && unix.Fstatat(d.fd, name, &now, 0) != nil {
		return nil // it leads nowhere
	}
	if sameFile(&now, stat) {
		return &pathError{d.path(name), "is the same file as " + from, nil}
	}
	return nil
}

func sameFile(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// makeTemporary finds a name for what will be called name, and has it made.
// create must not replace anything.
func (d *directory) makeTemporary(name string, create func(temp string) error) (string, error) {
	err := error(unix.EEXIST)
	for range 100 {
		temp := "." + name + ".aioring-" + randomLetters()
		if name == "" {
			temp = temp[1:]
		}
		switch err = create(temp); {
		case err == nil:
			return temp, nil
		case errors.Is(err, unix.ENAMETOOLONG) && name != "":
			name = "" // name itself may still fit
		case !errors.Is(err, unix.EEXIST):
			return "", err
		}
	}
	return "", err
}

func randomLetters() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var s [6]byte
	for i := range s {
		s[i] = letters[rand.IntN(len(letters))]
	}
	return string(s[:])
}
