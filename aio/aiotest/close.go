//go:build unix

package aiotest

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Descriptors and queues closed under a job.

const closing = "FreeBSD sys/kern/vfs_aio.c, aio_aqueue and aio_free_entry: a job has its own reference to its file"

var closeCases = []testCase{
	{name: "close/a job goes on", source: closing, run: func(r *rig) {
		s := r.slow()
		j := r.notify(s.read(), aio.EvOneshot, 1)
		r.start(j)
		r.want("close", r.k.Close(s.fd), 0)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		s.letGo()
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reap(j, 1, 0)
	}},
	{name: "close/a write goes on", source: closing, run: func(r *rig) {
		name, fd := r.named(0)
		j := r.write(fd, 0, "still here")
		r.start(j)
		r.want("close", r.k.Close(fd), 0)
		r.reap(j, 10, 0)
		r.wantContent(r.open(name, unix.O_RDONLY), 0, "still here")
	}},
	{name: "close/aio_cancel by a closed number: EBADF", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		r.want("close", r.k.Close(s.fd), 0)
		_, errno := r.k.Cancel(s.fd, j.cb)
		r.want("aio_cancel", errno, aio.EBADF)
		s.letGo()
		r.reap(j, 1, 0)
	}},
	{name: "close/a number used again cancels the old file's jobs", source: aioCancel, run: func(r *rig) {
		s := r.slow()
		j := s.read()
		r.start(j)
		other := r.file(8)
		if err := unix.Dup2(other, s.fd); err != nil {
			r.Fatal(err)
		}
		r.wantCancel(s.fd, nil, aio.Cancelled)
		r.reap(j, -1, aio.ECANCELED)
	}},
	{name: "close/a number used again reads the new file", source: closing, run: func(r *rig) {
		fd, other := r.file(8), r.file(0)
		before := r.read(fd, 0, 8)
		r.start(before)
		if err := unix.Dup2(other, fd); err != nil {
			r.Fatal(err)
		}
		after := r.read(fd, 0, 8)
		r.start(after)
		r.reap(before, 8, 0)
		r.wantPattern(before.buf, 0)
		r.reap(after, 0, 0)
	}},
	{name: "close/a finished job is reaped as ever", source: closing, run: func(r *rig) {
		fd := r.file(8)
		j := r.read(fd, 0, 8)
		r.start(j)
		r.wait(j)
		r.want("close", r.k.Close(fd), 0)
		r.reap(j, 8, 0)
	}},
	{name: "close/of the queue: the job ends and is reaped", source: "FreeBSD sys/kern/kern_event.c, kqueue_drain", run: func(r *rig) {
		kq, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		s := r.slow()
		j := r.notify(s.read(), 0, 1)
		j.cb.Sigevent.Kqueue = int32(kq)
		r.start(j)
		r.want("close of the queue", r.k.CloseKqueue(kq), 0)
		s.letGo()
		r.reap(j, 1, 0)
		r.quiet("on the other queue")
	}},
	{name: "close/of the queue with an event in it", source: "FreeBSD sys/kern/kern_event.c, kqueue_drain", run: func(r *rig) {
		kq, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		j := r.read(r.file(8), 0, 8)
		j.cb.Sigevent = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq)}
		r.start(j)
		r.wait(j)
		r.want("close of the queue", r.k.CloseKqueue(kq), 0)
		r.reap(j, 8, 0)
	}},
	{name: "close/of the queue does not wake who sleeps on it", source: "FreeBSD sys/kern/kern_event.c, kqueue_close: the call has a reference", run: func(r *rig) {
		r.secondThread()
		kq, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		const wait = 200 * time.Millisecond
		j := r.read(r.file(8), 0, 8)
		j.cb.Sigevent = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq), KeventFlags: aio.EvOneshot}
		r.start(j)
		inside, done := make(chan struct{}), make(chan aio.Errno, 1)
		start := time.Now()
		go func() {
			// The first call is over when the queue is known to be in use.
			n, errno := r.k.Kevent(kq, nil, make([]aio.Kevent, 1), patience)
			for errno == aio.EINTR {
				n, errno = r.k.Kevent(kq, nil, make([]aio.Kevent, 1), patience)
			}
			if n != 1 || errno != 0 {
				r.Errorf("kevent: %d, %s", n, errno.String())
			}
			close(inside)
			_, errno = r.k.Kevent(kq, nil, make([]aio.Kevent, 1), wait)
			done <- errno
		}()
		<-inside
		for time.Since(start) < wait/4 {
			runtime.Gosched() // the sleeper has its time to fall asleep
		}
		r.want("close of the queue", r.k.CloseKqueue(kq), 0)
		// A signal of the runtime's may end the sleep; then the queue is gone.
		switch errno := <-done; errno {
		case 0:
			if took := time.Since(start); took < wait {
				r.Errorf("the sleeper woke after %v of %v", took, wait)
			}
		case aio.EINTR, aio.EBADF:
		default:
			r.Errorf("kevent: %s", errno.String())
		}
		r.reap(j, 8, 0)
	}},
	{name: "close/of the queue, and a signal ends the sleep", source: "FreeBSD sys/kern/kern_thr.c, sys_thr_kill; kern_event.c, kqueue_scan", run: func(r *rig) {
		r.secondThread()
		kq, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		done := make(chan aio.Errno, 1)
		go func() {
			_, errno := r.k.Kevent(kq, nil, make([]aio.Kevent, 1), -1)
			done <- errno
		}()
		for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
			runtime.Gosched() // the sleeper has its time to fall asleep
		}
		r.want("close of the queue", r.k.CloseKqueue(kq), 0)
		// It may come too early for a sleeper that is late; who is later still finds
		// no queue.
		for start := time.Now(); ; {
			r.k.Signal()
			select {
			case errno := <-done:
				if errno != aio.EINTR && errno != aio.EBADF {
					r.Errorf("kevent: %s", errno.String())
				}
				return
			case <-time.After(time.Millisecond):
			}
			if time.Since(start) > patience {
				r.Fatal("the sleeper sleeps on")
			}
		}
	}},
	{name: "close/of the queue of a list", source: "FreeBSD sys/kern/kern_event.c, kqueue_drain", run: func(r *rig) {
		kq, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		s := r.slow()
		j := s.read()
		_, errno = r.list(aio.ListNoWait, &aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq)}, j)
		r.want("lio_listio", errno, 0)
		r.want("close of the queue", r.k.CloseKqueue(kq), 0)
		s.letGo()
		r.reap(j, 1, 0)
	}},
}
