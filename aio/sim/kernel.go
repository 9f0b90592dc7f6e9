//go:build unix

package sim

import (
	"io"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Config says what to model. The zero value is a 15 kernel with FreeBSD's
// default limits and no faults.
type Config struct {
	Profile Profile
	System  *System // the machine to join; nil makes one of its own
	Faults  []Fault // asked in order, see Kernel.Inject

	// The machine to make; unused when System is set.
	Limits  aio.Limits // zero fields take FreeBSD's defaults
	Stepped bool       // one scheduler, a virtual clock: see System.Step
	Seed    uint64     // what the scheduler of stepped mode chooses by

	// Volume is what the files of Open lie on. nil: in stepped mode an empty
	// Memory, in threaded mode there are none. With a Volume descriptors are the
	// model's own, without one they are the host's.
	Volume Volume

	// HostFiles, in stepped mode: descriptors are the host's all the same. Then a
	// history depends on the host.
	HostFiles bool

	// Trace gets every history line. In threaded mode their order is that in which
	// they came.
	Trace io.Writer
}

// Kernel is one process under the modelled kernel. It implements [aio.Kernel];
// all methods may be called from any number of goroutines.
type Kernel struct {
	sys     *System
	profile Profile
	feat    features
	faults  atomic.Pointer[[]Fault] // replaced whole by Inject, read without the lock

	// Guarded by sys.mu. The names in brackets are those of struct kaioinfo.
	used       bool       // an AIO call has set up the process (p_aioinfo)
	dead       bool       // Shutdown has begun (KAIO_RUNDOWN)
	count      int        // accepted and not reaped (kaio_count)
	active     int        // run by daemons now (kaio_active_count)
	held       int        // Hold calls without their Release
	unfinished queue[job] // in order of submission (kaio_jobqueue)
	done       queue[job] // in order of completion (kaio_done)
	syncq      queue[job] // syncs waiting for earlier jobs (kaio_syncqueue)
	byAddr     table[job] // the live jobs (kaio_all), by the block's address
	listWaits  queue[waiter]
	files      []*file // the open files that jobs hold, by descriptor number
	kqueues    map[int]*kqueue
	orphans    []*kqueue    // closed, with somebody asleep inside
	table      *descriptors // of the model's own; nil: they are the host's
	opens      map[*OpenFile]*file
	pid        int
	calls      uint64 // submitting calls so far
	misuse     []Misuse
	stats      Stats
	signals    chan Signal
	buffers    int // mapped buffers in use (kaio_buffer_count)
}

var _ aio.Kernel = (*Kernel)(nil)

// New makes a process.
func New(cfg Config) *Kernel {
	s := cfg.System
	if s == nil {
		s = newSystem(&cfg)
	}
	k := &Kernel{
		sys:     s,
		profile: cfg.Profile,
		feat:    cfg.Profile.features(),
		kqueues: make(map[int]*kqueue),
	}
	s.lock()
	s.procs++
	k.pid = s.procs
	s.unlock()
	if s.volume != nil {
		k.table = new(descriptors)
		k.opens = make(map[*OpenFile]*file)
	}
	k.Inject(cfg.Faults...)
	return k
}

// Stats counts what has happened in one process.
type Stats struct {
	Accepted  uint64 // jobs taken
	Refused   uint64 // submissions answered with an errno
	Cancelled uint64 // jobs ended by Cancel or Shutdown
	Finished  uint64 // jobs finished, the cancelled ones included
	Reaped    uint64 // jobs returned
	Lists     uint64 // ListIO calls that reached their entries
	Kevents   uint64 // Kevent calls
	Events    uint64 // events delivered
	Sleeps    uint64 // Kevent calls that slept, each time they did

	Unfinished int // jobs queued or active now
	Done       int // jobs finished and not reaped now
	Active     int // jobs that daemons of the system run for this process now
	Daemons    int // daemons of the system now
}

// Stats is a snapshot.
func (k *Kernel) Stats() Stats {
	s := k.sys
	s.lock()
	defer s.unlock()
	st := k.stats
	st.Unfinished, st.Done = k.unfinished.n, k.done.n
	st.Active, st.Daemons = k.active, s.daemons
	return st
}

// Name is "sim".
func (k *Kernel) Name() string { return "sim" }

// Profile is the version that is modelled.
func (k *Kernel) Profile() Profile {
	if k.profile == VDefault {
		return V15
	}
	return k.profile
}

// Read is aio_read(2).
func (k *Kernel) Read(cb *aio.ControlBlock) aio.Errno { return k.submit("aio_read", cb, aio.OpRead) }

// Write is aio_write(2).
func (k *Kernel) Write(cb *aio.ControlBlock) aio.Errno { return k.submit("aio_write", cb, aio.OpWrite) }

// Readv is aio_readv(2).
func (k *Kernel) Readv(cb *aio.ControlBlock) aio.Errno { return k.submit("aio_readv", cb, aio.OpReadv) }

// Writev is aio_writev(2).
func (k *Kernel) Writev(cb *aio.ControlBlock) aio.Errno {
	return k.submit("aio_writev", cb, aio.OpWritev)
}

// Fsync is aio_fsync(2).
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_fsync.
func (k *Kernel) Fsync(op aio.SyncOp, cb *aio.ControlBlock) aio.Errno {
	switch op {
	case aio.Sync:
		return k.submit("aio_fsync", cb, opSync)
	case aio.DataSync:
		if k.feat.noDataSync {
			return aio.EINVAL
		}
		return k.submit("aio_fsync", cb, opDataSync)
	}
	return aio.EINVAL
}

// Mlock is aio_mlock(2).
func (k *Kernel) Mlock(cb *aio.ControlBlock) aio.Errno { return k.submit("aio_mlock", cb, opMlock) }

// Error is aio_error(2). Of several jobs under one address the oldest answers.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_error.
func (k *Kernel) Error(cb *aio.ControlBlock) aio.Errno {
	s := k.sys
	s.lock()
	errno := aio.EINVAL
	var j *job
	known := k.used
	if known {
		if l := k.byAddr.first(key(cb)); l != nil {
			j = l.v
			errno = aio.EINPROGRESS
			if j.state == finished {
				errno = j.errno
			}
		} else if cb != nil && mapped(cb) && cb.StatusWord() == -1 {
			// Unknown to the kernel, so user memory answers, if it looks like a
			// block that was refused or has failed.
			errno = cb.ErrorWord()
		}
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, "aio_error").job(j).result(int(errno), 0).end()
	}
	s.unlock()
	return errno
}

// Return is aio_return(2). Of several jobs under one address the one that
// finished first is reaped.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_return and aio_free_entry.
func (k *Kernel) Return(cb *aio.ControlBlock) (int, aio.Errno) {
	s := k.sys
	s.lock()
	var j *job
	for l := k.byAddr.first(key(cb)); l != nil; l = l.again() {
		if l.v.state == finished && (j == nil || l.v.doneSeq < j.doneSeq) {
			j = l.v
		}
	}
	if j == nil {
		if t := s.tracer; t != nil {
			t.begin(s, k, "aio_return").job(nil).result(-1, aio.EINVAL).end()
		}
		s.unlock()
		return -1, aio.EINVAL
	}
	return k.reap("aio_return", j)
}

// reap is the end of Return and WaitComplete: what the kernel holds is freed,
// and the words in user memory change. The lock is released.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_free_entry.
func (k *Kernel) reap(call string, j *job) (int, aio.Errno) {
	s := k.sys
	cb, status, errno := j.cb, j.status, j.errno
	if !j.inspect() {
		cb = nil
	}
	k.stats.Reaped++
	if t := s.tracer; t != nil {
		t.begin(s, k, call).job(j).result(status, errno).end()
	}
	hostFd := k.free(j)
	s.unlock()
	drop(hostFd)
	if cb != nil {
		cb.StoreWords(status, errno)
	}
	return status, errno
}

// Kqueue is kqueue(2). Among descriptors of the host the number is a real one, so
// that it never collides with a file's.
func (k *Kernel) Kqueue() (int, aio.Errno) {
	s := k.sys
	fd := -1
	if k.table == nil {
		var errno aio.Errno
		if fd, errno = openNull(); errno != 0 {
			return -1, errno
		}
	}
	s.lock()
	if k.dead {
		k.afterShutdown("kqueue")
		s.unlock()
		drop(fd)
		return -1, aio.ENOMEM
	}
	if k.table != nil {
		s.mutes++
		fd = k.table.add(&OpenFile{id: mute | s.mutes, typ: aio.TypeOther, kqueue: true, readable: true, writable: true})
	}
	k.kqueues[fd] = &kqueue{k: k, fd: fd, refs: 1}
	if t := s.tracer; t != nil {
		t.begin(s, k, "kqueue").result(fd, 0).end()
	}
	s.unlock()
	return fd, 0
}

// CloseKqueue is close(2) of a kqueue. Its knotes go with the last reference:
// a caller asleep in Kevent holds one, and sleeps on.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_close and kqueue_drain.
func (k *Kernel) CloseKqueue(fd int) aio.Errno {
	s := k.sys
	s.lock()
	kq := k.kqueues[fd]
	if kq == nil {
		s.unlock()
		return aio.EBADF
	}
	delete(k.kqueues, fd)
	if kq.refs > 1 {
		k.orphans = append(k.orphans, kq)
	}
	kq.release()
	if t := s.tracer; t != nil {
		t.begin(s, k, "close").num("kq", int64(fd)).end()
	}
	if k.table != nil {
		_ = k.table.remove(fd)
		fd = -1
	}
	s.unlock()
	drop(fd)
	return 0
}

// Kevent is kevent(2). All changes come first; if any of them is reported in
// events, no event is looked for.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_kevent and kqueue_scan.
func (k *Kernel) Kevent(fd int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	s := k.sys
	s.lock()
	kq, errno := k.kqueue(fd)
	if errno != 0 {
		s.unlock()
		return 0, errno
	}
	k.stats.Kevents++
	kq.refs++
	n, errno := 0, aio.Errno(0)
	if len(changes) > 0 {
		var stop bool
		n, errno, stop = kq.change(changes, events)
		if stop || n > 0 {
			events = nil // nothing is looked for
		}
	}
	if len(events) > 0 && errno == 0 {
		n, errno = kq.fetch(events, timeout)
		k.stats.Events += uint64(n)
	}
	kq.release()
	if t := s.tracer; t != nil {
		t.begin(s, k, "kevent").num("kq", int64(fd)).num("changes", int64(len(changes))).
			num("room", int64(len(events))).num("timeout", int64(timeout)).result(n, errno).end()
	}
	s.unlock()
	if errno != 0 {
		return 0, errno
	}
	return n, 0
}

// kqueue finds an event queue by number. The lock is released and taken again
// when there is none.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_acquire.
func (k *Kernel) kqueue(fd int) (*kqueue, aio.Errno) {
	if kq := k.kqueues[fd]; kq != nil {
		return kq, 0
	}
	if !k.isOpen(fd) {
		return nil, aio.EBADF
	}
	return nil, k.feat.notKqueue
}

// Signal makes every sleeping Kevent, LIO_WAIT, Suspend and WaitComplete of the
// process return EINTR, as a caught signal does (Go's runtime sends its threads SIGURG).
func (k *Kernel) Signal() {
	s := k.sys
	s.lock()
	if t := s.tracer; t != nil {
		t.begin(s, k, "signal").end()
	}
	k.interrupt(aio.EINTR)
	s.unlock()
}

func (k *Kernel) interrupt(errno aio.Errno) {
	k.sys.wakeAll(&k.listWaits, errno)
	for _, kq := range k.kqueues {
		k.sys.wakeAll(&kq.waiters, errno)
	}
	for _, kq := range k.orphans {
		k.sys.wakeAll(&kq.waiters, errno)
	}
}

// Limits are the sysctls in force now, and the system's queue count.
func (k *Kernel) Limits() (aio.Limits, error) {
	k.sys.lock()
	defer k.sys.unlock()
	l := k.sys.limits
	l.QueueCount = k.sys.queueCount
	return l, nil
}

// SetLimits changes the sysctls of the whole system.
func (k *Kernel) SetLimits(l aio.Limits) { k.sys.SetLimits(l) }

// Fstat is fstat(2).
func (k *Kernel) Fstat(fd int) (aio.FileStat, aio.Errno) {
	if k.table != nil {
		k.sys.lock()
		defer k.sys.unlock()
		st, errno := k.describe(fd)
		return st.FileStat, errno
	}
	st, errno := fstat(fd)
	k.sys.asDisk(&st)
	return st.FileStat, errno
}

// Dup is fcntl(F_DUPFD_CLOEXEC). The double of a kqueue is no kqueue here.
func (k *Kernel) Dup(fd int) (int, aio.Errno) {
	if k.table == nil {
		return dup(fd)
	}
	s := k.sys
	s.lock()
	defer s.unlock()
	o := k.table.get(fd)
	if o == nil {
		return -1, aio.EBADF
	}
	d := k.table.add(o)
	if t := s.tracer; t != nil {
		t.begin(s, k, "dup").num("fd", int64(fd)).result(d, 0).end()
	}
	return d, 0
}

// Close is close(2); of a kqueue, CloseKqueue.
func (k *Kernel) Close(fd int) aio.Errno {
	s := k.sys
	s.lock()
	if _, kq := k.kqueues[fd]; kq {
		s.unlock()
		return k.CloseKqueue(fd)
	}
	if k.table == nil {
		k.forget(fd)
		s.unlock()
		return closeHost(fd)
	}
	errno := k.table.remove(fd)
	if t := s.tracer; t != nil {
		t.begin(s, k, "close").num("fd", int64(fd)).result(0, errno).end()
	}
	s.unlock()
	return errno
}

// key is a block's address as the tables know it. It is only compared, never
// turned back into a pointer.
func key(cb *aio.ControlBlock) uint64 { return uint64(uintptr(unsafe.Pointer(cb))) }
