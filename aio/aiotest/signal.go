//go:build unix

package aiotest

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// SIGEV_SIGNAL, of jobs and of lists. A signal that must not come is looked for by
// one that must: of two that wait, the lower number is delivered first.

const (
	sendsig  = "FreeBSD sys/kern/vfs_aio.c, aio_sendsig and aio_bio_done_notify"
	listSign = "FreeBSD sys/kern/vfs_aio.c, aio_sendsig and kern_lio_listio"
)

const first, second = unix.SIGUSR1, unix.SIGUSR2

func signalBy(s unix.Signal) aio.Sigevent {
	return aio.Sigevent{Notify: aio.NotifySignal, Kqueue: int32(s)}
}

// noFirst says that the first signal has not come, by the second one's coming.
func (r *rig) noFirst() {
	r.Helper()
	j := r.read(r.file(8), 0, 8)
	j.cb.Sigevent = signalBy(second)
	r.start(j)
	r.wantSignal(second)
	r.reap(j, 8, 0)
}

var signalCases = []testCase{
	{name: "signal/when a job has finished", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first, second)
		s := r.slow()
		j := s.read()
		j.cb.Sigevent = signalBy(first)
		r.start(j)
		r.noFirst()
		s.letGo()
		r.wantSignal(first)
		r.want("aio_error", r.k.Error(j.cb), 0)
		r.wantReturn(j, 1, 0)
		r.noFirst()
	}},
	{name: "signal/when a job has failed", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first)
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		j.cb.Sigevent = signalBy(first)
		r.start(j)
		r.wantSignal(first)
		r.reap(j, -1, aio.EISDIR)
	}},
	{name: "signal/when a job is cancelled", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first)
		s := r.slow()
		j := s.read()
		j.cb.Sigevent = signalBy(first)
		r.start(j)
		r.wantCancel(s.fd, j.cb, aio.Cancelled)
		r.wantSignal(first)
		r.reap(j, -1, aio.ECANCELED)
	}},
	{name: "signal/not when a job is refused", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first, second)
		j := r.read(noFd, 0, 8)
		j.cb.Sigevent = signalBy(first)
		r.refused(j, aio.EBADF)
		r.noFirst()
	}},
	{name: "signal/when a sync has finished", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first)
		j := r.fsync(r.file(8))
		j.cb.Sigevent = signalBy(first)
		r.start(j)
		r.wantSignal(first)
		r.reap(j, 0, 0)
	}},
	{name: "signal/of a list, when all have finished", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first, second)
		s := r.slow()
		quick, late := r.read(r.file(8), 0, 8), s.read()
		sig := signalBy(first)
		_, errno := r.list(aio.ListNoWait, &sig, quick, late)
		r.want("lio_listio", errno, 0)
		r.reap(quick, 8, 0)
		r.noFirst()
		s.letGo()
		r.wantSignal(first)
		r.reap(late, 1, 0)
		r.noFirst()
	}},
	{name: "signal/of an empty list: at once", source: "lio_test.c, lio_listio_empty_nowait_signal; " + listSign, alone: true, run: func(r *rig) {
		r.catch(first)
		sig := signalBy(first)
		_, errno := r.list(aio.ListNoWait, &sig)
		r.want("lio_listio", errno, 0)
		r.wantSignal(first)
	}},
	{name: "signal/of a list of which nothing is accepted: at once", source: listSign, alone: true, run: func(r *rig) {
		r.catch(first)
		sig := signalBy(first)
		_, errno := r.list(aio.ListNoWait, &sig, r.read(noFd, 0, 8), r.nop(r.file(0)))
		r.want("lio_listio", errno, aio.EIO)
		r.wantSignal(first)
	}},
	{name: "signal/of a list, and of an entry", source: sendsig, alone: true, run: func(r *rig) {
		r.catch(first, second)
		j := r.read(r.file(8), 0, 8)
		j.cb.Sigevent = signalBy(first)
		sig := signalBy(second)
		_, errno := r.list(aio.ListNoWait, &sig, j)
		r.want("lio_listio", errno, 0)
		// Two threads of the process may each be given one.
		got := []unix.Signal{r.nextSignal(), r.nextSignal()}
		if slices.Sort(got); got[0] != first || got[1] != second {
			r.Errorf("signals %v, want %d and %d", got, first, second)
		}
		r.reap(j, 8, 0)
	}},
	{name: "signal/LIO_WAIT sends none", source: listSign, alone: true, run: func(r *rig) {
		r.catch(first, second)
		fd := r.file(8)
		sig := signalBy(first)
		jobs, errno := r.listWait(&sig, func() []*job { return []*job{r.read(fd, 0, 8)} })
		r.want("lio_listio", errno, 0)
		r.reap(jobs[0], 8, 0)
		r.noFirst()
	}},
}
