//go:build unix

package main

import (
	"fmt"
	"hash/maphash"
	"syscall"

	"golang.org/x/sys/unix"
)

// file is the copy of one regular file. It goes to a temporary beside its place
// and gets its name when it is whole.
type file struct {
	copier *copier
	from   string // paths, for messages
	to     string
	source int
	stat   unix.Stat_t // the source's, as it was opened
	into   *directory
	name   string
	temp   string
	copy   int // the temporary's descriptor

	stage    stage
	err      error // the first one; it ends the file
	pending  int   // blocks in the ring
	finished bool  // the stage has no more operations to begin

	data    layout
	parts   []*part // with --verify, what was read
	checked int     // of them, read back or being so
	synced  bool
	counted int64 // bytes in the report
}

// part is a stretch of the source that was read, and its checksum.
type part struct {
	off      int64
	n        int
	checksum uint64
}

// stage is what a file's operations are for.
type stage int

const (
	copying   stage = iota // read a block of the source, write it to the copy
	verifying              // read it back
	syncing                // fsync
	named                  // it has its name
)

// startFile begins the copy of from as name in into.
func (c *copier) startFile(from, name string, into *directory) error {
	f := &file{copier: c, from: from, to: into.path(name), into: into, name: name, source: -1, copy: -1}
	c.report.current.Store(&f.from)
	if err := f.open(); err != nil {
		f.close()
		return err
	}
	into.hold()
	f.data = layout{fd: f.source, size: f.stat.Size}
	c.files[f] = struct{}{}
	c.enqueue(f)
	return nil
}

// open opens the source and makes the temporary.
func (f *file) open() (err error) {
	// Neither flag matters to the file that was seen; they do if a link or a FIFO
	// has taken its place since.
	f.source, err = unix.Open(f.from, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &pathError{f.from, "cannot open", err}
	}
	if err := unix.Fstat(f.source, &f.stat); err != nil {
		return &pathError{f.from, "cannot stat", err}
	}
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return &pathError{f.from, "not a regular file any more", nil}
	}
	if err := f.into.mayReplace(f.name, f.from, &f.stat); err != nil {
		return err
	}
	f.temp, err = f.into.makeTemporary(f.name, func(temp string) error {
		f.copy, err = unix.Openat(f.into.fd, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return &pathError{f.to, "cannot create a temporary beside it", err}
	}
	return nil
}

// next begins the stage's next operation.
func (f *file) next(b *block) bool {
	if f.err != nil {
		return false
	}
	switch f.stage {
	case copying:
		off, n, err := f.data.next(len(b.buf))
		if err != nil {
			f.fail(f.from, "cannot find its data", err)
		}
		if n == 0 {
			return false
		}
		b.start(off, n)
		if f.copier.verify {
			p := &part{off: off, n: n}
			f.parts = append(f.parts, p)
			b.checksum = &p.checksum
		}
		f.copier.startRead(b, f.source)
	case verifying:
		if f.checked == len(f.parts) {
			return false
		}
		p := f.parts[f.checked]
		f.checked++
		b.start(p.off, p.n)
		b.checksum = &p.checksum
		f.copier.startRead(b, f.copy)
	case syncing:
		if f.synced {
			return false
		}
		f.synced = true
		f.copier.startFsync(b, f.copy)
	}
	f.pending++
	return true
}

func (f *file) drained() {
	f.finished = true
	f.settle()
}

// done takes a block back and goes on with its transfer.
func (f *file) done(b *block, res int32) bool {
	if f.err == nil && f.proceed(b, res) {
		return true
	}
	f.pending--
	f.settle()
	return false
}

// proceed takes a result and begins the block's next operation, if it has one.
func (f *file) proceed(b *block, res int32) bool {
	switch {
	case f.stage == syncing:
		if res < 0 {
			f.fail(f.to, "cannot sync", syscall.Errno(-res))
		}
		return false
	case b.writing:
		return f.wrote(b, res)
	}
	return f.read(b, res)
}

// read takes the result of a read of the source, or of the copy.
func (f *file) read(b *block, res int32) bool {
	path, fd := f.from, f.source
	if f.stage == verifying {
		path, fd = f.to, f.copy
	}
	if res < 0 {
		f.fail(path, "cannot read", syscall.Errno(-res))
		return false
	}
	if res == 0 && f.stage == verifying {
		f.fail(path, fmt.Sprintf("the copy ends at %d", b.off+int64(b.moved)), nil)
		return false
	}
	if res == 0 {
		f.fail(path, fmt.Sprintf("shrank from %d to %d bytes while it was copied", f.stat.Size, b.off+int64(b.moved)), nil)
		return false
	}
	if b.moved += int(res); b.moved < b.n {
		f.copier.startRead(b, fd)
		return true
	}
	if f.stage == verifying {
		if maphash.Bytes(f.copier.seed, b.buf[:b.n]) != *b.checksum {
			f.fail(path, fmt.Sprintf("the copy differs in the %d bytes at %d", b.n, b.off), nil)
		}
		return false
	}
	if b.checksum != nil {
		*b.checksum = maphash.Bytes(f.copier.seed, b.buf[:b.n])
	}
	b.writing, b.moved = true, 0
	f.copier.startWrite(b, f.copy)
	return true
}

// wrote takes the result of a write to the copy.
func (f *file) wrote(b *block, res int32) bool {
	if res <= 0 {
		f.fail(f.to, "cannot write", errnoOf(res))
		return false
	}
	f.count(int64(res))
	if b.moved += int(res); b.moved < b.n {
		f.copier.startWrite(b, f.copy)
		return true
	}
	return false
}

// errnoOf is the errno in a result that should have been a positive number of
// bytes.
func errnoOf(res int32) error {
	if res == 0 {
		return syscall.EIO
	}
	return syscall.Errno(-res)
}

// settle moves the file to its next stage when this one is over.
func (f *file) settle() {
	if !f.finished || f.pending > 0 {
		return
	}
	if f.err == nil {
		f.err = f.advance()
	}
	if f.err == nil && f.stage != named {
		f.finished = false
		f.copier.enqueue(f)
		return
	}
	f.end()
}

// advance does what is to be done between the stages. Attributes come before the
// sync that makes them last, and after the reading that would spoil the times.
func (f *file) advance() error {
	switch f.stage {
	case copying:
		if err := f.sourceUnchanged(); err != nil {
			return err
		}
		if f.data.written < f.stat.Size { // a hole at the end
			if err := unix.Ftruncate(f.copy, f.stat.Size); err != nil {
				return &pathError{f.to, "cannot extend", err}
			}
		}
		if f.copier.verify {
			f.stage = verifying
			return nil
		}
		fallthrough
	case verifying:
		if err := f.copyWhole(); err != nil {
			return err
		}
		if err := setAttributes(f.copy, f.into.fd, f.temp, &f.stat); err != nil {
			return &pathError{f.to, "cannot set its attributes", err}
		}
		if f.copier.sync {
			f.stage = syncing
			return nil
		}
		fallthrough
	case syncing:
		// Some file systems tell only now that there was no room.
		fd := f.copy
		f.copy = -1
		if err := unix.Close(fd); err != nil && err != unix.EINTR {
			return &pathError{f.to, "cannot close", err}
		}
		if err := unix.Renameat(f.into.fd, f.temp, f.into.fd, f.name); err != nil {
			return &pathError{f.to, "cannot give the copy its name", err}
		}
		f.temp = ""
		f.stage = named
	}
	return nil
}

// sourceUnchanged looks whether somebody has written to the source meanwhile.
func (f *file) sourceUnchanged() error {
	var now unix.Stat_t
	if err := unix.Fstat(f.source, &now); err != nil {
		return &pathError{f.from, "cannot stat", err}
	}
	switch was := &f.stat; {
	case now.Size < was.Size:
		return &pathError{f.from, fmt.Sprintf("shrank from %d to %d bytes while it was copied", was.Size, now.Size), nil}
	case now.Size > was.Size:
		return &pathError{f.from, fmt.Sprintf("grew from %d to %d bytes while it was copied", was.Size, now.Size), nil}
	case now.Mtim != was.Mtim:
		return &pathError{f.from, "was changed while it was copied", nil}
	}
	return nil
}

// copyWhole looks whether the copy has the source's size.
func (f *file) copyWhole() error {
	var copied unix.Stat_t
	if err := unix.Fstat(f.copy, &copied); err != nil {
		return &pathError{f.to, "cannot stat", err}
	}
	if copied.Size != f.stat.Size {
		return &pathError{f.to, fmt.Sprintf("the copy has %d bytes instead of %d", copied.Size, f.stat.Size), nil}
	}
	return nil
}

// fail notes the first failure. The file ends when its blocks are back.
func (f *file) fail(path, what string, err error) {
	if f.err == nil {
		f.err = &pathError{path, what, err}
	}
}

// end reports what became of the file and lets go of everything.
func (f *file) end() {
	if f.err != nil {
		f.copier.report.fail(f.err)
		f.count(-f.counted)
	} else {
		f.count(f.stat.Size - f.counted) // the holes
		f.copier.report.files.Add(1)
	}
	f.discard()
	delete(f.copier.files, f)
	f.into.release()
}

// discard removes the temporary, if there still is one. Nothing of the file is in
// the ring.
func (f *file) discard() {
	if f.temp != "" {
		if f.copy >= 0 {
			// Its room is free at once: io_uring may hold the file a moment longer.
			_ = unix.Ftruncate(f.copy, 0)
		}
		if err := unix.Unlinkat(f.into.fd, f.temp, 0); err != nil {
			f.copier.report.fail(&pathError{f.into.path(f.temp), "cannot remove", err})
		}
	}
	f.close()
}

func (f *file) close() {
	for _, fd := range []int{f.source, f.copy} {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing written is lost: see advance
		}
	}
}

// count puts bytes into the report.
func (f *file) count(n int64) {
	f.counted += n
	f.copier.report.bytes.Add(n)
}
