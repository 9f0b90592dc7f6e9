//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// faultKind is one thing that goes wrong on purpose. Some are done to the model kernel,
// the others by the users of the ring, to any.
type faultKind struct {
	name string
	// model is nil of what the users do. Transfers are cut at multiples of unit.
	model func(rng *rand.Rand, unit int, count sim.Predicate) []sim.Fault
}

// faultKinds are all there are.
var faultKinds = []faultKind{
	{name: "cancel"}, // contexts end while operations are under way
	{name: "gc"},     // the collector runs all the time
	{name: "close"},  // Close, with everything under way
	{name: "reuse"},  // a descriptor is closed after Submit, and its number is another file's
	{"again", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), often(rng), count), sim.Fail(aio.EAGAIN))}
	}},
	{"short", func(rng *rand.Rand, unit int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Start), transfers, often(rng), count), sim.Short(unit*(1+rng.IntN(8192/unit))))}
	}},
	{"error", func(rng *rand.Rand, unit int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{
			sim.If(sim.And(sim.At(sim.Start), often(rng), count), sim.Fail(aio.EIO)),
			sim.If(sim.And(sim.At(sim.Result), often(rng), count), sim.Fail(aio.EIO)),
			sim.If(sim.And(sim.At(sim.Transfer), transfers, often(rng), count), sim.FailAfter(unit*rng.IntN(8192/unit), aio.EIO)),
		}
	}},
	{"delay", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		d := time.Duration(rng.IntN(3000)) * time.Microsecond
		return []sim.Fault{
			sim.If(sim.And(sim.At(sim.Start), sim.Every(30), count), sim.Delay(d)),
			sim.If(sim.And(sim.At(sim.Result), sim.Every(40), count), sim.Delay(d)),
		}
	}},
	{"intr", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{
			sim.If(sim.And(sim.At(sim.Sleep), often(rng), count), sim.Fail(aio.EINTR)),
			sim.If(sim.And(sim.At(sim.Fetch), often(rng), count), sim.Short(1+rng.IntN(3))),
		}
	}},
	{"unsafe", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Queue), often(rng), count), sim.Unsafe())}
	}},
	{"limits", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		var faults []sim.Fault
		for range 4 {
			name := []string{"vfs.aio.max_aio_queue_per_proc", "vfs.aio.max_aio_per_proc"}[rng.IntN(2)]
			faults = append(faults, sim.If(sim.And(sim.At(sim.Submit), sim.Every(uint64(50+rng.IntN(300))), count),
				sim.Sysctl(name, 1+rng.IntN(200))))
		}
		return faults
	}},
	{"early", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Submit), often(rng), count), sim.Early())}
	}},
	{"scribble", func(rng *rand.Rand, _ int, count sim.Predicate) []sim.Fault {
		return []sim.Fault{sim.If(sim.And(sim.At(sim.Start), sim.Reads, often(rng), count), sim.Scribble(rng.Uint64()))}
	}},
}

func transfers(op sim.Op) bool { return !sim.Syncs(op) }

// often holds once in 2 to 100 times.
func often(rng *rand.Rand) sim.Predicate {
	return sim.Randomly(rng.Uint64(), 1/float64(2+rng.IntN(99)))
}

// faultSet is some of the kinds, by their index.
type faultSet [32]bool

// has reports whether a kind is in it.
func (s *faultSet) has(name string) bool { return s[kindIndex(name)] }

func kindIndex(name string) int {
	return slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == name })
}

// parseFaults reads a list of names: all are those that the kernel can have.
func parseFaults(list string, model bool) (s faultSet, err error) {
	if list == "none" {
		return s, nil
	}
	for i, k := range faultKinds {
		s[i] = list == "all" && (model || k.model == nil)
	}
	if list == "all" {
		return s, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := kindIndex(name)
		switch {
		case i < 0:
			return s, fmt.Errorf("--faults %s: no such fault; there are %s", name, faultNames())
		case !model && faultKinds[i].model != nil:
			return s, fmt.Errorf("--faults %s: only --kernel sim has it", name)
		}
		s[i] = true
	}
	return s, nil
}

func faultNames() string {
	var names []string
	for _, k := range faultKinds {
		names = append(names, k.name)
	}
	return "all, none, " + strings.Join(names, ", ")
}

func (s *faultSet) String() string {
	var names []string
	for i, k := range faultKinds {
		if s[i] {
			names = append(names, k.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// faultCounts is how often each kind has struck.
type faultCounts [32]atomic.Uint64

func (c *faultCounts) add(name string) { c[kindIndex(name)].Add(1) }

// byName leaves out what has not struck.
func (c *faultCounts) byName() map[string]uint64 {
	m := make(map[string]uint64)
	for i, k := range faultKinds {
		if n := c[i].Load(); n > 0 {
			m[k.name] = n
		}
	}
	return m
}

// modelFaults are what is done to the model kernel.
func (s *faultSet) modelFaults(rng *rand.Rand, unit int, counts *faultCounts) (faults []sim.Fault) {
	for i, k := range faultKinds {
		if s[i] && k.model != nil {
			faults = append(faults, k.model(rng, unit, func(sim.Op) bool { counts[i].Add(1); return true })...)
		}
	}
	return faults
}
