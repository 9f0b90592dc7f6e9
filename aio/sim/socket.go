//go:build unix

package sim

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Jobs on sockets. Each direction of a socket has a queue of its own, and its
// jobs are tried one after the other, without blocking, whenever the socket is
// ready. No daemon of the file pool is involved.
//
// What differs from the kernel: SIGPIPE is not sent; a socket that was shut down
// for reading with bytes in it gives them first; a listening socket is refused on
// every version, while 13.2 takes the job and corrupts its memory.
// Source: FreeBSD sys/kern/sys_socket.c, soo_aio_queue, soaio_process_sb,
// soaio_process_job and soo_aio_cancel.

// socket is what a vnode of a socket has besides.
type socket struct {
	bufs [2]sockbuf // by direction
}

// sockbuf is one direction.
type sockbuf struct {
	s         *System
	dir       direction
	jobs      queue[job]
	running   bool // a goroutine is at it (SB_AIO_RUNNING)
	watched   int  // the descriptor through which the host is asked for news, or -1
	stalled   seat[sockbuf]
	work      seat[sockbuf] // in socketDaemons.queue
	serve     func()
	serveHere func()
}

func (s *System) newSocket() *socket {
	so := new(socket)
	for d := range so.bufs {
		sb := &so.bufs[d]
		sb.s, sb.dir, sb.watched = s, direction(d), -1
		sb.stalled.v, sb.work.v = sb, sb
		sb.serveHere = sb.processHere
		sb.serve = sb.process // once and for all: a go statement then allocates nothing
	}
	return so
}

func (j *job) socket() bool {
	return j.file != nil && j.file.Type == aio.TypeSocket && !j.sync() && !j.mlock()
}

func (j *job) sockbuf() *sockbuf {
	if j.file.vnode.so == nil {
		j.file.vnode.so = j.k.sys.newSocket()
	}
	if j.write() {
		return &j.file.vnode.so.bufs[toWrite]
	}
	return &j.file.vnode.so.bufs[toRead]
}

// queueSocket puts an accepted job on its socket's queue.
func (s *System) queueSocket(j *job) {
	sb := j.sockbuf()
	j.state = onSocket
	sb.jobs.push(&j.run)
	sb.kick()
}

// held reports whether a test keeps the first job where it is.
func (sb *sockbuf) held() bool {
	j := sb.jobs.head.v
	return j.k.held > 0 || j.gate.holds(sb.s)
}

// ready reports whether the socket is ready for the first job (soaio_ready).
func (sb *sockbuf) ready() bool {
	return socketLevel(sb.jobs.head.v.file.host, sb.dir, 0, 0).ready
}

// unheard reports whether a change is one that wakes no job: the peer of a local
// stream has shut down its sending, and there is nothing to read. On 15 that sets
// the state and wakes pollers, and jobs wait on until one more comes, or the peer
// closes.
// Source: FreeBSD sys/kern/uipc_usrreq.c, uipc_cantrcvmore.
func (sb *sockbuf) unheard() bool {
	if sb.jobs.head == nil || sb.dir != toRead {
		return false
	}
	j := sb.jobs.head.v
	fd := j.file.host
	return j.k.feat.deafToShutdown && pollNow(fd, unix.POLLIN|pollReadEnd)&unix.POLLHUP == 0 &&
		readable(fd) == 0 && isLocalStream(fd) && socketLevel(fd, toRead, 0, 0).eof
}

// kick has the first job tried if it may be, else asks the host for news.
func (sb *sockbuf) kick() {
	if sb.running {
		return
	}
	if !sb.next() {
		return
	}
	sb.running = true
	sb.s.servers++
	sb.s.socketDaemons.queue.push(&sb.work)
	sb.s.kickSocketDaemons()
}

// next reports whether the first job may be tried now. If not, somebody will call
// kick when it may.
func (sb *sockbuf) next() bool {
	s := sb.s
	if sb.stalled.in != nil {
		s.stalled.remove(&sb.stalled)
	}
	if sb.jobs.head == nil {
		sb.unwatch()
		return false
	}
	if sb.held() {
		s.stalled.push(&sb.stalled)
		return false
	}
	// The watch comes before the look, so that no news falls between them.
	if sb.ready() {
		return true // no need to ask
	}
	if sb.rewatch() != 0 {
		// Without news nobody would come back: the attempt says what is wrong.
		return true
	}
	return sb.ready()
}

// rewatch asks for news of the first job's descriptor.
func (sb *sockbuf) rewatch() aio.Errno {
	fd := sb.jobs.head.v.file.host
	if sb.watched == fd {
		return 0
	}
	sb.unwatch()
	errno := sb.s.watch(fd, sb.dir, sb)
	if errno == 0 {
		sb.watched = fd
	}
	return errno
}

func (sb *sockbuf) unwatch() {
	if sb.watched >= 0 {
		sb.s.unwatch(sb.watched, sb.dir, sb)
		sb.watched = -1
	}
}

// changed is sowakeup_aio, from the host.
func (sb *sockbuf) changed() {
	if !sb.unheard() {
		sb.kick()
	}
}

// kickSockets tries what a test has held.
func (s *System) kickSockets() {
	for n := s.stalled.n; n > 0; n-- {
		sb := s.stalled.head.v
		s.stalled.remove(&sb.stalled)
		sb.kick()
	}
}

// process tries jobs until there is none or the socket is not ready.
func (sb *sockbuf) process() {
	sb.s.lock()
	sb.processHere()
	sb.s.unlock()
}

// processHere does it with the lock held, which is given up meanwhile.
func (sb *sockbuf) processHere() {
	s := sb.s
	for sb.next() {
		j := sb.jobs.head.v
		sb.jobs.remove(&j.run)
		j.state = active
		s.unlock()
		again, errno := j.attempt()
		s.lock()
		if again {
			s.socketDaemons.emptyResults++
		}
		switch {
		case !again:
			sb.finish(j, errno)
		case j.cancelled:
			// Cancel came while the job was tried, and found nothing to take.
			sb.end(j)
		default:
			j.state = onSocket
			sb.jobs.pushFront(&j.run)
			if sb.ready() {
				s.socketDaemons.emptyRetries++
			}
		}
	}
	sb.running = false
	s.servers--
	s.socketDaemons.idle = append(s.socketDaemons.idle, s.now())
	s.kickSocketDaemons()
	s.quiet.Broadcast()
}

func (sb *sockbuf) finish(j *job, errno aio.Errno) {
	sb.letGo(j)
	j.k.finish(j, int(j.moved), errno)
	if j.k.dead {
		sb.s.quiet.Broadcast()
	}
}

// letGo ends the watch through a job's descriptor, which may be closed once the
// job has finished.
func (sb *sockbuf) letGo(j *job) {
	if sb.watched == j.file.host {
		sb.unwatch()
	}
}

// end is soo_aio_cancel: a job that has moved bytes ends with them.
func (sb *sockbuf) end(j *job) (cancelled bool) {
	if j.moved > 0 {
		sb.finish(j, 0)
		return false
	}
	j.k.stats.Cancelled++
	sb.finish(j, aio.ECANCELED)
	return true
}

// cancelOnSocket takes a waiting job off its queue.
func (j *job) cancelOnSocket() bool {
	sb := j.sockbuf()
	sb.jobs.remove(&j.run)
	j.cancelled = true
	cancelled := sb.end(j)
	// Another may be the first now, with a descriptor of its own.
	if !sb.unheard() || sb.rewatch() != 0 {
		sb.kick()
	}
	return cancelled
}

// attempt is one try, without the lock. again: the socket was not ready after
// all, or took only a part of what it shall take whole.
func (j *job) attempt() (again bool, errno aio.Errno) {
	k := j.k
	if !j.begun {
		j.begun = true
		effect := k.askThere(func() Op { return opOfJob(j, Start) })
		if effect.Errno == 0 && effect.scribbled {
			k.sys.lock()
			k.sys.scribble(j, &effect)
			k.sys.unlock()
		}
		effect.wait()
		if effect.Errno != 0 {
			return false, effect.Errno
		}
		effect = k.askThere(func() Op { return opOfJob(j, Transfer) }).or(effect)
		k.sys.lock()
		j.verify()
		k.sys.unlock()
		if effect.Errno != 0 {
			return false, effect.Errno
		}
		if effect.limited {
			j.nbytes, j.after = min(j.nbytes, effect.Limit), effect.after
		}
	}
	again, errno = j.move()
	if again {
		return true, 0
	}
	if errno == 0 && j.after != 0 {
		_, errno = partial(int(j.moved), j.after)
	}
	effect := k.askThere(func() Op { return opOfJob(j, Result) })
	effect.wait()
	if effect.Errno != 0 {
		errno = effect.Errno
	}
	return false, errno
}

// move is one system call.
// Source: FreeBSD sys/kern/sys_socket.c, soaio_process_job.
func (j *job) move() (again bool, errno aio.Errno) {
	if j.reach() < j.nbytes {
		return false, aio.EFAULT
	}
	for {
		n, err := j.message()
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if j.moved == 0 {
				return true, 0
			}
			flags, err := unix.FcntlInt(uintptr(j.file.host), unix.F_GETFL, 0)
			return err == nil && flags&unix.O_NONBLOCK == 0, 0
		case err != nil:
			return false, fromHost(err)
		default:
			j.moved += uintptr(n)
			if !j.write() || j.moved == j.nbytes {
				return false, 0
			}
		}
	}
}

// message sends or receives what is left of the job, without blocking.
func (j *job) message() (int, error) {
	var few [8][]byte
	parts := few[:0]
	if j.iov == nil || j.op&opVectored == 0 {
		parts = append(parts, view[byte](j.buf, int(j.nbytes))[j.moved:])
	} else {
		skip, left := j.moved, j.nbytes-j.moved
		for _, v := range j.iov {
			length := min(v.Len-min(skip, v.Len), left)
			if length > 0 {
				parts = append(parts, view[byte](v.Base, int(v.Len))[min(skip, v.Len):][:length])
			}
			skip -= min(skip, v.Len)
			left -= length
		}
	}
	if j.write() {
		return unix.SendmsgBuffers(j.file.host, parts, nil, nil, unix.MSG_DONTWAIT|noSignal)
	}
	n, _, _, _, err := unix.RecvmsgBuffers(j.file.host, parts, nil, unix.MSG_DONTWAIT)
	return n, err
}
