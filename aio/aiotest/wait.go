//go:build unix

package aiotest

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// aio_suspend, aio_waitcomplete and aio_mlock.

const (
	suspend      = "FreeBSD sys/kern/vfs_aio.c, sys_aio_suspend and kern_aio_suspend"
	waitcomplete = "FreeBSD sys/kern/vfs_aio.c, kern_aio_waitcomplete"
	mlock        = "FreeBSD sys/kern/vfs_aio.c, aio_aqueue and aio_process_mlock"
)

// suspend is aio_suspend, again after a signal.
func (r *rig) suspend(timeout time.Duration, jobs ...*job) aio.Errno {
	list := make([]*aio.ControlBlock, len(jobs))
	for i, j := range jobs {
		if j != nil {
			list[i] = j.cb
		}
	}
	for {
		if errno := r.k.Suspend(list, timeout); errno != aio.EINTR {
			return errno
		}
	}
}

// wantComplete is aio_waitcomplete, again after a signal. nil: no job.
func (r *rig) wantComplete(timeout time.Duration, j *job, n int, errno aio.Errno) {
	r.Helper()
	for {
		cb, got, e := r.k.WaitComplete(timeout)
		if e == aio.EINTR {
			continue
		}
		var want *aio.ControlBlock
		if j != nil {
			want = j.cb
		}
		if cb != want || got != n || e != errno {
			r.Errorf("aio_waitcomplete: %p, %d, %s, want %p, %d, %s", cb, got, e.String(), want, n, errno.String())
		}
		return
	}
}

// mlock locks n bytes of memory, which is unlocked at the end of the case.
func (r *rig) mlock(n int) *job {
	j := r.read(noFd, -1, n)
	j.op = opMlock
	r.Cleanup(func() { _ = unix.Munlock(j.buf) })
	return j
}

var waitCases = []testCase{
	{name: "suspend/before the process has used AIO: EAGAIN", source: suspend, alone: true, run: func(r *rig) {
		r.want("aio_suspend", r.suspend(0, r.read(r.file(8), 0, 8)), aio.EAGAIN)
	}},
	{name: "suspend/no jobs: 0", source: suspend, run: func(r *rig) {
		r.warmUp()
		r.want("aio_suspend", r.suspend(-1), 0)
	}},
	{name: "suspend/only NULL entries: 0", source: suspend, run: func(r *rig) {
		r.warmUp()
		r.want("aio_suspend", r.suspend(-1, nil, nil), 0)
	}},
	{name: "suspend/more than the limit: EINVAL", source: suspend, run: func(r *rig) {
		r.warmUp()
		r.want("aio_suspend", r.suspend(-1, make([]*job, r.limits().MaxQueuePerProc+1)...), aio.EINVAL)
	}},
	{name: "suspend/none of them known: 0", source: suspend, run: func(r *rig) {
		fd := r.file(8)
		never, refused, reaped := r.read(fd, 0, 8), r.read(noFd, 0, 8), r.read(fd, 0, 8)
		r.refused(refused, aio.EBADF)
		r.start(reaped)
		r.reap(reaped, 8, 0)
		r.want("aio_suspend", r.suspend(-1, never, refused, reaped), 0)
	}},
	{name: "suspend/one has finished: 0, and it is not reaped", source: suspend, run: func(r *rig) {
		s := r.slow()
		late, quick := s.read(), r.read(r.file(8), 0, 8)
		r.start(late, quick)
		r.want("aio_suspend", r.suspend(patience, late, nil, quick), 0)
		r.want("aio_suspend again", r.suspend(0, late, nil, quick), 0)
		r.wantReturn(quick, 8, 0)
		s.letGo()
		r.reap(late, 1, 0)
	}},
	{name: "suspend/none has finished, time over: EAGAIN", source: suspend, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.want("aio_suspend with no time", r.suspend(0, j), aio.EAGAIN)
		r.want("aio_suspend with little time", r.suspend(10*time.Millisecond, j), aio.EAGAIN)
		s.letGo()
		r.want("aio_suspend with time", r.suspend(patience, j), 0)
		r.reap(j, 1, 0)
	}},
	{name: "suspend/a job that is not listed does not end it", source: suspend, run: func(r *rig) {
		s := r.slow()
		late, quick := s.read(), r.read(r.file(8), 0, 8)
		r.start(late, quick)
		r.wait(quick)
		r.want("aio_suspend", r.suspend(10*time.Millisecond, late), aio.EAGAIN)
		s.letGo()
		r.reap(late, 1, 0)
		r.reap(quick, 8, 0)
	}},

	{name: "waitcomplete/no job: EAGAIN and no block", source: waitcomplete, run: func(r *rig) {
		r.wantComplete(0, nil, -1, aio.EAGAIN)
		r.wantComplete(10*time.Millisecond, nil, -1, aio.EAGAIN)
	}},
	{name: "waitcomplete/none has finished: EAGAIN and no block", source: waitcomplete, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.wantComplete(0, nil, -1, aio.EAGAIN)
		s.letGo()
		r.wantComplete(patience, j, 1, 0)
	}},
	{name: "waitcomplete/reaps, and the words change", source: waitcomplete, run: func(r *rig) {
		j := r.read(r.file(8), 3, 8)
		r.start(j)
		r.wantComplete(patience, j, 5, 0)
		r.wantWords("after the reap", j, 5, 0)
		r.wantReturn(j, -1, aio.EINVAL)
	}},
	{name: "waitcomplete/a failed job: its block and its errno", source: waitcomplete, run: func(r *rig) {
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		r.start(j)
		r.wantComplete(patience, j, -1, aio.EISDIR)
		r.wantWords("after the reap", j, -1, aio.EISDIR)
	}},
	{name: "waitcomplete/in order of completion", source: waitcomplete, run: func(r *rig) {
		s, fd := r.slow(), r.file(8)
		first, second, third := s.read(), r.read(fd, 0, 8), r.read(fd, 4, 8)
		r.start(first, second)
		r.wait(second)
		r.start(third)
		r.wait(third)
		s.letGo()
		r.wait(first)
		r.wantComplete(patience, second, 8, 0)
		r.wantComplete(patience, third, 4, 0)
		r.wantComplete(patience, first, 1, 0)
	}},
	{name: "waitcomplete/takes the job's event along, and its list's", source: waitcomplete, run: func(r *rig) {
		j := r.notify(r.read(r.file(8), 0, 8), 0, 1)
		_, errno := r.list(aio.ListNoWait, r.listSig(2), j)
		r.want("lio_listio", errno, 0)
		r.wantComplete(patience, j, 8, 0)
		r.quiet("after the reap")
	}},

	{name: "mlock/0, and no descriptor is looked at", source: mlock, run: func(r *rig) {
		j := r.notify(r.mlock(100), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reap(j, 0, 0)
	}},
	{name: "mlock/of memory that is not there: ENOMEM as the result", source: mlock, run: func(r *rig) {
		j := badBuffer(r.mlock(100))
		r.start(j)
		r.reap(j, -1, aio.ENOMEM)
	}},
	{name: "mlock/unknown notification: EINVAL", source: mlock, run: func(r *rig) {
		j := r.mlock(100)
		j.cb.Sigevent.Notify = 9
		r.refused(j, aio.EINVAL)
	}},
	{name: "mlock/no block: EFAULT", source: mlock, run: func(r *rig) {
		r.want("aio_mlock", r.k.Mlock(nil), aio.EFAULT)
	}},
}
