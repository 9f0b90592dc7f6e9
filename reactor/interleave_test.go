package reactor

import (
	"fmt"
	"iter"
	"testing"
)

// The entry's accesses, stepped: a goroutine stops before every access but its
// first, and the actors of a scene go on in every order that there is.

// scene is a few actors at one entry, and what must hold when all have returned.
type scene struct {
	r      Readiness
	actors []func()
	check  func() error
}

// poller polls once, as the actor, and remembers.
type poller struct {
	*calls
	ev    Event
	ready bool
	err   error
}

func (s *scene) poll(generation uint32) *poller {
	p := &poller{calls: newCalls()}
	s.actors = append(s.actors, func() {
		p.ev, p.ready, p.err = s.r.PollReady(generation, p.Waker)
	})
	return p
}

func (s *scene) do(f func()) { s.actors = append(s.actors, f) }

// heard checks a poller at the end of a scene in which the entry got an answer for
// it: it had that answer, or it was called.
func (p *poller) heard() error {
	if !p.ready && p.err == nil && len(p.got) == 0 {
		return fmt.Errorf("lost wake-up: a poll pended and nobody called its waker")
	}
	if len(p.got) > 1 {
		return fmt.Errorf("one poll, waker called %d times", len(p.got))
	}
	return nil
}

// interleave plays every schedule of a scene and returns how many there are.
func interleave(t *testing.T, make func() *scene) int {
	t.Helper()
	var path, options []int // the schedule, and how many could have gone on at each place
	for n := 1; ; n++ {
		s := make()
		var order []int
		path, options, order = play(s, path)
		if err := s.check(); err != nil {
			t.Fatalf("schedule %v: %v; word %#x", order, err, s.r.Poll().word)
		}
		for len(path) > 0 && path[len(path)-1]+1 == options[len(path)-1] {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return n
		}
		path[len(path)-1]++
	}
}

// play plays one schedule: first as path says, then always the first that can go on.
func play(s *scene, path []int) (full, options, order []int) {
	type actor struct {
		id   int
		next func() (struct{}, bool)
	}
	var yield func(struct{}) bool // of the actor that runs
	yields := make([]func(struct{}) bool, len(s.actors))
	s.r.pause = func() { yield(struct{}{}) }
	live := make([]actor, len(s.actors))
	for i, body := range s.actors {
		next, stop := iter.Pull(func(y func(struct{}) bool) {
			yields[i] = y
			yield = y
			body()
		})
		defer stop()
		live[i] = actor{i, next}
	}
	for len(live) > 0 {
		choice := 0
		if len(full) < len(path) {
			choice = path[len(full)]
		}
		full, options = append(full, choice), append(options, len(live))
		a := live[choice]
		order = append(order, a.id)
		yield = yields[a.id]
		if _, more := a.next(); !more {
			live = append(live[:choice], live[choice+1:]...)
		}
	}
	s.r.pause = nil
	return full, options, order
}

func TestNoInterleavingLosesAWakeUp(t *testing.T) {
	for name, make := range map[string]func() *scene{
		"poll, event": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(func() { s.r.Complete(0) })
			s.check = p.heard
			return s
		},
		"poll, shutdown": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(s.r.Shutdown)
			s.check = p.heard
			return s
		},
		"poll, release": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(func() { s.r.Release() })
			s.check = p.heard
			return s
		},
		"poll, event, event": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(func() { s.r.Complete(0) })
			s.do(func() { s.r.Complete(0) })
			s.check = func() error {
				if ev := s.r.Poll(); ev.Tick() != 2 || !ev.Ready() {
					return fmt.Errorf("two events, tick %d", ev.Tick())
				}
				return p.heard()
			}
			return s
		},
		"poll, poll, event": func() *scene {
			s := new(scene)
			p, q := s.poll(0), s.poll(0)
			s.do(func() { s.r.Complete(0) })
			s.check = func() error {
				if s.r.waker.Load() != nil {
					return fmt.Errorf("a waker is left though the entry is ready")
				}
				return bothHeard(p, q)
			}
			return s
		},
		"poll, event, shutdown": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(func() { s.r.Complete(0) })
			s.do(s.r.Shutdown)
			s.check = func() error {
				if ev := s.r.Poll(); !ev.Shutdown() || !ev.Ready() {
					return fmt.Errorf("an event or a shutdown is lost")
				}
				return p.heard()
			}
			return s
		},
		"poll, event, release": func() *scene {
			s := new(scene)
			p := s.poll(0)
			s.do(func() { s.r.Complete(0) })
			s.do(func() { s.r.Release() })
			s.check = func() error {
				if ev := s.r.Poll(); ev.Ready() || ev.Generation() != 1 {
					return fmt.Errorf("readiness outlives its generation")
				}
				return p.heard()
			}
			return s
		},
		// The old generation's wake-up may meet the new one's waker, which must
		// then not take it for more than a reason to poll again.
		"poll, release, poll of the next, its event": func() *scene {
			s := new(scene)
			p := s.poll(0)
			var q *poller
			s.do(func() {
				next := s.r.Release()
				q = &poller{calls: newCalls()}
				for range 3 { // polls again as long as it is told to
					before := len(q.got)
					q.ev, q.ready, q.err = s.r.PollReady(next, q.Waker)
					if q.ready || q.err != nil || len(q.got) == before {
						break
					}
				}
				s.r.Complete(next)
			})
			s.check = func() error {
				for _, err := range q.got {
					if err != nil && err != ErrReplaced {
						return fmt.Errorf("the next generation's waker got %v", err)
					}
				}
				if q.err != nil || !q.ready && len(q.got) == 0 {
					return fmt.Errorf("the next generation's poller: %v, called %v", q.err, q.got)
				}
				return p.heard()
			}
			return s
		},
		"poll, clear and event": func() *scene {
			s := new(scene)
			s.r.Complete(0)
			ev := s.r.Poll()
			p := s.poll(0)
			s.do(func() {
				s.r.Clear(ev)
				s.r.Complete(0)
			})
			s.check = p.heard
			return s
		},
	} {
		t.Run(name, func(t *testing.T) { t.Log(interleave(t, make), "schedules") })
	}
}

func bothHeard(p, q *poller) error {
	if err := p.heard(); err != nil {
		return err
	}
	if err := q.heard(); err != nil {
		return err
	}
	if len(p.got) == 1 && len(q.got) == 1 && p.got[0] != nil && q.got[0] != nil {
		return fmt.Errorf("each of two pollers was told that the other replaced it")
	}
	return nil
}

func TestNoInterleavingLosesAnEvent(t *testing.T) {
	for name, make := range map[string]func() *scene{
		"clear, event": func() *scene {
			s := new(scene)
			s.r.Complete(0)
			ev := s.r.Poll()
			var cleared bool
			s.do(func() { cleared = s.r.Clear(ev) })
			s.do(func() { s.r.Complete(0) })
			s.check = func() error {
				if got := s.r.Poll(); !got.Ready() || got.Tick() != 2 {
					return fmt.Errorf("the clear (%v) wiped an event it had not seen", cleared)
				}
				return nil
			}
			return s
		},
		"clear, clear, event": func() *scene {
			s := new(scene)
			s.r.Complete(0)
			ev := s.r.Poll()
			cleared := 0
			for range 2 {
				s.do(func() {
					if s.r.Clear(ev) {
						cleared++
					}
				})
			}
			s.do(func() { s.r.Complete(0) })
			s.check = func() error {
				if got := s.r.Poll(); !got.Ready() || cleared > 1 {
					return fmt.Errorf("%d clears by one event", cleared)
				}
				return nil
			}
			return s
		},
		"clear, shutdown, event": func() *scene {
			s := new(scene)
			s.r.Complete(0)
			ev := s.r.Poll()
			s.do(func() { s.r.Clear(ev) })
			s.do(s.r.Shutdown)
			s.do(func() { s.r.Complete(0) })
			s.check = func() error {
				if got := s.r.Poll(); !got.Shutdown() || !got.Ready() {
					return fmt.Errorf("shutdown or an event is lost")
				}
				return nil
			}
			return s
		},
		"clear, release, event of the next": func() *scene {
			s := new(scene)
			s.r.Complete(0)
			ev := s.r.Poll()
			s.do(func() { s.r.Clear(ev) })
			s.do(func() { s.r.Complete(s.r.Release()) })
			s.check = func() error {
				if got := s.r.Poll(); !got.Ready() || got.Generation() != 1 {
					return fmt.Errorf("an old clear reached the next generation")
				}
				return nil
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) { t.Log(interleave(t, make), "schedules") })
	}
}

// rounds is a scene of a poller, who polls n times and clears what it finds ready,
// and of as many events.
func rounds(n int, others ...func(s *scene)) *scene {
	s := new(scene)
	c := newCalls()
	// told is what the last poll was told: an answer, or that its waker has it.
	var told bool
	s.do(func() {
		for range n {
			c.got = c.got[:0]
			ev, ready, err := s.r.PollReady(0, c.Waker)
			told = ready || err != nil
			if ready {
				s.r.Clear(ev)
			}
		}
	})
	s.do(func() {
		for range n {
			s.r.Complete(0)
		}
	})
	for _, other := range others {
		other(s)
	}
	s.check = func() error {
		ev := s.r.Poll()
		switch {
		case ev.Tick() != uint32(n):
			return fmt.Errorf("%d events, tick %d", n, ev.Tick())
		case !told && (ev.Ready() || ev.Shutdown()) && len(c.got) == 0:
			return fmt.Errorf("lost wake-up: the last poll pended, there was news, and nobody called its waker")
		case (ev.Ready() || ev.Shutdown()) && s.r.waker.Load() != nil:
			return fmt.Errorf("a waker is left though there is news")
		}
		return nil
	}
	return s
}

// The hunt for a lost wake-up: a million races of polls and events, in every order
// of the loads, the exchanges and the storing of the waker that there is.
func TestAMillionRacesLoseNoWakeUp(t *testing.T) {
	shutdown := func(s *scene) { s.do(s.r.Shutdown) }
	clear := func(s *scene) { s.do(func() { s.r.Clear(s.r.Poll()) }) }
	races := 0
	for _, c := range []struct {
		name string
		n    int
		make func() *scene
		slow bool
	}{
		{"1 poll, 1 event", 1, func() *scene { return rounds(1) }, false},
		{"2 polls, 2 events", 2, func() *scene { return rounds(2) }, false},
		{"1 poll, 1 event, shutdown", 1, func() *scene { return rounds(1, shutdown) }, false},
		{"3 polls, 3 events", 3, func() *scene { return rounds(3) }, true},
		{"2 polls, 2 events, shutdown", 2, func() *scene { return rounds(2, shutdown) }, true},
		{"2 polls, 2 events, a clear", 2, func() *scene { return rounds(2, clear) }, true},
	} {
		if c.slow && (raceDetector || testing.Short()) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			n := interleave(t, c.make)
			t.Log(n, "schedules")
			races += n * c.n
		})
	}
	if all := !raceDetector && !testing.Short(); all && !t.Failed() && races < 1_000_000 {
		t.Errorf("%d races only", races)
	}
}
