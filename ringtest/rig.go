//go:build unix

package ringtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

const (
	// patience is how long anything may take that must happen.
	patience = 30 * time.Second

	// pause is how long the suite watches that something does not happen. A right
	// ring passes however short it is.
	pause = 10 * time.Millisecond

	ms   = time.Millisecond
	long = time.Hour // never, for a test

	noFd = 9999 // a descriptor number that is not open
)

// rig is what a check works with: a ring, and the files and pipes that it uses.
type rig struct {
	*testing.T
	on    target
	ring  *aioring.Ring // the one that was opened last
	rings []*aioring.Ring
	fds   []int
	dir   string
}

func newRig(t *testing.T, on target) *rig {
	r := &rig{T: t, on: on}
	t.Cleanup(r.close)
	return r
}

// open makes a ring and makes it the rig's.
func (r *rig) open(entries int, opts ...aioring.Option) *aioring.Ring {
	r.Helper()
	ring, err := r.on.open(entries, opts...)
	if err != nil {
		r.Fatalf("a ring of %d entries: %v", entries, err)
	}
	r.ring = ring
	r.rings = append(r.rings, ring)
	return ring
}

// close ends a check: every CQE was reaped by then, and a ring closed holds nothing.
func (r *rig) close() {
	for _, ring := range r.rings {
		if cqe, err := ring.PeekCQE(); err == nil && !r.Failed() {
			r.Errorf("a CQE is left: %v", resultOf(cqe))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := ring.CloseContext(ctx); err != nil {
			r.Errorf("close: %v", err)
		} else if s := ring.Stats(); s.InFlight != 0 {
			r.Errorf("%d operations are in flight in a closed ring", s.InFlight)
		}
		cancel()
	}
	for _, fd := range r.fds {
		_ = unix.Close(fd) // a check may have closed it
	}
}

// isLinux reports whether the kernel below is io_uring itself, which departs from its
// own manual here and there.
func (r *rig) isLinux() bool { return r.ring.Kernel() == aioring.KernelURing }

// Operations that the ring may know by number only.
const (
	opPollAdd aioring.Opcode = 6
	opRecv    aioring.Opcode = 27
)

// needs skips a check that needs an operation which the ring does not have.
func (r *rig) needs(op aioring.Opcode, name string) {
	r.Helper()
	if !r.ring.Probe().Supported(op) {
		r.Skipf("the ring has no %s: the probe says so", name)
	}
}

// op is an SQE under construction.
type op aioring.SQE

func (o op) link() op  { o.Flags |= aioring.FlagIOLink; return o }
func (o op) hard() op  { o.Flags |= aioring.FlagIOHardlink; return o }
func (o op) drain() op { o.Flags |= aioring.FlagIODrain; return o }
func (o op) skip() op  { o.Flags |= aioring.FlagCQESkip; return o }
func (o op) async() op { o.Flags |= aioring.FlagAsync; return o }

// prepared is an operation with user data.
func prepared(data uint64, prep func(*aioring.SQE)) op {
	var s aioring.SQE
	prep(&s)
	s.UserData = data
	return op(s)
}

func nop(data uint64) op { return prepared(data, aioring.PrepNop) }

// refused has an opcode that nobody knows: it is refused before it runs.
func refused(data uint64) op {
	o := nop(data)
	o.Opcode = 255
	return o
}

// broken fails when it runs, with EBADF.
func broken(data uint64) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepRead(s, noFd, make([]byte, 1), 0) })
}

func timeout(data uint64, d time.Duration, count, flags uint32) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepTimeout(s, d, count, flags) })
}

func removal(data, of uint64) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepTimeoutRemove(s, of, 0) })
}

func update(data, of uint64, d time.Duration, flags uint32) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepTimeoutUpdate(s, d, of, flags) })
}

func limit(data uint64, d time.Duration) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepLinkTimeout(s, d, 0) })
}

func cancel(data, of uint64, flags uint32) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepCancel(s, of, flags) })
}

func cancelFd(data uint64, fd int, flags uint32) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepCancelFd(s, fd, flags) })
}

// put fills entries of the submission queue.
func (r *rig) put(ops ...op) {
	r.Helper()
	for _, o := range ops {
		sqe := r.ring.GetSQE()
		if sqe == nil {
			r.Fatal("no entry is left")
		}
		*sqe = aioring.SQE(o)
	}
}

// submits submits what there is and says how many are to be taken.
func (r *rig) submits(want int) {
	r.Helper()
	if n, err := r.ring.Submit(); n != want || err != nil {
		r.Fatalf("Submit: %d, %v; want %d", n, err, want)
	}
}

// submit submits operations, all at once.
func (r *rig) submit(ops ...op) {
	r.Helper()
	r.put(ops...)
	r.submits(len(ops))
}

// result is what a check looks at in a CQE.
type result struct {
	data uint64
	res  int32
	more bool
}

func resultOf(c *aioring.CQE) result {
	return result{c.UserData, c.Res, c.Flags&aioring.CQEMore != 0}
}

func (c result) String() string {
	s := fmt.Sprintf("%d:%d", c.data, c.res)
	if c.res < 0 {
		s = fmt.Sprintf("%d:-%s", c.data, errnoName(c.res))
	}
	if c.more {
		s += "+"
	}
	return s
}

func errnoName(res int32) string {
	if syscall.Errno(-res) == aioring.ETIME {
		return "ETIME"
	}
	if name := unix.ErrnoName(syscall.Errno(-res)); name != "" {
		return name
	}
	return fmt.Sprint(-res)
}

// is is a final result.
func is(data uint64, res int32) result { return result{data: data, res: res} }

// failed is a final result that is an errno.
func failed(data uint64, errno syscall.Errno) result { return is(data, -int32(errno)) }

func cancelled(data uint64) result { return failed(data, unix.ECANCELED) }

func expired(data uint64) result { return failed(data, aioring.ETIME) }

// goesOn is a result after which another follows.
func (c result) goesOn() result { c.more = true; return c }

// reap waits for a CQE and consumes it.
func (r *rig) reap() result {
	r.Helper()
	cqe, err := r.ring.WaitCQETimeout(patience)
	if err != nil {
		r.Fatalf("no CQE: %v", err)
	}
	c := resultOf(cqe)
	r.ring.CQESeen(cqe)
	return c
}

func (r *rig) reapN(n int) []result {
	r.Helper()
	var all []result
	for range n {
		all = append(all, r.reap())
	}
	return all
}

// first reaps these results, in this order.
func (r *rig) first(want ...result) {
	r.Helper()
	if got := r.reapN(len(want)); !slices.Equal(got, want) {
		r.Errorf("%v, want %v", got, want)
	}
}

// want is first, and sees that there are no more.
func (r *rig) want(want ...result) {
	r.Helper()
	r.first(want...)
	r.nothingLeft()
}

// wantAny is want in any order.
func (r *rig) wantAny(want ...result) {
	r.Helper()
	got := r.reapN(len(want))
	if sorted(got) != sorted(want) {
		r.Errorf("%v, want in any order %v", got, want)
	}
	r.nothingLeft()
}

func sorted(all []result) string {
	var text []string
	for _, c := range all {
		text = append(text, c.String())
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}

// wantChains is wantAny, but of each chain in its order.
func (r *rig) wantChains(chains ...[]result) {
	r.Helper()
	all := slices.Concat(chains...)
	got := r.reapN(len(all))
	if sorted(got) != sorted(all) {
		r.Errorf("%v, want %v", got, chains)
	}
	for _, chain := range chains {
		at := 0
		for _, c := range got {
			if at < len(chain) && c == chain[at] {
				at++
			}
		}
		if at < len(chain) {
			r.Errorf("%v is not in the order %v", got, chain)
		}
	}
	r.nothingLeft()
}

func (r *rig) nothingLeft() {
	r.Helper()
	if cqe, err := r.ring.PeekCQE(); err == nil {
		r.Errorf("and then there is %v", resultOf(cqe))
	} else if err != unix.EAGAIN {
		r.Errorf("PeekCQE: %v", err)
	}
}

// quiet watches that nothing completes for a moment.
func (r *rig) quiet(why string) {
	r.Helper()
	if cqe, err := r.ring.WaitCQETimeout(pause); err == nil {
		r.Fatalf("%s: %v", why, resultOf(cqe))
	} else if err != aioring.ETIME {
		r.Fatalf("%s: %v", why, err)
	}
}

// until waits for what tells nobody when it happens.
func (r *rig) until(what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(ms / 10) {
		if time.Now().After(deadline) {
			r.Fatalf("it is never so: %s", what)
		}
	}
}

// soon receives what must come.
func soon[T any](r *rig, what string, ch <-chan T) (v T) {
	r.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		r.Fatalf("it never happens: %s", what)
	}
	return v
}

// descriptor closes a descriptor when the check and its rings are over.
func (r *rig) descriptor(fd int) int {
	r.fds = append(r.fds, fd)
	return fd
}

// pipe is one with nothing in it.
type pipe struct {
	r      *rig
	rd, wr int
}

func (r *rig) pipe() pipe {
	r.Helper()
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		r.Fatal(err)
	}
	return pipe{r, r.descriptor(p[0]), r.descriptor(p[1])}
}

// read pends until something is put into the pipe.
func (p pipe) read(data uint64, n int) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepRead(s, p.rd, make([]byte, n), aioring.CurrentPosition) })
}

// write is done at once.
func (p pipe) write(data uint64, text string) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepWrite(s, p.wr, []byte(text), aioring.CurrentPosition) })
}

// put writes into the pipe.
func (p pipe) put(text string) {
	p.r.Helper()
	if n, err := unix.Write(p.wr, []byte(text)); n != len(text) {
		p.r.Fatalf("write to a pipe: %d, %v", n, err)
	}
}

// content is what is in the pipe, taken out.
func (p pipe) content() string {
	p.r.Helper()
	if err := unix.SetNonblock(p.rd, true); err != nil {
		p.r.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, err := unix.Read(p.rd, buf)
	if err != nil && err != unix.EAGAIN {
		p.r.Fatal(err)
	}
	return string(buf[:max(n, 0)])
}

// stuck is a read of a pipe of its own that nobody fills.
func (r *rig) stuck(data uint64) op {
	r.Helper()
	return r.pipe().read(data, 4)
}

// file is a regular one.
type file struct {
	r    *rig
	fd   int
	name string
}

func (r *rig) file(content string) file { return r.fileWith(content, 0) }

func (r *rig) fileWith(content string, flags int) file {
	r.Helper()
	if r.dir == "" {
		r.dir = r.TempDir()
	}
	name := filepath.Join(r.dir, fmt.Sprint("file", len(r.fds)))
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		r.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		r.Fatal(err)
	}
	return file{r, r.descriptor(fd), name}
}

func (f file) read(data uint64, n int, off int64) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepRead(s, f.fd, make([]byte, n), off) })
}

func (f file) write(data uint64, text string, off int64) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepWrite(s, f.fd, []byte(text), off) })
}

func (f file) sync(data uint64) op {
	return prepared(data, func(s *aioring.SQE) { aioring.PrepFsync(s, f.fd, 0) })
}

func (f file) content() string {
	f.r.Helper()
	b, err := os.ReadFile(f.name)
	if err != nil {
		f.r.Fatal(err)
	}
	return string(b)
}

func (f file) wantContent(want string) {
	f.r.Helper()
	if got := f.content(); got != want {
		f.r.Errorf("the file has %q, want %q", got, want)
	}
}
