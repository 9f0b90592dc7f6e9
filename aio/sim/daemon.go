//go:build unix

package sim

import (
	"github.com/aioring/aioring/aio"
)

// The aiod pool. Jobs start in order of submission, except those of a process
// that already has MaxPerProc running, and those that a test holds; they finish
// in any order. Unlike the kernel's, a daemon with nothing to do ends at once:
// goroutines are cheap to start, and an idle process has none. In stepped mode
// daemons are no goroutines but a number, and live as the kernel's do: see
// step.go.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_daemon, aio_selectjob,
// aio_kick_nowait.

// schedule puts a job on the run queue.
func (s *System) schedule(j *job) {
	j.state = queued
	s.runq.push(&j.run)
	s.kick()
}

// runnable finds the job that the next daemon would take.
func (s *System) runnable() *job {
	for e := s.runq.head; e != nil; e = e.next {
		if j := e.v; j.k.held == 0 && j.k.active < s.limits.MaxPerProc && !j.gate.holds(s) {
			return j
		}
	}
	return nil
}

// kick starts a daemon if there is work that none is on its way to. Each daemon
// kicks again when it has taken a job, so a burst gets as many as it can use:
// one that blocks has left a successor, and quick jobs are done by few.
func (s *System) kick() {
	if s.stepped != nil {
		s.kickStepped()
		return
	}
	if s.starting > 0 || s.daemons >= s.limits.MaxProcs || s.runnable() == nil {
		return
	}
	s.starting++
	s.daemons++
	go s.entry()
}

func (s *System) daemon() {
	s.lock()
	s.starting--
	for {
		j := s.runnable()
		if j == nil || s.daemons > s.limits.MaxProcs {
			break
		}
		s.take(j, true)
		s.kick()
		s.unlock()
		status, errno := j.perform()
		s.lock()
		s.finishActive(j, status, errno)
	}
	s.daemons--
	s.kick() // in case this one leaves because there are too many of others
	s.quiet.Broadcast()
	s.unlock()
}

// take makes a queued job active: from here on it cannot be cancelled.
func (s *System) take(j *job, daemon bool) {
	s.runq.remove(&j.run)
	j.state = active
	j.k.active++
	if s.stepped != nil {
		s.takeStepped(j, daemon)
	}
}

// runHere does a queued job to its end in the calling goroutine. In stepped mode
// it may stop on the way, where it is held.
func (s *System) runHere(j *job) {
	s.take(j, false)
	if s.stepped != nil {
		s.hurry(j)
		return
	}
	s.unlock()
	status, errno := j.perform()
	s.lock()
	s.finishActive(j, status, errno)
}

func (s *System) finishActive(j *job, status int, errno aio.Errno) {
	k := j.k
	k.active--
	k.finish(j, status, errno)
	if k.dead {
		s.quiet.Broadcast()
	}
}

// finish is aio_complete and aio_bio_done_notify: the result, the job's event,
// the list's, the syncs that waited. User memory stays as it is until the reap.
func (k *Kernel) finish(j *job, status int, errno aio.Errno) {
	s := k.sys
	if errno != 0 {
		status = -1
	}
	j.status, j.errno = status, errno
	j.state = finished
	k.unfinished.remove(&j.list)
	k.done.push(&j.list)
	k.stats.Finished++
	j.doneSeq = k.stats.Finished
	if t := s.tracer; t != nil {
		t.begin(s, k, "finish").job(j).result(status, errno).end()
	}
	if !j.sync() && !j.mlock() {
		j.file.transfers--
	}
	listDone := false
	if l := j.lio; l != nil {
		l.finished++
		listDone = l.count == l.finished
	}
	if !k.dead {
		if j.signal != 0 {
			k.raise(Signal{j.signal, j.udata})
		}
		if j.note != nil {
			j.note.activate()
		}
		if listDone {
			k.post(j.lio)
		}
	}
	if j.checkSync {
		k.releaseSyncs(j)
	}
	s.wakeAll(&k.listWaits, 0)
}

// releaseSyncs schedules the syncs that waited for j last.
func (k *Kernel) releaseSyncs(j *job) {
	for e := k.syncq.head; e != nil; {
		next := e.next
		if sync := e.v; sync.file == j.file && j.seq < sync.seq {
			sync.pending--
			if sync.pending == 0 {
				k.syncq.remove(e)
				k.sys.schedule(sync)
			}
		}
		e = next
	}
}

// perform does the job's work, in the daemon, without the lock.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_process_rw, aio_process_sync and
// aio_process_mlock.
func (j *job) perform() (status int, errno aio.Errno) {
	k := j.k
	effect := k.askThere(func() Op { return opOfJob(j, Start) })
	if effect.Errno == 0 && effect.scribbled {
		k.sys.lock()
		k.sys.scribble(j, &effect)
		k.sys.unlock()
	}
	effect.wait()
	if effect.Errno != 0 {
		return -1, effect.Errno
	}
	j.lock()
	effect = k.askThere(func() Op { return opOfJob(j, Transfer) }).or(effect)
	k.sys.lock()
	j.verify()
	k.sys.unlock()
	status, errno = j.work(&effect)
	j.unlock()
	effect = k.askThere(func() Op { return opOfJob(j, Result) })
	effect.wait()
	if effect.Errno != 0 {
		return -1, effect.Errno
	}
	return status, errno
}

// The ways to have a vnode. Readers of one file share it, a writer has it alone,
// as with the vnode lock of UFS and tmpfs.
type lockKind uint8

const (
	unlocked lockKind = iota
	shared
	alone
)

func (j *job) lockKind() lockKind {
	switch {
	case j.mlock(), j.file == nil, j.direct, !j.write() && !j.sync() && j.nbytes == 0:
		return unlocked
	case j.write(), j.foffset, j.sync():
		return alone
	}
	return shared
}

func (j *job) lock() {
	switch j.lockKind() {
	case alone:
		j.file.vnode.Lock()
	case shared:
		j.file.vnode.RLock()
	}
}

func (j *job) unlock() {
	switch j.lockKind() {
	case alone:
		j.file.vnode.Unlock()
	case shared:
		j.file.vnode.RUnlock()
	}
}

// work is the job itself, with the vnode's lock and without the system's.
func (j *job) work(effect *Effect) (status int, errno aio.Errno) {
	switch {
	case effect.Errno != 0:
		return -1, effect.Errno
	case j.sync():
		return 0, j.file.sync(j.op == opDataSync)
	case j.mlock():
		return 0, lockMemory(j)
	}
	if j.direct {
		return j.file.disk.transfer(j, effect, false)
	}
	return j.transfer(effect)
}

// transfer moves the bytes.
func (j *job) transfer(effect *Effect) (int, aio.Errno) {
	if j.file.disk != nil {
		return j.file.disk.run(j)
	}
	limit := j.nbytes
	if effect.limited && effect.Limit < limit {
		limit = effect.Limit
	}
	if !j.write() && limit == 0 {
		return partial(0, effect.after) // the file is not touched
	}
	stream := j.foffset || !j.file.safe
	bad := false // the transfer would reach memory that is not there
	if reach := j.reach(); limit > reach {
		if j.write() || stream {
			return -1, aio.EFAULT
		}
		limit, bad = reach, true
	}
	t := transfer{
		fd:     j.file.host,
		open:   j.file.open,
		write:  j.write(),
		stream: stream,
		offset: j.offset,
	}
	var n int
	var errno aio.Errno
	if j.iov != nil && j.op&opVectored != 0 {
		n, errno = t.vector(j.iov, limit)
	} else {
		n, errno = t.plain(view[byte](j.buf, int(limit)))
	}
	if bad && errno == 0 && uintptr(n) == limit {
		// Only a file that goes on has anything to put there.
		t.offset = j.offset + int64(n)
		if more, errno := t.plain(make([]byte, 1)); more != 0 || errno != 0 {
			return -1, aio.EFAULT
		}
	}
	if errno == 0 && effect.after != 0 {
		return partial(n, effect.after)
	}
	return n, errno
}

// reach is how many bytes come before the first address that is none.
func (j *job) reach() uintptr {
	if !j.badAddr {
		return j.nbytes
	}
	n := uintptr(0)
	for i := range j.iov {
		if j.iov[i].Base == nil && j.iov[i].Len > 0 {
			break
		}
		n += j.iov[i].Len
	}
	return n
}
