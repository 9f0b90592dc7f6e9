package difftest

import (
	"math/rand/v2"
	"slices"
)

// Generate makes the program of a seed. Each seed leaves out some kinds of operations
// and flags, so that those which hide others are missing now and then.
func Generate(seed uint64) *Program {
	g := generator{rng: rand.New(rand.NewPCG(seed, 0))}
	return g.program()
}

type generator struct {
	rng   *rand.Rand
	codes []Code
	flags [5]bool // link, hard, drain, skip, async
	p     *Program
	data  uint64
}

// codes are the kinds of operations, as often as they are to be.
var codes = []Code{
	Nop, Nop, Nop, Read, Read, Readv, Write, Write, Writev, Fsync, ReadPipe, ReadPipe, ReadPipe, WritePipe,
	FsyncPipe, ReadNone, WriteSealed, Timeout, Timeout, Remove, Update, Cancel, Cancel, CancelPipe, LinkTimeout,
	LinkTimeout, Unknown,
}

func (g *generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// target is the user data of an operation there is, mostly.
func (g *generator) target() uint64 { return 1 + g.rng.Uint64N(g.data+1) }

func (g *generator) program() *Program {
	for _, c := range codes {
		if g.chance(70) {
			g.codes = append(g.codes, c)
		}
	}
	if len(g.codes) == 0 {
		g.codes = codes
	}
	for i := range g.flags {
		g.flags[i] = g.chance(60)
	}
	g.p = &Program{Entries: 1 << (2 + g.rng.IntN(3)), SubmitAll: g.chance(10), Worker: g.chance(10)}
	if g.chance(15) {
		g.p.CQ = g.p.Entries
	}
	steps := 6 + g.rng.IntN(40)
	for range 2 * steps {
		if len(g.p.Steps) >= steps {
			break
		}
		g.grow()
	}
	return g.p
}

// grow adds a step, if the outcome is still certain with it.
func (g *generator) grow() {
	s := g.step()
	p := *g.p
	p.Steps = append(slices.Clone(p.Steps), s)
	if _, err := Foresee(&p, Departures{}); err != nil {
		return
	}
	if s.Verb == Put {
		g.data++
	}
	g.p = &p
}

func (g *generator) step() Step {
	switch n := g.rng.IntN(100); {
	case n < 68:
		return Step{Verb: Put, Op: g.op()}
	case n < 80:
		return Step{Verb: Submit}
	case n < 83:
		return Step{Verb: Push}
	case n < 91:
		return Step{Verb: Settle}
	case n < 95:
		return Step{Verb: Feed, Pipe: g.rng.IntN(Pipes), N: 1 + g.rng.IntN(16)}
	case n < 97:
		return Step{Verb: Hangup, Pipe: g.rng.IntN(Pipes)}
	}
	return Step{Verb: CancelS, Target: g.target()}
}

func (g *generator) op() Op {
	o := Op{Data: g.data + 1, Code: g.codes[g.rng.IntN(len(g.codes))]}
	for i, f := range []*bool{&o.Link, &o.Hard, &o.Drain, &o.Skip, &o.Async} {
		*f = g.flags[i] && g.chance([]int{40, 15, 8, 8, 10}[i])
	}
	o.Bit7 = g.chance(1)
	o.Bad = g.chance(4)
	switch o.Code {
	case Nop:
		if g.chance(25) {
			o.Res = []int{-5, -6, 7}[g.rng.IntN(3)]
		}
	case Read, Readv, Write, Writev:
		o.File, o.N = g.rng.IntN(Files), 1+g.rng.IntN(4)
		o.Block = g.rng.IntN(Blocks + 2)
		o.Duplicate = g.chance(10)
		if o.Code == Write || o.Code == Writev {
			o.Block = min(o.Block, Blocks-o.N)
		}
	case Fsync:
		o.File = g.rng.IntN(Files)
	case ReadPipe, WritePipe:
		o.Pipe, o.N = g.rng.IntN(Pipes), 1+g.rng.IntN(8)
	case FsyncPipe, CancelPipe:
		o.Pipe, o.All = g.rng.IntN(Pipes), g.chance(30)
	case Timeout:
		o.Ms, o.ETime = g.ms(), g.chance(20)
		switch {
		case g.chance(15):
			o.N, o.Ms = 1+g.rng.IntN(4), Forever
		case g.chance(15):
			o.N, o.Ms, o.Multishot = 1+g.rng.IntN(3), 1, true
		}
	case Remove:
		o.Target = g.target()
	case Update:
		o.Target, o.Ms = g.target(), g.ms()
	case Cancel:
		o.Target = g.target()
		switch n := g.rng.IntN(10); {
		case n < 3:
			o.All = true
		case n < 4:
			o.Any, o.Target = true, 0
		case n < 6:
			o.All, o.ByOp, o.Target = true, true, 0
		}
	case LinkTimeout:
		o.Ms = g.ms()
	}
	return o
}

func (g *generator) ms() int {
	if g.chance(60) {
		return Forever
	}
	return g.rng.IntN(3)
}
