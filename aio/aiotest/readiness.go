//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// EVFILT_READ and EVFILT_WRITE.

const (
	filtSocket = "FreeBSD sys/kern/uipc_socket.c, filt_soread and filt_sowrite"
	filtPipe   = "FreeBSD sys/kern/sys_pipe.c, pipe_kqfilter, filt_piperead and filt_pipewrite"
	filtFile   = "FreeBSD sys/kern/vfs_subr.c, filt_vfsread and filt_vfswrite"
	filtQueue  = "FreeBSD sys/kern/kern_event.c, kqueue_kqfilter and filt_kqueue"
)

func onFd(fd int, f aio.Filter, flags uint16, udata uintptr) aio.Kevent {
	return aio.Kevent{Ident: uintptr(fd), Filter: f, Flags: flags, Udata: udata}
}

// watch adds a filter of a descriptor.
func (r *rig) watch(fd int, f aio.Filter, flags uint16) {
	r.Helper()
	r.want("add", r.change(onFd(fd, f, aio.EvAdd|flags, 5)), 0)
}

// wantReady takes the event of a descriptor, which has these flags and at least
// this many bytes.
func (r *rig) wantReady(fd int, f aio.Filter, flags uint16, atLeast int64) aio.Kevent {
	r.Helper()
	ev := r.event()
	if ev.Ident != uintptr(fd) || ev.Filter != f || ev.Flags != flags || ev.Data < atLeast || ev.Udata != 5 {
		r.Errorf("event %+v, want filter %d of %d, flags %#x, data %d or more", ev, f, fd, flags, atLeast)
	}
	return ev
}

// wantBytes is wantReady with exactly n bytes.
func (r *rig) wantBytes(fd int, f aio.Filter, flags uint16, n int64) {
	r.Helper()
	if ev := r.wantReady(fd, f, flags, n); ev.Data != n {
		r.Errorf("data %d, want %d", ev.Data, n)
	}
}

var readinessCases = []testCase{
	{name: "ready/descriptor that is not open: EBADF", source: register, run: func(r *rig) {
		for _, f := range []aio.Filter{aio.FilterRead, aio.FilterWrite} {
			for _, flags := range []uint16{aio.EvAdd, aio.EvDelete, aio.EvEnable} {
				r.want("change", r.change(onFd(noFd, f, flags, 0)), aio.EBADF)
				r.want("change of -1", r.change(onFd(-1, f, flags, 0)), aio.EBADF)
			}
		}
	}},
	{name: "ready/delete of nothing: ENOENT", source: register, run: func(r *rig) {
		a, _ := r.sockets()
		r.want("delete", r.change(onFd(a, aio.FilterRead, aio.EvDelete, 0)), aio.ENOENT)
	}},
	{name: "ready/the queue itself: EINVAL", source: register, run: func(r *rig) {
		r.want("add", r.change(onFd(r.kq, aio.FilterRead, aio.EvAdd, 0)), aio.EINVAL)
	}},
	{name: "ready/a device that cannot be waited for: ENODEV", source: "FreeBSD sys/kern/kern_conf.c, no_kqfilter", run: func(r *rig) {
		if r.target.Osreldate >= 1500000 {
			r.Skip("the null device can be waited for here")
		}
		r.want("add", r.change(onFd(r.null(), aio.FilterRead, aio.EvAdd, 0)), aio.ENODEV)
	}},
	{name: "ready/a disk: EINVAL", source: "FreeBSD sys/geom/geom_dev.c, g_dev_kqfilter", run: func(r *rig) {
		r.want("add", r.change(onFd(r.disk(), aio.FilterRead, aio.EvAdd, 0)), aio.EINVAL)
	}},

	{name: "ready/READ of a socket: the bytes there, again and again", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, 0)
		r.quiet("before the bytes")
		r.send(b, "hello")
		r.wantBytes(a, aio.FilterRead, 0, 5)
		r.receive(a, 2)
		r.wantBytes(a, aio.FilterRead, 0, 3)
		r.receive(a, 3)
		r.quiet("after the bytes")
	}},
	{name: "ready/READ added when bytes are there", source: register, run: func(r *rig) {
		a, b := r.sockets()
		r.send(b, "hello")
		r.watch(a, aio.FilterRead, aio.EvClear)
		r.wantBytes(a, aio.FilterRead, aio.EvClear, 5)
		r.quiet("after its event")
	}},
	{name: "ready/READ EV_CLEAR: once for each arrival", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvClear)
		r.send(b, "12")
		r.wantBytes(a, aio.FilterRead, aio.EvClear, 2)
		r.quiet("after its event, with the bytes still there")
		r.send(b, "345")
		r.wantBytes(a, aio.FilterRead, aio.EvClear, 5)
		r.quiet("after its second event")
	}},
	{name: "ready/READ EV_ONESHOT: once", source: scan, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvOneshot)
		r.send(b, "1")
		r.wantBytes(a, aio.FilterRead, aio.EvOneshot, 1)
		r.send(b, "2")
		r.quiet("after its event")
		r.want("delete", r.change(onFd(a, aio.FilterRead, aio.EvDelete, 0)), aio.ENOENT)
	}},
	{name: "ready/READ EV_DISPATCH: once for each enabling", source: scan, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvDispatch)
		r.send(b, "1")
		r.wantBytes(a, aio.FilterRead, aio.EvDispatch, 1)
		r.send(b, "2")
		r.quiet("after its event")
		r.want("enable", r.change(onFd(a, aio.FilterRead, aio.EvEnable, 5)), 0)
		r.wantBytes(a, aio.FilterRead, aio.EvDispatch, 2)
		r.receive(a, 2)
		r.want("enable", r.change(onFd(a, aio.FilterRead, aio.EvEnable, 5)), 0)
		r.quiet("enabled with nothing there")
		r.send(b, "3")
		r.wantBytes(a, aio.FilterRead, aio.EvDispatch, 1)
	}},
	{name: "ready/READ disabled: nothing until it is enabled", source: register, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvDisable)
		r.send(b, "1")
		r.quiet("while it is disabled")
		r.want("enable", r.change(onFd(a, aio.FilterRead, aio.EvEnable, 5)), 0)
		r.wantBytes(a, aio.FilterRead, 0, 1)
		r.want("disable", r.change(onFd(a, aio.FilterRead, aio.EvDisable, 5)), 0)
		r.quiet("while it is disabled again")
	}},
	{name: "ready/READ EV_RECEIPT: the change is reported, not the event", source: keventCall, run: func(r *rig) {
		a, b := r.sockets()
		r.send(b, "1")
		events := make([]aio.Kevent, 4)
		n, errno := r.k.Kevent(r.kq, []aio.Kevent{onFd(a, aio.FilterRead, aio.EvAdd|aio.EvReceipt, 5)}, events, -1)
		if n != 1 || errno != 0 || events[0].Flags != aio.EvError || events[0].Data != 0 || events[0].Ident != uintptr(a) {
			r.Fatalf("kevent: %d, %s, %+v", n, errno.String(), events[:max(n, 0)])
		}
		r.wantBytes(a, aio.FilterRead, aio.EvReceipt, 1)
	}},
	{name: "ready/READ deleted: nothing comes", source: register, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, 0)
		r.send(b, "1")
		r.want("delete", r.change(onFd(a, aio.FilterRead, aio.EvDelete, 0)), 0)
		r.quiet("after the delete")
	}},
	{name: "ready/READ when the peer has closed: EV_EOF", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, 0)
		r.want("close of the peer", r.k.Close(b), 0)
		r.wantBytes(a, aio.FilterRead, aio.EvEOF, 0)
		r.wantBytes(a, aio.FilterRead, aio.EvEOF, 0)
	}},
	{name: "ready/READ when the peer stops sending: EV_EOF, with the bytes that are left", source: filtSocket, run: func(r *rig) {
		for _, open := range []func(*rig) (int, int){(*rig).sockets, (*rig).tcp} {
			a, b := open(r)
			r.send(b, "last")
			r.shut(b, unix.SHUT_WR)
			r.waitFor(a, unix.POLLIN|pollReadEnd)
			r.watch(a, aio.FilterRead, 0)
			r.wantBytes(a, aio.FilterRead, aio.EvEOF, 4)
			r.receive(a, 4)
			r.wantBytes(a, aio.FilterRead, aio.EvEOF, 0)
			r.want("delete", r.change(onFd(a, aio.FilterRead, aio.EvDelete, 0)), 0)
		}
	}},
	{name: "ready/READ NOTE_LOWAT: from so many bytes on", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		ev := onFd(a, aio.FilterRead, aio.EvAdd, 5)
		ev.Fflags, ev.Data = aio.NoteLowat, 4
		r.want("add", r.change(ev), 0)
		r.send(b, "123")
		r.quiet("with three bytes of four")
		r.send(b, "4")
		r.wantBytes(a, aio.FilterRead, 0, 4)
	}},
	{name: "ready/READ NOTE_LOWAT is gone after a change without it", source: register, run: func(r *rig) {
		a, b := r.sockets()
		ev := onFd(a, aio.FilterRead, aio.EvAdd, 5)
		ev.Fflags, ev.Data = aio.NoteLowat, 4
		r.want("add", r.change(ev), 0)
		r.send(b, "123")
		r.quiet("with three bytes of four")
		r.want("enable", r.change(onFd(a, aio.FilterRead, aio.EvEnable, 5)), 0)
		r.wantBytes(a, aio.FilterRead, 0, 3)
	}},
	{name: "ready/READ of a socket that listens: the connections", source: filtSocket, run: func(r *rig) {
		fd, at := r.listen()
		r.watch(fd, aio.FilterRead, 0)
		r.quiet("before a connection")
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			r.Fatal(err)
		}
		r.closeLater(c)
		r.connect(c, at)
		r.wantBytes(fd, aio.FilterRead, 0, 1)
		s, _, err := unix.Accept(fd)
		if err != nil {
			r.Fatal(err)
		}
		r.closeLater(s)
		r.quiet("after the accept")
	}},
	{name: "ready/WRITE of a socket that listens: never", source: filtSocket, run: func(r *rig) {
		fd, _ := r.listen()
		r.watch(fd, aio.FilterWrite, 0)
		r.quiet("after the add")
	}},
	{name: "ready/WRITE of a socket: the room there is", source: filtSocket, run: func(r *rig) {
		a, _ := r.sockets()
		r.watch(a, aio.FilterWrite, 0)
		r.wantReady(a, aio.FilterWrite, 0, 1)
		r.wantReady(a, aio.FilterWrite, 0, 1)
	}},
	{name: "ready/WRITE of a full socket: when the peer reads", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		n := r.fill(a)
		r.watch(a, aio.FilterWrite, 0)
		r.quiet("while it is full")
		r.receive(b, n)
		r.wantReady(a, aio.FilterWrite, 0, 1)
	}},
	{name: "ready/WRITE EV_CLEAR: once until there is more room", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterWrite, aio.EvClear)
		r.wantReady(a, aio.FilterWrite, aio.EvClear, 1)
		r.quiet("after its event")
		n := r.fill(a)
		r.quiet("while it is full")
		r.receive(b, n)
		r.wantReady(a, aio.FilterWrite, aio.EvClear, 1)
	}},
	{name: "ready/WRITE of a socket not connected: never", source: filtSocket, run: func(r *rig) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			r.Fatal(err)
		}
		r.closeLater(fd)
		r.watch(fd, aio.FilterWrite, 0)
		r.quiet("after the add")
	}},
	{name: "ready/WRITE of a socket shut down for writing: EV_EOF", source: filtSocket, run: func(r *rig) {
		a, _ := r.sockets()
		r.shut(a, unix.SHUT_WR)
		r.watch(a, aio.FilterWrite, 0)
		r.wantReady(a, aio.FilterWrite, aio.EvEOF, 0)
	}},
	{name: "ready/WRITE when the peer has closed: EV_EOF", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.want("close of the peer", r.k.Close(b), 0)
		r.watch(a, aio.FilterWrite, 0)
		r.wantReady(a, aio.FilterWrite, aio.EvEOF, 0)
	}},
	{name: "ready/READ and WRITE of one socket are two", source: register, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvClear)
		r.watch(a, aio.FilterWrite, aio.EvClear)
		r.wantReady(a, aio.FilterWrite, aio.EvClear, 1)
		r.quiet("when WRITE has come")
		r.send(b, "1")
		r.wantBytes(a, aio.FilterRead, aio.EvClear, 1)
		r.quiet("when READ has come")
		r.want("delete", r.change(onFd(a, aio.FilterWrite, aio.EvDelete, 0)), 0)
		r.send(b, "2")
		r.wantBytes(a, aio.FilterRead, aio.EvClear, 2)
	}},
	{name: "ready/two queues have an event each", source: register, run: func(r *rig) {
		a, b := r.sockets()
		other, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		_, errno = r.k.Kevent(other, []aio.Kevent{onFd(a, aio.FilterRead, aio.EvAdd, 6)}, nil, 0)
		r.want("add", errno, 0)
		r.watch(a, aio.FilterRead, 0)
		r.send(b, "1")
		r.wantBytes(a, aio.FilterRead, 0, 1)
		events := make([]aio.Kevent, 2)
		if n, errno := r.k.Kevent(other, nil, events, 0); n != 1 || errno != 0 || events[0].Udata != 6 {
			r.Errorf("kevent of the other: %d, %s, %+v", n, errno.String(), events)
		}
		r.want("close of the other", r.k.CloseKqueue(other), 0)
		r.wantBytes(a, aio.FilterRead, 0, 1)
	}},
	{name: "ready/a descriptor closed: its event goes too", source: "FreeBSD sys/kern/kern_event.c, knote_fdclose", run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, 0)
		r.send(b, "1")
		r.want("close", r.k.Close(a), 0)
		r.quiet("after the close")
	}},
	{name: "ready/a descriptor closed by another call: its event goes too", source: "FreeBSD sys/kern/kern_event.c, knote_fdclose", run: func(r *rig) {
		a, b := r.sockets()
		c, d := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvOneshot)
		r.send(b, "1")
		if err := unix.Dup2(c, a); err != nil {
			r.Fatal(err)
		}
		r.quiet("after the number was given away")
		r.want("delete", r.change(onFd(a, aio.FilterRead, aio.EvDelete, 0)), aio.ENOENT)
		r.watch(a, aio.FilterRead, aio.EvOneshot)
		r.send(d, "23")
		r.wantBytes(a, aio.FilterRead, aio.EvOneshot, 2)
	}},
	{name: "ready/READ wakes a sleeper", source: filtSocket, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, aio.EvClear)
		woken := make(chan []aio.Kevent, 1)
		go func() {
			events := make([]aio.Kevent, 1)
			for {
				n, errno := r.k.Kevent(r.kq, nil, events, patience)
				if errno != aio.EINTR {
					woken <- events[:max(n, 0)]
					return
				}
			}
		}()
		r.send(b, "up")
		if events := <-woken; len(events) != 1 || events[0].Data != 2 {
			r.Errorf("events %+v", events)
		}
	}},
	{name: "ready/a job takes the bytes: no event is left", source: soaio, run: func(r *rig) {
		a, b := r.sockets()
		r.watch(a, aio.FilterRead, 0)
		j := r.read(a, 0, 8)
		r.start(j)
		r.send(b, "mine")
		r.reap(j, 4, 0)
		r.quiet("after the job")
	}},

	{name: "ready/READ of a pipe: the bytes there", source: filtPipe, run: func(r *rig) {
		reader, writer := r.pipe()
		r.watch(reader, aio.FilterRead, 0)
		r.quiet("before the bytes")
		r.send(writer, "123")
		r.wantBytes(reader, aio.FilterRead, 0, 3)
		r.receive(reader, 3)
		r.quiet("after the bytes")
	}},
	{name: "ready/READ of a pipe whose writer has closed: EV_EOF", source: filtPipe, run: func(r *rig) {
		reader, writer := r.pipe()
		r.send(writer, "123")
		r.watch(reader, aio.FilterRead, 0)
		r.want("close of the writer", r.k.Close(writer), 0)
		r.wantBytes(reader, aio.FilterRead, aio.EvEOF, 3)
		r.receive(reader, 3)
		r.wantBytes(reader, aio.FilterRead, aio.EvEOF, 0)
	}},
	{name: "ready/WRITE of a pipe: the room there is", source: filtPipe, run: func(r *rig) {
		reader, writer := r.pipe()
		r.watch(writer, aio.FilterWrite, aio.EvClear)
		r.wantReady(writer, aio.FilterWrite, aio.EvClear, 512)
		n := r.fill(writer)
		r.quiet("while it is full")
		r.receive(reader, n)
		r.wantReady(writer, aio.FilterWrite, aio.EvClear, 512)
	}},
	{name: "ready/WRITE of a pipe whose reader closes: EV_EOF, once, and the event is gone", source: "FreeBSD sys/kern/sys_pipe.c, pipeclose; kern_event.c, knlist_cleardel", run: func(r *rig) {
		reader, writer := r.pipe()
		r.fill(writer)
		r.watch(writer, aio.FilterWrite, 0)
		r.quiet("while it is full")
		r.want("close of the reader", r.k.Close(reader), 0)
		r.wantReady(writer, aio.FilterWrite, aio.EvEOF|aio.EvOneshot, 0)
		r.quiet("after its event")
		r.want("delete", r.change(onFd(writer, aio.FilterWrite, aio.EvDelete, 0)), aio.ENOENT)
	}},
	{name: "ready/WRITE of a pipe without a reader: EPIPE", source: filtPipe, run: func(r *rig) {
		reader, writer := r.pipe()
		r.want("close of the reader", r.k.Close(reader), 0)
		r.want("add", r.change(onFd(writer, aio.FilterWrite, aio.EvAdd, 0)), aio.EPIPE)
		r.want("delete", r.change(onFd(writer, aio.FilterWrite, aio.EvDelete, 0)), aio.ENOENT)
	}},
	{name: "ready/READ of a named pipe not opened for it: never", source: filtPipe, run: func(r *rig) {
		_, writer := r.fifoEnds()
		r.watch(writer, aio.FilterRead, 0)
		r.send(writer, "123")
		r.quiet("after the bytes")
	}},
	{name: "ready/READ of a named pipe", source: filtPipe, run: func(r *rig) {
		reader, writer := r.fifoEnds()
		r.watch(reader, aio.FilterRead, 0)
		r.send(writer, "123")
		r.wantBytes(reader, aio.FilterRead, 0, 3)
		r.receive(reader, 3)
		r.quiet("after the bytes")
	}},
	{name: "ready/READ of a terminal: what was typed", source: "FreeBSD sys/kern/tty.c, tty_kqops_read_event", run: func(r *rig) {
		controller, terminal := r.pty()
		r.watch(terminal, aio.FilterRead, 0)
		r.quiet("before the bytes")
		r.send(controller, "123")
		r.wantBytes(terminal, aio.FilterRead, 0, 3)
		r.receive(terminal, 3)
		r.quiet("after the bytes")
	}},

	{name: "ready/READ of a file: how far its end is", source: filtFile, run: func(r *rig) {
		fd := r.file(100)
		r.watch(fd, aio.FilterRead, 0)
		r.wantBytes(fd, aio.FilterRead, 0, 100)
		if _, err := unix.Seek(fd, 70, 0); err != nil {
			r.Fatal(err)
		}
		r.wantBytes(fd, aio.FilterRead, 0, 30)
		if _, err := unix.Seek(fd, 105, 0); err != nil {
			r.Fatal(err)
		}
		r.wantBytes(fd, aio.FilterRead, 0, -5)
		if _, err := unix.Seek(fd, 100, 0); err != nil {
			r.Fatal(err)
		}
		r.quiet("at the end")
	}},
	{name: "ready/READ of a file, NOTE_FILE_POLL: at the end too", source: filtFile, run: func(r *rig) {
		fd := r.file(0)
		ev := onFd(fd, aio.FilterRead, aio.EvAdd, 5)
		ev.Fflags = aio.NoteFilePoll
		r.want("add", r.change(ev), 0)
		r.wantBytes(fd, aio.FilterRead, 0, 0)
	}},
	{name: "ready/WRITE of a file: always", source: filtFile, run: func(r *rig) {
		fd := r.file(0)
		r.watch(fd, aio.FilterWrite, 0)
		r.wantBytes(fd, aio.FilterWrite, 0, 0)
		r.wantBytes(fd, aio.FilterWrite, 0, 0)
	}},

	{name: "ready/READ of another queue: the events in it", source: filtQueue, run: func(r *rig) {
		other, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		r.watch(other, aio.FilterRead, 0)
		r.quiet("before the events")
		var add, trigger []aio.Kevent
		for i := range uintptr(2) {
			add = append(add, user(i, aio.EvAdd|aio.EvClear, 0, 0))
			trigger = append(trigger, user(i, 0, aio.NoteTrigger, 0))
		}
		_, errno = r.k.Kevent(other, append(add, trigger...), nil, 0)
		r.want("events of the other", errno, 0)
		r.wantBytes(other, aio.FilterRead, 0, 2)
		if n, errno := r.k.Kevent(other, nil, make([]aio.Kevent, 4), 0); n != 2 || errno != 0 {
			r.Errorf("kevent of the other: %d, %s", n, errno.String())
		}
		r.quiet("after the events")
		r.want("close of the other", r.k.CloseKqueue(other), 0)
		r.quiet("after the close")
	}},
	{name: "ready/WRITE of another queue: EINVAL", source: filtQueue, run: func(r *rig) {
		other, errno := r.k.Kqueue()
		r.want("kqueue", errno, 0)
		r.want("add", r.change(onFd(other, aio.FilterWrite, aio.EvAdd, 0)), aio.EINVAL)
		r.want("close of the other", r.k.CloseKqueue(other), 0)
	}},
}

// waitFor waits until poll(2) has this of a descriptor.
func (r *rig) waitFor(fd int, events int16) {
	r.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for fds[0].Revents&events != events {
		if n, err := unix.Poll(fds, int(patience.Milliseconds())); n == 0 && err == nil {
			r.Fatalf("poll has %#x after %v, want %#x", fds[0].Revents, patience, events)
		}
	}
}
