//go:build unix

package sim

import (
	"sync"
	"time"

	"github.com/aioring/aioring/aio"
)

// System is the machine below one or several kernels: a [Kernel] is one process
// of it. The system-wide cap, the daemons and the vnode locks are shared, as
// between real processes. Kernels made without a System have one each.
//
// One mutex guards everything in this package that has no guard of its own. It
// is never held over a call of the host, and never while somebody is woken:
// lock and unlock below see to the second.
type System struct {
	mu     sync.Mutex
	limits aio.Limits

	queueCount int    // num_queue_count: accepted and not reaped
	seq        uint64 // jobseqno: order of submission

	runq     queue[job] // aio_jobs: waiting for a daemon, in order of submission
	daemons  int        // running, or about to
	kept     int        // in threaded mode: how many the kernel would have even if nothing runs
	starting int        // of these, not yet looked for a job
	entry    func()     // daemon, once and for all: a go statement then allocates nothing
	quiet    *sync.Cond // a daemon has ended, or a process has nothing unfinished

	watches  watches
	watchers int // goroutines of watches, old ones included
	stalled  queue[sockbuf]
	servers  int // directions of sockets that are served, and jobs that disks have
	timers   int
	disks    sync.Map // diskID to *Device

	mappedRequests, directRequests int // that disks have, with mapped buffers and without

	socketDaemons socketDaemons

	vnodes table[vnode]

	stepped *stepper // the scheduler and its clock; nil in threaded mode
	volume  Volume   // what in-memory files lie on; nil: descriptors are the host's
	tracer  *tracer  // nil: nothing is written down
	procs   int      // processes so far
	mutes   uint64   // numbers given to what is no file
	foreign int      // slots that Occupy has taken
	kernel  sysctls  // the sysctls that aio.Limits has not

	// Free lists. What is here is clean.
	freeJobs   *job
	freeLists  *lio
	freeNotes  *knote
	freeFiles  *file
	freeVnodes *vnode
	freeWaits  *waiter

	woken *waiter // to be woken at unlock
}

// NewSystem makes a machine. Zero fields of limits take FreeBSD's defaults.
func NewSystem(limits aio.Limits) *System {
	s := &System{limits: withDefaults(limits), kernel: defaultSysctls, socketDaemons: socketDaemons{lifetime: 30 * hz}}
	s.quiet = sync.NewCond(&s.mu)
	s.entry = s.daemon
	return s
}

// newSystem makes the machine that a Config describes.
func newSystem(cfg *Config) *System {
	s := NewSystem(cfg.Limits)
	s.volume = cfg.Volume
	if cfg.Stepped {
		s.stepped = newStepper(cfg.Seed)
		if s.volume == nil && !cfg.HostFiles {
			s.volume = NewMemory()
		}
	}
	if cfg.Trace != nil {
		s.tracer = &tracer{w: cfg.Trace}
	}
	return s
}

// withDefaults fills what is zero. Source: FreeBSD sys/kern/vfs_aio.c,
// MAX_AIO_QUEUE and the defines beside it.
func withDefaults(l aio.Limits) aio.Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.MaxQueue, 1024)
	set(&l.MaxQueuePerProc, 256)
	set(&l.MaxPerProc, 32)
	set(&l.MaxProcs, 32)
	set(&l.TargetProcs, 4)
	set(&l.MaxBuf, 16)
	set(&l.MaxSocketProcs, 32)
	l.QueueCount = 0
	return l
}

// SetLimits changes the sysctls, at any time. Zero fields take the defaults.
func (s *System) SetLimits(l aio.Limits) {
	s.lock()
	s.setLimits(l)
	s.unlock()
}

func (s *System) setLimits(l aio.Limits) {
	s.limits = withDefaults(l)
	if t := s.tracer; t != nil {
		t.begin(s, nil, "sysctl").limits(&s.limits).end()
	}
	s.kick()
	s.kickSocketDaemons()
}

// Occupy takes n more of the system's slots for jobs of processes that are not
// here, or gives them back (n below 0): a process may find the system full with
// no job of its own in it.
func (s *System) Occupy(n int) {
	s.lock()
	n = max(n, -s.foreign)
	s.foreign += n
	s.queueCount += n
	s.unlock()
}

// System is the machine that the process runs on.
func (k *Kernel) System() *System { return k.sys }

func (s *System) lock() { s.mu.Lock() }

// unlock also wakes those whom the holder of the lock has chosen, after the
// lock is free, so that they do not run straight into it.
func (s *System) unlock() {
	w := s.woken
	s.woken = nil
	s.mu.Unlock()
	for w != nil {
		next := w.nextWoken // the owner may reuse w as soon as it has the token
		w.token <- struct{}{}
		w = next
	}
}

// waiter is one caller asleep in a system call. Whoever takes it off its queue
// owes it exactly one token, so a waiter that is reused never finds an old one.
type waiter struct {
	seat      seat[waiter]
	token     chan struct{}
	timer     *time.Timer
	errno     aio.Errno // why it was woken: 0 for news, else what the call answers
	nextWoken *waiter
	nextFree  *waiter
}

// sleep releases the lock, waits to be taken off q or for the deadline (zero
// for none), and takes the lock again. It reports whether the time ran out. In
// stepped mode it does not wait, but makes the steps that come meanwhile.
func (s *System) sleep(q *queue[waiter], deadline time.Time) (errno aio.Errno, timedOut bool) {
	w := s.freeWaits
	if w != nil {
		s.freeWaits = w.nextFree
		w.nextFree = nil
	} else {
		w = &waiter{token: make(chan struct{}, 1)}
		w.seat.v = w
	}
	w.errno = 0
	q.push(&w.seat)
	if s.stepped != nil {
		timedOut = s.stepAsleep(q, w, deadline)
	} else if deadline.IsZero() {
		s.unlock()
		<-w.token
		s.lock()
	} else {
		left := time.Until(deadline)
		if w.timer == nil {
			w.timer = time.NewTimer(left)
		} else {
			w.timer.Reset(left)
		}
		s.unlock()
		select {
		case <-w.token:
			w.timer.Stop()
			s.lock()
		case <-w.timer.C:
			s.lock()
			if w.seat.in != nil {
				q.remove(&w.seat)
				timedOut = true
			} else {
				// Chosen in the meantime: the token is coming, perhaps from
				// somebody who has not unlocked yet to send it.
				s.unlock()
				<-w.token
				s.lock()
			}
		}
	}
	errno = w.errno
	w.nextFree, s.freeWaits = s.freeWaits, w
	return errno, timedOut
}

// wakeAll takes everybody off q. They run when the lock is released.
func (s *System) wakeAll(q *queue[waiter], errno aio.Errno) {
	for q.head != nil {
		w := q.head.v
		q.remove(&w.seat)
		w.errno = errno
		if s.stepped == nil {
			w.nextWoken, s.woken = s.woken, w
		}
	}
}
