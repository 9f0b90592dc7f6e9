//go:build unix

package sim

import "github.com/aioring/aioring/aio"

// What becomes of a process: fork, exec, and the end that exec and exit share.

// Fork is fork(2): a new process of the same program on the same machine. It has
// the descriptors, and no part in the parent's jobs: its copies of the blocks are
// unknown to it. Event queues are not inherited, faults neither.
func (k *Kernel) Fork() *Kernel {
	child := New(Config{Profile: k.profile, System: k.sys})
	s := k.sys
	s.lock()
	defer s.unlock()
	if k.table != nil {
		for i, o := range *k.table {
			if o == nil || o.kqueue {
				o = nil
			} else {
				o.refs++
			}
			*child.table = append(*child.table, nil)
			(*child.table)[i] = o
		}
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, "fork").num("child", int64(child.pid)).end()
	}
	return child
}

// Exec is execve(2): what no daemon has begun is cancelled, the rest is waited for,
// and everything is freed without a notification. Descriptors are closed, those of
// the host excepted, which the model does not own. Then the process goes on as one
// that has never used AIO. In stepped mode EDEADLK means that a job never ends; the
// process stays in the call, and does nothing else any more.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_proc_rundown_exec.
func (k *Kernel) Exec() aio.Errno {
	s := k.sys
	s.lock()
	k.dead = true
	fds, ended := k.rundown()
	fds = append(fds, k.closeKqueues()...)
	if ended {
		k.closeTable()
		k.used, k.dead = false, false
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, "exec").end()
	}
	s.unlock()
	for _, fd := range fds {
		drop(fd)
	}
	if !ended {
		return aio.EDEADLK
	}
	return 0
}

// rundown ends all jobs of a process that is dead already. In stepped mode it may
// not come to an end: false.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_proc_rundown.
func (k *Kernel) rundown() (fds []int, ended bool) {
	s := k.sys
	for e := k.unfinished.head; e != nil; {
		next := e.next
		k.cancel(e.v)
		e = next
	}
	k.held = 0
	s.kick()
	k.interrupt(aio.EBADF)
	for k.unfinished.n > 0 || k.active > 0 {
		if s.stepped == nil {
			s.waitQuiet()
		} else if !s.step(never) {
			for e := k.unfinished.head; e != nil; e = e.next {
				k.report(Stuck, e.v.name(), "never ends, and the process with it")
			}
			return nil, false
		}
	}
	for k.done.head != nil {
		if fd := k.free(k.done.head.v); fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds, true
}

// closeKqueues closes all event queues. What is returned is for the host to close.
func (k *Kernel) closeKqueues() (fds []int) {
	for fd, kq := range k.kqueues {
		if k.table != nil {
			_ = k.table.remove(fd)
		} else {
			fds = append(fds, fd)
		}
		delete(k.kqueues, fd)
		kq.release()
	}
	return fds
}

// closeTable closes the process's own descriptors.
func (k *Kernel) closeTable() {
	if k.table == nil {
		return
	}
	for i, o := range *k.table {
		if o != nil {
			(*k.table)[i] = nil
			o.release()
		}
	}
	*k.table = (*k.table)[:0]
}
