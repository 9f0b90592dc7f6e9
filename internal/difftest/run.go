//go:build unix

package difftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// patience is how long a completion may take that must come.
const patience = 10 * time.Second

// Place is where programs run: the two files, and another descriptor of the first that
// cannot be written to. One program at a time.
type Place struct {
	files  [Files]*os.File
	sealed *os.File
}

// NewPlace makes the files in a directory.
func NewPlace(dir string) (*Place, error) {
	p := new(Place)
	for i := range p.files {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("file", i)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		p.files[i] = f
	}
	var err error
	p.sealed, err = os.Open(p.files[0].Name())
	return p, err
}

// Close closes the files.
func (at *Place) Close() {
	for _, f := range at.files {
		f.Close()
	}
	at.sealed.Close()
}

// Options are what a program's ring is made with, besides its kernel.
func (p *Program) Options() []aioring.Option {
	var o []aioring.Option
	if p.CQ != 0 {
		o = append(o, aioring.WithCQSize(p.CQ))
	}
	if p.SubmitAll {
		o = append(o, aioring.WithSubmitAll())
	}
	if p.Worker {
		o = append(o, aioring.WithWorker())
	}
	return o
}

// Run runs a program on a ring that open makes with the options it is given, and
// closes the ring. The error is of what cannot be compared: a completion that never
// came, a submission that failed.
func (at *Place) Run(p *Program, f *Foreseen, open func(entries int, o ...aioring.Option) (*aioring.Ring, error)) (*Outcome, error) {
	for i, file := range at.files {
		if err := file.Truncate(Blocks * BlockSize); err != nil {
			return nil, err
		}
		if _, err := file.WriteAt(Contents(i), 0); err != nil {
			return nil, err
		}
	}
	ring, err := open(p.Entries, p.Options()...)
	if err != nil {
		return nil, err
	}
	r := runner{place: at, ring: ring, foreseen: f}
	r.out.Results, r.out.Got = map[uint64][]Result{}, map[uint64]string{}
	for i := range r.pipes {
		r.pipes[i] = [2]int{-1, -1}
	}
	err = r.steps(slices.Concat(p.Steps, f.Ending))
	if err == nil {
		err = r.rest()
	}
	if closed := ring.Close(); err == nil {
		err = closed
	}
	r.closeDups()
	for i := range r.pipes {
		r.shut(i, 0)
		r.shut(i, 1)
	}
	for i, file := range at.files {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			return nil, err
		}
		r.out.Files[i] = string(b)
	}
	return &r.out, err
}

// runner is one program on one ring.
type runner struct {
	place    *Place
	ring     *aioring.Ring
	foreseen *Foreseen
	out      Outcome
	pipes    [Pipes][2]int

	queue   []aioring.SQE
	buffers []buffer
	dups    []int
	settles int
	seen    int // CQEs
}

// buffer is what an operation reads into.
type buffer struct {
	data uint64
	b    []byte
}

func (r *runner) steps(steps []Step) error {
	for i := range steps {
		if err := r.step(&steps[i]); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, steps[i].Verb, err)
		}
	}
	return nil
}

func (r *runner) step(s *Step) error {
	switch s.Verb {
	case Put:
		sqe, err := r.sqe(&s.Op)
		r.queue = append(r.queue, sqe)
		return err
	case Submit:
		for i := range r.queue {
			sqe := r.ring.GetSQE()
			if sqe == nil {
				return errors.New("no entry is free")
			}
			*sqe = r.queue[i]
		}
		r.queue = r.queue[:0]
		n, err := r.ring.Submit()
		r.out.Submitted = append(r.out.Submitted, n)
		if r.ring.SQReady() == 0 {
			r.closeDups()
		}
		return err
	case Push:
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := r.ring.PushContext(ctx, r.queue...)
		r.out.Submitted = append(r.out.Submitted, len(r.queue))
		r.queue = r.queue[:0]
		return err
	case Settle:
		r.settles++
		return r.settle(r.foreseen.Posted[r.settles-1])
	case Feed:
		_, err := unix.Write(r.pipe(s.Pipe, 1), pattern(uint64(2000+s.Pipe), s.N))
		return err
	case Hangup:
		r.pipe(s.Pipe, 1)
		r.shut(s.Pipe, 1)
		return nil
	case CancelS:
		var sqe aioring.SQE
		aioring.PrepCancel(&sqe, s.Target, 0)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		want := r.foreseen.Cancelled[len(r.out.Cancelled)]
		n, err := r.ring.CancelSync(ctx, sqe)
		for n < want && err == syscall.ENOENT && ctx.Err() == nil {
			time.Sleep(time.Millisecond) // what is before it asked for no CQE: it is yet to start
			n, err = r.ring.CancelSync(ctx, sqe)
		}
		if err == syscall.ENOENT {
			err = nil
		}
		r.out.Cancelled = append(r.out.Cancelled, n)
		return err
	}
	return nil
}

// closeDups closes the descriptors of operations that were submitted.
func (r *runner) closeDups() {
	for _, fd := range r.dups {
		_ = unix.Close(fd)
	}
	r.dups = r.dups[:0]
}

// settle consumes CQEs until so many have come altogether.
func (r *runner) settle(until int) error {
	for r.seen < until {
		c, err := r.ring.WaitCQETimeout(patience)
		if err != nil {
			return fmt.Errorf("%d CQEs of %d: %w", r.seen, until, err)
		}
		r.consume(c)
	}
	return nil
}

func (r *runner) consume(c *aioring.CQE) {
	more := c.Flags&aioring.CQEMore != 0
	r.out.Results[c.UserData] = append(r.out.Results[c.UserData], Result{c.Res, more})
	if !more {
		r.out.Order = append(r.out.Order, c.UserData)
	}
	for _, b := range r.buffers {
		if b.data == c.UserData && c.Res > 0 {
			r.out.Got[b.data] = string(b.b[:c.Res])
		}
	}
	r.seen++
	r.ring.CQESeen(c)
}

// rest waits until nothing is under way, and consumes what nobody expects.
func (r *runner) rest() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.ring.Shutdown(ctx); err != nil {
		return fmt.Errorf("operations without a CQE: %w", err)
	}
	for {
		c, err := r.ring.PeekCQE()
		if err != nil {
			break
		}
		r.consume(c)
	}
	// What asked for no CQE has read something too.
	for _, b := range r.buffers {
		if _, ok := r.out.Got[b.data]; !ok && r.foreseen.Got[b.data] != "" && r.out.Results[b.data] == nil {
			r.out.Got[b.data] = string(b.b[:len(r.foreseen.Got[b.data])])
		}
	}
	if s := r.ring.Stats(); s.Alive != 0 {
		return fmt.Errorf("%d operations are alive at the end", s.Alive)
	}
	return nil
}

// pipe is one end of a pipe.
func (r *runner) pipe(i, end int) int {
	if p := &r.pipes[i]; p[0] < 0 {
		if err := unix.Pipe(p[:]); err != nil {
			p[0], p[1] = -1, -1
		}
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	return r.pipes[i][end]
}

// shut closes one end of a pipe, if it is open.
func (r *runner) shut(i, end int) {
	if fd := &r.pipes[i][end]; *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -2
	}
}

// sqe makes an operation's entry.
func (r *runner) sqe(o *Op) (s aioring.SQE, err error) {
	switch o.Code {
	case Nop:
		aioring.PrepNop(&s)
		if o.Res != 0 {
			s.OpFlags, s.Len = aioring.NopInjectResult, uint32(int32(o.Res))
		}
	case Read:
		fd, err := r.file(o)
		aioring.PrepRead(&s, fd, r.buffer(o, o.N*BlockSize), int64(o.Block*BlockSize))
		if err != nil {
			return s, err
		}
	case Readv:
		fd, err := r.file(o)
		b := r.buffer(o, o.N*BlockSize)
		aioring.PrepReadv(&s, fd, [][]byte{b[:BlockSize/2], b[BlockSize/2:]}, int64(o.Block*BlockSize))
		if err != nil {
			return s, err
		}
	case Write:
		fd, err := r.file(o)
		aioring.PrepWrite(&s, fd, pattern(o.Data, o.N*BlockSize), int64(o.Block*BlockSize))
		if err != nil {
			return s, err
		}
	case Writev:
		fd, err := r.file(o)
		b := pattern(o.Data, o.N*BlockSize)
		aioring.PrepWritev(&s, fd, [][]byte{b[:BlockSize/2], b[BlockSize/2:]}, int64(o.Block*BlockSize))
		if err != nil {
			return s, err
		}
	case Fsync:
		aioring.PrepFsync(&s, int(r.place.files[o.File].Fd()), o.badFlag())
	case FsyncPipe:
		aioring.PrepFsync(&s, r.pipe(o.Pipe, 0), 0)
	case ReadPipe:
		aioring.PrepRead(&s, r.pipe(o.Pipe, 0), r.buffer(o, o.N), aioring.CurrentPosition)
	case WritePipe:
		aioring.PrepWrite(&s, r.pipe(o.Pipe, 1), pattern(o.Data, o.N), aioring.CurrentPosition)
	case ReadNone:
		aioring.PrepRead(&s, notOpen, make([]byte, 8), 0)
	case WriteSealed:
		aioring.PrepWrite(&s, int(r.place.sealed.Fd()), make([]byte, 8), 0)
	default:
		r.ruled(&s, o)
	}
	s.UserData, s.Flags = o.Data, flags(o)
	return s, nil
}

// ruled makes the entry of an operation that is the ring's own.
func (r *runner) ruled(s *aioring.SQE, o *Op) {
	d := time.Duration(o.Ms) * time.Millisecond
	bad := o.badFlag()
	switch o.Code {
	case Timeout:
		aioring.PrepTimeout(s, d, uint32(o.N), bad)
		if o.ETime {
			s.OpFlags |= aioring.TimeoutETimeSuccess
		}
		if o.Multishot {
			s.OpFlags |= aioring.TimeoutMultishot
		}
	case Remove:
		aioring.PrepTimeoutRemove(s, o.Target, bad)
	case Update:
		aioring.PrepTimeoutUpdate(s, d, o.Target, 0)
	case Cancel:
		switch {
		case o.Any:
			aioring.PrepCancel(s, 0, aioring.CancelAny)
		case o.ByOp:
			aioring.PrepCancelOp(s, aioring.OpRead, 0)
		default:
			aioring.PrepCancel(s, o.Target, 0)
		}
		if o.All {
			s.OpFlags |= aioring.CancelAll
		}
		s.OpFlags |= bad
	case CancelPipe:
		aioring.PrepCancelFd(s, r.pipe(o.Pipe, 0), 0)
		if o.All {
			s.OpFlags |= aioring.CancelAll
		}
	case LinkTimeout:
		aioring.PrepLinkTimeout(s, d, 0)
	case Unknown:
		s.Opcode = 250
	}
}

// file is the descriptor that an operation on a file names.
func (r *runner) file(o *Op) (int, error) {
	fd := int(r.place.files[o.File].Fd())
	if !o.Duplicate {
		return fd, nil
	}
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		r.dups = append(r.dups, fd)
	}
	return fd, err
}

// buffer is what an operation reads into.
func (r *runner) buffer(o *Op, n int) []byte {
	b := make([]byte, n)
	r.buffers = append(r.buffers, buffer{o.Data, b})
	return b
}
