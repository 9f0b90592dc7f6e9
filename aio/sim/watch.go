//go:build unix

package sim

import "github.com/aioring/aioring/aio"

// Descriptors of the host on which something is waited for: by a filter of a
// kqueue, or by jobs queued on a socket. The host tells of changes, and whether a
// change means anything is then looked at anew, so one too many does no harm
// except to EV_CLEAR.
//
// A goroutine sleeps in the host as long as anything is watched. What the host
// has to say is taken with the lock held: so whoever begins a watch can take what
// the host says about the beginning, and a change after that is never missed.

// direction is what is waited for.
type direction uint8

const (
	toRead direction = iota
	toWrite
)

// watched is told of changes, with the lock held.
type watched interface{ changed() }

// watches are the descriptors that a system watches.
type watches struct {
	host   *hostWatch // nil while nothing is watched
	of     [2]map[int][]watched
	count  int
	events []watchEvent // of one look, reused
}

// watchEvent is a change that the host tells of.
type watchEvent struct {
	fd  int
	dir direction
}

// watch begins to tell w of changes. The caller looks at the descriptor after
// that, not before. A descriptor that the host cannot watch, a file say, is
// always ready: nothing is ever told of it, and that is no error.
func (s *System) watch(fd int, dir direction, w watched) aio.Errno {
	ws := &s.watches
	if ws.host == nil {
		host, errno := newHostWatch()
		if errno != 0 {
			return errno
		}
		ws.host = host
		ws.of = [2]map[int][]watched{make(map[int][]watched), make(map[int][]watched)}
		s.watchers++
		go s.watching(host)
	}
	// Added again each time: the number may be another file's since.
	if errno := ws.host.add(fd, dir); errno != 0 && errno != aio.EPERM {
		s.endWatch()
		return errno
	}
	ws.of[dir][fd] = append(ws.of[dir][fd], w)
	ws.count++
	s.takeChanges()
	return 0
}

// unwatch undoes watch.
func (s *System) unwatch(fd int, dir direction, w watched) {
	ws := &s.watches
	list := ws.of[dir][fd]
	for i, have := range list {
		if have == w {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			ws.of[dir][fd] = list[:len(list)-1]
			ws.count--
			break
		}
	}
	if len(ws.of[dir][fd]) == 0 {
		delete(ws.of[dir], fd)
		ws.host.remove(fd, dir)
	}
	s.endWatch()
}

// endWatch sends the goroutine home when nothing is watched.
func (s *System) endWatch() {
	if ws := &s.watches; ws.host != nil && ws.count == 0 {
		ws.host.wake()
		ws.host = nil
	}
}

// watching is the goroutine of one hostWatch, which it closes.
func (s *System) watching(host *hostWatch) {
	for {
		host.sleep()
		s.lock()
		if s.watches.host != host {
			break
		}
		s.takeChanges()
		s.unlock()
	}
	host.close()
	s.watchers--
	s.quiet.Broadcast()
	s.unlock()
}

// takeChanges tells of everything that the host has to say.
func (s *System) takeChanges() {
	ws := &s.watches
	ws.events = ws.host.take(ws.events[:0])
	for _, e := range ws.events {
		for _, w := range ws.of[e.dir][e.fd] {
			w.changed()
		}
	}
}
