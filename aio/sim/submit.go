//go:build unix

package sim

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// The kernel's own opcodes of aio_fsync, and the bits of an opcode.
// Source: FreeBSD sys/sys/aio.h.
const (
	opSync     aio.Opcode = 0x08
	opDataSync aio.Opcode = 0x18
	opMlock    aio.Opcode = 0x20 // of aio_mlock

	opVectored aio.Opcode = 0x04 // bit: Buf is an array of Iovec
	opFoffset  aio.Opcode = 0x40 // bit: use and move the file's own offset (14.1)
)

// maxIO is IOSIZE_MAX, the most bytes of one job.
// Source: FreeBSD sys/sys/uio.h and sys/kern/sys_generic.c, debug.iosize_max_clamp.
func (s *System) maxIO() uintptr {
	if s.kernel.clamp {
		return math.MaxInt32
	}
	return ^uintptr(0) >> 1
}

// minPointer is the least address that Go lets a pointer have. What is below is
// a bad address, and is never made a pointer.
const minPointer = 4096

type jobState uint8

const (
	queued   jobState = iota // on the run queue
	syncing                  // on syncq: a sync that waits for earlier jobs
	active                   // a daemon has it
	onSocket                 // on its socket's queue
	endless                  // nobody has it
	finished                 // on done
)

// job is struct kaiocb: one submission as the kernel copied it. The block in
// user memory is not looked at again; its address is the name of the job.
type job struct {
	request
	list   seat[job]   // in Kernel.unfinished, then Kernel.done
	run    seat[job]   // in System.runq or Kernel.syncq
	byAddr link[job]   // in Kernel.byAddr
	iov    []aio.Iovec // the vector, copied; the array stays with the job
	next   *job        // in System.freeJobs
}

// request is the part of a job that starts from zero each time.
type request struct {
	k       *Kernel
	addr    uintptr           // of cb
	cb      *aio.ControlBlock // only held: see buf
	fd      int32
	entry   int        // index in its list, or -1
	op      aio.Opcode // without the foffset bit
	foffset bool
	offset  int64
	// buf is the data of a plain job. The caller keeps its buffers until the
	// reap anyway; held here as a pointer, the collector sees it even when the
	// block lies outside Go's heap. cb is held for another reason: what a struct
	// on the heap points to cannot lie on a stack, which moves, and the address
	// is the job's name.
	buf     unsafe.Pointer
	nbytes  uintptr // of buf, or of all of iov
	badAddr bool    // buf is no address: the transfer fails with EFAULT
	udata   uintptr

	file *file
	note *knote // the EVFILT_AIO knote that hangs on this job
	lio  *lio

	seq       uint64    // order of submission in the system
	pending   int       // of a sync: earlier jobs of the file not finished
	checkSync bool      // a sync counts on this job (KAIOCB_CHECKSYNC)
	cancelled bool      // Cancel came too late (KAIOCB_CANCELLED)
	marked    uint32    // cancelled, for faults: atomic, as daemons read it without the lock
	gate      *Gate     // held on its queue until it opens
	begun     bool      // a job on a socket was tried
	after     aio.Errno // of a job on a socket: what goes wrong when its bytes are moved
	direct    bool      // a disk's, not a daemon's
	moved     uintptr
	signal    int32 // to be sent at the end, or 0
	state     jobState
	status    int
	errno     aio.Errno
	doneSeq   uint64 // order of completion
	origin           // what submitted it, to tell misuse by

	// In stepped mode, while active.
	stage   stage
	daemon  bool          // a daemon has it
	hurried bool          // nothing else happens until it ends
	until   time.Duration // when it can go on
	held    *Gate         // nil, or what it stands behind
	effect  Effect        // of Start
}

func (j *job) mlock() bool { return j.op == opMlock }
func (j *job) sync() bool  { return j.op&opSync != 0 }
func (j *job) write() bool { return j.op&aio.OpWrite != 0 && !j.sync() }

// newJob takes a job off the free list.
func (s *System) newJob() *job {
	j := s.freeJobs
	if j == nil {
		j = new(job)
		j.list.v, j.run.v, j.byAddr.v = j, j, j
		return j
	}
	s.freeJobs, j.next = j.next, nil
	return j
}

// dropJob clears a job and puts it on the free list.
func (s *System) dropJob(j *job) {
	clear(j.iov) // its pointers would keep buffers alive
	j.iov = j.iov[:0]
	j.request = request{}
	j.next, s.freeJobs = s.freeJobs, j
}

// submit is the whole of aio_read(2) and its kin.
func (k *Kernel) submit(name string, cb *aio.ControlBlock, op aio.Opcode) aio.Errno {
	c := call{k: k, name: name}
	k.sys.lock()
	k.calls++
	c.number = k.calls
	if op&opVectored != 0 && k.feat.noVectors {
		k.report(UnknownCall, c.String(), "not a system call of this version: SIGSYS, which kills the process")
		k.sys.unlock()
		return aio.ENOSYS
	}
	errno := c.queue(cb, op, nil, -1)
	fds := c.end()
	k.sys.unlock()
	fds.close()
	return errno
}

// queue is one entry's way into the kernel, with the words in user memory.
// list and entry are nil and -1 for a call of its own; op is OpNop in a list,
// where the block says what it wants. The lock is held, and given up meanwhile
// where the host is asked.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_aqueue.
func (c *call) queue(cb *aio.ControlBlock, op aio.Opcode, list *lio, entry int) aio.Errno {
	k := c.k
	if k.dead {
		k.afterShutdown(c.String())
		if cb != nil {
			cb.StoreWords(-1, aio.EBADF)
		}
		return aio.EBADF
	}
	k.use()
	if cb == nil || !mapped(cb) {
		if errno := k.full(); errno != 0 {
			return errno
		}
		return aio.EFAULT
	}
	cb.StoreWords(-1, 0)
	errno := c.check(cb, op, list, entry)
	if errno != 0 {
		k.stats.Refused++
		cb.StoreWords(-1, errno)
		if t := k.sys.tracer; t != nil {
			t.begin(k.sys, k, c.name).num("entry", int64(entry)).num("fd", int64(cb.Fd)).
				num("off", cb.Offset).num("n", int64(cb.Nbytes)).result(-1, errno).end()
		}
	}
	return errno
}

// use sets the process up for AIO. In stepped mode the first daemons are made
// then, inside the call.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_init_aioinfo.
func (k *Kernel) use() {
	if k.used {
		return
	}
	k.used = true
	s := k.sys
	if s.stepped == nil {
		s.kept = max(s.kept, min(s.limits.TargetProcs, s.limits.MaxProcs))
		return
	}
	for s.daemons < min(s.limits.TargetProcs, s.limits.MaxProcs) {
		s.daemons++
		s.release()
	}
}

// String names the call, to tell misuse by.
func (c *call) String() string { return fmt.Sprintf("%s #%d", c.name, c.number) }

// full answers EAGAIN when a cap is reached.
func (k *Kernel) full() aio.Errno {
	s := k.sys
	if s.queueCount >= s.limits.MaxQueue || k.count >= s.limits.MaxQueuePerProc {
		return aio.EAGAIN
	}
	return 0
}

// check makes a job of the block, or answers why not. Its steps stand in the
// kernel's order, for a block with two faults must be refused for the first.
func (c *call) check(cb *aio.ControlBlock, op aio.Opcode, list *lio, entry int) aio.Errno {
	k := c.k
	s := k.sys

	// Limits, before anything else: a full queue refuses even garbage.
	if errno := k.full(); errno != 0 {
		return errno
	}
	effect := k.askHere(func() Op { return opOfBlock(cb, op, entry) })
	if effect.Errno != 0 {
		return effect.Errno
	}

	// The copy.
	j := s.newJob()
	j.k, j.cb, j.addr = k, cb, uintptr(unsafe.Pointer(cb))
	j.fd, j.offset, j.op, j.entry = cb.Fd, cb.Offset, op, entry
	j.udata = cb.Sigevent.Value
	j.nbytes = cb.Nbytes
	j.gate = effect.queued
	j.call, j.number = c.name, c.number
	st, errno := c.checkJob(cb, j, op == aio.OpNop)
	if errno != 0 || j.op == aio.OpNop {
		// A NOP ends here: nothing queued, no event, no slot.
		s.dropJob(j)
		return errno
	}

	// The backend answers last, but it is known now, and a job that it takes
	// gets its own reference to the open file before anything shows: close(2)
	// of the number changes nothing for it any more.
	toBackend := k.askHere(func() Op {
		op := opOfJob(j, Queue)
		op.Type = st.Type
		return op
	})
	st.safe = st.safe && !toBackend.unsafe
	backend := c.backend(j, &st)
	if backend == 0 {
		backend = toBackend.Errno
	}
	if backend == 0 && !j.mlock() {
		if j.file, errno = c.reference(int(j.fd)); errno != 0 {
			s.dropJob(j)
			return errno
		}
	}
	if cb.Sigevent.Notify == aio.NotifyKevent {
		if errno = c.registerJob(cb, j); errno != 0 {
			c.refuse(j)
			return errno
		}
	}
	cb.StoreWords(-1, aio.EINPROGRESS)
	if k.feat.kernelInfo {
		storeInfo(cb, s.seq+1)
	}
	if backend == 0 && j.direct {
		backend = k.claim(j)
	}
	if backend != 0 {
		c.refuse(j)
		return backend
	}
	j.signal = sends(&cb.Sigevent)
	k.accept(j, list)
	seq := j.seq
	about := opOfJob(j, Submitted)
	if effect.early && j.state == queued {
		s.runHere(j)
	}
	// With a Do another thread may have reaped it by now.
	if effect = k.askHere(func() Op { return about }); j.seq == seq {
		s.scribble(j, &effect)
	}
	return 0
}

// storeInfo is the third of the kernel's words, just before the sigevent, where 13
// leaves the job's number. Programs must not depend on it.
func storeInfo(cb *aio.ControlBlock, seq uint64) {
	const word = unsafe.Sizeof(uintptr(0))
	// Safe: on every processor the word before the sigevent is this one, padding of
	// the block itself (layout_test.go).
	p := (*uintptr)(unsafe.Add(unsafe.Pointer(&cb.Sigevent), -int(word)))
	atomic.StoreUintptr(p, uintptr(seq))
}

// checkJob is everything up to the notification. inList is set when the block's
// own opcode counts.
func (c *call) checkJob(cb *aio.ControlBlock, j *job, inList bool) (hostStat, aio.Errno) {
	k := c.k
	if inList {
		j.op = cb.Opcode
	}
	// Of an opcode that is refused below the kernel copies an array too, if the
	// bit says there is one. Here that would be reading memory as pointers that
	// may hold anything.
	vectored := false
	switch j.op &^ c.listBits(inList) {
	case aio.OpReadv, aio.OpWritev:
		vectored = !inList || k.feat.vectoredLists
	}
	// cb.Buf is an address in a block that may lie outside Go's heap, so it is
	// declared an integer. It was a pointer when the caller stored it, and the
	// caller keeps the buffer alive and in place until the reap; reading the
	// field as what it was makes it one again.
	buf := *(*unsafe.Pointer)(unsafe.Pointer(&cb.Buf))
	if cb.Buf < minPointer {
		buf, j.badAddr = nil, true
	}
	if vectored {
		if errno := j.copyVector(buf, cb.Nbytes, c.k.sys.maxIO()); errno != 0 {
			return hostStat{}, errno
		}
	} else {
		j.buf = buf
	}
	if cb.Nbytes > c.k.sys.maxIO() {
		return hostStat{}, aio.EINVAL
	}

	ev := &cb.Sigevent
	switch ev.Notify {
	case aio.NotifyNone, aio.NotifyKevent:
	case aio.NotifySignal, notifyThreadID:
		if ev.Kqueue <= 0 || ev.Kqueue > maxSignal {
			return hostStat{}, aio.EINVAL
		}
	default:
		return hostStat{}, aio.EINVAL
	}

	if inList {
		switch j.op &^ c.listBits(true) {
		case aio.OpNop, aio.OpRead, aio.OpWrite:
		case aio.OpReadv, aio.OpWritev:
			if !k.feat.vectoredLists {
				return hostStat{}, aio.EINVAL
			}
		default:
			return hostStat{}, aio.EINVAL
		}
		j.foffset = j.op&opFoffset != 0
		j.op &^= opFoffset
	}

	if j.mlock() {
		return hostStat{safe: true}, 0 // there is no file to look at
	}
	st, errno := c.lookup(int(j.fd))
	if errno != 0 {
		return hostStat{}, errno
	}
	switch {
	case j.sync():
		if !st.vnode {
			return hostStat{}, aio.EINVAL
		}
		if st.path {
			return hostStat{}, aio.EBADF
		}
	case j.op == aio.OpNop:
		if st.path {
			return hostStat{}, aio.EBADF
		}
	default:
		if j.write() && !st.writable || !j.write() && !st.readable {
			return hostStat{}, aio.EBADF
		}
		if j.offset < 0 && !st.charDevice {
			return hostStat{}, aio.EINVAL
		}
	}
	return st, 0
}

// listBits are the bits that a list's opcodes may carry.
func (c *call) listBits(inList bool) aio.Opcode {
	if inList && c.k.feat.foffset {
		return opFoffset
	}
	return 0
}

// The notifications of struct sigevent that aio does not name, and the highest
// signal. Source: FreeBSD sys/sys/signal.h.
const (
	notifyThreadID aio.Notify = 4
	maxSignal      int32      = 128
)

// copyVector copies the array of n iovecs, which the caller may then reuse.
// Source: FreeBSD sys/kern/subr_uio.c, copyinuio.
func (j *job) copyVector(array unsafe.Pointer, n, maxIO uintptr) aio.Errno {
	if n > aio.MaxIovecs {
		return aio.EINVAL
	}
	if n > 0 && (array == nil || uintptr(array)%unsafe.Alignof(aio.Iovec{}) != 0) {
		return aio.EFAULT // an array that is not aligned would do for the kernel, not for Go
	}
	j.badAddr = false
	j.nbytes = 0
	if n == 0 {
		return 0
	}
	j.iov = append(j.iov[:0], view[aio.Iovec](array, int(n))...)
	for i := range j.iov {
		v := &j.iov[i]
		if v.Len > maxIO-j.nbytes {
			return aio.EINVAL
		}
		j.nbytes += v.Len
		if uintptr(v.Base) < minPointer {
			v.Base = nil
			j.badAddr = j.badAddr || v.Len > 0
		}
	}
	return 0
}

// view is a slice over memory that the caller has named by address and length.
// unsafe.Slice would do, did it not panic on lengths that a kernel accepts: a
// read of 2 GiB into a small buffer is sound as long as the file is short.
func view[T any](p unsafe.Pointer, n int) []T {
	h := struct {
		p        unsafe.Pointer
		len, cap int
	}{p, n, n}
	return *(*[]T)(unsafe.Pointer(&h))
}

// registerJob makes the EVFILT_AIO knote, before the job is queued.
func (c *call) registerJob(cb *aio.ControlBlock, j *job) aio.Errno {
	ev := &cb.Sigevent
	if ev.KeventFlags&^(aio.EvOneshot|aio.EvClear|aio.EvDispatch) != 0 {
		return aio.EINVAL
	}
	kq, errno := c.k.kqueue(int(ev.Kqueue))
	if errno != 0 {
		return errno
	}
	kev := aio.Kevent{
		Ident:  j.addr,
		Filter: aio.FilterAIO,
		Flags:  aio.EvAdd | aio.EvEnable | ev.KeventFlags,
		Udata:  ev.Value,
	}
	return kq.register(&kev, j, nil, c)
}

// refuse undoes what a job got before its submission failed: no event will
// come of it.
func (c *call) refuse(j *job) {
	if j.note != nil {
		j.note.drop()
	}
	if j.file != nil {
		c.fds.add(j.file.release())
	}
	c.k.sys.dropJob(j)
}

// accept counts the job and gives it to the daemons.
func (k *Kernel) accept(j *job, list *lio) {
	s := k.sys
	s.seq++
	j.seq = s.seq
	if l := k.byAddr.first(uint64(j.addr)); l != nil {
		k.report(Resubmitted, j.name(), "its block was submitted while in flight, by %s", l.v.name())
		j.told = true // from now on no job can have the block as it was
		for ; l != nil; l = l.again() {
			l.v.told = true
		}
	}
	j.remember()
	k.byAddr.add(&j.byAddr, uint64(j.addr))
	k.unfinished.push(&j.list)
	k.count++
	s.queueCount++
	k.stats.Accepted++
	if list != nil {
		j.lio = list
		list.count++
	}
	if t := s.tracer; t != nil {
		t.begin(s, k, j.call).whole(j).result(0, 0)
		if j.summed {
			t.sum(j)
		}
		t.end()
	}
	if j.sync() {
		// Every unfinished transfer of this open file is an earlier one.
		j.pending = j.file.transfers
		if j.pending > 0 {
			for e := k.unfinished.head; e != nil; e = e.next {
				if e.v.file == j.file && !e.v.sync() {
					e.v.checkSync = true
				}
			}
			j.state = syncing
			k.syncq.push(&j.run)
			return
		}
	} else if !j.mlock() {
		j.file.transfers++
	}
	s.start(j)
}

// free reaps a finished job: its slot, its place in its list, its knote, its
// file. What is returned is a descriptor to close when the lock is free, or -1.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_free_entry.
func (k *Kernel) free(j *job) int {
	s := k.sys
	k.count--
	s.queueCount--
	k.done.remove(&j.list)
	k.byAddr.remove(&j.byAddr)
	if l := j.lio; l != nil {
		l.count--
		l.finished--
		if l.count == 0 {
			s.dropList(l)
		}
	}
	if j.note != nil {
		j.note.drop()
	}
	fd := -1
	if j.file != nil {
		fd = j.file.release()
	}
	s.dropJob(j)
	return fd
}
