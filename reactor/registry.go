package reactor

import "github.com/aioring/aioring/aio"

// entry is one registered source.
type entry struct {
	Readiness
	token      uintptr    // what travels through the kernel as udata
	generation uint32     // of the Readiness while registered
	filter     aio.Filter // the events it is for
}

// registry finds entries by token. A token is a running number, never 0. Its low
// bits, as many as the table has, are the entry's slot, the rest its generation:
// a number whose slot is taken is passed over. So a number comes again after 2^64
// others, on 32-bit processors after 2^32, and never while it is in use.
type registry struct {
	slots []*entry // a power of two, at least twice live
	live  int
	last  uintptr
}

const minSlots = 16

// add gives e a token that was not used before, and its generation.
func (g *registry) add(e *entry) {
	if 2*(g.live+1) > len(g.slots) {
		g.grow()
	}
	for g.last++; g.last == 0 || *g.slot(g.last) != nil; g.last++ {
	}
	e.token = g.last
	// Distinct too, so that an Event of one entry clears no other's.
	e.generation = uint32(g.last) & generationMask
	e.Init(e.generation)
	*g.slot(e.token) = e
	g.live++
}

func (g *registry) slot(token uintptr) *(*entry) {
	return &g.slots[token&uintptr(len(g.slots)-1)]
}

// grow doubles the table. Tokens that differ in their low bits still do.
func (g *registry) grow() {
	old := g.slots
	g.slots = make([]*entry, max(minSlots, 2*len(old)))
	for _, e := range old {
		if e != nil {
			*g.slot(e.token) = e
		}
	}
}

// find is the entry with this token, or nil.
func (g *registry) find(token uintptr) *entry {
	if len(g.slots) == 0 {
		return nil
	}
	if e := *g.slot(token); e != nil && e.token == token {
		return e
	}
	return nil
}

// remove makes e's token a stale one.
func (g *registry) remove(e *entry) {
	if s := g.slot(e.token); *s == e {
		*s = nil
		g.live--
	}
}

// all is every entry.
func (g *registry) all() []*entry {
	entries := make([]*entry, 0, g.live)
	for _, e := range g.slots {
		if e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}
