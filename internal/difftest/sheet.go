package difftest

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/aioring/aioring"
)

// Result is a CQE without its user data.
type Result struct {
	Res  int32
	More bool
}

// Outcome is what a program came to on a ring.
type Outcome struct {
	Results   map[uint64][]Result // by user data, in the order they came
	Order     []uint64            // user data of the final CQEs
	Submitted []int               // what each Submit, or Push, took
	Cancelled []int               // what each CancelS found
	Got       map[uint64]string   // what the reads that moved anything read
	Files     [Files]string       // the contents at the end
}

// Foreseen is what the contract says that a program comes to.
type Foreseen struct {
	Outcome
	Before map[uint64][]uint64 // the final CQEs that come before this one
	Posted []int               // the CQEs that must have come by each Settle
	Ending []Step              // what brings what still waits at the end to its end
}

// Departures are where a kernel does otherwise than the contract says, on purpose.
type Departures struct {
	// FsyncBreaksNothing: a failed FSYNC does not break its chain. Linux 6.18 does so for
	// many operations on files, against its manual; PORTING.md lists them.
	FsyncBreaksNothing bool
	// Workers leaves open what comes of Linux giving some operations to a worker: those
	// with FlagAsync, those that were drained, a chain that its submission cuts off, and
	// what follows an access to a file in a chain. The worker finds the file when it gets
	// to the operation; a read of a pipe may block there, and then cannot be cancelled, by
	// a limit neither; and a cancellation that names a file, or anything, finds itself.
	Workers bool
	// HoldsBack leaves open what comes of Linux holding back what is submitted after a
	// drain until everything is over, for a while: as long as it has not let an operation
	// pass that found nothing before it.
	HoldsBack bool
}

// Linux is where Linux 6.18 departs.
var Linux = Departures{FsyncBreaksNothing: true, Workers: true, HoldsBack: true}

// errOpen is the error of a program whose outcome the contract leaves open.
type errOpen string

func (e errOpen) Error() string { return "the contract leaves open " + string(e) }

// Foresee runs a program on the contract. It fails for one whose outcome is open.
func Foresee(p *Program, how Departures) (f *Foreseen, err error) {
	s := newSheet(p, how)
	defer func() {
		switch open := recover().(type) {
		case nil:
		case errOpen:
			f, err = nil, open
		default:
			panic(open)
		}
	}()
	for i := range p.Steps {
		s.step(&p.Steps[i])
	}
	s.end()
	return s.foreseen(), nil
}

func open(format string, args ...any) { panic(errOpen(fmt.Sprintf(format, args...))) }

// state is where an operation is.
type state uint8

const (
	filled  state = iota // in an entry
	waiting              // submitted, not started
	active
	over
)

// act is an operation in the sheet. Sets of acts are bits: a program has at most 64.
//
// The sheet starts and ends everything as early as the contract allows. What an act
// finds certain is in known: the acts that are over whenever this one starts, however
// slow they are. What is over here and not in known may be under way in truth.
type act struct {
	*Op
	bit   uint64
	chain *chain
	at    int // in the chain
	state state
	known uint64
	// Started as soon as it was submitted: whoever was submitted later finds it active.
	atOnce bool
	short  bool // ends by itself, at some time before the next Settle is over
	left   int  // completions that a count waits for
	limit  *act // the LINK_TIMEOUT that watches it
	silent bool // no CQE comes
	worker bool // Linux may have a worker do it, some time
}

func (a *act) links() bool { return a.Link || a.Hard }

// stuck reports that it ends only if somebody ends it.
func (a *act) stuck() bool {
	return a.state == active && !a.short && a.left == 0 && (a.limit == nil || !a.limit.short)
}

type chain struct {
	acts  []*act
	bits  uint64
	drain bool
	bad   bool
	begun bool
	held  bool // Linux may hold it back
	now   int  // the member that is active, or the next
}

func (c *chain) done() bool { return c.begun && c.now == len(c.acts) }

type pipe struct {
	data   []byte
	hungup bool
	users  []*act
}

// access is what an operation did to a file.
type access struct {
	act      *act
	file     int
	from, to int // blocks
	write    bool
}

type sheet struct {
	p       *Program
	how     Departures
	queue   []*act
	all     []*act
	chains  []*chain
	noDrain bool // an operation asked for no CQE: no draining any more

	held     bool // Linux may still hold back what comes after a drain
	heldFrom int  // in chains

	pipes    [Pipes]pipe
	files    [Files][]byte
	accesses []access
	cancels  []*act // those that have looked

	settled       uint64 // over, and seen to be over
	settledActive uint64 // active when everything was seen to have settled
	quiet         bool   // nothing was submitted since
	stopped       bool   // the last submission left entries

	out      Foreseen
	posted   int
	consumed int  // CQEs until the last Settle
	tight    bool // there must be room for all since
}

func newSheet(p *Program, how Departures) *sheet {
	s := &sheet{p: p, how: how, quiet: true}
	s.out.Results, s.out.Got, s.out.Before = map[uint64][]Result{}, map[uint64]string{}, map[uint64][]uint64{}
	for i := range s.files {
		s.files[i] = Contents(i)
	}
	return s
}

// Contents is what a file has in it at the beginning.
func Contents(file int) []byte { return pattern(uint64(1000+file), Blocks*BlockSize) }

// pattern makes n bytes that tell who wrote them.
func pattern(who uint64, n int) []byte {
	b := make([]byte, n)
	x := who*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func (s *sheet) step(step *Step) {
	switch step.Verb {
	case Put:
		if len(s.queue) == s.p.Entries || len(s.all) == 64 {
			open("more entries than there are")
		}
		a := &act{Op: &step.Op, bit: 1 << len(s.all)}
		for _, b := range s.all {
			if b.Data == a.Data {
				open("whose user data is %d", a.Data)
			}
		}
		s.check(a)
		s.all, s.queue = append(s.all, a), append(s.queue, a)
	case Submit:
		s.submit(s.p.SubmitAll || s.p.Worker)
	case Push:
		if s.stopped {
			open("who submits what a submission has left")
		}
		for _, a := range s.queue {
			if a.Duplicate {
				open("when a descriptor whose operation was pushed may be closed")
			}
		}
		s.submit(true)
	case Settle:
		s.settle()
	case Feed, Hangup:
		s.peer(step)
	case CancelS:
		if !s.quiet {
			open("what a synchronous cancellation finds of what was just submitted")
		}
		e := &act{Op: &Op{Code: Cancel, Target: step.Target}, known: s.settled}
		n := len(s.find(e))
		s.cancel(e)
		s.out.Cancelled = append(s.out.Cancelled, n)
	}
}

// check refuses operations that make no sense.
func (s *sheet) check(a *act) {
	inFile := a.File >= 0 && a.File < Files && a.Block >= 0 && a.N > 0 && a.Block+a.N < Blocks+8
	inPipe := a.Pipe >= 0 && a.Pipe < Pipes
	ok := a.Data != 0
	switch a.Code {
	case Read, Readv:
		ok = ok && inFile
	case Write, Writev:
		ok = ok && inFile && a.Block+a.N <= Blocks
	case Fsync:
		ok = ok && a.File >= 0 && a.File < Files
	case ReadPipe, WritePipe:
		ok = ok && inPipe && a.N > 0 && a.N <= 512
	case CancelPipe:
		ok = ok && inPipe
	case Timeout:
		ok = ok && a.N >= 0 && (a.Bad || a.Ms >= 0) && a.N <= 8
	case LinkTimeout, Update:
		ok = ok && a.Ms >= 0
	case Cancel:
		ok = ok && (!a.Any || !a.ByOp)
	}
	if !ok {
		open("what %s %d is", a.Code, a.Data)
	}
	if s.p.Worker && a.Duplicate {
		open("when the worker takes an operation")
	}
}

// refused is the error that an entry has before its operation begins, and 0 for none.
func (s *sheet) refused(a *act, before *act) syscall.Errno {
	if a.Code == Unknown || a.Bit7 {
		if a.Skip {
			open("whether what is refused asks for no CQE")
		}
		return syscall.EINVAL
	}
	if a.Skip {
		for _, c := range s.chains {
			if c.drain && !c.done() {
				open("draining while an operation without a CQE is submitted")
			}
		}
		s.noDrain = true
	}
	if a.Drain && s.noDrain {
		return syscall.EOPNOTSUPP
	}
	switch {
	case a.Bad && (a.Code == Fsync || a.Code == Timeout || a.Code == Cancel || a.Code == Remove),
		a.Code == LinkTimeout && (before == nil || before.Code == LinkTimeout || !before.links()):
		return syscall.EINVAL
	}
	return 0
}

// submit takes the entries. whole says that a refused one does not stop it.
func (s *sheet) submit(whole bool) {
	s.quiet = false
	n := 0
	for c, errs := new(chain), []syscall.Errno(nil); n < len(s.queue); {
		a := s.queue[n]
		n++
		var before *act
		if len(c.acts) > 0 {
			before = c.acts[len(c.acts)-1]
		}
		errno := s.refused(a, before)
		if a.Code == LinkTimeout && before != nil && before.Code == LinkTimeout && errs[len(errs)-1] != 0 {
			open("what a limit comes to behind one that was refused")
		}
		a.chain, a.at, a.state = c, len(c.acts), waiting
		c.acts, errs = append(c.acts, a), append(errs, errno)
		c.bits |= a.bit
		c.drain = c.drain || a.Drain && errno != syscall.EOPNOTSUPP
		c.bad = c.bad || errno != 0
		links := a.links()
		if links && n < len(s.queue) {
			continue
		}
		if links && s.p.Worker {
			open("where a chain ends that the worker takes")
		}
		s.enter(c, errs)
		if errno != 0 && !links && !whole {
			break
		}
		c, errs = new(chain), nil
	}
	s.queue = s.queue[n:]
	s.stopped = len(s.queue) > 0
	s.out.Submitted = append(s.out.Submitted, n)
}

// enter takes a chain in.
func (s *sheet) enter(c *chain, errs []syscall.Errno) {
	s.hold(c)
	for _, a := range c.acts {
		if a.Duplicate && (len(c.acts) > 1 || c.drain || s.mayDrain() || s.byWorker(a)) {
			open("which file %d means when it starts", a.Data)
		}
		if c.bad && a.Skip && len(c.acts) > 1 {
			open("who is silent in a chain that was refused")
		}
		if s.byWorker(a) && (a.Code == CancelPipe || a.Any) {
			open("whether %d finds itself", a.Data)
		}
	}
	if c.bad && (c.drain || s.draining()) {
		open("whether what is refused waits")
	}
	s.chains = append(s.chains, c)
	if !c.bad {
		c.acts[0].atOnce = !c.drain && !c.held && s.mayStart(c) && !s.byWorker(c.acts[0])
		s.run()
		return
	}
	c.begun = true
	known := s.settled // what is refused does not wait
	for i, a := range c.acts {
		a.known, a.state = known, over
		c.now = i + 1
		res := -int32(syscall.ECANCELED)
		if errs[i] != 0 {
			res = -int32(errs[i])
		}
		s.post(a, res, false)
		known |= a.bit
	}
	s.run()
}

func (s *sheet) draining() bool {
	for _, c := range s.chains {
		if c.drain && !c.done() {
			return true
		}
	}
	return false
}

// mayDrain is draining, however slow everything is.
func (s *sheet) mayDrain() bool {
	for _, c := range s.chains {
		if c.drain && c.bits&^s.settled != 0 {
			return true
		}
	}
	return false
}

// byWorker reports whether Linux may have a worker do an operation.
func (s *sheet) byWorker(a *act) bool {
	if !s.how.Workers {
		return false
	}
	c := a.chain
	if a.Async || c.drain || c.held || c.acts[len(c.acts)-1].links() {
		return true
	}
	for _, b := range c.acts[:a.at] {
		switch b.Code {
		case Read, Readv, Write, Writev, Fsync, FsyncPipe, WriteSealed:
			return true
		}
		if b.Async {
			return true
		}
	}
	return false
}

// hold follows what Linux may be holding back.
func (s *sheet) hold(c *chain) {
	if !s.how.HoldsBack {
		return
	}
	c.held = s.held
	if c.drain {
		if !s.held {
			s.held, s.heldFrom = true, len(s.chains)
		}
		return
	}
	if !s.held {
		return
	}
	for _, before := range s.chains[s.heldFrom:] {
		for _, a := range before.acts {
			if a.state != over && !before.drain && (a.Code == ReadPipe || a.Code == Timeout) {
				open("whether an operation waits for %d, which a drain lets go", a.Data)
			}
		}
	}
}

// mayStart is the whole rule of draining.
func (s *sheet) mayStart(c *chain) bool {
	for _, before := range s.chains {
		if before == c {
			return true
		}
		if (c.drain || before.drain) && !before.done() {
			return false
		}
	}
	return true
}

// certain is what is over, for sure, when a chain begins.
func (s *sheet) certain(c *chain) uint64 {
	known := s.settled
	for _, before := range s.chains {
		if before == c {
			break
		}
		if c.drain || before.drain {
			known |= before.bits
			for _, a := range before.acts {
				known |= a.known
			}
		}
	}
	return known
}

// run starts everything that may.
func (s *sheet) run() {
	for again := true; again; {
		again = false
		for _, c := range s.chains {
			if !c.begun && s.mayStart(c) {
				c.begun, again = true, true
				s.advance(c, s.certain(c))
			}
		}
	}
}

// advance starts a chain's next member.
func (s *sheet) advance(c *chain, known uint64) {
	if c.now == len(c.acts) {
		return
	}
	a := c.acts[c.now]
	if c.now+1 < len(c.acts) && c.acts[c.now+1].Code == LinkTimeout {
		a.limit = c.acts[c.now+1]
		a.limit.state, a.limit.known, a.limit.short = active, known, a.limit.Ms < Forever
	}
	if s.byWorker(a) && a.limit != nil {
		open("whether the limit of %d can stop it", a.Data)
	}
	a.worker = s.byWorker(a)
	a.state, a.known = active, known
	for _, e := range s.cancels {
		if e.targets(a) && e.bit&^known != 0 {
			open("whether %d comes before %d, which looks for it", a.Data, e.Data)
		}
	}
	s.execute(a)
}

// fails says whether a result breaks a chain.
func (s *sheet) fails(a *act, res int32) bool {
	switch a.Code {
	case Read, Readv, Write, Writev:
		return int(res) < a.N*BlockSize
	case ReadPipe, WritePipe:
		return int(res) < a.N
	case FsyncPipe:
		return !s.how.FsyncBreaksNothing
	case Timeout:
		return res < 0 && (!a.ETime || res != etime)
	}
	return res < 0
}

// finish ends what is active.
func (s *sheet) finish(a *act, res int32) { s.finishLimited(a, res, -int32(syscall.ECANCELED)) }

// finishLimited is finish; limit is the result of the operation's LINK_TIMEOUT, if it
// has one.
func (s *sheet) finishLimited(a *act, res, limit int32) {
	c := a.chain
	a.state = over
	failed := s.fails(a, res)
	if a.limit != nil && failed && (a.Skip || a.limit.Skip) {
		open("who is silent when an operation fails that has a limit")
	}
	if a.limit != nil && a.limit.short && limit != etime {
		open("whether the limit of %d is reached", a.Data)
	}
	a.silent = a.Skip && !failed && a.Code != FsyncPipe
	known := a.known | a.bit
	if l := a.limit; l != nil {
		l.state, l.known, l.silent = over, known, l.Skip
		if limit == etime {
			l.known = a.known // which of the two is first, is open
		}
		c.now = l.at
	}
	s.post(a, res, false)
	if a.limit != nil {
		s.post(a.limit, limit, false) // the next member does not wait for it
	}
	c.now++
	if !failed || a.Hard {
		s.advance(c, known)
		return
	}
	for ; c.now < len(c.acts); c.now++ {
		b := c.acts[c.now]
		b.state, b.known, b.silent = over, known, a.Skip
		s.post(b, -int32(syscall.ECANCELED), false)
		known |= b.bit
	}
}

// post is a CQE, unless the operation is silent.
func (s *sheet) post(a *act, res int32, more bool) {
	if a.silent {
		return
	}
	s.posted++
	s.out.Results[a.Data] = append(s.out.Results[a.Data], Result{res, more})
	if !more {
		s.out.Order = append(s.out.Order, a.Data)
	}
	if a.Code == Timeout && (res == etime || res == 0) {
		return // a timer that goes off is not counted
	}
	for _, b := range s.all {
		if b.state == active && b.left > 0 && b != a {
			if b.left--; b.left == 0 {
				s.finish(b, 0)
			}
		}
	}
}

// settle lets time pass until all timers have gone off, and everything is seen.
func (s *sheet) settle() {
	for again := true; again; {
		again = false
		s.run()
		for _, a := range s.all {
			if a.state == active && a.short || a.limit != nil && a.limit.state == active && a.limit.short {
				s.goOff(a)
				again = true
			}
		}
	}
	for _, a := range s.all {
		switch {
		case a.state == over && !a.silent:
			s.settled |= a.bit | a.known
		case a.state == active:
			s.settledActive |= a.bit
		}
	}
	cqes := s.p.CQ
	if cqes == 0 {
		cqes = 2 * s.p.Entries
	}
	if s.tight && s.posted-s.consumed > cqes {
		open("what a timer does that repeats or counts when the queue is full")
	}
	s.tight, s.consumed = false, s.posted
	for _, a := range s.all {
		s.tight = s.tight || a.state == active && a.left > 0
	}
	s.quiet = true
	s.out.Posted = append(s.out.Posted, s.posted)
}

// goOff ends a timer, or what has a limit.
func (s *sheet) goOff(a *act) {
	if !a.short {
		a.limit.short = false
		s.finishLimited(a, -int32(syscall.ECANCELED), etime)
		return
	}
	a.short = false
	if a.Multishot {
		for range a.N - 1 {
			s.post(a, etime, true)
		}
	}
	s.finish(a, etime)
}

// end brings everything to its end, one thing at a time.
func (s *sheet) end() {
	do := func(step Step) {
		s.out.Ending = append(s.out.Ending, step)
		s.step(&step)
	}
	for len(s.queue) > 0 {
		do(Step{Verb: Submit})
	}
	for {
		do(Step{Verb: Settle})
		var left *act
		for _, a := range s.all {
			if a.state == active && a.Code != LinkTimeout {
				left = a
				break
			}
		}
		switch {
		case left == nil:
			return
		case left.Code == ReadPipe:
			do(Step{Verb: Hangup, Pipe: left.Pipe})
		default:
			left.left = 0
			do(Step{Verb: CancelS, Target: left.Data})
		}
	}
}

func (s *sheet) foreseen() *Foreseen {
	for i := range s.files {
		s.out.Files[i] = string(s.files[i])
	}
	for _, a := range s.all {
		for _, b := range s.all {
			if !a.silent && !b.silent && a.known&b.bit != 0 {
				s.out.Before[a.Data] = append(s.out.Before[a.Data], b.Data)
			}
		}
	}
	return &s.out
}

// String is the results, by user data.
func (o *Outcome) String() string {
	var b strings.Builder
	for data := uint64(1); data <= 64; data++ {
		if r := o.Results[data]; len(r) > 0 {
			fmt.Fprintf(&b, "  %d:", data)
			for _, r := range r {
				b.WriteString(" " + r.String())
			}
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "  order %v, submitted %v, cancelled %v\n", o.Order, o.Submitted, o.Cancelled)
	return b.String()
}

func (r Result) String() string {
	text := fmt.Sprint(r.Res)
	if r.Res < 0 {
		text = syscall.Errno(-r.Res).Error()
	}
	if r.More {
		text += ", more"
	}
	return text
}

// etime is the result of a timer that went off.
const etime = -int32(aioring.ETIME)
