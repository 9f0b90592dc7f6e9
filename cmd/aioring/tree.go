//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// walk goes through the sources, depth first, and has each thing copied into its
// place. It goes one step when asked to, so that it never runs far ahead of the
// ring.
type walk struct {
	copier  *copier
	sources []string      // the rest of them
	base    *directory    // where they go; nil after the last
	rename  string        // what the only source is to be called; "" for its own name
	above   []unix.Stat_t // base and all directories that it is in
	levels  []level
}

// level is a directory being walked through.
type level struct {
	from  string
	names []string // the rest of them
	into  *directory
}

// init decides where the sources go, as cp does: into dst if that is a directory,
// else to the name dst.
func (w *walk) init(c *copier, sources []string, dst string) error {
	w.copier, w.sources = c, sources
	base := dst
	info, err := os.Stat(dst)
	switch {
	case err == nil && info.IsDir():
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return &pathError{dst, "cannot stat", err}
	case len(sources) > 1 || err == nil && strings.HasSuffix(dst, "/"):
		return &pathError{dst, "the destination is not a directory", unix.ENOTDIR}
	default:
		if strings.HasSuffix(dst, "/") && !isDirectory(sources[0]) {
			return &pathError{dst, "the destination is not a directory", unix.ENOTDIR}
		}
		base, w.rename = splitLast(dst)
	}
	if w.base, err = c.openBase(base); err != nil {
		return err
	}
	w.above, err = withParents(base)
	return err
}

// splitLast takes the last name off a path. The rest is left as it is: to clean
// it could change where links lead.
func splitLast(path string) (dir, name string) {
	path = strings.TrimRight(path, "/")
	slash := strings.LastIndexByte(path, '/')
	switch dir, name = path[:slash+1], path[slash+1:]; {
	case dir == "":
		return ".", name
	case strings.Trim(dir, "/") == "":
		return "/", name
	}
	return strings.TrimRight(dir, "/"), name
}

func isDirectory(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// withParents identifies a directory and all those above it.
func withParents(path string) (all []unix.Stat_t, err error) {
	for {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			return nil, &pathError{path, "cannot stat", err}
		}
		if len(all) > 0 && sameFile(&stat, &all[len(all)-1]) {
			return all, nil // the root's parent is the root
		}
		all = append(all, stat)
		path += "/.."
	}
}

// next takes one step and reports whether there was one to take.
func (w *walk) next() bool {
	switch last := len(w.levels) - 1; {
	case last >= 0 && len(w.levels[last].names) == 0:
		w.levels[last].into.release()
		w.levels = w.levels[:last]
	case last >= 0:
		l := &w.levels[last]
		name := l.names[0]
		l.names = l.names[1:]
		w.copy(l.from+"/"+name, name, l.into)
	case len(w.sources) > 0:
		source := w.sources[0]
		w.sources = w.sources[1:]
		w.copySource(source)
	case w.base != nil:
		w.base.release()
		w.base = nil
	default:
		return false
	}
	return true
}

// copySource begins with one of the sources.
func (w *walk) copySource(source string) {
	name := filepath.Base(source)
	if name == ".." || name == "/" {
		name = "." // what is in it goes into dst itself
	}
	if w.rename != "" {
		name = w.rename
	}
	w.copy(source, name, w.base)
}

// copy copies what is at from, or begins to, and reports a failure.
func (w *walk) copy(from, name string, into *directory) {
	var stat unix.Stat_t
	err := unix.Lstat(from, &stat)
	if err != nil {
		w.copier.report.fail(&pathError{from, "cannot stat", err})
		return
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = w.copier.startFile(from, name, into)
	case unix.S_IFDIR:
		err = w.enter(from, name, into)
	case unix.S_IFLNK:
		err = w.copier.copySymlink(from, name, into, &stat)
	case unix.S_IFIFO:
		err = w.copier.copyFIFO(from, name, into, &stat)
	default:
		err = &pathError{from, "cannot copy " + kind(stat.Mode), unix.EOPNOTSUPP}
	}
	if err != nil {
		w.copier.report.fail(err)
	}
}

// enter begins to walk through a directory.
func (w *walk) enter(from, name string, into *directory) error {
	dir, err := os.OpenFile(from, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &pathError{from, "cannot open the directory", err}
	}
	defer dir.Close()
	stat := new(unix.Stat_t)
	if err := unix.Fstat(int(dir.Fd()), stat); err != nil {
		return &pathError{from, "cannot stat", err}
	}
	if into == w.base && slices.ContainsFunc(w.above, func(d unix.Stat_t) bool { return sameFile(&d, stat) }) {
		return &pathError{from, "cannot copy it into itself, " + into.path(name), nil}
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return &pathError{from, "cannot read the directory", err}
	}
	slices.Sort(names)
	copied, err := into.enter(name, from, stat)
	if err != nil {
		return err
	}
	w.levels = append(w.levels, level{from: strings.TrimRight(from, "/"), names: names, into: copied})
	return nil
}
