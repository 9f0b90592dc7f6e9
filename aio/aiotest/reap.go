//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// aio_error, aio_return and aio_cancel.

const (
	aioError  = "FreeBSD sys/kern/vfs_aio.c, kern_aio_error"
	aioReturn = "FreeBSD sys/kern/vfs_aio.c, kern_aio_return and aio_free_entry"
	aioCancel = "FreeBSD sys/kern/vfs_aio.c, sys_aio_cancel and aio_cancel_job"
)

// warmUp makes the process one that has used AIO.
func (r *rig) warmUp() {
	r.Helper()
	j := r.read(r.file(0), 0, 1)
	r.start(j)
	r.reap(j, 0, 0)
}

var reapCases = []testCase{
	{name: "error/before the process has used AIO: EINVAL", source: aioError, alone: true, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		j.cb.StoreWords(-1, aio.EIO)
		r.want("aio_error", r.k.Error(j.cb), aio.EINVAL)
		j.cb.StoreWords(0, 0)
	}},
	{name: "error/never submitted: EINVAL", source: aioError, run: func(r *rig) {
		r.warmUp()
		r.want("aio_error", r.k.Error(r.read(r.file(8), 0, 8).cb), aio.EINVAL)
	}},
	{name: "error/unknown with status -1: the word in the block", source: aioError, run: func(r *rig) {
		r.warmUp()
		j := r.read(r.file(8), 0, 8)
		j.cb.StoreWords(-1, aio.ENXIO)
		r.want("aio_error", r.k.Error(j.cb), aio.ENXIO)
	}},
	{name: "error/reaped success: EINVAL", source: aioError, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		r.start(j)
		r.reap(j, 8, 0)
		r.want("aio_error", r.k.Error(j.cb), aio.EINVAL)
	}},
	{name: "error/reaped failure: its errno again", source: aioError, run: func(r *rig) {
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		r.start(j)
		r.reap(j, -1, aio.EISDIR)
		r.want("aio_error", r.k.Error(j.cb), aio.EISDIR)
	}},
	{name: "error/NOP: 0", source: aioError, run: func(r *rig) {
		j := r.nop(r.file(0))
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
		r.want("aio_error", r.k.Error(j.cb), 0)
	}},
	{name: "error/reaps nothing", source: aioError, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		r.start(j)
		r.wait(j)
		for range 3 {
			r.want("aio_error", r.k.Error(j.cb), 0)
		}
		r.reap(j, 8, 0)
	}},

	{name: "return/before the process has used AIO: EINVAL", source: aioReturn, alone: true, run: func(r *rig) {
		r.wantReturn(r.read(r.file(8), 0, 8), -1, aio.EINVAL)
	}},
	{name: "return/never submitted: EINVAL", source: aioReturn, run: func(r *rig) {
		r.warmUp()
		r.wantReturn(r.read(r.file(8), 0, 8), -1, aio.EINVAL)
	}},
	{name: "return/second time: EINVAL", source: aioReturn, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		r.start(j)
		r.reap(j, 8, 0)
		r.wantReturn(j, -1, aio.EINVAL)
	}},
	{name: "return/second time after a failure: EINVAL", source: aioReturn, run: func(r *rig) {
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		r.start(j)
		r.reap(j, -1, aio.EISDIR)
		r.wantReturn(j, -1, aio.EINVAL)
	}},
	{name: "return/NOP: EINVAL", source: aioReturn, run: func(r *rig) {
		j := r.nop(r.file(0))
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
		r.wantReturn(j, -1, aio.EINVAL)
	}},
	{name: "return/takes the event along, fetched or not", source: aioReturn, run: func(r *rig) {
		j := r.notify(r.read(r.file(8), 0, 8), 0, 1)
		r.start(j)
		r.reap(j, 8, 0)
		r.quiet("after the reap")
		r.want("delete of its event", r.change(aio.Kevent{Ident: j.ident(), Filter: aio.FilterAIO, Flags: aio.EvDelete}), aio.ENOENT)
	}},
	{name: "return/takes along a one-shot event not fetched", source: aioReturn, run: func(r *rig) {
		j := r.notify(r.read(r.file(8), 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.reap(j, 8, 0)
		r.quiet("after the reap")
	}},
	{name: "return/in any order", source: aioReturn, run: func(r *rig) {
		fd := r.file(16)
		var jobs []*job
		for i := range 8 {
			jobs = append(jobs, r.read(fd, int64(i), i+1))
		}
		r.start(jobs...)
		for i := range jobs {
			i = (i*3 + 5) % len(jobs)
			r.reap(jobs[i], i+1, 0)
		}
	}},

	{name: "cancel/before the process has used AIO: ALLDONE", source: aioCancel, alone: true, run: func(r *rig) {
		r.wantCancel(r.file(8), nil, aio.AllDone)
	}},
	{name: "cancel/descriptor that is not open: EBADF", source: aioCancel, run: func(r *rig) {
		_, errno := r.k.Cancel(noFd, nil)
		r.want("aio_cancel", errno, aio.EBADF)
		_, errno = r.k.Cancel(-1, r.read(r.file(8), 0, 8).cb)
		r.want("aio_cancel of -1", errno, aio.EBADF)
	}},
	{name: "cancel/nothing there: ALLDONE", source: aioCancel, run: func(r *rig) {
		r.warmUp()
		fd := r.file(8)
		r.wantCancel(fd, nil, aio.AllDone)
		r.wantCancel(fd, r.read(fd, 0, 8).cb, aio.AllDone)
	}},
	{name: "cancel/finished: ALLDONE", source: aioCancel, run: func(r *rig) {
		fd := r.file(8)
		j := r.read(fd, 0, 8)
		r.start(j)
		r.wait(j)
		r.wantCancel(fd, j.cb, aio.AllDone)
		r.wantCancel(fd, nil, aio.AllDone)
		r.reap(j, 8, 0)
	}},
	{name: "cancel/reaped: ALLDONE", source: aioCancel, run: func(r *rig) {
		fd := r.file(8)
		j := r.read(fd, 0, 8)
		r.start(j)
		r.reap(j, 8, 0)
		r.wantCancel(fd, j.cb, aio.AllDone)
	}},
	{name: "cancel/waiting: CANCELED, and the event is there at once", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		j := r.notify(s.read(), 0, 7)
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		if events := r.poll(2); len(events) != 1 || events[0].Data != int64(aio.ECANCELED) {
			r.Errorf("events %+v, want one with ECANCELED", events)
		}
		r.want("aio_error", r.k.Error(j.cb), aio.ECANCELED)
		r.wantReturn(j, -1, aio.ECANCELED)
	}},
	{name: "cancel/a second time: ALLDONE", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.wantCancel(s.fd, j.cb, aio.AllDone)
		r.wantReturn(j, -1, aio.ECANCELED)
	}},
	{name: "cancel/one of several", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		a, b, c := s.read(), s.read(), s.read()
		r.start(a, b, c)
		r.wantCancel(s.fd, b.cb, aio.Cancelled)
		r.want("aio_error of its neighbour", r.k.Error(a.cb), aio.EINPROGRESS)
		r.wantReturn(b, -1, aio.ECANCELED)
		s.letGo()
		r.reapAll(1, a, c)
	}},
	{name: "cancel/all of a descriptor", source: aioCancel, run: func(r *rig) {
		s, other := r.slow(), r.slow()
		a, b, c := s.read(), s.read(), other.read()
		r.start(a, b, c)
		r.wantCancel(s.fd, nil, aio.Cancelled)
		r.wantReturn(a, -1, aio.ECANCELED)
		r.wantReturn(b, -1, aio.ECANCELED)
		r.want("aio_error of another descriptor's", r.k.Error(c.cb), aio.EINPROGRESS)
		r.wantCancel(s.fd, nil, aio.AllDone)
		other.letGo()
		r.reap(c, 1, 0)
	}},
	{name: "cancel/with another descriptor: ALLDONE", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.wantCancel(r.file(8), j.cb, aio.AllDone)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		s.letGo()
		r.reap(j, 1, 0)
	}},
	{name: "cancel/goes by number: a double of the descriptor is another", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		double, errno := r.k.Dup(s.fd)
		r.want("dup", errno, 0)
		r.closeLater(double)
		j := s.read()
		r.start(j)
		r.wantCancel(double, nil, aio.AllDone)
		r.wantCancel(s.fd, nil, aio.Cancelled)
		r.wantReturn(j, -1, aio.ECANCELED)
	}},
	{name: "cancel/run by a daemon: NOTCANCELED, and it ends as it would", source: "FreeBSD sys/kern/vfs_aio.c, aio_cancel_job", alone: true, run: func(r *rig) {
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		reader, writer := r.pipe()
		j := r.read(reader, 0, 1)
		r.start(j)
		// Submitted after it and done before it: the first must have a daemon.
		after := r.read(r.file(8), 0, 8)
		r.start(after)
		r.reap(after, 8, 0)
		for _, cb := range []*aio.ControlBlock{j.cb, nil} {
			r.wantCancel(reader, cb, aio.NotCancelled)
		}
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		if _, err := unix.Write(writer, []byte{1}); err != nil {
			r.Fatal(err)
		}
		r.reap(j, 1, 0)
	}},
}
