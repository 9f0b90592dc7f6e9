//go:build unix

package sim

import "time"

// boot is when the virtual clock begins: some day in 2001.
var boot = time.Unix(1_000_000_000, 0)

// now is what the clock of the model shows: the host's, or the virtual one.
func (s *System) now() time.Time {
	if s.stepped != nil {
		return boot.Add(s.stepped.now)
	}
	return time.Now()
}

// Now is the virtual time since the machine was made. In threaded mode it is 0.
func (s *System) Now() time.Duration {
	s.lock()
	defer s.unlock()
	if s.stepped == nil {
		return 0
	}
	return s.stepped.now
}

// Time is the time of day: Now as the processes of the machine see it.
func (s *System) Time() time.Time {
	s.lock()
	defer s.unlock()
	return s.now()
}

// Alarm is one call that After has put off.
type Alarm struct {
	s    *System
	at   time.Duration
	seq  uint64
	call func()
	own  bool // the model's own: called with the lock held
	on   bool // not called and not stopped yet
	host *time.Timer
}

// After calls f once, d from now. In stepped mode that is one step of the
// scheduler, in the goroutine that steps; in threaded mode f has a goroutine of
// its own. f may call everything here: it is how a signal, a changed sysctl, a
// trigger from another thread comes at a time of its own. In stepped mode what f
// waits for is waited for inside the step, while the sleeper below stays asleep.
func (s *System) After(d time.Duration, f func()) *Alarm {
	s.lock()
	defer s.unlock()
	a := &Alarm{s: s, call: f, on: true}
	if s.stepped != nil {
		s.stepped.set(a, d)
		return a
	}
	a.host = time.AfterFunc(d, func() {
		s.lock()
		due := a.on
		a.on = false
		s.unlock()
		if due {
			f()
		}
	})
	return a
}

// afterOwn is After for the model itself: it and f are called with the lock held.
func (s *System) afterOwn(d time.Duration, f func()) *Alarm {
	a := &Alarm{s: s, call: f, own: true, on: true}
	if s.stepped != nil {
		s.stepped.set(a, d)
		return a
	}
	a.host = time.AfterFunc(d, func() {
		s.lock()
		if a.on {
			a.on = false
			f()
		}
		s.unlock()
	})
	return a
}

// again puts an own alarm that has gone off once more.
func (a *Alarm) again(d time.Duration) {
	a.on = true
	if a.host != nil {
		a.host.Reset(d)
	} else {
		a.s.stepped.set(a, d)
	}
}

// stop is Stop with the lock held.
func (a *Alarm) stop() bool {
	was := a.on
	a.on = false
	if a.host != nil {
		a.host.Stop()
	}
	return was
}

// Stop takes the call back. false: it was made already, or taken back before.
func (a *Alarm) Stop() bool {
	a.s.lock()
	defer a.s.unlock()
	return a.stop()
}
