//go:build unix

package aiotest

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// What the two words in the user's block say over time, and what comes of a
// block that is submitted while it is in flight.

const twoWords = "FreeBSD sys/kern/vfs_aio.c, aio_aqueue and kern_aio_return"

var wordCases = []testCase{
	{name: "words/while it runs: -1 and EINPROGRESS", source: twoWords, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		r.wantReturn(j, -1, aio.EINVAL)
		r.wantWords("after aio_return has found nothing", j, -1, aio.EINPROGRESS)
		s.letGo()
		r.reap(j, 1, 0)
	}},
	{name: "words/finished and not reaped: the same", source: "FreeBSD sys/kern/vfs_aio.c, aio_complete", run: func(r *rig) {
		j := r.notify(r.read(r.file(8), 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.want("aio_error", r.k.Error(j.cb), 0)
		r.wantWords("after the event", j, -1, aio.EINPROGRESS)
		r.reap(j, 8, 0)
	}},
	{name: "words/reaped: the result and 0", source: twoWords, run: func(r *rig) {
		j := r.read(r.file(8), 3, 8)
		r.start(j)
		r.reap(j, 5, 0)
		r.wantWords("after the reap", j, 5, 0)
	}},
	{name: "words/reaped after a failure: -1 and the errno", source: twoWords, run: func(r *rig) {
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		r.start(j)
		r.wait(j)
		r.wantWords("before the reap", j, -1, aio.EINPROGRESS)
		r.reap(j, -1, aio.EISDIR)
		r.wantWords("after the reap", j, -1, aio.EISDIR)
	}},
	{name: "words/cancelled: the same until reaped", source: "FreeBSD sys/kern/vfs_aio.c, aio_cancel", run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.wantWords("after aio_cancel", j, -1, aio.EINPROGRESS)
		r.reap(j, -1, aio.ECANCELED)
		r.wantWords("after the reap", j, -1, aio.ECANCELED)
	}},
	{name: "words/NOP: -1 and 0", source: aqueue, run: func(r *rig) {
		j := r.nop(r.file(0))
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
		r.wantWords("after the call", j, -1, 0)
	}},
	{name: "words/a list refused as a whole leaves them", source: "FreeBSD sys/kern/vfs_aio.c, kern_lio_listio", run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		_, errno := r.list(7, nil, j)
		r.want("lio_listio", errno, aio.EINVAL)
		if j.cb.Touched() {
			r.Error("the kernel has written to the block")
		}
	}},
	{name: "words/a new submission resets them", source: aqueue, run: func(r *rig) {
		fd := r.file(8)
		j := r.read(fd, 0, 8)
		r.start(j)
		r.reap(j, 8, 0)
		r.reread(j, fd, 2, 4, aio.Sigevent{})
		r.start(j)
		r.reap(j, 4, 0)
		r.wantPattern(j.buf, 2)
	}},
	{name: "words/a refused block may be submitted again", source: aqueue, run: func(r *rig) {
		j := r.read(noFd, 0, 8)
		r.refused(j, aio.EBADF)
		j.cb.Fd = int32(r.file(8))
		r.start(j)
		r.reap(j, 8, 0)
	}},

	{name: "resubmit/in flight: two jobs, one event, with the second's udata", source: "FreeBSD sys/kern/kern_event.c, kqueue_register", run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.notify(j, 0, 1)
		r.start(j)
		s.stall(j)
		r.reread(j, s.fd, 0, 1, r.kevent(0, 2))
		r.start(j)
		r.quiet("while both wait")
		s.letGo()
		r.wantEvent(j, 0, 0, 2)
		r.wantReturn(j, 1, 0)
		r.returnSoon(j, 1, 0)
		r.wantReturn(j, -1, aio.EINVAL)
		r.quiet("after both were reaped")
	}},
	{name: "resubmit/in flight, the one-shot event not fetched: one event", source: "FreeBSD sys/kern/kern_event.c, kqueue_register", run: func(r *rig) {
		fd := r.file(8)
		j := r.notify(r.read(fd, 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.reread(j, fd, 0, 8, r.kevent(aio.EvOneshot, 2))
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 2)
		r.returnSoon(j, 8, 0)
		r.returnSoon(j, 8, 0)
		r.quiet("after both were reaped")
	}},
	{name: "resubmit/finished, its one-shot event fetched: a second event", source: "seen on 13.2 and 15", run: func(r *rig) {
		fd := r.file(8)
		j := r.notify(r.read(fd, 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reread(j, fd, 0, 8, r.kevent(aio.EvOneshot, 2))
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 2)
		r.returnSoon(j, 8, 0)
		r.returnSoon(j, 8, 0)
		r.wantReturn(j, -1, aio.EINVAL)
	}},
	{name: "resubmit/aio_error answers for the oldest, aio_return reaps the first to finish", source: "FreeBSD sys/kern/vfs_aio.c, kern_aio_error and kern_aio_return", run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.reread(j, r.file(8), 0, 8, r.kevent(aio.EvOneshot, 2))
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 2)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		r.wantReturn(j, 8, 0)
		r.want("aio_error of the other", r.k.Error(j.cb), aio.EINPROGRESS)
		s.letGo()
		r.reap(j, 1, 0)
	}},
	{name: "resubmit/in flight: aio_cancel takes the first", source: "FreeBSD sys/kern/vfs_aio.c, sys_aio_cancel", run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		s.stall(j)
		r.reread(j, s.fd, 0, 1, aio.Sigevent{})
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.wantReturn(j, -1, aio.ECANCELED)
		r.want("aio_error of the second", r.k.Error(j.cb), aio.EINPROGRESS)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.wantReturn(j, -1, aio.ECANCELED)
		r.wantCancel(s.fd, j.cb, aio.AllDone)
	}},
	{name: "resubmit/one block twice in a list: two jobs", source: aqueue, run: func(r *rig) {
		// A write: two reads would race for the one buffer.
		j := r.notify(r.write(r.file(8), 0, "12345678"), 0, 1)
		_, errno := r.list(aio.ListNoWait, nil, j, j)
		r.want("lio_listio", errno, 0)
		r.wantEvent(j, 0, 0, 1)
		r.returnSoon(j, 8, 0)
		r.returnSoon(j, 8, 0)
		r.wantReturn(j, -1, aio.EINVAL)
		r.quiet("after both were reaped")
	}},
}

// returnSoon reaps a job of a block that has several: aio_error would answer
// for another of them.
func (r *rig) returnSoon(j *job, n int, errno aio.Errno) {
	r.Helper()
	for deadline := time.Now().Add(patience); ; r.pause(time.Millisecond) {
		got, e := r.k.Return(j.cb)
		if e == aio.EINVAL && errno != aio.EINVAL && time.Now().Before(deadline) {
			continue
		}
		if got != n || e != errno {
			r.Errorf("aio_return: %d, %s, want %d, %s", got, e.String(), n, errno.String())
		}
		return
	}
}
