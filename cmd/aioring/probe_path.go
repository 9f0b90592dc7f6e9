//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// trier runs one operation on a file the way a ring's would be run, and says
// whether the kernel took it.
type trier interface {
	try(call aio.Call, fd int, buf []byte) (n int, accepted bool, err error)
	// takes reports whether a type of file is one that the kernel is given; if not,
	// why.
	takes(stat aio.FileStat) (ok bool, why string)
}

// trialBytes is the length of what is written and read: one sector of every disk
// but those of 4096 bytes, whose own sector it is then.
const trialBytes = 512

// probePath tries a file, a disk, or a new file in a directory. Of what was there
// before nothing is written.
func probePath(t trier, path string) pathFact {
	p := pathFact{Path: path, Tried: []string{}}
	if err := p.probe(t); err != nil {
		p.Accepted = false
		p.Error = err.Error()
	}
	return p
}

func (p *pathFact) probe(t trier) error {
	info, err := os.Stat(p.Path)
	if err != nil {
		return bare(err)
	}
	p.Type = typeName(info.Mode())
	switch info.Mode() & (fs.ModeType &^ fs.ModeSymlink) {
	case fs.ModeNamedPipe, fs.ModeSocket:
		// Not opened: that could wait for somebody at the other end.
		ok, why := t.takes(aio.FileStat{Type: streamType(info.Mode())})
		p.Accepted, p.Note = ok, why
		return nil
	case fs.ModeDevice | fs.ModeCharDevice:
		if !charDevicesAreDisks {
			ok, why := t.takes(aio.FileStat{Type: aio.TypeOther})
			p.Accepted, p.Note = ok, why
			return nil
		}
	}
	fd, err := unix.Open(p.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// What was opened counts, should the name mean something else by now.
	stat, errno := aio.HostFiles{}.Fstat(fd)
	if errno != 0 {
		return fmt.Errorf("fstat: %w", errno)
	}
	if stat.Type == aio.TypeDisk {
		p.Type = "disk"
	} else {
		p.Filesystem = filesystemOf(fd)
	}
	if ok, why := t.takes(stat); !ok || why != "" {
		p.Accepted, p.Note = ok, why
		return nil
	}
	p.Alignment = alignmentOf(fd, stat)
	if stat.Type == aio.TypeDirectory {
		err = p.probeDirectory(t, fd)
	} else {
		err = p.attempt(t, aio.CallRead, fd, make([]byte, max(trialBytes, p.Alignment.Length)))
	}
	return err
}

// attempt runs one operation and notes it. A job that the kernel took and that
// failed is accepted all the same, and an error.
func (p *pathFact) attempt(t trier, call aio.Call, fd int, buf []byte) error {
	n, accepted, err := t.try(call, fd, buf)
	p.Accepted = accepted
	words := strings.TrimPrefix(string(call), "aio_")
	switch {
	case err != nil && accepted:
		words += " failed"
	case err != nil:
		words += " refused"
	case call != aio.CallFsync:
		words += fmt.Sprintf(" of %d bytes", n)
	}
	p.Tried = append(p.Tried, words)
	return err
}

// probeDirectory makes a file that has no name any more when the first byte is
// written to it.
func (p *pathFact) probeDirectory(t trier, dir int) error {
	f, err := os.CreateTemp(p.Path, ".aioring-probe-*")
	if err != nil {
		p.Note = fmt.Sprintf("no file can be made here: %v", bare(err))
		// The directory itself stands for its files: the kernel decides by the
		// file system, and a read that it took ends with EISDIR.
		err := p.attempt(t, aio.CallRead, dir, make([]byte, trialBytes))
		if p.Accepted && (errors.Is(err, aio.EISDIR) || errors.Is(err, unix.EISDIR)) {
			p.Tried = []string{"read of the directory itself, which ends with EISDIR"}
			return nil
		}
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("cannot remove %s: %w", f.Name(), bare(err))
	}
	data, got := bytes.Repeat([]byte("aioring "), trialBytes/8), make([]byte, trialBytes)
	fd := int(f.Fd())
	for _, step := range []struct {
		call aio.Call
		buf  []byte
	}{{aio.CallWrite, data}, {aio.CallFsync, nil}, {aio.CallRead, got}} {
		if err := p.attempt(t, step.call, fd, step.buf); err != nil {
			return err
		}
	}
	if !bytes.Equal(data, got) {
		p.Accepted = false
		return errors.New("what was read is not what was written")
	}
	return nil
}

// bare is an error without the call and the path, which are said elsewhere.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func typeName(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeCharDevice != 0:
		return "character device"
	}
	return "block device"
}

func streamType(mode fs.FileMode) aio.FileType {
	if mode&fs.ModeSocket != 0 {
		return aio.TypeSocket
	}
	return aio.TypeFIFO
}
