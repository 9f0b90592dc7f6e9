//go:build unix

package sim

import (
	"math"

	"github.com/aioring/aioring/aio"
)

// EVFILT_READ and EVFILT_WRITE: knotes on descriptors of the host, and on other
// kqueues.
//
// What differs from the kernel: a file that grows makes its knote ready only when
// something else looks at it; Fflags never hold a socket's error, which on the
// host cannot be read without being cleared; a write filter on the reading end of
// a pipe is never ready, where FreeBSD's pipes go both ways; and that a number was
// closed shows when the knote is next looked at.

// onFd is what a knote of these filters has besides.
type onFd struct {
	is    bool // the knote is of one of these filters
	watch bool // the host tells of changes
	st    hostStat
	below *kqueue // what the descriptor is, if it is a kqueue
}

func ofFd(f aio.Filter) bool { return f == aio.FilterRead || f == aio.FilterWrite }

func (kn *knote) dir() direction {
	if kn.ev.Filter == aio.FilterWrite {
		return toWrite
	}
	return toRead
}

// descriptor is the first thing that a change of these filters asks, of whatever
// kind it is: is the number open, and is it not the queue itself. A knote whose
// number has been closed went with it.
// Source: FreeBSD sys/kern/kern_event.c, kqueue_register and knote_fdclose.
func (kq *kqueue) descriptor(kev *aio.Kevent) aio.Errno {
	if kev.Ident > math.MaxInt32 || !isOpen(int(kev.Ident)) {
		return aio.EBADF
	}
	if int(kev.Ident) == kq.fd {
		return aio.EINVAL
	}
	if kn := kq.find(kev.Ident, kev.Filter); kn != nil && kn.stale() {
		kn.drop()
	}
	return 0
}

// attachFd is f_attach of a descriptor.
// Source: FreeBSD fo_kqfilter of each type: sys/kern/uipc_socket.c, soo_kqfilter;
// sys_pipe.c, pipe_kqfilter; kern_event.c, kqueue_kqfilter; geom_dev.c.
func (kn *knote) attachFd() aio.Errno {
	kq := kn.kq
	s := kq.k.sys
	fd := int(kn.ev.Ident)
	st, errno := describe(fd)
	if errno != 0 {
		return errno
	}
	s.asDisk(&st)
	kn.onFd = onFd{is: true, st: st}
	if below := kq.k.kqueues[fd]; below != nil {
		if kn.ev.Filter != aio.FilterRead {
			return aio.EINVAL
		}
		kn.below = below
		below.over = append(below.over, kn)
		return 0
	}
	switch {
	case st.disk != nil:
		return aio.EINVAL
	case st.charDevice && !isTerminal(fd):
		return aio.ENODEV
	case st.Type == aio.TypeFIFO && kn.ev.Filter == aio.FilterWrite && levelOf(fd, &st, toWrite, 0, 0).eof:
		return aio.EPIPE
	}
	if st.safe || kn.never() {
		return 0
	}
	if errno := s.watch(fd, kn.dir(), kn); errno != 0 {
		return errno
	}
	kn.watch = true
	return 0
}

// never: a named pipe is not ready in the direction that it was not opened for.
func (kn *knote) never() bool {
	if kn.st.Type != aio.TypeFIFO {
		return false
	}
	return kn.dir() == toRead && !kn.st.readable || kn.dir() == toWrite && !kn.st.writable
}

func (kn *knote) detachFd() {
	if kn.watch {
		kn.kq.k.sys.unwatch(int(kn.ev.Ident), kn.dir(), kn)
	}
	if kn.below != nil {
		kn.below.leave(kn)
	}
	kn.onFd = onFd{}
}

// forget drops the knotes of a descriptor that is being closed.
// Source: FreeBSD sys/kern/kern_event.c, knote_fdclose.
func (k *Kernel) forget(fd int) {
	for _, kq := range k.kqueues {
		for _, f := range []aio.Filter{aio.FilterRead, aio.FilterWrite} {
			if kn := kq.find(uintptr(fd), f); kn != nil {
				kn.drop()
			}
		}
	}
}

// leave takes a knote off the list of those that a queue below has news for.
func (kq *kqueue) leave(kn *knote) {
	for i, over := range kq.over {
		if over == kn {
			kq.over = append(kq.over[:i], kq.over[i+1:]...)
			return
		}
	}
}

// stale reports whether the descriptor was closed since, whatever its number is
// now.
func (kn *knote) stale() bool {
	if !kn.is {
		return false
	}
	if kn.below != nil {
		return kn.kq.k.kqueues[int(kn.ev.Ident)] != kn.below
	}
	now, errno := fstat(int(kn.ev.Ident))
	kn.kq.k.sys.asDisk(&now)
	return errno != 0 || now.FileStat != kn.st.FileStat
}

// testFd is f_event of a descriptor.
func (kn *knote) testFd() bool {
	if kn.below != nil {
		kn.ev.Data = int64(kn.below.ready.n)
		return kn.ev.Data > 0
	}
	if kn.stale() || kn.never() {
		return false
	}
	l := levelOf(int(kn.ev.Ident), &kn.st, kn.dir(), kn.fflags, kn.data)
	kn.ev.Data = l.data
	if l.eof {
		kn.ev.Flags |= aio.EvEOF
		if kn.st.Type == aio.TypeFIFO && !kn.st.vnode && kn.dir() == toWrite {
			// The knote hangs on the other end, and goes with it.
			kn.ev.Flags |= aio.EvOneshot
		}
	} else if kn.st.Type == aio.TypeFIFO {
		kn.ev.Flags &^= aio.EvEOF
	}
	return l.ready
}

// changed is KNOTE, from the host.
func (kn *knote) changed() { kn.activate() }
