//go:build unix

package aiotest

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// What AIO is for. Files that a safe daemon never hangs on are accepted, others
// answer EOPNOTSUPP while vfs.aio.enable_unsafe is 0.

const queueFile = "FreeBSD sys/kern/vfs_aio.c, aio_queue_file"

// unsafeFiles are the kinds that a daemon might hang on.
var unsafeFiles = []struct {
	name string
	open func(r *rig) int
}{
	{"a pipe", func(r *rig) int { p, _ := r.pipe(); return p }},
	{"a pipe's other end", func(r *rig) int { _, p := r.pipe(); return p }},
	{"a named pipe", (*rig).fifo},
	{"the null device", (*rig).null},
	{"the zero device", func(r *rig) int { return r.open("/dev/zero", unix.O_RDWR) }},
	{"an event queue", func(r *rig) int { return r.kq }},
}

func descriptorCases() []testCase {
	var cases []testCase
	for _, f := range unsafeFiles {
		cases = append(cases, testCase{name: "descriptor/" + f.name + " is refused", source: queueFile, run: func(r *rig) {
			fd := f.open(r)
			for _, j := range []*job{r.read(fd, 0, 8), r.write(fd, 0, "x"), r.readv(fd, 0, 8), r.writev(fd, 0, "x")} {
				r.refused(j, aio.EOPNOTSUPP)
			}
		}})
	}
	return append(cases, descriptorRules...)
}

var descriptorRules = []testCase{
	{name: "descriptor/a file: read", source: queueFile, run: func(r *rig) {
		j := r.read(r.file(100), 10, 80)
		r.start(j)
		r.reap(j, 80, 0)
		r.wantPattern(j.buf, 10)
	}},
	{name: "descriptor/a file: write", source: queueFile, run: func(r *rig) {
		fd := r.file(0)
		j := r.write(fd, 0, "abc")
		r.start(j)
		r.reap(j, 3, 0)
		r.wantContent(fd, 0, "abc")
	}},
	{name: "descriptor/a directory is accepted, and reads fail", source: queueFile, run: func(r *rig) {
		j := r.notify(r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, aio.EISDIR, 1)
		r.reap(j, -1, aio.EISDIR)
	}},
	{name: "descriptor/a directory may be synced", source: queueFile, run: func(r *rig) {
		j := r.fsync(r.open(r.TempDir(), unix.O_RDONLY))
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "descriptor/an unlinked file", source: queueFile, run: func(r *rig) {
		name, fd := r.named(8)
		if err := os.Remove(name); err != nil {
			r.Fatal(err)
		}
		j := r.read(fd, 0, 8)
		r.start(j)
		r.reap(j, 8, 0)
	}},
	{name: "descriptor/enable_unsafe: the null device", source: queueFile, alone: true, run: func(r *rig) {
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		fd := r.null()
		in, out := r.read(fd, 0, 8), r.write(fd, -1, "abc")
		r.start(in, out)
		r.reap(in, 0, 0)
		r.reap(out, 3, 0)
	}},
	{name: "descriptor/enable_unsafe: a pipe", source: queueFile, alone: true, run: func(r *rig) {
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		reader, writer := r.pipe()
		out := r.write(writer, 0, "through")
		r.start(out)
		r.reap(out, 7, 0)
		in := r.read(reader, 99, 16)
		r.start(in)
		r.reap(in, 7, 0)
		if string(in.buf[:7]) != "through" {
			r.Errorf("read %q", in.buf[:7])
		}
	}},
	{name: "descriptor/enable_unsafe does not make a pipe sync", source: aqueue, alone: true, run: func(r *rig) {
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		_, writer := r.pipe()
		r.refused(r.fsync(writer), aio.EINVAL)
	}},
}
