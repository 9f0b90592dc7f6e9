//go:build unix

package aiotest

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// aio_fsync. What it waits for are the process's earlier jobs on the same open
// file; what it syncs is the file.

const queueSync = "FreeBSD sys/kern/vfs_aio.c, aio_queue_file and aio_bio_done_notify"

// syncs are both kinds.
func (r *rig) syncs(fd int) map[string]*job {
	return map[string]*job{"O_SYNC": r.fsync(fd), "O_DSYNC": r.datasync(fd)}
}

var fsyncCases = []testCase{
	{name: "fsync/nothing to sync: 0", source: queueSync, run: func(r *rig) {
		for _, j := range r.syncs(r.file(8)) {
			r.start(j)
			r.reap(j, 0, 0)
		}
	}},
	{name: "fsync/has its event", source: queueSync, run: func(r *rig) {
		for _, j := range r.syncs(r.file(8)) {
			r.notify(j, aio.EvOneshot, 3)
			r.start(j)
			r.wantEvent(j, aio.EvOneshot, 0, 3)
			r.reap(j, 0, 0)
		}
	}},
	{name: "fsync/finishes after the earlier writes of its file", source: queueSync, run: func(r *rig) {
		fd := r.file(0)
		data := strings.Repeat("0123456789abcdef", 1<<12)
		for _, sync := range r.syncs(fd) {
			var writes []*job
			for i := range 8 {
				writes = append(writes, r.write(fd, int64(i)<<16, data))
			}
			r.start(writes...)
			r.notify(sync, aio.EvOneshot, 1)
			r.start(sync)
			r.wantEvent(sync, aio.EvOneshot, 0, 1)
			for i, j := range writes {
				if errno := r.k.Error(j.cb); errno != 0 {
					r.Errorf("the sync has finished, and write %d is at %s", i, errno.String())
				}
			}
			r.reap(sync, 0, 0)
			r.reapAll(len(data), writes...)
		}
	}},
	{name: "fsync/does not wait for another file's jobs", source: queueSync, run: func(r *rig) {
		s := r.slow()
		stalled := s.read()
		r.start(stalled)
		sync := r.fsync(r.file(8))
		r.start(sync)
		r.reap(sync, 0, 0)
		r.want("aio_error of the other", r.k.Error(stalled.cb), aio.EINPROGRESS)
		s.letGo()
		r.reap(stalled, 1, 0)
	}},
	{name: "fsync/does not wait for finished jobs, reaped or not", source: queueSync, run: func(r *rig) {
		fd := r.file(0)
		out := r.write(fd, 0, "abc")
		r.start(out)
		r.wait(out)
		sync := r.fsync(fd)
		r.start(sync)
		r.reap(sync, 0, 0)
		r.reap(out, 3, 0)
	}},
	{name: "fsync/an earlier failure is not its own", source: queueSync, run: func(r *rig) {
		fd := r.file(8)
		bad, sync := badBuffer(r.write(fd, 0, "abc")), r.fsync(fd)
		r.start(bad, sync)
		r.reap(sync, 0, 0)
		r.reap(bad, -1, aio.EFAULT)
	}},
	{name: "fsync/several at once", source: queueSync, run: func(r *rig) {
		fd := r.file(0)
		out, first, second := r.write(fd, 0, "abc"), r.fsync(fd), r.datasync(fd)
		r.start(out, first, second)
		r.reap(second, 0, 0)
		r.reap(first, 0, 0)
		r.reap(out, 3, 0)
	}},
	{name: "fsync/the rest of the block does not matter", source: aqueue, run: func(r *rig) {
		j := badBuffer(r.fsync(r.file(8)))
		j.cb.Offset, j.cb.Nbytes = -1, 1
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "fsync/a write-only descriptor", source: aqueue, run: func(r *rig) {
		j := r.fsync(r.writeOnly())
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "fsync/descriptor closed after the call", source: queueSync, run: func(r *rig) {
		name, fd := r.named(0)
		out, sync := r.write(fd, 0, "abc"), r.fsync(fd)
		r.start(out, sync)
		r.want("close", r.k.Close(fd), 0)
		r.reap(sync, 0, 0)
		r.reap(out, 3, 0)
		r.wantContent(r.open(name, unix.O_RDONLY), 0, "abc")
	}},
}
