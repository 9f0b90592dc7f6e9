package difftest

import (
	"fmt"
	"github.com/aioring/aioring"
	"strconv"
	"strings"
)

// The two files of a program, and its pipes.
const (
	Files     = 2
	Blocks    = 32 // of a file
	BlockSize = 64 // bytes
	Pipes     = 3
)

// Code says what an operation does. Several are the same opcode used differently.
type Code string

const (
	Nop         Code = "nop"         // Res is its result
	Read        Code = "read"        // N blocks of File, from Block on
	Readv       Code = "readv"       // the same into two buffers
	Write       Code = "write"       // N blocks of File, from Block on
	Writev      Code = "writev"      // the same from two buffers
	Fsync       Code = "fsync"       // File; with Bad, flags that there are none of
	ReadPipe    Code = "readpipe"    // N bytes from Pipe
	WritePipe   Code = "writepipe"   // N bytes into Pipe
	FsyncPipe   Code = "fsyncpipe"   // which nobody can
	ReadNone    Code = "readnone"    // from a descriptor that is not open
	WriteSealed Code = "writesealed" // to a descriptor that is open for reading
	Timeout     Code = "timeout"     // Ms; N completions, or N repeats with Multishot
	Remove      Code = "remove"      // the timer Target
	Update      Code = "update"      // the timer Target, to Ms
	Cancel      Code = "cancel"      // Target; All, Any, Op
	CancelPipe  Code = "cancelpipe"  // what reads from Pipe
	LinkTimeout Code = "linktimeout" // Ms
	Unknown     Code = "unknown"     // an opcode that there is none of
)

// Forever is a time that no program waits for.
const Forever = 3600_000

// Op is one operation.
type Op struct {
	Data uint64 // its user data: not 0, and no other's
	Code Code

	Link, Hard, Drain, Skip, Async bool // flags
	Bit7                           bool // the flag that there is none of

	File, Block, N int
	Pipe           int
	Res            int
	Ms             int
	Target         uint64

	Bad              bool // an argument that is refused
	ETime, Multishot bool // of a Timeout
	All, Any, ByOp   bool // of a Cancel: everything that matches, everything, every READ
	Duplicate        bool // on a descriptor of its own, closed when Submit has returned
}

// Verb says what a step does.
type Verb string

const (
	Put     Verb = "put"     // Op goes into the next entry
	Submit  Verb = "submit"  // the entries filled go in
	Push    Verb = "push"    // the same, from the other side
	Settle  Verb = "settle"  // wait for every completion that must come, and consume them
	Feed    Verb = "feed"    // the peer writes N bytes into Pipe
	Hangup  Verb = "hangup"  // the peer closes Pipe
	CancelS Verb = "cancels" // the synchronous cancellation of Target
)

// Step is one step of a program.
type Step struct {
	Verb    Verb
	Op      Op // of Put
	Pipe, N int
	Target  uint64
}

// Program is what runs on one ring.
type Program struct {
	Entries   int  // of the submission queue
	CQ        int  // of the completion queue; 0 for twice as many
	SubmitAll bool // a bad entry stops nothing
	Worker    bool // SQPOLL
	Steps     []Step
}

// Ops is the number of operations.
func (p *Program) Ops() int {
	n := 0
	for i := range p.Steps {
		if p.Steps[i].Verb == Put {
			n++
		}
	}
	return n
}

// String is the program as text, a line for each step, that [Parse] reads.
func (p *Program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ring %d", p.Entries)
	number(&b, "cq", p.CQ)
	word(&b, "submitall", p.SubmitAll)
	word(&b, "worker", p.Worker)
	b.WriteByte('\n')
	for i := range p.Steps {
		p.Steps[i].text(&b)
		b.WriteByte('\n')
	}
	return b.String()
}

func number(b *strings.Builder, name string, n int) {
	if n != 0 {
		fmt.Fprintf(b, " %s=%d", name, n)
	}
}

func word(b *strings.Builder, name string, set bool) {
	if set {
		b.WriteString(" " + name)
	}
}

func (s *Step) text(b *strings.Builder) {
	b.WriteString(string(s.Verb))
	if s.Verb != Put {
		number(b, "pipe", s.Pipe)
		number(b, "n", s.N)
		number(b, "target", int(s.Target))
		return
	}
	o := &s.Op
	fmt.Fprintf(b, " %d %s", o.Data, o.Code)
	for name, n := range o.numbers() {
		number(b, name, *n)
	}
	number(b, "target", int(o.Target))
	for name, set := range o.words() {
		word(b, name, *set)
	}
}

// numbers yields the fields that are numbers, by name.
func (o *Op) numbers() func(yield func(string, *int) bool) {
	return func(yield func(string, *int) bool) {
		_ = yield("file", &o.File) && yield("block", &o.Block) && yield("pipe", &o.Pipe) &&
			yield("n", &o.N) && yield("res", &o.Res) && yield("ms", &o.Ms)
	}
}

// words yields the fields that are there or not, by name.
func (o *Op) words() func(yield func(string, *bool) bool) {
	return func(yield func(string, *bool) bool) {
		_ = yield("link", &o.Link) && yield("hard", &o.Hard) && yield("drain", &o.Drain) &&
			yield("skip", &o.Skip) && yield("async", &o.Async) && yield("bit7", &o.Bit7) &&
			yield("bad", &o.Bad) && yield("etime", &o.ETime) && yield("multishot", &o.Multishot) &&
			yield("all", &o.All) && yield("any", &o.Any) && yield("byop", &o.ByOp) && yield("duplicate", &o.Duplicate)
	}
}

// Parse reads a program from the text that String makes of it. Empty lines and those
// that begin with # say nothing.
func Parse(text string) (*Program, error) {
	p := new(Program)
	for at, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := p.line(words); err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", at+1, line, err)
		}
	}
	if p.Entries < 1 || p.Entries > 64 || p.Ops() > 64 || p.CQ < 0 || p.CQ > 1024 {
		return nil, fmt.Errorf("%d entries, %d of completion, %d operations: want 1 to 64, at most 1024 and 64", p.Entries, p.CQ, p.Ops())
	}
	return p, nil
}

func (p *Program) line(words []string) error {
	switch verb := Verb(words[0]); verb {
	case "ring":
		if len(words) < 2 {
			return fmt.Errorf("no number of entries")
		}
		var err error
		if p.Entries, err = strconv.Atoi(words[1]); err != nil {
			return err
		}
		return fields(words[2:], func(name string) (*int, *bool) {
			switch name {
			case "cq":
				return &p.CQ, nil
			case "submitall":
				return nil, &p.SubmitAll
			case "worker":
				return nil, &p.Worker
			}
			return nil, nil
		})
	case Put:
		if len(words) < 3 {
			return fmt.Errorf("want user data and a code")
		}
		data, err := strconv.ParseUint(words[1], 10, 64)
		if err != nil {
			return err
		}
		o := Op{Data: data, Code: Code(words[2])}
		err = o.parse(words[3:])
		p.Steps = append(p.Steps, Step{Verb: Put, Op: o})
		return err
	case Submit, Push, Settle, Feed, Hangup, CancelS:
		s := Step{Verb: verb}
		target := 0
		err := fields(words[1:], func(name string) (*int, *bool) {
			return map[string]*int{"pipe": &s.Pipe, "n": &s.N, "target": &target}[name], nil
		})
		s.Target = uint64(target)
		p.Steps = append(p.Steps, s)
		return err
	}
	return fmt.Errorf("no such step")
}

func (o *Op) parse(words []string) error {
	target := 0
	err := fields(words, func(name string) (*int, *bool) {
		if name == "target" {
			return &target, nil
		}
		for known, n := range o.numbers() {
			if known == name {
				return n, nil
			}
		}
		for known, set := range o.words() {
			if known == name {
				return nil, set
			}
		}
		return nil, nil
	})
	o.Target = uint64(target)
	return err
}

// fields reads words and name=number pairs into where field says that they go.
func fields(words []string, field func(name string) (*int, *bool)) error {
	for _, w := range words {
		name, value, pair := strings.Cut(w, "=")
		n, set := field(name)
		switch {
		case pair && n != nil:
			var err error
			if *n, err = strconv.Atoi(value); err != nil {
				return err
			}
		case !pair && set != nil:
			*set = true
		default:
			return fmt.Errorf("%q means nothing here", w)
		}
	}
	return nil
}

// notOpen is a number that no descriptor has.
const notOpen = 1 << 24

// flags are the flags of an operation's entry.
func flags(o *Op) uint8 {
	var f uint8
	for _, flag := range []struct {
		set bool
		bit uint8
	}{
		{o.Link, aioring.FlagIOLink}, {o.Hard, aioring.FlagIOHardlink}, {o.Drain, aioring.FlagIODrain},
		{o.Skip, aioring.FlagCQESkip}, {o.Async, aioring.FlagAsync}, {o.Bit7, 1 << 7},
	} {
		if flag.set {
			f |= flag.bit
		}
	}
	return f
}
