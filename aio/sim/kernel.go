//go:build unix

package sim

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Config says what to model. The zero value is a 15 kernel with FreeBSD's
// default limits and no faults.
type Config struct {
	Profile Profile
	Limits  aio.Limits // zero fields take FreeBSD's defaults; unused when System is set
	System  *System    // the machine to join; nil makes one of its own
	Faults  []Fault    // asked in order, see Kernel.Inject
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
	orphans    []*kqueue // closed, with somebody asleep inside
	misuse     []string
	misuseLost int
	stats      Stats
	signals    chan Signal
	buffers    int // mapped buffers in use (kaio_buffer_count)
}

var _ aio.Kernel = (*Kernel)(nil)

// New makes a process.
func New(cfg Config) *Kernel {
	s := cfg.System
	if s == nil {
		s = NewSystem(cfg.Limits)
	}
	k := &Kernel{
		sys:     s,
		profile: cfg.Profile,
		feat:    cfg.Profile.features(),
		kqueues: make(map[int]*kqueue),
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
func (k *Kernel) Read(cb *aio.ControlBlock) aio.Errno { return k.submit(cb, aio.OpRead) }

// Write is aio_write(2).
func (k *Kernel) Write(cb *aio.ControlBlock) aio.Errno { return k.submit(cb, aio.OpWrite) }

// Readv is aio_readv(2).
func (k *Kernel) Readv(cb *aio.ControlBlock) aio.Errno { return k.submit(cb, aio.OpReadv) }

// Writev is aio_writev(2).
func (k *Kernel) Writev(cb *aio.ControlBlock) aio.Errno { return k.submit(cb, aio.OpWritev) }

// Fsync is aio_fsync(2).
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_fsync.
func (k *Kernel) Fsync(op aio.SyncOp, cb *aio.ControlBlock) aio.Errno {
	switch op {
	case aio.Sync:
		return k.submit(cb, opSync)
	case aio.DataSync:
		return k.submit(cb, opDataSync)
	}
	return aio.EINVAL
}

// Mlock is aio_mlock(2).
func (k *Kernel) Mlock(cb *aio.ControlBlock) aio.Errno { return k.submit(cb, opMlock) }

// Error is aio_error(2). Of several jobs under one address the oldest answers.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_error.
func (k *Kernel) Error(cb *aio.ControlBlock) aio.Errno {
	s := k.sys
	s.lock()
	if !k.used {
		s.unlock()
		return aio.EINVAL
	}
	if l := k.byAddr.first(key(cb)); l != nil {
		errno := aio.EINPROGRESS
		if l.v.state == finished {
			errno = l.v.errno
		}
		s.unlock()
		return errno
	}
	s.unlock()
	// Unknown to the kernel, so user memory answers, if it looks like a block
	// that was refused or has failed.
	if cb != nil && cb.StatusWord() == -1 {
		return cb.ErrorWord()
	}
	return aio.EINVAL
}

// Return is aio_return(2). Of several jobs under one address the one that
// finished first is reaped.
// Source: FreeBSD sys/kern/vfs_aio.c, kern_aio_return and aio_free_entry.
func (k *Kernel) Return(cb *aio.ControlBlock) (int, aio.Errno) {
	s := k.sys
	s.lock()
	var j *job
	several := false
	for l := k.byAddr.first(key(cb)); l != nil; l = l.again() {
		if l.v.state == finished && (j == nil || l.v.doneSeq < j.doneSeq) {
			j = l.v
		}
		several = several || l.again() != nil
	}
	if j == nil {
		s.unlock()
		return -1, aio.EINVAL
	}
	if !several && (cb.ErrorWord() != aio.EINPROGRESS || cb.StatusWord() != -1) {
		k.note("block %#x: its words were overwritten while the job was in flight", j.addr)
	}
	return k.reap(j, cb)
}

// reap is the end of Return and WaitComplete: what the kernel holds is freed,
// and the words in user memory change. The lock is released.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_free_entry.
func (k *Kernel) reap(j *job, cb *aio.ControlBlock) (int, aio.Errno) {
	status, errno := j.status, j.errno
	k.stats.Reaped++
	hostFd := k.free(j)
	k.sys.unlock()
	drop(hostFd)
	cb.StoreWords(status, errno)
	return status, errno
}

// Kqueue is kqueue(2). The number is a real descriptor of the host, so that it
// never collides with a file's.
func (k *Kernel) Kqueue() (int, aio.Errno) {
	fd, errno := openNull()
	if errno != 0 {
		return -1, errno
	}
	s := k.sys
	s.lock()
	if k.dead {
		k.afterShutdown("Kqueue")
		s.unlock()
		drop(fd)
		return -1, aio.ENOMEM
	}
	k.kqueues[fd] = &kqueue{k: k, fd: fd, refs: 1}
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
		return -1, errno
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
	s.unlock()
	if errno != 0 {
		return -1, errno
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
	k.sys.unlock()
	open := isOpen(fd)
	k.sys.lock()
	if !open {
		return nil, aio.EBADF
	}
	return nil, k.feat.notKqueue
}

// Signal makes every sleeping Kevent and LIO_WAIT of the process return EINTR,
// as a caught signal does (Go's runtime sends its threads SIGURG).
func (k *Kernel) Signal() {
	k.sys.lock()
	k.interrupt(aio.EINTR)
	k.sys.unlock()
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

// Fstat is fstat(2) on the host.
func (k *Kernel) Fstat(fd int) (aio.FileStat, aio.Errno) {
	st, errno := fstat(fd)
	k.sys.asDisk(&st)
	return st.FileStat, errno
}

// Dup is fcntl(F_DUPFD_CLOEXEC) on the host. The double of a kqueue is no
// kqueue here.
func (k *Kernel) Dup(fd int) (int, aio.Errno) { return dup(fd) }

// Close is close(2) on the host; of a kqueue, CloseKqueue.
func (k *Kernel) Close(fd int) aio.Errno {
	k.sys.lock()
	_, kq := k.kqueues[fd]
	if !kq {
		k.forget(fd)
	}
	k.sys.unlock()
	if kq {
		return k.CloseKqueue(fd)
	}
	return closeHost(fd)
}

// key is a block's address as the tables know it. It is only compared, never
// turned back into a pointer.
func key(cb *aio.ControlBlock) uint64 { return uint64(uintptr(unsafe.Pointer(cb))) }
