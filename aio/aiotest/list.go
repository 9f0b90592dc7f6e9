//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// lio_listio and its event.

const (
	listio    = "FreeBSD sys/kern/vfs_aio.c, sys_lio_listio and kern_lio_listio"
	listEvent = "FreeBSD sys/kern/vfs_aio.c, kern_lio_listio, aio_bio_done_notify and filt_lio"
)

// listSig asks for a list event.
func (r *rig) listSig(udata uintptr) *aio.Sigevent {
	sig := r.kevent(0, udata)
	return &sig
}

// wantUntouched says that a call has not got as far as the entries.
func (r *rig) wantUntouched(j *job) {
	r.Helper()
	if j.cb.Touched() {
		r.Error("the kernel has written to the block")
	}
}

// listWait makes LIO_WAIT calls until none of the signals that Go's runtime
// sends its threads has ended one.
func (r *rig) listWait(sig *aio.Sigevent, jobs func() []*job) ([]*job, aio.Errno) {
	r.Helper()
	for range 100 {
		list := jobs()
		_, errno := r.list(aio.ListWait, sig, list...)
		if errno != aio.EINTR {
			return list, errno
		}
		for _, j := range list {
			r.wait(j)
			_, _ = r.k.Return(j.cb)
		}
	}
	r.Fatal("every LIO_WAIT was interrupted")
	return nil, 0
}

// badSigevents are refused for a list before any entry is looked at.
var badSigevents = []struct {
	name  string
	sig   aio.Sigevent
	errno func(*rig) aio.Errno
}{
	{"queue that is not open", aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: noFd}, always(aio.EBADF)},
	{"queue that is a file", aio.Sigevent{Notify: aio.NotifyKevent}, (*rig).notKqueue}, // the file is filled in
	{"SIGEV_THREAD", aio.Sigevent{Notify: 2}, always(aio.EINVAL)},
	{"unknown notification", aio.Sigevent{Notify: 9}, always(aio.EINVAL)},
	{"signal 0", aio.Sigevent{Notify: aio.NotifySignal}, always(aio.EINVAL)},
	{"signal 129", aio.Sigevent{Notify: aio.NotifySignal, Kqueue: 129}, always(aio.EINVAL)},
}

// badOpcodes are refused in a list.
var badOpcodes = []struct {
	name string
	op   aio.Opcode
}{
	{"sync", opSync}, {"datasync", opDataSync}, {"mlock", opMlock},
	{"0x03", 0x03}, {"0x77", 0x77}, {"-1", -1}, {"vectored alone", 0x04},
}

func listCases() []testCase {
	var cases []testCase
	for _, c := range badSigevents {
		cases = append(cases, testCase{name: "list/" + c.name, source: listio, run: func(r *rig) {
			j := r.read(r.file(8), 0, 8)
			sig := c.sig
			if sig.Notify == aio.NotifyKevent && sig.Kqueue == 0 {
				sig.Kqueue = j.cb.Fd
			}
			_, errno := r.list(aio.ListNoWait, &sig, j)
			r.want("lio_listio", errno, c.errno(r))
			r.wantUntouched(j)
		}})
	}
	for _, c := range badOpcodes {
		cases = append(cases, testCase{name: "list/opcode " + c.name + " is refused", source: aqueue + "; lio_test.c, lio_listio_invalid_opcode", run: func(r *rig) {
			fd := r.file(8)
			good, bad := r.read(fd, 0, 8), r.read(fd, 0, 0)
			bad.cb.Opcode = c.op
			_, errno := r.list(aio.ListNoWait, nil, good, bad)
			r.want("lio_listio", errno, aio.EIO)
			r.wantRefused(bad, aio.EINVAL)
			r.reap(good, 8, 0)
		}})
	}
	return append(cases, listRules...)
}

var listRules = []testCase{
	{name: "list/unknown mode", source: listio, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		for _, mode := range []aio.ListMode{2, -1} {
			_, errno := r.list(mode, nil, j)
			r.want("lio_listio", errno, aio.EINVAL)
		}
		r.wantUntouched(j)
	}},
	{name: "list/longer than the limit", source: listio, run: func(r *rig) {
		fd := r.file(8)
		jobs := make([]*job, r.limits().MaxQueuePerProc+1)
		for i := range jobs {
			jobs[i] = r.read(fd, 0, 1)
		}
		_, errno := r.list(aio.ListNoWait, r.listSig(1), jobs...)
		r.want("lio_listio", errno, aio.EINVAL)
		r.wantUntouched(jobs[0])
	}},
	{name: "list/as long as the limit, of nothing", source: listio, run: func(r *rig) {
		_, errno := r.list(aio.ListNoWait, nil, make([]*job, r.limits().MaxQueuePerProc)...)
		r.want("lio_listio", errno, 0)
	}},
	{name: "list/empty: 0 and no event", source: "lio_test.c, lio_listio_empty_nowait_kevent (PR 251515)", run: func(r *rig) {
		_, errno := r.list(aio.ListNoWait, r.listSig(1))
		r.want("lio_listio", errno, 0)
		r.quiet("after an empty list")
	}},
	{name: "list/empty, LIO_WAIT: 0", source: "lio_test.c, lio_listio_empty_wait", run: func(r *rig) {
		_, errno := r.list(aio.ListWait, nil)
		r.want("lio_listio", errno, 0)
	}},
	{name: "list/only NULL entries: 0 and no event", source: listio, run: func(r *rig) {
		array, errno := r.list(aio.ListNoWait, r.listSig(1), nil, nil, nil)
		r.want("lio_listio", errno, 0)
		r.quiet("after a list of nothing")
		r.want("delete of its event", r.change(aio.Kevent{Ident: arrayIdent(array), Filter: aio.FilterLIO, Flags: aio.EvDelete}), aio.ENOENT)
	}},
	{name: "list/NULL entries are skipped", source: listio, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.read(fd, 0, 8), r.read(fd, 4, 8)
		array, errno := r.list(aio.ListNoWait, r.listSig(5), nil, a, nil, nil, b, nil)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 5)
		r.reap(a, 8, 0)
		r.reap(b, 4, 0)
	}},
	{name: "list/NOP: 0 and no event", source: listio + "; aio_aqueue", run: func(r *rig) {
		j := r.notify(r.nop(r.file(0)), 0, 1)
		_, errno := r.list(aio.ListNoWait, r.listSig(2), j)
		r.want("lio_listio", errno, 0)
		r.quiet("after a NOP")
	}},
	{name: "list/NOP does not count for the event", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		nop, j := r.nop(fd), r.read(fd, 0, 8)
		array, errno := r.list(aio.ListNoWait, r.listSig(2), nop, j, nop)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 2)
		r.reap(j, 8, 0)
	}},
	{name: "list/NOP with a descriptor that is not open", source: aqueue, run: func(r *rig) {
		j := r.nop(noFd)
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, aio.EIO)
		r.wantRefused(j, aio.EBADF)
	}},
	{name: "list/NOP may have a negative offset", source: aqueue, run: func(r *rig) {
		j := r.nop(r.file(0))
		j.cb.Offset = -1
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
	}},
	{name: "list/NOP on a pipe", source: aqueue, run: func(r *rig) {
		p, _ := r.pipe()
		_, errno := r.list(aio.ListNoWait, nil, r.nop(p))
		r.want("lio_listio", errno, 0)
	}},

	{name: "list/all refused: EIO and no event", source: "FreeBSD PR 251515", run: func(r *rig) {
		a, b := r.read(noFd, 0, 8), r.write(r.readOnly(), 0, "x")
		_, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, aio.EIO)
		r.wantRefused(a, aio.EBADF)
		r.wantRefused(b, aio.EBADF)
	}},
	{name: "list/some refused: EIO, an event for the others", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		jobs := []*job{r.read(fd, 0, 8), r.read(noFd, 0, 8), r.read(fd, 0, 8), r.read(fd, -1, 8), r.read(r.null(), 0, 8)}
		array, errno := r.list(aio.ListNoWait, r.listSig(3), jobs...)
		r.want("lio_listio", errno, aio.EIO)
		r.wantWords("accepted", jobs[0], -1, aio.EINPROGRESS)
		r.wantWords("refused for its descriptor", jobs[1], -1, aio.EBADF)
		r.wantWords("accepted after a refusal", jobs[2], -1, aio.EINPROGRESS)
		r.wantWords("refused for its offset", jobs[3], -1, aio.EINVAL)
		r.wantWords("refused for its file", jobs[4], -1, aio.EOPNOTSUPP)
		r.wantListEvent(array, 3)
		r.reapAll(8, jobs[0], jobs[2])
	}},
	{name: "list/an entry's bad event refuses that entry", source: aqueue, run: func(r *rig) {
		fd := r.file(8)
		good, bad := r.notify(r.read(fd, 0, 8), aio.EvOneshot, 1), r.notify(r.read(fd, 0, 8), aio.EvAdd, 2)
		_, errno := r.list(aio.ListNoWait, nil, bad, good)
		r.want("lio_listio", errno, aio.EIO)
		r.wantWords("refused", bad, -1, aio.EINVAL)
		r.wantEvent(good, aio.EvOneshot, 0, 1)
		r.reap(good, 8, 0)
	}},
	{name: "list/a job's failure is not the list's", source: listio, run: func(r *rig) {
		j := r.read(r.open(r.TempDir(), unix.O_RDONLY), 0, 512)
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
		r.reap(j, -1, aio.EISDIR)
	}},

	{name: "list/LIO_WAIT returns when all have finished and reaps none", source: listio, run: func(r *rig) {
		fd := r.file(64)
		jobs, errno := r.listWait(nil, func() (jobs []*job) {
			for i := range 8 {
				jobs = append(jobs, r.read(fd, int64(i), 8))
			}
			return jobs
		})
		r.want("lio_listio", errno, 0)
		for _, j := range jobs {
			r.want("aio_error", r.k.Error(j.cb), 0)
			r.wantWords("not reaped", j, -1, aio.EINPROGRESS)
			r.wantReturn(j, 8, 0)
		}
	}},
	{name: "list/LIO_WAIT: a job's failure is not the list's", source: listio, run: func(r *rig) {
		dir := r.open(r.TempDir(), unix.O_RDONLY)
		jobs, errno := r.listWait(nil, func() []*job { return []*job{r.read(dir, 0, 512)} })
		r.want("lio_listio", errno, 0)
		r.reap(jobs[0], -1, aio.EISDIR)
	}},
	{name: "list/LIO_WAIT: a refusal is, after the others have finished", source: listio, run: func(r *rig) {
		fd := r.file(8)
		jobs := []*job{r.read(fd, 0, 8), r.read(noFd, 0, 8)}
		_, errno := r.list(aio.ListWait, nil, jobs...)
		r.want("lio_listio", errno, aio.EIO)
		r.reap(jobs[0], 8, 0)
		r.wantRefused(jobs[1], aio.EBADF)
	}},
	{name: "list/LIO_WAIT does not look at the sigevent", source: listio, run: func(r *rig) {
		fd := r.file(8)
		jobs, errno := r.listWait(&aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: noFd}, func() []*job { return []*job{r.read(fd, 0, 8)} })
		r.want("lio_listio", errno, 0)
		r.reap(jobs[0], 8, 0)
	}},
	{name: "list/LIO_WAIT gives no list event", source: listio, run: func(r *rig) {
		fd := r.file(8)
		jobs, errno := r.listWait(r.listSig(1), func() []*job { return []*job{r.read(fd, 0, 8)} })
		r.want("lio_listio", errno, 0)
		r.quiet("after LIO_WAIT")
		r.reap(jobs[0], 8, 0)
	}},
	{name: "list/LIO_WAIT: the entries' own events are there", source: "seen on 13.2 and 15", run: func(r *rig) {
		fd := r.file(8)
		jobs, errno := r.listWait(nil, func() []*job { return []*job{r.notify(r.read(fd, 0, 8), 0, 4)} })
		r.want("lio_listio", errno, 0)
		r.wantEvent(jobs[0], 0, 0, 4)
		r.reap(jobs[0], 8, 0)
	}},

	{name: "list/the event has the array's address, the udata and nothing else", source: listEvent, run: func(r *rig) {
		j := r.write(r.file(0), 0, "abc")
		array, errno := r.list(aio.ListNoWait, r.listSig(0x1234), j)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 0x1234)
		r.reap(j, 3, 0)
		r.quiet("after the reap")
	}},
	{name: "list/the event waits for the last job", source: listEvent, run: func(r *rig) {
		s := r.slow()
		quick, late := r.read(r.file(8), 0, 8), s.read()
		array, errno := r.list(aio.ListNoWait, r.listSig(1), quick, late)
		r.want("lio_listio", errno, 0)
		r.wait(quick)
		r.quiet("while one job waits")
		s.letGo()
		r.wantListEvent(array, 1)
		r.want("aio_error of the last", r.k.Error(late.cb), 0)
		r.reap(quick, 8, 0)
		r.reap(late, 1, 0)
	}},
	{name: "list/the event comes again until the last reap", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.read(fd, 0, 8), r.read(fd, 0, 8)
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 1)
		r.wantListEvent(array, 1)
		r.reap(a, 8, 0)
		r.wantListEvent(array, 1)
		r.reap(b, 8, 0)
		r.quiet("after the last reap")
	}},
	{name: "list/the event cannot be one-shot", source: listEvent, run: func(r *rig) {
		sig := r.kevent(aio.EvOneshot, 1)
		j := r.read(r.file(8), 0, 8)
		array, errno := r.list(aio.ListNoWait, &sig, j)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 1)
		r.wantListEvent(array, 1)
		r.reap(j, 8, 0)
	}},
	{name: "list/flags that an entry may not have do not matter", source: listEvent, run: func(r *rig) {
		sig := r.kevent(aio.EvAdd|aio.EvReceipt, 1)
		j := r.read(r.file(8), 0, 8)
		array, errno := r.list(aio.ListNoWait, &sig, j)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 1)
		r.reap(j, 8, 0)
	}},
	{name: "list/the event may be deleted", source: listEvent, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		array, _ := r.list(aio.ListNoWait, r.listSig(1), j)
		r.wantListEvent(array, 1)
		del := aio.Kevent{Ident: arrayIdent(array), Filter: aio.FilterLIO, Flags: aio.EvDelete}
		r.want("delete", r.change(del), 0)
		r.quiet("after the delete")
		r.want("second delete", r.change(del), aio.ENOENT)
		r.reap(j, 8, 0)
	}},
	{name: "list/the event may be disabled and enabled", source: listEvent, run: func(r *rig) {
		j := r.read(r.file(8), 0, 8)
		array, _ := r.list(aio.ListNoWait, r.listSig(1), j)
		r.wantListEvent(array, 1)
		ev := aio.Kevent{Ident: arrayIdent(array), Filter: aio.FilterLIO, Flags: aio.EvDisable}
		r.want("disable", r.change(ev), 0)
		r.quiet("while it is disabled")
		ev.Flags, ev.Udata = aio.EvEnable, 2
		r.want("enable", r.change(ev), 0)
		r.wantListEvent(array, 2)
		r.reap(j, 8, 0)
	}},
	{name: "list/the event deleted before it is due does not come", source: listEvent, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		array, _ := r.list(aio.ListNoWait, r.listSig(1), j)
		r.want("delete", r.change(aio.Kevent{Ident: arrayIdent(array), Filter: aio.FilterLIO, Flags: aio.EvDelete}), 0)
		s.letGo()
		r.wait(j)
		r.quiet("after the job")
		r.reap(j, 1, 0)
	}},
	{name: "list/all reaped before the event is fetched: it is lost", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.read(fd, 0, 8), r.read(fd, 0, 8)
		_, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, 0)
		r.reapAll(8, a, b)
		r.quiet("after the last reap")
	}},
	{name: "list/some reaped before the others finish: it comes for these", source: listEvent, run: func(r *rig) {
		s := r.slow()
		quick, late := r.read(r.file(8), 0, 8), s.read()
		array, errno := r.list(aio.ListNoWait, r.listSig(1), quick, late)
		r.want("lio_listio", errno, 0)
		r.reap(quick, 8, 0)
		r.quiet("while one job waits")
		s.letGo()
		r.wantListEvent(array, 1)
		r.reap(late, 1, 0)
	}},
	{name: "list/a cancelled job counts as finished", source: listEvent, run: func(r *rig) {
		s := r.slow()
		a, b := s.read(), s.read()
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, 0)
		r.wantCancel(s.fd, nil, aio.Cancelled)
		r.wantListEvent(array, 1)
		r.wantReturn(a, -1, aio.ECANCELED)
		r.wantReturn(b, -1, aio.ECANCELED)
	}},
	{name: "list/an event for each entry and one for the list", source: listEvent, run: func(r *rig) {
		const n = 8
		fd := r.file(64)
		var jobs []*job
		for i := range n {
			jobs = append(jobs, r.notify(r.read(fd, int64(i), 8), aio.EvOneshot, uintptr(100+i)))
		}
		array, errno := r.list(aio.ListNoWait, r.listSig(99), jobs...)
		r.want("lio_listio", errno, 0)
		seen := map[uintptr]bool{}
		for len(seen) < n+1 {
			ev := r.event()
			switch {
			case ev.Filter == aio.FilterLIO && ev.Ident == arrayIdent(array) && ev.Udata == 99:
				for _, j := range jobs {
					r.want("aio_error when the list's event is there", r.k.Error(j.cb), 0)
				}
			case ev.Filter == aio.FilterAIO && ev.Udata-100 < n && ev.Ident == jobs[ev.Udata-100].ident() && !seen[ev.Udata]:
			default:
				r.Fatalf("unexpected event %+v", ev)
			}
			seen[ev.Udata] = true
		}
		r.reapAll(8, jobs...)
		r.quiet("after the last reap")
	}},
	{name: "list/two lists have two events", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.read(fd, 0, 8), r.read(fd, 0, 8)
		first, _ := r.list(aio.ListNoWait, r.listSig(1), a)
		r.wantListEvent(first, 1)
		r.reap(a, 8, 0)
		second, _ := r.list(aio.ListNoWait, r.listSig(2), b)
		r.wantListEvent(second, 2)
		r.reap(b, 8, 0)
	}},
	{name: "list/the array in use: no event for the second, its udata for the first", source: "nix issue 870; FreeBSD sys/kern/kern_event.c, kqueue_register", run: func(r *rig) {
		s, other := r.slow(), r.slow()
		a, b := s.read(), other.read()
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a)
		r.want("first lio_listio", errno, 0)
		array[0] = b.cb
		r.want("second lio_listio", r.k.ListIO(aio.ListNoWait, array, r.listSig(2)), 0)
		other.letGo()
		r.wait(b)
		r.quiet("when the second has finished")
		s.letGo()
		r.wantListEvent(array, 2)
		r.reap(a, 1, 0)
		r.quiet("when the first is reaped")
		r.reap(b, 1, 0)
	}},
	{name: "list/the array free again: an event for each", source: listEvent, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.read(fd, 0, 8), r.read(fd, 0, 8)
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a)
		r.want("first lio_listio", errno, 0)
		r.wantListEvent(array, 1)
		r.reap(a, 8, 0)
		array[0] = b.cb
		r.want("second lio_listio", r.k.ListIO(aio.ListNoWait, array, r.listSig(2)), 0)
		r.wantListEvent(array, 2)
		r.reap(b, 8, 0)
	}},
	{name: "list/the array may be changed after the call", source: listio, run: func(r *rig) {
		s := r.slow()
		a, b := s.read(), s.read()
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, 0)
		array[0], array[1] = nil, nil
		s.letGo()
		r.wantListEvent(array, 1)
		r.reapAll(1, a, b)
	}},

	{name: "list/vectored entries", source: "FreeBSD review D31627", needs: vectoredLists, run: func(r *rig) {
		fd := r.file(8)
		a, b := r.readv(fd, 1, 3, 4), r.writev(fd, 8, "ab", "", "cde")
		array, errno := r.list(aio.ListNoWait, r.listSig(1), a, b)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 1)
		r.reap(a, 7, 0)
		r.reap(b, 5, 0)
		r.wantPattern(a.buf, 1)
		r.wantContent(fd, 8, "abcde")
	}},
	{name: "list/vectored entries are refused where they are not known", source: "seen on 13.2", run: func(r *rig) {
		if r.target.Osreldate >= vectoredLists.since {
			r.Skip("they are known here")
		}
		j := r.readv(r.file(8), 0, 4, 4)
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, aio.EIO)
		r.wantRefused(j, aio.EINVAL)
	}},
	{name: "list/LIO_FOFFSET uses and moves the file's own offset", source: "aio_read(2), AIO_OP2_FOFFSET", needs: listOffset, run: func(r *rig) {
		fd := r.file(8)
		if _, err := unix.Seek(fd, 5, 0); err != nil {
			r.Fatal(err)
		}
		j := r.read(fd, 0, 2)
		j.cb.Opcode |= opFoffset
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, 0)
		r.reap(j, 2, 0)
		r.wantPattern(j.buf, 5)
		if off, err := unix.Seek(fd, 0, 1); off != 7 || err != nil {
			r.Errorf("the offset is %d (%v), want 7", off, err)
		}
	}},
	{name: "list/LIO_FOFFSET with a negative offset", source: aqueue, needs: listOffset, run: func(r *rig) {
		j := r.read(r.file(8), -1, 2)
		j.cb.Opcode |= opFoffset
		_, errno := r.list(aio.ListNoWait, nil, j)
		r.want("lio_listio", errno, aio.EIO)
		r.wantRefused(j, aio.EINVAL)
	}},
}
