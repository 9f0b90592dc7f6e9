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
	{name: "descriptor/a socket: what is there", source: "FreeBSD sys/kern/sys_socket.c, soaio_process_job", run: func(r *rig) {
		a, b := r.sockets()
		in := r.notify(r.read(a, 0, 64), aio.EvOneshot, 1)
		r.start(in)
		out := r.write(b, 0, "hello")
		r.start(out)
		r.wantEvent(in, aio.EvOneshot, 0, 1)
		r.reap(in, 5, 0)
		r.reap(out, 5, 0)
	}},
	{name: "descriptor/a socket: one byte ends one of two reads", source: "aio_test.c, aio_socket_two_reads", run: func(r *rig) {
		a, b := r.sockets()
		first, second := r.read(a, 0, 8), r.read(a, 0, 8)
		r.start(first, second)
		if _, err := unix.Write(b, []byte("1")); err != nil {
			r.Fatal(err)
		}
		r.reap(first, 1, 0)
		r.want("aio_error of the second", r.k.Error(second.cb), aio.EINPROGRESS)
		r.wantCancel(a, second.cb, aio.Cancelled)
		r.wantReturn(second, -1, aio.ECANCELED)
	}},
	{name: "descriptor/a socket shut down for reading: 0 bytes, whatever is there", source: "aio_test.c, aio_socket_shutdown", run: func(r *rig) {
		if r.target.Osreldate < 1400000 {
			// sorflush clears the queue of jobs, and the next job is put into it.
			r.Skip("this panics a 13.2 kernel")
		}
		a, b := r.sockets()
		if _, err := unix.Write(b, []byte("lost")); err != nil {
			r.Fatal(err)
		}
		if err := unix.Shutdown(a, unix.SHUT_RD); err != nil {
			r.Fatal(err)
		}
		j := r.read(a, 0, 8)
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "descriptor/a socket whose peer closes: 0 bytes", source: "FreeBSD sys/kern/sys_socket.c, soaio_process_job", run: func(r *rig) {
		a, b := r.sockets()
		j := r.read(a, 0, 8)
		r.start(j)
		r.want("close of the peer", r.k.Close(b), 0)
		r.reap(j, 0, 0)
	}},
	{name: "descriptor/a socket: a write cancelled half way ends short", source: "aio_test.c, aio_socket_short_write_cancel", run: func(r *rig) {
		a, b := r.sockets()
		j := r.write(a, 0, string(make([]byte, 1<<20)))
		r.start(j)
		// The peer reads a byte: some were moved, and there are more to come.
		if _, err := unix.Read(b, make([]byte, 1)); err != nil {
			r.Fatal(err)
		}
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		r.wantCancel(a, j.cb, aio.NotCancelled)
		r.wait(j)
		if n, errno := r.k.Return(j.cb); errno != 0 || n <= 0 || n >= 1<<20 {
			r.Errorf("aio_return: %d, %s, want a short count", n, errno.String())
		}
	}},
	{name: "descriptor/a socket that blocks takes the whole write", source: "aio_test.c, aio_socket_blocking_short_write", run: func(r *rig) {
		a, b := r.sockets()
		j := r.write(a, 0, string(make([]byte, 1<<18)))
		r.start(j)
		buf := make([]byte, 1<<16)
		for got := 0; got < len(j.buf); {
			n, err := unix.Read(b, buf)
			if n <= 0 && err != unix.EINTR {
				r.Fatalf("read: %d, %v", n, err)
			}
			got += max(n, 0)
		}
		r.reap(j, len(j.buf), 0)
	}},
	{name: "descriptor/a socket shut down for writing: EPIPE", source: "aio_test.c, aio_socket_shutdown", run: func(r *rig) {
		a, _ := r.sockets()
		if err := unix.SetsockoptInt(a, unix.SOL_SOCKET, noSigpipe, 1); err != nil {
			r.Fatal(err)
		}
		if err := unix.Shutdown(a, unix.SHUT_WR); err != nil {
			r.Fatal(err)
		}
		j := r.write(a, 0, "x")
		r.start(j)
		r.reap(j, -1, aio.EPIPE)
	}},
}

// noSigpipe is SO_NOSIGPIPE, which not every host has.
const noSigpipe = 0x0800
