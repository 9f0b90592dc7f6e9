package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needed are the features without which a ring is not used: nothing is dropped,
// what an SQE points to is read before Enter returns, an offset of -1 is the
// file's position, a wait can have a timeout. Linux 5.11 has them.
const needed = FeatSingleMmap | FeatNoDrop | FeatSubmitStable | FeatRWCurPos | FeatExtArg

// Ring is one io_uring. The submission side (NextSQE, Retract, Enter with SQEs) is
// for one goroutine at a time, the completion side (Peek, Advance, CQEs) for one
// too; the two may run at the same time. Ready, Wait, Events and the register calls
// may be called by anybody.
type Ring struct {
	fd     int
	params Params
	memory []byte // the rings
	sqeMem []byte

	sq struct {
		head, tail, flags *uint32 // shared with the kernel
		dropped           *uint32
		array             []uint32 // nil with SetupNoSQArray
		sqes              unsafe.Pointer
		shift             uint   // log2 of an entry's size
		mask, entries     uint32 // constant
		next              uint32 // handed out; the kernel sees it at the next Enter
		headSeen          uint32 // the kernel's head when we last looked
	}
	cq struct {
		head, tail, flags *uint32
		overflow          *uint32
		cqes              unsafe.Pointer
		shift             uint
		mask, entries     uint32
	}
}

// Setup makes a ring with so many submission queue entries, rounded up to a power
// of two by the kernel. p has the flags and what belongs to them, and is filled
// with what the kernel answers. SetupNoSQArray is added where the kernel has it.
//
// Errors: EINVAL, EPERM (forbidden by kernel.io_uring_disabled or a seccomp
// filter), ENOSYS, ENOMEM, EMFILE, ENFILE as they come;
// [errors.ErrUnsupported] for a kernel before 5.11 and for flags that need the
// caller's memory (SetupNoMmap, SetupRegisteredFDOnly).
//
// Source: io_uring_setup(2).
func Setup(entries uint32, p *Params) (*Ring, error) {
	if p.Flags&(SetupNoMmap|SetupRegisteredFDOnly) != 0 {
		return nil, fmt.Errorf("io_uring_setup: rings in the caller's memory: %w", errors.ErrUnsupported)
	}
	asked := *p
	p.Flags |= SetupNoSQArray
	fd, errno := setup(entries, p)
	if errno == unix.EINVAL { // the flag is of 6.6
		*p = asked
		fd, errno = setup(entries, p)
	}
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &Ring{fd: fd, params: *p}
	if missing := needed &^ p.Features; missing != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("io_uring_setup: this kernel is older than 5.11 (features %#x missing): %w", missing, errors.ErrUnsupported)
	}
	if err := r.mmap(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func setup(entries uint32, p *Params) (int, syscall.Errno) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	return int(fd), errno
}

// Where the rings and the entries are in the ring's file. Source: IORING_OFF_*.
const (
	offSQRing = 0
	offSQEs   = 0x10000000
)

// mmap maps the rings, which FeatSingleMmap has in one piece, and the entries.
func (r *Ring) mmap() (err error) {
	p := &r.params
	r.sq.shift, r.cq.shift = 6, 4
	if p.Flags&SetupSQE128 != 0 {
		r.sq.shift = 7
	}
	if p.Flags&SetupCQE32 != 0 {
		r.cq.shift = 5
	}
	size := p.cqOff.cqes + p.CQEntries<<r.cq.shift
	if p.Flags&SetupNoSQArray == 0 {
		size = max(size, p.sqOff.array+4*p.SQEntries)
	}
	const shared = unix.MAP_SHARED | unix.MAP_POPULATE
	if r.memory, err = unix.Mmap(r.fd, offSQRing, int(size), unix.PROT_READ|unix.PROT_WRITE, shared); err != nil {
		return fmt.Errorf("mmap of the rings: %w", err)
	}
	if r.sqeMem, err = unix.Mmap(r.fd, offSQEs, int(p.SQEntries)<<r.sq.shift, unix.PROT_READ|unix.PROT_WRITE, shared); err != nil {
		return fmt.Errorf("mmap of the entries: %w", err)
	}
	// The offsets are the kernel's and within what was mapped; each word is aligned.
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.memory[off])) }
	s, c := &r.sq, &r.cq
	s.head, s.tail, s.flags, s.dropped = at(p.sqOff.head), at(p.sqOff.tail), at(p.sqOff.flags), at(p.sqOff.dropped)
	s.mask, s.entries = *at(p.sqOff.mask), *at(p.sqOff.entries)
	s.sqes = unsafe.Pointer(&r.sqeMem[0])
	if p.Flags&SetupNoSQArray == 0 {
		s.array = unsafe.Slice(at(p.sqOff.array), p.SQEntries)
		for i := range s.array {
			s.array[i] = uint32(i) // entry i is always in place i
		}
	}
	s.next = *s.tail
	s.headSeen = s.next
	c.head, c.tail, c.flags, c.overflow = at(p.cqOff.head), at(p.cqOff.tail), at(p.cqOff.flags), at(p.cqOff.overflow)
	c.mask, c.entries = *at(p.cqOff.mask), *at(p.cqOff.entries)
	c.cqes = unsafe.Pointer(&r.memory[p.cqOff.cqes])
	return nil
}

// Close ends the ring. The kernel cancels what is under way, after Close has
// returned: whoever must not have a buffer touched later has everything end first.
func (r *Ring) Close() error {
	var errs []error
	for _, m := range [...]*[]byte{&r.sqeMem, &r.memory} {
		if *m != nil {
			errs = append(errs, unix.Munmap(*m))
			*m = nil
		}
	}
	errs = append(errs, unix.Close(r.fd))
	return errors.Join(errs...)
}

// Fd is the ring's descriptor.
func (r *Ring) Fd() int { return r.fd }

// Flags are the set-up flags that the ring has; Features, what the kernel
// reported.
func (r *Ring) Flags() uint32    { return r.params.Flags }
func (r *Ring) Features() uint32 { return r.params.Features }

// SQEntries and CQEntries are the sizes of the queues.
func (r *Ring) SQEntries() uint32 { return r.sq.entries }
func (r *Ring) CQEntries() uint32 { return r.cq.entries }

// NextSQE hands out the next free entry, nil when the queue is full. It carries
// what it had in its previous life: set or clear all of it. With SetupSQE128 the
// 64 bytes that follow it are its own too.
func (r *Ring) NextSQE() *SQE {
	s := &r.sq
	if s.next-s.headSeen == s.entries {
		// Acquires the kernel's release of the entries that it has read.
		if s.headSeen = atomic.LoadUint32(s.head); s.next-s.headSeen == s.entries {
			return nil
		}
	}
	// Within the mapping: the index is masked.
	sqe := (*SQE)(unsafe.Add(s.sqes, uintptr(s.next&s.mask)<<s.shift))
	s.next++
	return sqe
}

// Entries is where all entries are: that of index i at i modulo their number. Nil
// with SetupSQE128.
func (r *Ring) Entries() []SQE {
	if r.sq.shift != 6 {
		return nil
	}
	return unsafe.Slice((*SQE)(r.sq.sqes), r.sq.entries)
}

// Take hands out up to n entries at once: those from index first on.
func (r *Ring) Take(n uint32) (first, got uint32) {
	s := &r.sq
	if n > s.entries-(s.next-s.headSeen) {
		s.headSeen = atomic.LoadUint32(s.head) // as in NextSQE
		n = min(n, s.entries-(s.next-s.headSeen))
	}
	first = s.next
	s.next += n
	return first, n
}

// Pending is the number of entries handed out that the kernel has not taken. With
// SetupSQPoll it takes them whenever it likes.
func (r *Ring) Pending() uint32 { return r.sq.next - atomic.LoadUint32(r.sq.head) }

// Next is the free-running index of the next entry to be handed out.
func (r *Ring) Next() uint32 { return r.sq.next }

// Unpublished is the number of entries handed out since the last Enter.
func (r *Ring) Unpublished() uint32 { return r.sq.next - *r.sq.tail }

// Retract takes back the entries handed out last and not taken by the kernel. Not
// with SetupSQPoll, where the kernel may be taking them.
func (r *Ring) Retract(n uint32) {
	r.sq.next -= n
	atomic.StoreUint32(r.sq.tail, r.sq.next)
}

// Enter gives the kernel n of the pending entries, in order, and waits for none.
// It returns how many it took: fewer if one was bad, which then has a CQE that says
// so. events asks the kernel to bring in completions too: deferred ones, and those
// that had no room in the completion queue.
//
// With SetupSQPoll n is of the entries that are not published: they are, to the
// kernel's thread, which is woken if it sleeps, and n is returned.
//
// Errors: those of io_uring_enter(2) but for EINTR, which is not one here. EAGAIN
// and EBUSY mean that nothing was taken for want of memory or of room for
// completions: reap, and try again.
func (r *Ring) Enter(n uint32, events bool) (uint32, syscall.Errno) {
	sqpoll := r.params.Flags&SetupSQPoll != 0
	tail := r.sq.next
	if sqpoll {
		tail = *r.sq.tail + n
	}
	// Publishes the entries to the kernel, whose thread may begin with them at once.
	atomic.StoreUint32(r.sq.tail, tail)
	var flags uint32
	if events || r.params.Flags&SetupIOPoll != 0 || r.NeedsEnter() {
		flags |= EnterGetEvents
	}
	if sqpoll {
		// The store of the tail is before this load, on both sides a full barrier.
		if atomic.LoadUint32(r.sq.flags)&sqNeedWakeup != 0 {
			flags |= EnterSQWakeup
		}
		if flags == 0 {
			return n, 0
		}
	}
	for {
		got, errno := enter(r.fd, n, 0, flags, nil, 0)
		if errno != unix.EINTR {
			return got, errno
		}
	}
}

// Events asks the kernel to bring in completions that wait for that: deferred ones,
// and those that had no room. Unlike Enter it leaves the submission side alone.
func (r *Ring) Events() syscall.Errno {
	for {
		_, errno := enter(r.fd, 0, 0, EnterGetEvents, nil, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

// WaitSQ waits until there is room in the submission queue of a ring with
// SetupSQPoll.
func (r *Ring) WaitSQ() syscall.Errno {
	flags := uint32(EnterSQWait)
	if atomic.LoadUint32(r.sq.flags)&sqNeedWakeup != 0 {
		flags |= EnterSQWakeup
	}
	for {
		_, errno := enter(r.fd, 0, 0, flags, nil, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

// Wait blocks its thread until n CQEs are in the queue, or ts is over if it is not
// nil. EINTR comes back as it is: the caller may have asked for it by a signal.
// ETIME says that ts ended first.
func (r *Ring) Wait(n uint32, ts *Timespec) syscall.Errno {
	if ts == nil {
		_, errno := enter(r.fd, 0, n, EnterGetEvents, nil, 0)
		return errno
	}
	arg := eventsArg{ts: uint64(uintptr(unsafe.Pointer(escape(ts))))}
	_, errno := enter(r.fd, 0, n, EnterGetEvents|EnterExtArg, unsafe.Pointer(&arg), unsafe.Sizeof(arg))
	runtime.KeepAlive(ts)
	return errno
}

// enter is io_uring_enter(2).
func enter(fd int, submit, wait, flags uint32, arg unsafe.Pointer, size uintptr) (uint32, syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(wait), uintptr(flags), uintptr(arg), size)
	if errno != 0 {
		return 0, errno
	}
	return uint32(n), 0
}

// Ready is the number of CQEs in the queue.
func (r *Ring) Ready() uint32 {
	head := atomic.LoadUint32(r.cq.head) // first: the tail only grows
	return atomic.LoadUint32(r.cq.tail) - head
}

// CQEs calls f for every CQE in the queue, at most limit of them, and then gives
// their entries back to the kernel. It returns how many there were. c is f's only
// until f returns. Filler entries are skipped, and not counted.
func (r *Ring) CQEs(limit int, f func(c *CQE)) int {
	q := &r.cq
	head := atomic.LoadUint32(q.head)
	tail := atomic.LoadUint32(q.tail) // acquires the entries below it
	n := 0
	for ; head != tail && n < limit; head++ {
		// Within the mapping: the index is masked.
		c := (*CQE)(unsafe.Add(q.cqes, uintptr(head&q.mask)<<q.shift))
		if c.Flags&CQESkip != 0 {
			continue
		}
		f(c)
		n++
		if c.Flags&CQE32 != 0 && q.shift == 4 {
			head++ // of a mixed ring: its second half
		}
	}
	atomic.StoreUint32(q.head, head) // releases them
	return n
}

// Peek returns the CQEs in the queue that lie in one piece, without consuming
// them: nil if there is none. Only for rings with plain CQEs.
func (r *Ring) Peek() []CQE {
	q := &r.cq
	head := *q.head                       // written by this side alone
	n := atomic.LoadUint32(q.tail) - head // acquires the entries below it
	n = min(n, q.entries-head&q.mask)     // to the end of the array
	first := (*CQE)(unsafe.Add(q.cqes, uintptr(head&q.mask)<<4))
	if n == 0 {
		return nil
	}
	return unsafe.Slice(first, n)
}

// Advance consumes n CQEs.
func (r *Ring) Advance(n uint32) {
	atomic.StoreUint32(r.cq.head, *r.cq.head+n) // releases the entries to the kernel
}

// NeedsEnter reports whether completions wait for an Enter: because the queue was
// full, or because the kernel runs them only then.
func (r *Ring) NeedsEnter() bool {
	return atomic.LoadUint32(r.sq.flags)&(sqCQOverflow|sqTaskrun) != 0
}

// HasOverflow reports whether completions wait behind a full queue.
func (r *Ring) HasOverflow() bool { return atomic.LoadUint32(r.sq.flags)&sqCQOverflow != 0 }

// Sleeping reports whether the kernel's submitting thread sleeps (SetupSQPoll).
func (r *Ring) Sleeping() bool { return atomic.LoadUint32(r.sq.flags)&sqNeedWakeup != 0 }

// Lost is how many completions the kernel has dropped for want of memory, and
// Dropped how many entries for a bad index. Both should be 0 for ever.
func (r *Ring) Lost() uint32    { return atomic.LoadUint32(r.cq.overflow) }
func (r *Ring) Dropped() uint32 { return atomic.LoadUint32(r.sq.dropped) }

// EventsOff says that the registered eventfd is not to be signalled for now, or
// is again.
func (r *Ring) EventsOff(off bool) {
	var flag uint32
	if off {
		flag = cqEventfdDisabled
	}
	// Before the look at the queue that follows turning it on: a full barrier.
	atomic.StoreUint32(r.cq.flags, flag)
}

// Result is a CQE's result as a user should see it. The kernel's own codes for a
// system call to be restarted, -512 to -516, leak from operations that were
// interrupted: they are EINTR.
//
// Source: Linux include/linux/errno.h, ERESTARTSYS to ERESTART_RESTARTBLOCK.
func Result(res int32) int32 {
	if res <= -512 && res >= -516 {
		return -int32(unix.EINTR)
	}
	return res
}
