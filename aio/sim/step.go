//go:build unix

package sim

import (
	"container/heap"
	"math/bits"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Stepped mode. Nothing happens by itself: daemons are made, take jobs, move
// bytes and finish them, alarms go off, each as one step, and each step is
// chosen by the seed among all that could come now. Time is virtual and goes on
// only when nothing can happen at the present. So one goroutine that makes the
// same calls sees the same history, to the byte, on every host.
//
// A call that would sleep makes steps itself until it is woken or its time is
// over; if nothing is left that could ever wake it, it answers EDEADLK. No call
// waits for another goroutine, and none is started.
//
//	running job:  start -> lock -> move -> finish
//	              each when its gate is open, its delay over, the vnode free
type stepper struct {
	rng      rand.PCG
	now      time.Duration
	alarms   alarms
	alarmSeq uint64
	running  queue[job]      // taken and not finished, in the order in which they were taken
	idle     []time.Duration // daemons without a job: since when, the longest first
	creating int             // daemons on their way
	steps    uint64
}

func newStepper(seed uint64) *stepper {
	p := new(stepper)
	p.rng.Seed(seed, 0x9e3779b97f4a7c15)
	return p
}

// intn draws from [0, n). It is ours, because the streams of math/rand/v2's own
// may change with Go's version.
func (p *stepper) intn(n int) int {
	hi, _ := bits.Mul64(p.rng.Uint64(), uint64(n))
	return int(hi)
}

// latency draws how long one stage of a job takes: mostly no time worth the
// name, seldom as long as a seek.
func (p *stepper) latency() time.Duration {
	switch p.intn(16) {
	case 0:
		return time.Duration(p.intn(10_000)) * time.Microsecond
	case 1, 2, 3:
		return time.Duration(p.intn(500)) * time.Microsecond
	case 4, 5, 6, 7:
		return time.Duration(p.intn(50)) * time.Microsecond
	}
	return 0
}

// alarms is a heap, the next one first.
type alarms []*Alarm

func (a alarms) Len() int { return len(a) }
func (a alarms) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a alarms) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)   { *a = append(*a, x.(*Alarm)) }
func (a *alarms) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return x
}

func (p *stepper) set(a *Alarm, d time.Duration) {
	p.alarmSeq++
	a.at, a.seq = p.now+max(d, 0), p.alarmSeq
	heap.Push(&p.alarms, a)
}

// next is the alarm that goes off first, or nil.
func (p *stepper) next() *Alarm {
	for len(p.alarms) > 0 {
		if p.alarms[0].on {
			return p.alarms[0]
		}
		heap.Pop(&p.alarms)
	}
	return nil
}

// Step lets one thing happen, and the clock go on to it if nothing can happen
// before. false: nothing is under way, or all of it is held by a closed [Gate],
// and so it stays until somebody calls the kernel. In threaded mode it is false
// always.
func (s *System) Step() bool {
	s.lock()
	defer s.unlock()
	return s.stepped != nil && s.step(never)
}

// Step is [System.Step] of the process's machine.
func (k *Kernel) Step() bool { return k.sys.Step() }

// Now is [System.Now] of the process's machine.
func (k *Kernel) Now() time.Duration { return k.sys.Now() }

// StepUntil makes steps until cond holds, and reports whether it does. cond is
// called between steps and may call the kernel.
func (s *System) StepUntil(cond func() bool) bool {
	for !cond() {
		if !s.Step() {
			return cond()
		}
	}
	return true
}

// Sleep lets d of virtual time go by, with all that happens in it.
func (s *System) Sleep(d time.Duration) {
	s.lock()
	defer s.unlock()
	if s.stepped == nil {
		return
	}
	until := s.stepped.now + max(d, 0)
	for s.step(until) {
	}
	s.advance(until)
}

// Steps is how many steps there were.
func (s *System) Steps() uint64 {
	s.lock()
	defer s.unlock()
	if s.stepped == nil {
		return 0
	}
	return s.stepped.steps
}

// never is later than everything.
const never = time.Duration(1<<63 - 1)

// step is Step, not beyond a time. The lock is held, and given up meanwhile.
func (s *System) step(limit time.Duration) bool {
	p := s.stepped
	if s.watches.count > 0 {
		s.takeChanges() // news of the host's descriptors
	}
	for {
		choices := 0
		next := never
		var take *job
		if len(p.idle) > 0 {
			if take = s.runnable(); take != nil {
				choices++
			}
		}
		for e := p.running.head; e != nil; e = e.next {
			switch at := s.ready(e.v); {
			case at <= p.now:
				choices++
			case at < next:
				next = at
			}
		}
		alarm := p.next()
		if alarm != nil {
			if alarm.at <= p.now {
				choices++
			} else {
				next = min(next, alarm.at)
			}
		}
		if choices > 0 {
			p.steps++
			s.choose(p.intn(choices), take, alarm)
			return true
		}
		if next == never || next > limit {
			return false
		}
		s.advance(next)
	}
}

// choose makes the nth of the possible steps, as step has counted them.
func (s *System) choose(n int, take *job, alarm *Alarm) {
	p := s.stepped
	if take != nil {
		if n == 0 {
			p.idle = p.idle[:len(p.idle)-1]
			s.take(take, true)
			return
		}
		n--
	}
	for e := p.running.head; e != nil; e = e.next {
		if s.ready(e.v) > p.now {
			continue
		}
		if n == 0 {
			s.goOn(e.v)
			return
		}
		n--
	}
	heap.Pop(&p.alarms) // alarm is the first
	alarm.on = false
	if alarm.own {
		alarm.call()
		return
	}
	if t := s.tracer; t != nil {
		t.begin(s, nil, "alarm").num("n", int64(alarm.seq)).end()
	}
	s.unlock()
	alarm.call()
	s.lock()
}

// advance sets the clock, if it goes forward, and lets go the daemons that have
// been idle too long by then.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_daemon.
func (s *System) advance(to time.Duration) {
	p := s.stepped
	p.now = max(p.now, to)
	gone := 0
	for gone < len(p.idle) && s.daemons > s.limits.TargetProcs && s.runq.n == 0 && p.idle[gone]+s.lifetime() <= p.now {
		gone++
		s.daemons--
	}
	if gone > 0 {
		p.idle = append(p.idle[:0], p.idle[gone:]...)
	}
}

// stepAsleep is the sleep of a caller in stepped mode. When nothing can wake it
// the answer is EDEADLK.
func (s *System) stepAsleep(q *queue[waiter], w *waiter, deadline time.Time) (timedOut bool) {
	limit := never
	if !deadline.IsZero() {
		limit = deadline.Sub(boot)
	}
	for w.seat.in != nil && s.step(limit) {
	}
	if w.seat.in == nil {
		return false
	}
	q.remove(&w.seat)
	if limit == never {
		w.errno = aio.EDEADLK
		return false
	}
	s.advance(limit)
	return true
}

// stage is how far a running job has come.
type stage uint8

const (
	starting stage = iota // a daemon has it
	locking               // it wants the vnode
	moving                // it has the vnode
	ending                // the bytes are moved
)

// ready is when a running job can make its next step; never while it is held.
func (s *System) ready(j *job) time.Duration {
	if j.held.closed() || j.stage == locking && !j.canLock() {
		return never
	}
	return j.until
}

// goOn makes one step of a running job. See job.perform for the same in threaded
// mode.
func (s *System) goOn(j *job) {
	p := s.stepped
	k := j.k
	j.held.leave()
	j.held = nil
	pause := time.Duration(0)
	switch j.stage {
	case starting:
		e := k.askHere(func() Op { return opOfJob(j, Start) })
		j.effect = e
		pause = e.Delay
		j.held = e.active
		if e.Errno != 0 {
			j.status, j.errno = -1, e.Errno
			j.stage = ending
		} else {
			s.scribble(j, &e)
			j.stage = locking
		}
	case locking:
		j.lockStepped()
		j.stage = moving
	case moving:
		e := k.askHere(func() Op { return opOfJob(j, Transfer) })
		e = e.or(j.effect)
		j.verify()
		s.unlock()
		status, errno := j.work(&e)
		s.lock()
		j.unlockStepped()
		e = k.askHere(func() Op { return opOfJob(j, Result) })
		pause = e.Delay
		j.held = e.active
		if e.Errno != 0 {
			status, errno = -1, e.Errno
		}
		j.status, j.errno = status, errno
		j.stage = ending
		if t := s.tracer; t != nil {
			t.begin(s, k, "moved").job(j).result(status, errno).sum(j).end()
		}
	case ending:
		p.running.remove(&j.run)
		switch {
		case j.direct:
			s.finishDirect(j, j.status, j.errno)
			return
		case j.daemon:
			s.release()
		}
		s.finishActive(j, j.status, j.errno)
		return
	}
	j.held.enter()
	if !j.hurried {
		pause += p.latency()
	}
	j.until = p.now + pause
}

// release gives a daemon back that has finished its job.
func (s *System) release() {
	p := s.stepped
	p.idle = append(p.idle, p.now)
}

// takeStepped begins a job that a daemon, or the caller by hand, has taken.
func (s *System) takeStepped(j *job, daemon bool) {
	p := s.stepped
	j.stage, j.daemon, j.until = starting, daemon, p.now
	p.running.push(&j.run)
	if t := s.tracer; t != nil {
		t.begin(s, j.k, "take").job(j).end()
	}
}

// hurry runs a taken job as far as it gets without anything else happening: to
// its end, or to a closed gate, or to a vnode that another has. Delays go by.
func (s *System) hurry(j *job) {
	p := s.stepped
	seq := j.seq
	j.hurried = true
	for j.state == active && j.seq == seq {
		at := s.ready(j)
		if at == never {
			j.hurried = false
			return
		}
		s.advance(at)
		p.steps++
		s.goOn(j)
	}
}

// kickStepped makes a daemon if there is a job for it and none is idle, one for
// each kick: the first burst runs on those of the start.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_kick_nowait and aio_kick_helper.
func (s *System) kickStepped() {
	p := s.stepped
	j := s.runnable()
	if j == nil || len(p.idle) > 0 ||
		p.creating+s.daemons >= s.limits.MaxProcs || j.k.active+p.creating >= s.limits.MaxPerProc {
		return
	}
	p.creating++
	e := j.k.ask(func() Op { return Op{Point: NewDaemon, Entry: -1, Fd: -1} })
	s.afterOwn(e.Delay+p.latency(), func() {
		p.creating--
		s.daemons++
		p.idle = append(p.idle, p.now)
	})
}

// streamReady reports whether a job that enable_unsafe has let in can go on
// without waiting for the other end.
func (j *job) streamReady() bool {
	if j.file.open != nil {
		return false // mute
	}
	events := int16(unix.POLLIN)
	if j.write() {
		events = unix.POLLOUT
	}
	fds := [1]unix.PollFd{{Fd: int32(j.file.host), Events: events}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 || err != nil && err != unix.EINTR
}

// canLock reports whether the vnode is free for a job: readers share it.
func (j *job) canLock() bool {
	if j.file == nil {
		return true
	}
	if !j.file.safe && !j.sync() && j.file.disk == nil && !j.streamReady() {
		return false
	}
	v := j.file.vnode
	switch j.lockKind() {
	case alone:
		return v.readers == 0 && !v.writer
	case shared:
		return !v.writer
	}
	return true
}

func (j *job) lockStepped() {
	switch j.lockKind() {
	case alone:
		j.file.vnode.writer = true
	case shared:
		j.file.vnode.readers++
	}
}

func (j *job) unlockStepped() {
	switch j.lockKind() {
	case alone:
		j.file.vnode.writer = false
	case shared:
		j.file.vnode.readers--
	}
}
