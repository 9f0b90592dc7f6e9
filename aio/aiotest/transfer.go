//go:build unix

package aiotest

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Results.

const processRW = "FreeBSD sys/kern/vfs_aio.c, aio_process_rw"

// badBuffer makes a job's buffer one that nobody has.
func badBuffer(j *job) *job {
	j.cb.Buf = 16
	return j
}

var transferCases = []testCase{
	{name: "transfer/read past the end: 0", source: processRW, run: func(r *rig) {
		j := r.read(r.file(8), 8, 8)
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "transfer/read far past the end: 0", source: processRW, run: func(r *rig) {
		j := r.read(r.file(8), 1<<40, 8)
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "transfer/read across the end: what there is", source: processRW, run: func(r *rig) {
		j := r.read(r.file(8), 6, 8)
		r.start(j)
		r.reap(j, 2, 0)
		r.wantPattern(j.buf[:2], 6)
	}},
	{name: "transfer/read of nothing: 0", source: processRW, run: func(r *rig) {
		j := r.read(r.file(8), 0, 0)
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "transfer/read of nothing into nowhere: 0", source: processRW, run: func(r *rig) {
		j := badBuffer(r.read(r.file(8), 0, 0))
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "transfer/write of nothing: 0", source: processRW, run: func(r *rig) {
		fd := r.file(8)
		j := r.write(fd, 100, "")
		r.start(j)
		r.reap(j, 0, 0)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Size != 8 {
			r.Errorf("the size is %d (%v), want 8", st.Size, err)
		}
	}},
	{name: "transfer/write past the end leaves a hole", source: processRW, run: func(r *rig) {
		fd := r.file(0)
		j := r.write(fd, 4, "x")
		r.start(j)
		r.reap(j, 1, 0)
		r.wantContent(fd, 0, "\x00\x00\x00\x00x")
	}},
	{name: "transfer/write beyond 32 bits of offset", source: processRW, run: func(r *rig) {
		fd := r.file(0)
		j := r.write(fd, 1<<32+5, "far")
		r.start(j)
		r.reap(j, 3, 0)
		r.wantContent(fd, 1<<32+5, "far")
	}},
	{name: "transfer/O_APPEND does not look at the offset", source: processRW, run: func(r *rig) {
		name, _ := r.named(0)
		fd := r.open(name, unix.O_RDWR|unix.O_APPEND)
		for range 2 {
			j := r.write(fd, 0, "abc")
			r.start(j)
			r.reap(j, 3, 0)
		}
		r.wantContent(fd, 0, "abcabc")
	}},
	{name: "transfer/O_APPEND wants the offset not negative all the same", source: aqueue, run: func(r *rig) {
		name, _ := r.named(0)
		r.refused(r.write(r.open(name, unix.O_RDWR|unix.O_APPEND), -1, "abc"), aio.EINVAL)
	}},
	{name: "transfer/the file's own offset does not move", source: processRW, run: func(r *rig) {
		fd := r.file(8)
		if _, err := unix.Seek(fd, 3, 0); err != nil {
			r.Fatal(err)
		}
		in, out := r.read(fd, 0, 8), r.write(fd, 20, "x")
		r.start(in)
		r.reap(in, 8, 0)
		r.start(out)
		r.reap(out, 1, 0)
		if off, err := unix.Seek(fd, 0, 1); off != 3 || err != nil {
			r.Errorf("the offset is %d (%v), want 3", off, err)
		}
	}},
	{name: "transfer/a mebibyte in one job", source: "aio_test.c, aio_large_read_test", run: func(r *rig) {
		const n = 1 << 20
		j := r.read(r.file(n), 0, n)
		r.start(j)
		r.reap(j, n, 0)
		r.wantPattern(j.buf, 0)
	}},
	{name: "transfer/longer than 2 GiB, of a short file: what there is", source: processRW, run: func(r *rig) {
		if unsafe.Sizeof(uintptr(0)) == 4 {
			r.Skip("a 32-bit process may not ask for that much")
		}
		j := length(r.read(r.file(8), 0, 8), 1<<31)
		r.start(j)
		r.reap(j, 8, 0)
		r.wantPattern(j.buf, 0)
	}},
	{name: "transfer/read into nowhere: EFAULT as the result", source: processRW, run: func(r *rig) {
		j := badBuffer(r.notify(r.read(r.file(8), 0, 8), aio.EvOneshot, 1))
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, aio.EFAULT, 1)
		r.reap(j, -1, aio.EFAULT)
	}},
	{name: "transfer/write from nowhere: EFAULT as the result", source: processRW, run: func(r *rig) {
		j := badBuffer(r.write(r.file(8), 0, "abc"))
		r.start(j)
		r.reap(j, -1, aio.EFAULT)
	}},
	{name: "transfer/read into nowhere past the end: 0", source: processRW, run: func(r *rig) {
		j := badBuffer(r.read(r.file(8), 8, 8))
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "transfer/readv fills its buffers in order", source: "aio_readv(2)", run: func(r *rig) {
		j := r.readv(r.file(64), 3, 1, 0, 20, 7)
		r.start(j)
		r.reap(j, 28, 0)
		r.wantPattern(j.buf, 3)
	}},
	{name: "transfer/readv across the end: what there is", source: "aio_readv(2)", run: func(r *rig) {
		j := r.readv(r.file(10), 0, 4, 4, 4)
		r.start(j)
		r.reap(j, 10, 0)
		r.wantPattern(j.buf[:10], 0)
	}},
	{name: "transfer/writev writes its buffers in order", source: "aio_writev(2)", run: func(r *rig) {
		fd := r.file(0)
		j := r.writev(fd, 2, "a", "", "bcd", "ef")
		r.start(j)
		r.reap(j, 6, 0)
		r.wantContent(fd, 2, "abcdef")
	}},
	{name: "transfer/no iovecs: 0", source: "aio_test.c, vectored_zero_iov", run: func(r *rig) {
		fd := r.file(8)
		in, out := r.readv(fd, 0), r.writev(fd, 0)
		r.start(in, out)
		r.reap(in, 0, 0)
		r.reap(out, 0, 0)
	}},
	{name: "transfer/1024 iovecs", source: "aio_test.c, aio_writev_test, IOV_MAX", run: func(r *rig) {
		fd := r.file(aio.MaxIovecs)
		lengths, parts := make([]int, aio.MaxIovecs), make([]string, aio.MaxIovecs)
		for i := range lengths {
			lengths[i], parts[i] = 1, string(rune('a'+i%26))
		}
		in := r.readv(fd, 0, lengths...)
		r.start(in)
		r.reap(in, len(lengths), 0)
		r.wantPattern(in.buf, 0)
		out := r.writev(fd, 0, parts...)
		r.start(out)
		r.reap(out, len(parts), 0)
		r.wantContent(fd, 0, strings.Join(parts, ""))
	}},
	{name: "transfer/readv with one bad buffer: EFAULT, whatever was moved", source: "aio_test.c, vectored_efault; " + processRW, run: func(r *rig) {
		j := r.readv(r.file(8), 0, 4, 4)
		j.iov[1].Base = unsafe.Pointer(nil)
		r.start(j)
		r.reap(j, -1, aio.EFAULT)
	}},
	{name: "transfer/many jobs on one file keep to their places", source: processRW, run: func(r *rig) {
		const n = 32
		fd := r.file(0)
		var out, in []*job
		for i := range n {
			out = append(out, r.write(fd, int64(i)*4, string([]byte{'b', 'k', byte('0' + i/10), byte('0' + i%10)})))
			in = append(in, r.read(fd, int64(i)*4, 4))
		}
		r.start(out...)
		r.reapAll(4, out...)
		r.start(in...)
		r.reapAll(4, in...)
		for i := range n {
			if string(in[i].buf) != string(out[i].buf) {
				r.Errorf("block %d has %q, want %q", i, in[i].buf, out[i].buf)
			}
		}
	}},
}
