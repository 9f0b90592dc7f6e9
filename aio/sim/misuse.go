//go:build unix

package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/aioring/aioring/aio"
)

// MisuseError is what Shutdown reports: the caller broke rules that a kernel
// does not enforce and a program dies of later.
type MisuseError struct{ Found []string }

func (e *MisuseError) Error() string {
	return fmt.Sprintf("sim: %d misuses of the kernel: %s", len(e.Found), strings.Join(e.Found, "; "))
}

// maxMisuse bounds the record: a caller in a loop shall not fill the memory.
const maxMisuse = 100

// note writes one misuse down. The lock is held.
func (k *Kernel) note(format string, args ...any) {
	if len(k.misuse) == maxMisuse {
		k.misuseLost++
		return
	}
	k.misuse = append(k.misuse, fmt.Sprintf(format, args...))
}

func (k *Kernel) afterShutdown(call string) { k.note("%s after Shutdown", call) }

// Misuse is what the process has done wrong so far: blocks submitted in flight,
// list arrays registered twice, words overwritten, and, after Shutdown, jobs
// never reaped and queues never closed.
func (k *Kernel) Misuse() []string {
	k.sys.lock()
	defer k.sys.unlock()
	return k.found()
}

func (k *Kernel) found() []string {
	found := append([]string(nil), k.misuse...)
	if k.misuseLost > 0 {
		found = append(found, fmt.Sprintf("and %d more", k.misuseLost))
	}
	return found
}

// Shutdown is the exit of the process: it cancels what no daemon has begun,
// waits for the rest however long that takes (a job held by a closed [Gate]
// holds it up, as a stuck read holds up an exit), sends no notification, frees
// everything and returns when no daemon works for it. Callers asleep in Kevent
// or LIO_WAIT get EBADF, for they cannot vanish as threads do.
//
// The error, a [*MisuseError], names jobs that were finished and never reaped,
// jobs that were not even waited for, queues never closed, and what
// [Kernel.Misuse] had before.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_proc_rundown.
func (k *Kernel) Shutdown() error {
	s := k.sys
	s.lock()
	if k.dead {
		s.unlock()
		return nil
	}
	k.dead = true
	for e := k.done.head; e != nil; e = e.next {
		k.note("block %#x: finished and never reaped", e.v.addr)
	}
	for e := k.unfinished.head; e != nil; e = e.next {
		k.note("block %#x: in flight at Shutdown", e.v.addr)
	}
	for e := k.unfinished.head; e != nil; {
		next := e.next
		k.cancel(e.v)
		e = next
	}
	k.held = 0
	s.kick()
	k.interrupt(aio.EBADF)
	for k.unfinished.n > 0 || k.active > 0 {
		s.waitQuiet()
	}
	var fds []int
	for k.done.head != nil {
		if fd := k.free(k.done.head.v); fd >= 0 {
			fds = append(fds, fd)
		}
	}
	for fd, kq := range k.kqueues {
		if kq.notes.n > 0 {
			k.note("kqueue %d: never closed, with %d knotes", fd, kq.notes.n)
		} else {
			k.note("kqueue %d: never closed", fd)
		}
		fds = append(fds, fd)
		delete(k.kqueues, fd)
		kq.release()
	}
	// Daemons end themselves when nothing is queued. Those of a shared system
	// may be busy for others.
	for s.daemons > 0 && s.runq.n == 0 || s.watches.count == 0 && s.watchers > 0 {
		s.waitQuiet()
	}
	found := k.found()
	s.unlock()
	for _, fd := range fds {
		drop(fd)
	}
	if len(found) > 0 {
		return &MisuseError{found}
	}
	return nil
}

// waitQuiet waits for news of daemons. Whoever was chosen to be woken must not
// wait for that, so the lock is given up the usual way first.
func (s *System) waitQuiet() {
	if s.woken != nil {
		s.unlock()
		s.lock()
		return
	}
	s.quiet.Wait()
}

// Quiesce waits until no daemon runs: everything that may run has finished. It
// returns false when that takes longer than limit, as it does when a job is
// held active.
func (k *Kernel) Quiesce(limit time.Duration) bool {
	s := k.sys
	late := false
	t := time.AfterFunc(limit, func() {
		s.lock()
		late = true
		s.quiet.Broadcast()
		s.unlock()
	})
	defer t.Stop()
	s.lock()
	defer s.unlock()
	for s.daemons+s.servers > 0 && !late {
		s.waitQuiet()
	}
	return s.daemons+s.servers == 0
}
