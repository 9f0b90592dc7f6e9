//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Raw disks. A request that the device can take as it is goes to it without a
// daemon; what is left is a daemon's, and so refused.

const (
	qbio      = "FreeBSD sys/kern/vfs_aio.c, aio_qbio"
	biowakeup = "FreeBSD sys/kern/vfs_aio.c, aio_biowakeup"
	ioCheck   = "FreeBSD sys/geom/geom_io.c, g_io_check"
)

// sectorSize is that of every disk the suite is run on.
const sectorSize = 512

// maxphys is the most bytes of one element, of a kernel of 64 bits.
const maxphys = 1 << 20

// diskSize is the size of the disk.
func (r *rig) diskSize(fd int) int64 {
	r.Helper()
	end, err := unix.Seek(fd, 0, 2)
	if err != nil || end == 0 {
		end = diskEnd(fd)
	}
	if end < 4*maxphys || end%sectorSize != 0 {
		r.Fatalf("a disk of %d bytes", end)
	}
	return end
}

// diskWrite is a write of a disk, of other bytes each time.
func (r *rig) diskWrite(fd int, off int64, n int) *job {
	r.Helper()
	r.written++
	data := make([]byte, n)
	for i := range data {
		data[i] = pattern(i + r.written)
	}
	return r.write(fd, off, string(data))
}

// mappedDisk opens a disk whose jobs take of the process's mapped buffers, of which
// it may have n. They are few: the system has 16 in all, those that processors keep
// for themselves included, and a job that needs more than are left sleeps in its
// submission until others give theirs back, which nobody may be there to do.
// Source: FreeBSD sys/vm/vm_pager.c, vm_pager_bufferinit; uma_core.c, zone_alloc_limit.
func (r *rig) mappedDisk() (fd, n int) {
	r.Helper()
	fd, n = r.openDisk(DiskMapped), 3
	r.setLimits(func(l *aio.Limits) { l.MaxBuf = n })
	return fd, n
}

var diskCases = []testCase{
	{name: "disk/write and read", source: qbio, run: func(r *rig) {
		fd := r.disk()
		out := r.notify(r.diskWrite(fd, 8192, 4096), aio.EvOneshot, 1)
		r.start(out)
		r.wantEvent(out, aio.EvOneshot, 0, 1)
		r.reap(out, 4096, 0)
		in := r.read(fd, 8192, 4096)
		r.start(in)
		r.reap(in, 4096, 0)
		if string(in.buf) != string(out.buf) {
			r.Error("other bytes were read than written")
		}
	}},
	{name: "disk/readv and writev", source: qbio, run: func(r *rig) {
		fd := r.disk()
		out := r.writev(fd, 4096, repeat("ab", 512), repeat("cde", 1024), repeat("f", 512))
		r.start(out)
		r.reap(out, 2048, 0)
		in := r.readv(fd, 4096, 1024, 512, 512)
		r.start(in)
		r.reap(in, 2048, 0)
		if string(in.buf) != string(out.buf) {
			r.Error("other bytes were read than written")
		}
	}},
	{name: "disk/many jobs at once", source: qbio, run: func(r *rig) {
		const n = 32
		fd := r.disk()
		var out, in []*job
		for i := range n {
			out = append(out, r.diskWrite(fd, int64(i)*sectorSize, sectorSize))
			in = append(in, r.read(fd, int64(i)*sectorSize, sectorSize))
		}
		r.start(out...)
		r.reapAll(sectorSize, out...)
		r.start(in...)
		r.reapAll(sectorSize, in...)
		for i := range n {
			if string(in[i].buf) != string(out[i].buf) {
				r.Errorf("sector %d has other bytes than were written", i)
			}
		}
	}},
	{name: "disk/length that is no multiple of 512: EOPNOTSUPP", source: qbio, run: func(r *rig) {
		fd := r.disk()
		for _, n := range []int{1, 100, 511, 513} {
			r.refused(r.read(fd, 0, n), aio.EOPNOTSUPP)
			r.refused(r.diskWrite(fd, 0, n), aio.EOPNOTSUPP)
		}
	}},
	{name: "disk/one element that is no multiple of 512: EOPNOTSUPP", source: qbio, run: func(r *rig) {
		r.refused(r.readv(r.disk(), 0, 512, 256, 256), aio.EOPNOTSUPP)
	}},
	{name: "disk/offset within a sector: EINVAL as the result", source: ioCheck, run: func(r *rig) {
		fd := r.disk()
		for _, j := range []*job{r.read(fd, 100, 512), r.diskWrite(fd, 256, 512), r.read(fd, -1, 512)} {
			r.start(j)
			r.reap(j, -1, aio.EINVAL)
		}
	}},
	{name: "disk/negative offset: EIO as the result", source: ioCheck, run: func(r *rig) {
		j := r.notify(r.read(r.disk(), -512, 512), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, aio.EIO, 1)
		r.reap(j, -1, aio.EIO)
	}},
	{name: "disk/beyond the end: EIO as the result", source: ioCheck, run: func(r *rig) {
		fd := r.disk()
		end := r.diskSize(fd)
		for _, j := range []*job{r.read(fd, end+512, 512), r.diskWrite(fd, end+512, 512)} {
			r.start(j)
			r.reap(j, -1, aio.EIO)
		}
	}},
	{name: "disk/at the end: 0", source: ioCheck, run: func(r *rig) {
		fd := r.disk()
		end := r.diskSize(fd)
		for _, j := range []*job{r.read(fd, end, 512), r.diskWrite(fd, end, 512)} {
			r.start(j)
			r.reap(j, 0, 0)
		}
	}},
	{name: "disk/across the end: what there is", source: ioCheck, run: func(r *rig) {
		fd := r.disk()
		end := r.diskSize(fd)
		out, in := r.diskWrite(fd, end-1024, 4096), r.read(fd, end-1024, 4096)
		r.start(out)
		r.reap(out, 1024, 0)
		r.start(in)
		r.reap(in, 1024, 0)
		if string(in.buf[:1024]) != string(out.buf[:1024]) {
			r.Error("other bytes were read than written")
		}
	}},
	{name: "disk/elements across the end: what there is", source: biowakeup, run: func(r *rig) {
		fd := r.disk()
		j := r.readv(fd, r.diskSize(fd)-1024, 512, 1024)
		r.start(j)
		r.reap(j, 1024, 0)
	}},
	{name: "disk/one element fails: its errno, whatever the others moved", source: biowakeup, run: func(r *rig) {
		fd := r.disk()
		j := r.readv(fd, r.diskSize(fd)-512, 512, 512, 512)
		r.start(j)
		r.reap(j, -1, aio.EIO)
	}},
	{name: "disk/several elements fail in the same way: that errno", source: biowakeup, run: func(r *rig) {
		fd := r.disk()
		j := r.readv(fd, r.diskSize(fd)+512, 512, 512, 512)
		r.start(j)
		r.reap(j, -1, aio.EIO)
	}},
	{name: "disk/a mebibyte in one job, and not more", source: qbio, run: func(r *rig) {
		fd := r.disk()
		j := r.diskWrite(fd, 0, maxphys)
		r.start(j)
		r.reap(j, maxphys, 0)
		r.refused(r.read(fd, 0, maxphys+512), aio.EOPNOTSUPP)
		r.refused(r.readv(fd, 0, maxphys, 512), aio.EOPNOTSUPP)
	}},
	{name: "disk/16 elements, and not more", source: qbio + ", max_buf_aio", run: func(r *rig) {
		fd := r.disk()
		n := r.limits().MaxBuf
		lengths := make([]int, n+1)
		for i := range lengths {
			lengths[i] = 512
		}
		j := r.readv(fd, 0, lengths[:n]...)
		r.start(j)
		r.reap(j, n*512, 0)
		r.refused(r.readv(fd, 0, lengths...), aio.EOPNOTSUPP)
	}},
	{name: "disk/length 0: 0", source: qbio, run: func(r *rig) {
		fd := r.disk()
		for _, j := range []*job{r.read(fd, 0, 0), r.readv(fd, 0, 0, 512, 0)} {
			n := len(j.buf)
			r.start(j)
			r.reap(j, n, 0)
		}
	}},
	{name: "disk/memory that is not there: EFAULT at once", source: qbio, run: func(r *rig) {
		fd := r.disk()
		r.refused(badBuffer(r.read(fd, 0, 512)), aio.EFAULT)
		r.refused(badBuffer(r.diskWrite(fd, 0, 512)), aio.EFAULT)
		j := r.readv(fd, 0, 512, 512)
		j.iov[1].Base = nil
		r.refused(j, aio.EFAULT)
	}},
	{name: "disk/buffers need not be aligned", source: qbio, run: func(r *rig) {
		fd := r.disk()
		out := r.diskWrite(fd, 0, 1024)
		r.start(out)
		r.reap(out, 1024, 0)
		j := r.read(fd, 0, 1024+7)
		j.cb.Buf += 7
		j.cb.Nbytes -= 7
		r.start(j)
		r.reap(j, 1024, 0)
		if string(j.buf[7:]) != string(out.buf) {
			r.Error("other bytes were read than written")
		}
	}},
	{name: "disk/sync: EOPNOTSUPP", source: queueFile, run: func(r *rig) {
		for _, j := range r.syncs(r.disk()) {
			r.refused(j, aio.EOPNOTSUPP)
		}
	}},
	{name: "disk/read-only descriptor", source: aqueue, run: func(r *rig) {
		path := ""
		if r.target.Disk != nil {
			path = r.target.Disk(r.T, r.k, DiskDirect)
		}
		if path == "" {
			r.Skip("no raw disk here")
		}
		fd := r.open(path, unix.O_RDONLY)
		r.refused(r.write(fd, 0, repeat("x", 512)), aio.EBADF)
		j := r.read(fd, 0, 512)
		r.start(j)
		r.reap(j, 512, 0)
	}},
	{name: "disk/aio_cancel: NOTCANCELED, whatever there is", source: aioCancel, run: func(r *rig) {
		r.warmUp()
		fd := r.disk()
		r.wantCancel(fd, nil, aio.NotCancelled)
		j := r.read(fd, 0, 512)
		r.wantCancel(fd, j.cb, aio.NotCancelled)
		r.start(j)
		r.wantCancel(fd, j.cb, aio.NotCancelled)
		r.reap(j, 512, 0)
		r.wantCancel(fd, nil, aio.NotCancelled)
	}},
	{name: "disk/aio_cancel before the process has used AIO: ALLDONE", source: aioCancel, alone: true, run: func(r *rig) {
		r.wantCancel(r.disk(), nil, aio.AllDone)
	}},
	{name: "disk/descriptor closed under a job", source: closing, run: func(r *rig) {
		fd := r.disk()
		j := r.read(fd, 0, 4096)
		r.start(j)
		r.want("close", r.k.Close(fd), 0)
		r.reap(j, 4096, 0)
	}},
	{name: "disk/a list of files and disks", source: listEvent, run: func(r *rig) {
		fd := r.disk()
		a, b, refused := r.read(fd, 0, 512), r.read(r.file(8), 0, 8), r.read(fd, 0, 100)
		array, errno := r.list(aio.ListNoWait, r.listSig(2), a, b, refused)
		r.want("lio_listio", errno, aio.EIO)
		r.wantWords("refused", refused, -1, aio.EOPNOTSUPP)
		r.wantListEvent(array, 2)
		r.reap(a, 512, 0)
		r.reap(b, 8, 0)
	}},
	{name: "disk/LIO_FOFFSET is a daemon's, and refused", source: qbio, needs: listOffset, run: func(r *rig) {
		j := r.read(r.disk(), 0, 512)
		j.cb.Opcode |= opFoffset
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, aio.EIO)
		r.wantRefused(j, aio.EOPNOTSUPP)
	}},
	{name: "disk/enable_unsafe: a daemon does what the device does not take", source: queueFile, alone: true, run: func(r *rig) {
		fd := r.disk()
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		unaligned, long := r.read(fd, 0, 100), r.read(fd, 0, maxphys+512)
		r.start(unaligned, long)
		r.reap(unaligned, -1, aio.EINVAL)
		r.reap(long, maxphys+512, 0)
	}},
	{name: "disk/mapped buffers: what EFAULT takes of them is lost", source: qbio + ", kaio_buffer_count", alone: true, run: func(r *rig) {
		fd, n := r.mappedDisk()
		lengths := make([]int, n)
		for i := range lengths {
			lengths[i] = 512
		}
		all := r.readv(fd, 0, lengths...)
		r.start(all)
		r.reap(all, n*512, 0)
		bad := r.readv(fd, 0, lengths...)
		bad.iov[n-2].Base = nil
		r.refused(bad, aio.EFAULT)
		r.refused(all, aio.EAGAIN)
		most := r.readv(fd, 0, lengths[:n-2]...)
		r.start(most)
		r.reap(most, (n-2)*512, 0)
		r.refused(r.readv(fd, 0, lengths[:n-1]...), aio.EAGAIN)
	}},
	{name: "disk/mapped buffers: EAGAIN when the process has as many as it may", source: qbio + ", kaio_buffer_count", alone: true, run: func(r *rig) {
		fd, n := r.mappedDisk()
		lengths := make([]int, n)
		for i := range lengths {
			lengths[i] = 512
		}
		refused := 0
		// A request takes the device longer than a submission takes us, nearly
		// always: so one of many finds the other's buffers taken.
		for range 1000 {
			first, second := r.readv(fd, 0, lengths...), r.read(fd, 0, 512)
			r.start(first)
			if errno := r.submit(second); errno == aio.EAGAIN {
				r.wantRefused(second, aio.EAGAIN)
				refused++
			} else {
				r.want("submission", errno, 0)
				r.reap(second, 512, 0)
			}
			r.reap(first, n*512, 0)
			if refused > 2 {
				return
			}
		}
		r.Errorf("%d of 1000 were refused", refused)
	}},
}
