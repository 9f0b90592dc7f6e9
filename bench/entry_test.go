package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aioring/aioring/reactor"
	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// entry is the model of a [reactor.Readiness]: a register that counts events, with
// a shutdown that stays. It is comparable, as porcupine wants it.
type entry struct {
	generation, tick uint32
	ready, shutdown  bool
}

// entryStep is a call with what it answered.
type entryStep struct {
	kind       string
	generation uint32        // that the caller named, or of the event it gave back
	ev         reactor.Event // the one given back, or the answer
	yes        bool          // the answer
	err        error
	next       uint32
}

var entryModel = porcupine.Model{
	Init: func() any { return entry{} },
	Step: func(state, input, _ any) (bool, any) {
		e := state.(entry)
		ok := e.step(input.(entryStep))
		return ok, e
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// saw reports whether ev is what the entry is.
func (e *entry) saw(ev reactor.Event) bool {
	return *e == entry{ev.Generation(), ev.Tick(), ev.Ready(), ev.Shutdown()}
}

// step takes a step and reports whether the register would have answered that.
func (e *entry) step(s entryStep) bool {
	switch s.kind {
	case "Poll":
		return e.saw(s.ev)
	case "PollReady":
		switch {
		case e.generation != s.generation:
			return errors.Is(s.err, reactor.ErrReleased)
		case e.shutdown:
			return errors.Is(s.err, reactor.ErrShutdown) && !s.yes
		case e.ready:
			return s.err == nil && s.yes && e.saw(s.ev)
		}
		return s.err == nil && !s.yes
	case "Complete":
		if e.generation != s.generation {
			return !s.yes
		}
		e.tick++
		e.ready = true
		return s.yes
	case "Clear":
		current := e.ready && s.ev.Ready() && e.generation == s.ev.Generation() && e.tick == s.ev.Tick()
		if current {
			e.ready = false
		}
		return s.yes == current
	case "Shutdown":
		e.shutdown = true
		return true
	case "Release":
		e.generation = (e.generation + 1) & (1<<30 - 1)
		e.ready = false
		return s.next == e.generation
	}
	panic(s.kind)
}

// recordEntry has clients use one entry at the same time and returns their calls.
// It counts the answers in seen.
func recordEntry(seed uint64, seen map[string]int) []porcupine.Operation {
	const clients, calls = 5, 10
	var r reactor.Readiness
	steps := make([][]porcupine.Operation, clients)
	began := time.Now()
	var here atomic.Int32
	var wg sync.WaitGroup
	for id := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(id)))
		wg.Go(func() {
			call := entryClient(&r, rng)
			here.Add(1)
			for i := 1; here.Load() < clients; i++ { // begin together, as record does
				if i%(1<<14) == 0 {
					runtime.Gosched()
				}
			}
			for range calls {
				from := time.Since(began)
				did := call()
				to := time.Since(began)
				steps[id] = append(steps[id], porcupine.Operation{
					ClientId: id, Input: did, Call: int64(from), Return: int64(to),
				})
				if rng.IntN(4) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	history := slices.Concat(steps...)
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var latest porcupine.Operation
	for _, op := range history {
		if op.ClientId != latest.ClientId && op.Call < latest.Return {
			seen["overlapping"]++
		}
		if op.Return > latest.Return {
			latest = op
		}
		s := op.Input.(entryStep)
		seen[fmt.Sprint(s.kind, " ", s.yes)]++
		if s.err != nil {
			seen[s.err.Error()]++
		}
	}
	return history
}

// entryClient returns a client's next call. It remembers the last event it saw and
// the generation it believes in, which may be an earlier one.
func entryClient(r *reactor.Readiness, rng *rand.Rand) func() entryStep {
	var last reactor.Event
	var generation uint32
	w := reactor.NewWaker(func(error) {})
	return func() entryStep {
		s := entryStep{generation: generation}
		switch n := rng.IntN(64); {
		case n < 1:
			s.kind = "Shutdown"
			r.Shutdown()
		case n < 4:
			s.kind = "Release"
			s.next = r.Release()
			generation = s.next
		case n < 20:
			s.kind = "Complete"
			s.yes = r.Complete(generation)
		case n < 36:
			s.kind, s.ev = "Clear", last
			s.yes = r.Clear(last)
		case n < 44:
			s.kind = "Poll"
			last = r.Poll()
			s.ev, generation = last, last.Generation()
		default:
			s.kind = "PollReady"
			leave := w
			if n < 50 {
				leave = nil
			}
			s.ev, s.yes, s.err = r.PollReady(generation, leave)
			if s.yes {
				last = s.ev
			} else if s.err != nil {
				generation = r.Poll().Generation() // its own look, of no account
			}
		}
		return s
	}
}

// TestModelOfEntry has rapid look for a sequence of calls after which the entry's
// word and the model differ, and shorten it.
func TestModelOfEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r reactor.Readiness
		first := rapid.Uint32Max(1<<30-1).Draw(t, "first generation")
		r.Init(first)
		e := entry{generation: first}
		events := []reactor.Event{{}}
		event := func() reactor.Event { return rapid.SampledFrom(events).Draw(t, "event") }
		generation := func() uint32 {
			return (e.generation - uint32(rapid.IntRange(0, 1).Draw(t, "generations ago"))) & (1<<30 - 1)
		}
		step := func(s entryStep) {
			if was := e; !e.step(s) {
				t.Fatalf("%+v; the model was %+v", s, was)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"Complete": func(*rapid.T) {
				g := generation()
				step(entryStep{kind: "Complete", generation: g, yes: r.Complete(g)})
			},
			"Clear": func(*rapid.T) {
				ev := event()
				step(entryStep{kind: "Clear", ev: ev, yes: r.Clear(ev)})
			},
			"PollReady": func(*rapid.T) {
				g := generation()
				ev, yes, err := r.PollReady(g, nil)
				step(entryStep{kind: "PollReady", generation: g, ev: ev, yes: yes, err: err})
			},
			"Release": func(*rapid.T) { step(entryStep{kind: "Release", next: r.Release()}) },
			"Shutdown": func(*rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "one in ten") == 0 {
					r.Shutdown()
					step(entryStep{kind: "Shutdown"})
				}
			},
			"": func(*rapid.T) { // what holds after every action
				ev := r.Poll()
				events = append(events, ev)
				step(entryStep{kind: "Poll", ev: ev})
			},
		})
	})
}
