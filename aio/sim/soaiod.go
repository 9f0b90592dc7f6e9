//go:build unix

package sim

import "time"

// socketDaemons are the soaiod, of all processes: a pool beside that of the files.
// Each takes one direction of a socket and is at it until that is not ready. They
// never wait for a socket, so a few do for many.
// Source: FreeBSD sys/kern/sys_socket.c, soaio_enqueue, soaio_kproc_create and
// soaio_kproc_loop.
type socketDaemons struct {
	queue    queue[sockbuf] // soaio_jobs
	procs    int            // there are
	idle     []time.Time    // of these, since when without work, the longest first
	lifetime int            // kern.ipc.aio.lifetime, in ticks

	emptyResults, emptyRetries int // jobs put back since the socket was not ready after all
}

// socketTarget is kern.ipc.aio.target_procs, which cannot be changed.
const socketTarget = 4

// kickSocketDaemons gives work to daemons, and makes more while there is more of it
// than they are. The first use makes as many as shall stay.
func (s *System) kickSocketDaemons() {
	d := &s.socketDaemons
	d.expire(s)
	if d.queue.n > len(d.idle) && d.procs < s.limits.MaxSocketProcs {
		for d.procs < socketTarget || d.procs < s.limits.MaxSocketProcs && d.queue.n > len(d.idle) {
			d.procs++
			d.idle = append(d.idle, s.now())
		}
	}
	for d.queue.n > 0 && len(d.idle) > 0 {
		sb := d.queue.head.v
		d.queue.remove(&sb.work)
		d.idle = d.idle[:len(d.idle)-1]
		if s.stepped != nil {
			s.afterOwn(s.stepped.latency(), sb.serveHere)
		} else {
			go sb.serve()
		}
	}
}

// expire lets those go that have been idle too long.
func (d *socketDaemons) expire(s *System) {
	if d.procs <= socketTarget || len(d.idle) == 0 {
		return
	}
	gone := 0
	for before := s.now().Add(-ticks(d.lifetime)); gone < len(d.idle) && d.procs > socketTarget && !d.idle[gone].After(before); gone++ {
		d.procs--
	}
	d.idle = append(d.idle[:0], d.idle[gone:]...)
}
