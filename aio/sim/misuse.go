//go:build unix

package sim

import (
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/aioring/aioring/aio"
)

// Rule is a rule that a kernel does not enforce and a program dies of later.
type Rule uint8

const (
	// Resubmitted: a block was submitted while a job under its address was in
	// flight, or not reaped.
	Resubmitted Rule = iota
	// ListReused: the array of a list was used for another before the last job of
	// the first was reaped, so that no event will come of the second.
	ListReused
	// BufferChanged: what a write was to write was changed before it was written.
	BufferChanged
	// BlockChanged: a block was changed, or prepared anew, before its job was
	// reaped.
	BlockChanged
	// FreedEarly: a block's or a buffer's memory was given back before the job was
	// reaped.
	FreedEarly
	// NeverReaped: a job was in the kernel at Shutdown.
	NeverReaped
	// KqueueLeft: an event queue was open at Shutdown.
	KqueueLeft
	// AfterShutdown: a call of a process that has ended.
	AfterShutdown
	// UnknownCall: a system call that the version lacks. SIGSYS kills the process.
	UnknownCall
	// Stuck: a job that never ends kept the process from ending.
	Stuck
)

var ruleNames = [...]string{
	Resubmitted: "resubmitted", ListReused: "list reused", BufferChanged: "buffer changed", BlockChanged: "block changed",
	FreedEarly: "freed early", NeverReaped: "never reaped", KqueueLeft: "kqueue left", AfterShutdown: "after shutdown",
	UnknownCall: "unknown call", Stuck: "stuck",
}

func (r Rule) String() string { return ruleNames[r] }

// Misuse is one rule broken.
type Misuse struct {
	Rule Rule
	// Call is the system call that broke it, or, where the fault lies between two
	// calls, the one that submitted the job: "aio_write #7 (job 3, fd 5, offset 0,
	// 512 bytes)". #7 is its number among the process's submitting calls.
	Call string
	What string // what is wrong with it
}

func (m Misuse) String() string { return m.Call + ": " + m.What }

// MisuseError is what Shutdown reports.
type MisuseError struct{ Found []Misuse }

func (e *MisuseError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sim: %d misuses of the kernel", len(e.Found))
	for _, m := range e.Found {
		b.WriteString("; ")
		b.WriteString(m.String())
	}
	return b.String()
}

// maxMisuse bounds the record: a caller in a loop shall not fill the memory.
const maxMisuse = 100

// report writes one misuse down. The lock is held.
func (k *Kernel) report(rule Rule, call, format string, args ...any) {
	m := Misuse{rule, call, fmt.Sprintf(format, args...)}
	if t := k.sys.tracer; t != nil {
		t.begin(k.sys, k, "misuse").word(m.String()).end()
	}
	if len(k.misuse) == maxMisuse {
		return
	}
	k.misuse = append(k.misuse, m)
}

func (k *Kernel) afterShutdown(call string) { k.report(AfterShutdown, call, "after Shutdown") }

// Misuse is what the process has done wrong so far, the first hundred of it. Jobs
// never reaped and queues never closed are added by Shutdown.
func (k *Kernel) Misuse() []Misuse {
	k.sys.lock()
	defer k.sys.unlock()
	return slices.Clone(k.misuse)
}

// origin is what a job remembers of its submission, to tell misuse by.
type origin struct {
	call   string // the system call
	number uint64 // and its number in the process
	copied copied // the block
	summed bool   // sum is that of what a write is to write
	there  bool   // each piece of what a read is to fill begins in memory that is there
	sum    uint64

	transferring bool   // the bytes are being moved, or have been
	told         bool   // the change of its block was reported
	before       []byte // what was in a buffer that was scribbled over
}

// name tells a job and the call that submitted it. In stepped mode it is without
// addresses, which are the host's.
func (j *job) name() string {
	entry, block := "", ""
	if j.entry >= 0 {
		entry = fmt.Sprintf(" entry %d", j.entry)
	}
	if j.k.sys.stepped == nil {
		block = fmt.Sprintf(", block %#x", j.addr)
	}
	return fmt.Sprintf("%s #%d%s (job %d%s, fd %d, offset %d, %d bytes)",
		j.call, j.number, entry, j.seq, block, j.fd, j.offset, j.nbytes)
}

// copied is what a block had at submission and must have until the reap. The
// sigevent is left out: the kernel has its copy, and who wants no event any more
// may take it back in the block.
type copied struct {
	fd     int32
	offset int64
	buf    uintptr
	nbytes uintptr
	opcode aio.Opcode
}

func copyOf(cb *aio.ControlBlock) copied {
	return copied{cb.Fd, cb.Offset, cb.Buf, cb.Nbytes, cb.Opcode}
}

// blockState is how a block is found.
type blockState uint8

const (
	intact    blockState = iota
	overwrote            // its words are not the kernel's any more
	prepared             // it is not what was submitted
	gone                 // it is not there
)

// look compares a block with what was submitted.
func (j *job) look() (state blockState) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if faulted(recover()) {
			state = gone
		}
	}()
	switch cb := j.cb; {
	case copyOf(cb) != j.copied:
		return prepared
	case cb.ErrorWord() != aio.EINPROGRESS || cb.StatusWord() != -1:
		return overwrote
	}
	return intact
}

// inspect reports what has become of a job's block, once.
func (j *job) inspect() (mapped bool) {
	state := j.look()
	if state == gone {
		j.k.report(FreedEarly, j.name(), "its block was given back while the job was in flight")
		return false
	}
	if j.told {
		return true
	}
	switch state {
	case overwrote:
		j.k.report(BlockChanged, j.name(), "the words of its block were overwritten while the job was in flight")
	case prepared:
		j.k.report(BlockChanged, j.name(), "its block was changed, or prepared anew, while the job was in flight")
	}
	j.told = state != intact
	return true
}

// mapped reports whether a block is there.
func mapped(cb *aio.ControlBlock) (ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		ok = !faulted(recover())
	}()
	_ = cb.Fd + int32(cb.Sigevent.KeventFlags)
	return true
}

// eachBuffer calls f for every piece of a job's memory.
func (j *job) eachBuffer(f func([]byte)) {
	if j.op&opVectored == 0 {
		f(view[byte](j.buf, int(j.nbytes)))
		return
	}
	for i := range j.iov {
		f(view[byte](j.iov[i].Base, int(j.iov[i].Len)))
	}
}

// maxSummed is how much of a write is watched.
const maxSummed = 16 << 20

var sumSeed = maphash.MakeSeed()

// checksum sums what a write is to write; false when it is not all there.
func (j *job) checksum() (sum uint64, ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if faulted(recover()) {
			sum, ok = 0, false
		}
	}()
	if j.op&opVectored == 0 {
		return maphash.Bytes(sumSeed, view[byte](j.buf, int(min(j.nbytes, maxSummed)))), true
	}
	left := uintptr(maxSummed)
	for i := range j.iov {
		n := min(j.iov[i].Len, left)
		left -= n
		sum = sum*31 ^ maphash.Bytes(sumSeed, view[byte](j.iov[i].Base, int(n)))
	}
	return sum, true
}

// begins reports whether the first byte of each piece is there. The rest is not asked
// for: a read may name more memory than there is, if the file is short.
func (j *job) begins() (ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		ok = !faulted(recover())
	}()
	if j.op&opVectored == 0 {
		maphash.Bytes(sumSeed, view[byte](j.buf, int(min(j.nbytes, 1))))
		return
	}
	for i := range j.iov {
		maphash.Bytes(sumSeed, view[byte](j.iov[i].Base, int(min(j.iov[i].Len, 1))))
	}
	return
}

// read reports whether the job fills its buffer.
func (j *job) read() bool { return !j.write() && !j.sync() && !j.mlock() }

// crc is a checksum that is the same on every host.
func (j *job) crc() (sum uint32) {
	if j.sync() || j.mlock() || j.badAddr || j.nbytes > maxScribble {
		return 0
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if faulted(recover()) {
			sum = 0
		}
	}()
	j.eachBuffer(func(p []byte) { sum = crc32.Update(sum, crc32.IEEETable, p) })
	return sum
}

// remember is the begin of the watch over a job, at its submission.
func (j *job) remember() {
	j.copied = copyOf(j.cb)
	if j.write() && !j.badAddr {
		j.sum, j.summed = j.checksum()
	}
	j.there = j.read() && !j.badAddr && j.begins()
}

// verify looks after a job when its bytes are moved. The lock is held.
func (j *job) verify() {
	j.transferring = true
	j.unscribble()
	if j.summed {
		switch sum, ok := j.checksum(); {
		case !ok:
			j.k.report(FreedEarly, j.name(), "its buffer was given back while the job was in flight")
		case sum != j.sum:
			j.k.report(BufferChanged, j.name(), "its buffer was changed after the submission and before the transfer")
		}
	}
	if j.there && !j.begins() {
		j.k.report(FreedEarly, j.name(), "its buffer was given back while the job was in flight")
	}
	if j.k.sys.stepped != nil {
		// In threaded mode the look would race with him who changes the block.
		j.inspect()
	}
}

// Shutdown is the exit of the process: it cancels what no daemon has begun,
// waits for the rest however long that takes (a job held by a closed [Gate]
// holds it up, as a stuck read holds up an exit), sends no notification, frees
// everything and returns when no daemon works for it. Callers asleep in Kevent
// or LIO_WAIT get EBADF, for they cannot vanish as threads do. In stepped mode it
// makes the steps that it needs, and when there are none left it reports what is
// [Stuck] and leaves it; called again it goes on.
//
// The error, a [*MisuseError], names jobs that were finished and never reaped,
// jobs that were not even waited for, queues never closed, and what
// [Kernel.Misuse] had before.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_proc_rundown.
func (k *Kernel) Shutdown() error {
	s := k.sys
	s.lock()
	if k.dead && k.unfinished.n == 0 {
		s.unlock()
		return nil
	}
	if !k.dead {
		for e := k.done.head; e != nil; e = e.next {
			k.report(NeverReaped, e.v.name(), "finished and never reaped")
		}
		for e := k.unfinished.head; e != nil; e = e.next {
			k.report(NeverReaped, e.v.name(), "in flight at Shutdown")
		}
	}
	k.dead = true
	fds, ended := k.rundown()
	numbers := make([]int, 0, len(k.kqueues))
	for fd := range k.kqueues {
		numbers = append(numbers, fd)
	}
	slices.Sort(numbers)
	for _, fd := range numbers {
		kq := k.kqueues[fd]
		k.report(KqueueLeft, fmt.Sprintf("kqueue %d", fd), "never closed, with %d knotes", kq.notes.n)
	}
	fds = append(fds, k.closeKqueues()...)
	if ended {
		k.closeTable()
	}
	// Daemons end themselves when nothing is queued. Those of a shared system
	// may be busy for others.
	for s.stepped == nil && (s.daemons > 0 && s.runq.n == 0 || s.watches.count == 0 && s.watchers > 0) {
		s.waitQuiet()
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, "exit").end()
	}
	found := slices.Clone(k.misuse)
	s.unlock()
	for _, fd := range fds {
		drop(fd)
	}
	if len(found) > 0 {
		return &MisuseError{found}
	}
	return nil
}

// waitQuiet waits for news of daemons. Whoever was chosen to be woken must not
// wait for that, so the lock is given up the usual way first.
func (s *System) waitQuiet() {
	if s.woken != nil {
		s.unlock()
		s.lock()
		return
	}
	s.quiet.Wait()
}

// Quiesce waits until no daemon runs: everything that may run has finished. It
// returns false when that takes longer than limit, as it does when a job is
// held active. In stepped mode it makes steps until no job runs or can.
func (k *Kernel) Quiesce(limit time.Duration) bool {
	s := k.sys
	if s.stepped != nil {
		return s.quiesceStepped(limit)
	}
	late := false
	t := time.AfterFunc(limit, func() {
		s.lock()
		late = true
		s.quiet.Broadcast()
		s.unlock()
	})
	defer t.Stop()
	s.lock()
	defer s.unlock()
	for s.daemons+s.servers > 0 && !late {
		s.waitQuiet()
	}
	return s.daemons+s.servers == 0
}

// quiesceStepped is Quiesce on the virtual clock.
func (s *System) quiesceStepped(limit time.Duration) bool {
	s.lock()
	defer s.unlock()
	p := s.stepped
	until := p.now + limit
	for (p.running.n+s.servers > 0 || s.runnable() != nil) && s.step(until) {
	}
	return p.running.n == 0
}
