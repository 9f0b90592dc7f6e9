//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// The caps on jobs, and lists that meet them. Lowered caps count for the whole
// system, so these cases are alone.

const caps = "FreeBSD sys/kern/vfs_aio.c, aio_aqueue: the limits come first"

// room leaves this process room for n jobs.
func (r *rig) room(n int) {
	r.Helper()
	r.setLimits(func(l *aio.Limits) { l.MaxQueuePerProc = n })
}

// reads are n reads of one byte each.
func (r *rig) reads(n int) []*job {
	fd := r.file(8)
	jobs := make([]*job, n)
	for i := range jobs {
		jobs[i] = r.read(fd, 0, 1)
	}
	return jobs
}

var limitCases = []testCase{
	{name: "limits/one job more than the process may have: EAGAIN", source: caps, alone: true, run: func(r *rig) {
		n := r.limits().MaxQueuePerProc
		jobs := r.reads(n + 1)
		r.start(jobs[:n]...)
		r.refused(jobs[n], aio.EAGAIN)
		r.reapAll(1, jobs[:n]...)
		r.start(jobs[n])
		r.reap(jobs[n], 1, 0)
	}},
	{name: "limits/only the reap frees a place", source: "FreeBSD sys/kern/vfs_aio.c, aio_free_entry", alone: true, run: func(r *rig) {
		r.room(2)
		jobs := r.reads(3)
		r.notify(jobs[0], aio.EvOneshot, 1)
		r.start(jobs[:2]...)
		r.wantEvent(jobs[0], aio.EvOneshot, 0, 1)
		r.wait(jobs[1])
		r.refused(jobs[2], aio.EAGAIN)
		r.reap(jobs[0], 1, 0)
		r.start(jobs[2])
		r.reapAll(1, jobs[1:]...)
	}},
	{name: "limits/a cancelled job has its place until the reap", source: "FreeBSD sys/kern/vfs_aio.c, aio_free_entry", alone: true, run: func(r *rig) {
		s := r.slow()
		next := r.read(r.file(8), 0, 8)
		r.room(1)
		j := s.read()
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.refused(next, aio.EAGAIN)
		r.wantReturn(j, -1, aio.ECANCELED)
		r.start(next)
		r.reap(next, 8, 0)
	}},
	{name: "limits/EAGAIN before every other fault", source: caps, alone: true, run: func(r *rig) {
		jobs := r.reads(1)
		bad := r.notify(r.read(noFd, -1, 1), aio.EvAdd, 1)
		bad.cb.Sigevent.Notify = 9
		r.room(1)
		r.start(jobs...)
		r.refused(bad, aio.EAGAIN)
		r.want("no block", r.k.Read(nil), aio.EAGAIN)
		r.refused(noArray(r.readv(noFd, 0, 8)), aio.EAGAIN)
		r.refused(r.fsync(noFd), aio.EAGAIN)
		r.reapAll(1, jobs...)
		r.refused(r.read(noFd, -1, 1), aio.EBADF)
	}},
	{name: "limits/a NOP takes no place", source: aqueue, alone: true, run: func(r *rig) {
		r.room(1)
		nop := r.nop(r.file(0))
		for range 3 {
			_, errno := r.list(aio.ListNoWait, nil, nop)
			r.want("lio_listio", errno, 0)
		}
		jobs := r.reads(1)
		r.start(jobs...)
		_, errno := r.list(aio.ListNoWait, nil, nop)
		r.want("lio_listio of a NOP, no place left", errno, aio.EAGAIN)
		r.reapAll(1, jobs...)
	}},
	{name: "limits/a refused job takes no place", source: aqueue, alone: true, run: func(r *rig) {
		r.room(1)
		bad := r.read(noFd, 0, 1)
		for range 3 {
			r.refused(bad, aio.EBADF)
		}
		null := r.read(r.null(), 0, 1)
		r.refused(null, aio.EOPNOTSUPP)
		jobs := r.reads(1)
		r.start(jobs...)
		r.reapAll(1, jobs...)
	}},
	{name: "limits/a raised limit counts at once", source: caps, alone: true, run: func(r *rig) {
		r.room(1)
		jobs := r.reads(2)
		r.start(jobs[0])
		r.refused(jobs[1], aio.EAGAIN)
		r.room(2)
		r.start(jobs[1])
		r.reapAll(1, jobs...)
	}},
	{name: "limits/the whole system's limit", source: caps, alone: true, run: func(r *rig) {
		jobs := r.reads(3)
		r.setLimits(func(l *aio.Limits) { l.MaxQueue = r.before + 2 })
		r.start(jobs[:2]...)
		r.refused(jobs[2], aio.EAGAIN)
		r.reap(jobs[0], 1, 0)
		r.start(jobs[2])
		r.reapAll(1, jobs[1:]...)
	}},
	{name: "limits/num_queue_count is what is accepted and not reaped", source: "FreeBSD sys/kern/vfs_aio.c, num_queue_count", alone: true, run: func(r *rig) {
		jobs := r.reads(3)
		for i, j := range jobs {
			r.start(j)
			if got := r.limits().QueueCount; got != r.before+i+1 {
				r.Errorf("%d jobs counted, want %d", got, r.before+i+1)
			}
		}
		r.wait(jobs...)
		for i, j := range jobs {
			r.reap(j, 1, 0)
			if got := r.limits().QueueCount; got != r.before+len(jobs)-i-1 {
				r.Errorf("%d jobs counted, want %d", got, r.before+len(jobs)-i-1)
			}
		}
	}},

	{name: "limits/a list over the limit: EAGAIN, and the first are accepted", source: "lio_test.c, lio_listio_eagain_kevent; " + caps, alone: true, run: func(r *rig) {
		s := r.slow()
		stalled := s.read()
		jobs := r.reads(4)
		r.room(4)
		r.start(stalled)
		array, errno := r.list(aio.ListNoWait, r.listSig(1), jobs...)
		r.want("lio_listio", errno, aio.EAGAIN)
		for _, j := range jobs[:3] {
			r.wantWords("accepted", j, -1, aio.EINPROGRESS)
		}
		r.wantListEvent(array, 1)
		r.reapAll(1, jobs[:3]...)
		r.quiet("when the accepted are reaped")
		r.wantRefused(jobs[3], aio.EAGAIN)
		s.letGo()
		r.reap(stalled, 1, 0)
	}},
	{name: "limits/a list with no place for any: EAGAIN and no event", source: "FreeBSD PR 251515", alone: true, run: func(r *rig) {
		jobs := r.reads(3)
		r.room(2)
		r.start(jobs[0], r.reads(1)[0])
		other := r.jobs[len(r.jobs)-1]
		_, errno := r.list(aio.ListNoWait, r.listSig(1), jobs[1:]...)
		r.want("lio_listio", errno, aio.EAGAIN)
		r.wantRefused(jobs[1], aio.EAGAIN)
		r.wantRefused(jobs[2], aio.EAGAIN)
		r.reapAll(1, jobs[0], other)
	}},
	{name: "limits/a list over the limit, reaped meanwhile: EAGAIN, and the accepted are no prefix", source: "FreeBSD sys/kern/vfs_aio.c, kern_lio_listio: there is no early stop", alone: true, run: func(r *rig) {
		r.secondThread()
		// The first half of the list has room. What is parked in the queue makes
		// the next entries EAGAIN, and when that shows it is reaped, so that the last
		// ones have room again. Mostly the call is too quick for that.
		const half = 60
		fd := r.file(8)
		limit := r.limits().MaxQueuePerProc
		rounds := 300
		if r.target.IsModel {
			rounds = 5000
		}
		for range rounds {
			parked := make([]*job, 0, limit)
			for len(parked) < limit-half {
				parked = append(parked, r.read(fd, 0, 1))
			}
			r.start(parked...)
			r.wait(parked...)
			list := make([]*job, 0, limit)
			for len(list) < limit {
				list = append(list, r.read(fd, 0, 1))
			}
			reaped := make(chan struct{})
			go func() {
				defer close(reaped)
				for full := list[half].cb; !full.Touched() || full.ErrorWord() != aio.EAGAIN; {
					if list[limit-1].cb.Touched() {
						break
					}
				}
				for _, j := range parked {
					r.wantReturn(j, 1, 0)
				}
			}()
			array, errno := r.list(aio.ListNoWait, r.listSig(1), list...)
			<-reaped
			r.want("lio_listio", errno, aio.EAGAIN)
			r.wantListEvent(array, 1)
			gaps, accepted := 0, 0
			for i, j := range list {
				switch word := j.cb.ErrorWord(); {
				case word == aio.EINPROGRESS && i > 0 && list[i-1].cb.ErrorWord() == aio.EAGAIN:
					gaps++
					fallthrough
				case word == aio.EINPROGRESS:
					accepted++
				case word != aio.EAGAIN:
					r.Fatalf("entry %d has the word %s", i, word.String())
				}
			}
			for _, j := range list {
				if j.cb.ErrorWord() == aio.EINPROGRESS {
					r.reap(j, 1, 0)
				}
			}
			r.quiet("after the last reap")
			if accepted < half {
				r.Errorf("%d entries accepted, there was room for %d", accepted, half)
			}
			if gaps > 0 || r.Failed() {
				return
			}
			r.jobs = nil // they are reaped, and there are many
		}
		if r.target.IsModel { // it gives others their turn on purpose
			r.Fatalf("in %d rounds no list was accepted but for a prefix", rounds)
		}
		// Nothing makes the kernel give the other thread its turn within the call.
		r.Skipf("in %d rounds no place became free within the call", rounds)
	}},
	{name: "limits/a list over the limit with a refusal: EIO", source: listio, alone: true, run: func(r *rig) {
		s := r.slow()
		stalled := s.read()
		jobs := append([]*job{r.read(noFd, 0, 1)}, r.reads(2)...)
		r.room(3)
		r.start(stalled, r.read(s.fd, 0, 1))
		second := r.jobs[len(r.jobs)-1]
		if r.target.Stall == nil {
			s.pending++
		}
		array, errno := r.list(aio.ListNoWait, r.listSig(1), jobs...)
		r.want("lio_listio", errno, aio.EIO)
		r.wantWords("refused", jobs[0], -1, aio.EBADF)
		r.wantWords("accepted", jobs[1], -1, aio.EINPROGRESS)
		r.wantWords("no place", jobs[2], -1, aio.EAGAIN)
		r.wantListEvent(array, 1)
		r.reap(jobs[1], 1, 0)
		s.letGo()
		r.reapAll(1, stalled, second)
	}},
	{name: "limits/LIO_WAIT over the limit: EAGAIN, when the accepted have finished", source: listio, alone: true, run: func(r *rig) {
		s := r.slow()
		stalled := s.read()
		jobs := r.reads(2)
		r.room(2)
		r.start(stalled)
		_, errno := r.list(aio.ListWait, nil, jobs...)
		r.want("lio_listio", errno, aio.EAGAIN)
		r.reap(jobs[0], 1, 0)
		r.wantRefused(jobs[1], aio.EAGAIN)
		s.letGo()
		r.reap(stalled, 1, 0)
	}},
	{name: "limits/a list built before the limit shrank: EINVAL", source: listio, alone: true, run: func(r *rig) {
		jobs := r.reads(3)
		r.room(2)
		_, errno := r.list(aio.ListNoWait, r.listSig(1), jobs...)
		r.want("lio_listio", errno, aio.EINVAL)
		r.wantUntouched(jobs[0])
		_, errno = r.list(aio.ListNoWait, nil, jobs[:2]...)
		r.want("lio_listio as long as the limit", errno, 0)
		r.reapAll(1, jobs[:2]...)
	}},
	{name: "limits/no more jobs of a process run at once than max_aio_per_proc", source: "FreeBSD sys/kern/vfs_aio.c, aio_selectjob", alone: true, run: func(r *rig) {
		r.secondThread()
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe, l.MaxPerProc = true, 2 })
		// Two writes that fill their pipes: what comes out shows that daemons have them.
		var readers []int
		var stuck []*job
		for range 2 {
			reader, writer := r.pipe()
			j := r.write(writer, 0, repeat("p", 1<<20))
			r.start(j)
			fds := []unix.PollFd{{Fd: int32(reader), Events: unix.POLLIN}}
			for n := 0; n == 0; {
				n, _ = unix.Poll(fds, int(patience.Milliseconds()))
				n = max(n, 0) // EINTR
			}
			readers, stuck = append(readers, reader), append(stuck, j)
		}
		fd := r.file(8)
		third := r.read(fd, 0, 8)
		r.start(third)
		r.roundTrip()
		r.wantCancel(fd, third.cb, aio.Cancelled)
		r.wantReturn(third, -1, aio.ECANCELED)
		r.setLimits(func(l *aio.Limits) { l.MaxPerProc = 3 })
		again := r.read(fd, 0, 8)
		r.start(again)
		r.reap(again, 8, 0)
		for i, j := range stuck {
			r.want("aio_error of a write that found no room", r.k.Error(j.cb), aio.EINPROGRESS)
			r.wantCancel(int(j.cb.Fd), j.cb, aio.NotCancelled)
			r.receive(readers[i], 1<<20)
			r.reap(j, 1<<20, 0)
		}
	}},
	{name: "limits/more jobs than daemons all finish", source: "FreeBSD sys/kern/vfs_aio.c, aio_selectjob", alone: true, run: func(r *rig) {
		jobs := r.reads(4 * r.limits().MaxProcs)
		r.start(jobs...)
		r.reapAll(1, jobs...)
	}},
}
