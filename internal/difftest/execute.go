package difftest

import (
	"syscall"
)

// execute does what an operation does, as far as it can be done at once.
func (s *sheet) execute(a *act) {
	switch a.Code {
	case Nop:
		s.finish(a, int32(a.Res))
	case Read, Readv:
		from, to := min(a.Block, Blocks), min(a.Block+a.N, Blocks)
		s.access(a, false, from, to)
		got := s.files[a.File][from*BlockSize : to*BlockSize]
		s.read(a, got)
	case Write, Writev:
		s.access(a, true, a.Block, a.Block+a.N)
		copy(s.files[a.File][a.Block*BlockSize:], pattern(a.Data, a.N*BlockSize))
		s.finish(a, int32(a.N*BlockSize))
	case Fsync:
		s.finish(a, 0)
	case FsyncPipe:
		s.finish(a, -int32(syscall.EINVAL))
	case ReadNone, WriteSealed:
		s.finish(a, -int32(syscall.EBADF))
	case ReadPipe, WritePipe:
		s.usePipe(a)
	case Timeout:
		s.timeout(a)
	case Remove, Update, Cancel, CancelPipe:
		s.finish(a, s.cancel(a))
	}
}

func (s *sheet) read(a *act, got []byte) {
	if len(got) > 0 {
		s.out.Got[a.Data] = string(got)
	}
	s.finish(a, int32(len(got)))
}

// access refuses what meets another access that may be under way.
func (s *sheet) access(a *act, write bool, from, to int) {
	for _, b := range s.accesses {
		if b.file == a.File && from < b.to && b.from < to && (write || b.write) && a.known&b.act.bit == 0 {
			open("which of %d and %d is first", b.act.Data, a.Data)
		}
	}
	s.accesses = append(s.accesses, access{a, a.File, from, to, write})
}

// found says whether a surely finds b active. A synchronous cancellation has no bit.
func (s *sheet) found(a, b *act) bool {
	return b.atOnce && (a.bit == 0 || b.bit < a.bit) || s.settledActive&b.bit != 0
}

func (s *sheet) usePipe(a *act) {
	p := &s.pipes[a.Pipe]
	var reader *act
	for _, b := range p.users {
		switch {
		case b.state == over && a.known&b.bit != 0:
		case b.state == active && b.stuck() && a.Code == WritePipe && s.found(a, b):
			reader = b
		default:
			open("which of %d and %d is first", b.Data, a.Data)
		}
	}
	p.users = append(p.users, a)
	if a.Code == WritePipe {
		if p.hungup {
			open("what a write to a pipe comes to that was closed")
		}
		p.data = append(p.data, pattern(a.Data, a.N)...)
		a.state = over // before what the reader's chain does
		if reader != nil {
			s.endable(reader, a.known)
			s.drink(reader)
		}
		s.finish(a, int32(a.N))
		return
	}
	if len(p.data) > 0 || p.hungup {
		s.drink(a)
	}
}

// drink ends a read of a pipe that has something.
func (s *sheet) drink(a *act) {
	p := &s.pipes[a.Pipe]
	n := min(a.N, len(p.data))
	got := p.data[:n:n]
	p.data = p.data[n:]
	s.read(a, got)
}

// endable refuses the end of what is active when somebody who looked for it may look
// later than that.
func (s *sheet) endable(a *act, known uint64) {
	for _, e := range s.cancels {
		if e.targets(a) && e.bit&^known != 0 {
			open("whether %d is over before %d looks for it", a.Data, e.Data)
		}
	}
}

// peer is what the other side of a pipe does.
func (s *sheet) peer(step *Step) {
	if !s.quiet {
		open("how far things are when the peer acts")
	}
	if step.Pipe < 0 || step.Pipe >= Pipes {
		open("which pipe is meant")
	}
	p := &s.pipes[step.Pipe]
	if p.hungup {
		open("what a peer does that has gone")
	}
	if step.Verb == Hangup {
		p.hungup = true
	} else {
		if step.N < 1 || step.N > 512 || len(p.data)+step.N > 4096 {
			open("how much fits into a pipe")
		}
		p.data = append(p.data, pattern(uint64(2000+step.Pipe), step.N)...)
	}
	for _, a := range p.users {
		if a.state == over && s.settled&a.bit == 0 {
			open("whether %d has read what was there", a.Data)
		}
		if a.state == active {
			if !a.stuck() {
				open("whether %d is over when the peer acts", a.Data)
			}
			s.endable(a, s.settled)
			s.drink(a)
			break
		}
	}
	s.run()
}

func (s *sheet) timeout(a *act) {
	switch {
	case a.Multishot:
		s.tight = true
		if a.N == 0 || a.Ms >= Forever || a.Skip || a.Link || a.Hard {
			open("how often %d goes off", a.Data)
		}
		a.short = true
	case a.N > 0:
		s.tight = true
		if a.Ms < Forever {
			open("whether the time or the count of %d is first", a.Data)
		}
		for _, b := range s.all {
			if b != a && b.state == over && s.settled&b.bit == 0 || b.state == active && (!b.stuck() || !s.found(a, b)) && b != a {
				open("whether %d is counted by %d", b.Data, a.Data)
			}
			if b.state == waiting && b.chain != a.chain && b.chain.begun {
				open("whether %d is counted by %d", b.Data, a.Data)
			}
		}
		if !a.atOnce {
			open("from when on %d counts", a.Data)
		}
		a.left = a.N
	default:
		a.short = a.Ms < Forever
	}
}

// targets says whether a cancellation, or the removal or update of a timer, means an
// operation.
func (a *act) targets(b *act) bool {
	if b == a || b.Code == LinkTimeout {
		return false
	}
	switch {
	case a.Code == Remove || a.Code == Update:
		return b.Data == a.Target && b.Code == Timeout
	case a.Code == CancelPipe:
		return (b.Code == ReadPipe || b.Code == FsyncPipe) && b.Pipe == a.Pipe
	case a.Any:
		return true
	case a.ByOp:
		return b.Code == Read || b.Code == ReadPipe || b.Code == ReadNone
	}
	return b.Data == a.Target
}

// find is what a cancellation finds under way.
func (s *sheet) find(e *act) []*act {
	var found []*act
	for _, b := range s.all {
		if b.state == filled || !e.targets(b) {
			continue
		}
		for _, other := range s.cancels {
			if other.targets(b) && other.bit&^e.known != 0 {
				open("which of %d and %d finds %d", other.Data, e.Data, b.Data)
			}
		}
		now := b
		if b.state == waiting && b.chain.begun {
			now = b.chain.acts[b.chain.now]
		}
		switch {
		case b.state == over && e.known&b.bit != 0:
		case now.state == active && now.worker:
			open("whether %d can be stopped", b.Data)
		case b.state != over && now.stuck() && s.found(e, now):
			if b == now {
				found = append(found, b)
			}
		default:
			open("how far %d is when %d looks for it", b.Data, e.Data)
		}
	}
	return found
}

// cancel looks for what is meant and ends it, or sets its time; it returns the result.
func (s *sheet) cancel(e *act) int32 {
	found := s.find(e)
	if e.bit != 0 {
		s.cancels = append(s.cancels, e)
	}
	all := e.Code == Cancel && (e.All || e.Any) || e.Code == CancelPipe && e.All
	switch {
	case len(found) == 0 && all:
		return 0
	case len(found) == 0:
		return -int32(syscall.ENOENT)
	case len(found) > 1 && !all:
		open("which of several %d finds", e.Data)
	}
	if e.Code == Update {
		found[0].short = e.Ms < Forever
		return 0
	}
	for _, b := range found {
		s.finish(b, -int32(syscall.ECANCELED))
	}
	if all {
		return int32(len(found))
	}
	return 0
}
