package engine

// IOSQE_IO_DRAIN. Contract part 3.5. Source: Linux io_uring/io_uring.c,
// io_init_drain, io_drain_req, io_queue_deferred.

// drain is the barrier: what is queued behind one.
type drain struct {
	// active is the number of operations queued and neither over nor deferred: when
	// it is 0, all that was submitted before the first deferred chain is over.
	active   int
	deferred List // heads of chains, in the order of submission
	running  bool // a draining chain runs, alone
	disabled bool // an SQE that skips its CQE was seen: io_uring drains no more
}

// queue is where a complete chain, or a single operation, goes: to run, behind a
// drain, or to its end if one of it was refused.
func (e *Engine) queue(head *Op) {
	if head.marks&failed != 0 {
		e.poison(head)
		return
	}
	n, drains := measure(head)
	if d := &e.drain; d.deferred.Len() > 0 || d.running || drains && d.active > 0 {
		d.deferred.Push(head)
	} else {
		d.active += n
		d.running = drains
		e.run(head)
	}
	e.step()
}

// measure counts a chain and finds out whether it drains: one member that does makes
// all of it wait.
func measure(head *Op) (n int, drains bool) {
	for o := head; o != nil; o = o.link {
		n++
		drains = drains || o.SQE.Flags&FlagIODrain != 0
	}
	return n, drains
}

// drainNext lets deferred chains go, up to the next that has to wait, and reports
// whether any went.
func (e *Engine) drainNext() bool {
	d := &e.drain
	if d.active > 0 || d.deferred.Len() == 0 && !d.running {
		return false
	}
	d.running = false
	any := false
	for d.deferred.Len() > 0 && !d.running {
		n, drains := measure(d.deferred.head)
		if drains && d.active > 0 {
			break
		}
		head := d.deferred.Pop()
		d.active += n
		d.running = drains
		e.ready.Push(head)
		any = true
	}
	return any
}

// drop takes a single operation out of the deferred ones.
func (d *drain) drop(op *Op) bool {
	n := d.deferred.Len()
	if op.link == nil {
		d.deferred.remove(op)
	}
	return d.deferred.Len() < n
}
