//go:build unix

package aiotest

import (
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// The checks of one submission, in the kernel's order: a block with two faults
// is refused for the one that is looked at first.

const aqueue = "FreeBSD sys/kern/vfs_aio.c, aio_aqueue"

// refusal is a submission that must fail.
type refusal struct {
	name  string
	make  func(r *rig) *job
	errno func(r *rig) aio.Errno
}

func always(errno aio.Errno) func(*rig) aio.Errno { return func(*rig) aio.Errno { return errno } }

// kqueueOf is a read of fd that wants its event on queue kq.
func kqueueOf(r *rig, fd, kq int, flags uint16) *job {
	j := r.notify(r.read(fd, 0, 8), flags, 1)
	j.cb.Sigevent.Kqueue = int32(kq)
	return j
}

// notifyBy is a read of fd with another kind of notification.
func notifyBy(r *rig, fd int, kind aio.Notify, signal int32) *job {
	j := r.read(fd, 0, 8)
	j.cb.Sigevent = aio.Sigevent{Notify: kind, Kqueue: signal}
	return j
}

// length is a job of this length, longer than its buffer.
func length(j *job, n uintptr) *job {
	j.cb.Nbytes = n
	return j
}

// noArray is a vectored job whose array of iovecs is not there.
func noArray(j *job) *job {
	j.cb.Buf = 0
	return j
}

var refusals = []refusal{
	{"descriptor that is not open", func(r *rig) *job { return r.read(noFd, 0, 8) }, always(aio.EBADF)},
	{"descriptor -1", func(r *rig) *job { return r.write(-1, 0, "x") }, always(aio.EBADF)},
	{"write on a read-only descriptor", func(r *rig) *job { return r.write(r.readOnly(), 0, "x") }, always(aio.EBADF)},
	{"read on a write-only descriptor", func(r *rig) *job { return r.read(r.writeOnly(), 0, 1) }, always(aio.EBADF)},
	{"writev on a read-only descriptor", func(r *rig) *job { return r.writev(r.readOnly(), 0, "x") }, always(aio.EBADF)},
	{"readv on a write-only descriptor", func(r *rig) *job { return r.readv(r.writeOnly(), 0, 1) }, always(aio.EBADF)},

	{"read at a negative offset", func(r *rig) *job { return r.read(r.file(8), -1, 8) }, always(aio.EINVAL)},
	{"write at a negative offset", func(r *rig) *job { return r.write(r.file(8), math.MinInt64, "x") }, always(aio.EINVAL)},
	{"readv at a negative offset", func(r *rig) *job { return r.readv(r.file(8), -1, 8) }, always(aio.EINVAL)},
	{"negative offset on a pipe", func(r *rig) *job { p, _ := r.pipe(); return r.read(p, -1, 8) }, always(aio.EINVAL)},
	{"negative offset on a socket", func(r *rig) *job { s, _ := r.sockets(); return r.read(s, -1, 8) }, always(aio.EINVAL)},
	{"negative offset on a device is let pass", func(r *rig) *job { return r.read(r.null(), -1, 8) }, always(aio.EOPNOTSUPP)},
	{"descriptor before offset", func(r *rig) *job { return r.read(noFd, -1, 8) }, always(aio.EBADF)},

	{"length over IOSIZE_MAX", func(r *rig) *job { return length(r.read(r.file(8), 0, 8), math.MaxUint) }, always(aio.EINVAL)},
	{"length before descriptor", func(r *rig) *job { return length(r.read(noFd, 0, 8), math.MaxUint) }, always(aio.EINVAL)},

	{"SIGEV_THREAD", func(r *rig) *job { return notifyBy(r, r.file(8), 2, 0) }, always(aio.EINVAL)},
	{"unknown notification", func(r *rig) *job { return notifyBy(r, r.file(8), 9, 0) }, always(aio.EINVAL)},
	{"signal 0", func(r *rig) *job { return notifyBy(r, r.file(8), aio.NotifySignal, 0) }, always(aio.EINVAL)},
	{"signal 129", func(r *rig) *job { return notifyBy(r, r.file(8), aio.NotifySignal, 129) }, always(aio.EINVAL)},
	{"signal 0 for one thread", func(r *rig) *job { return notifyBy(r, r.file(8), 4, 0) }, always(aio.EINVAL)},
	{"notification before descriptor", func(r *rig) *job { return notifyBy(r, noFd, 9, 0) }, always(aio.EINVAL)},

	{"queue that is not open", func(r *rig) *job { return kqueueOf(r, r.file(8), noFd, 0) }, always(aio.EBADF)},
	{"queue that is a file", func(r *rig) *job { fd := r.file(8); return kqueueOf(r, fd, fd, 0) }, (*rig).notKqueue},
	{"EV_ADD in the event's flags", func(r *rig) *job { return kqueueOf(r, r.file(8), r.kq, aio.EvAdd) }, always(aio.EINVAL)},
	{"EV_ENABLE in the event's flags", func(r *rig) *job { return kqueueOf(r, r.file(8), r.kq, aio.EvOneshot|aio.EvEnable) }, always(aio.EINVAL)},
	{"EV_RECEIPT in the event's flags", func(r *rig) *job { return kqueueOf(r, r.file(8), r.kq, aio.EvReceipt) }, always(aio.EINVAL)},
	{"event's flags before queue", func(r *rig) *job { return kqueueOf(r, r.file(8), noFd, aio.EvAdd) }, always(aio.EINVAL)},
	{"descriptor before event's flags", func(r *rig) *job { return kqueueOf(r, noFd, r.kq, aio.EvAdd) }, always(aio.EBADF)},
	{"event's flags before type of file", func(r *rig) *job { return kqueueOf(r, r.null(), r.kq, aio.EvAdd) }, always(aio.EINVAL)},
	{"queue before type of file", func(r *rig) *job { return kqueueOf(r, r.null(), noFd, 0) }, always(aio.EBADF)},
	{"type of file, with an event asked for", func(r *rig) *job { return r.notify(r.read(r.null(), 0, 8), 0, 1) }, always(aio.EOPNOTSUPP)},

	{"1025 iovecs", func(r *rig) *job { return r.readv(r.file(8), 0, make([]int, aio.MaxIovecs+1)...) }, always(aio.EINVAL)},
	{"iovecs over IOSIZE_MAX", func(r *rig) *job {
		j := r.readv(r.file(8), 0, 1, 1)
		j.iov[0].Len = math.MaxInt
		return j
	}, always(aio.EINVAL)},
	{"array of iovecs not there", func(r *rig) *job { return noArray(r.writev(r.file(8), 0, "x")) }, always(aio.EFAULT)},
	{"iovecs before descriptor", func(r *rig) *job { return noArray(r.readv(noFd, 0, 8)) }, always(aio.EFAULT)},
	{"iovecs before notification", func(r *rig) *job {
		j := noArray(r.readv(r.file(8), 0, 8))
		j.cb.Sigevent.Notify = 9
		return j
	}, always(aio.EFAULT)},

	{"fsync of a descriptor that is not open", func(r *rig) *job { return r.fsync(noFd) }, always(aio.EBADF)},
	{"fsync of a pipe", func(r *rig) *job { _, p := r.pipe(); return r.fsync(p) }, always(aio.EINVAL)},
	{"fsync of a socket", func(r *rig) *job { s, _ := r.sockets(); return r.fsync(s) }, always(aio.EINVAL)},
	{"fsync of a queue", func(r *rig) *job { return r.fsync(r.kq) }, always(aio.EINVAL)},
	{"fsync of a device", func(r *rig) *job { return r.fsync(r.null()) }, always(aio.EOPNOTSUPP)},
	{"notification before vnode of a sync", func(r *rig) *job {
		_, p := r.pipe()
		return r.notify(r.fsync(p), aio.EvAdd, 1)
	}, always(aio.EINVAL)},
}

func (r *rig) readOnly() int {
	name, _ := r.named(8)
	return r.open(name, unix.O_RDONLY)
}

func (r *rig) writeOnly() int {
	name, _ := r.named(8)
	return r.open(name, unix.O_WRONLY)
}

func (r *rig) null() int { return r.open(os.DevNull, unix.O_RDWR) }

// submitCases turns the refusals into cases, and adds what is no refusal.
func submitCases() []testCase {
	cases := make([]testCase, 0, len(refusals)+8)
	for _, c := range refusals {
		cases = append(cases, testCase{
			name:   "submit/" + c.name,
			source: aqueue,
			run:    func(r *rig) { r.refused(c.make(r), c.errno(r)) },
		})
	}
	return append(cases,
		testCase{name: "submit/no block", source: aqueue, run: func(r *rig) {
			r.want("aio_read(NULL)", r.k.Read(nil), aio.EFAULT)
		}},
		testCase{name: "submit/sync of what is no sync leaves the block alone", source: "FreeBSD sys/kern/vfs_aio.c, kern_aio_fsync", run: func(r *rig) {
			j := r.fsync(r.file(8))
			r.want("aio_fsync(7)", r.k.Fsync(7, j.cb), aio.EINVAL)
			if j.cb.Touched() {
				r.Error("the kernel has written to the block")
			}
		}},
		testCase{name: "submit/a call of its own overrules the block's opcode", source: aqueue, run: func(r *rig) {
			j := r.read(r.file(8), 0, 8)
			j.cb.Opcode = aio.OpWrite
			r.start(j)
			r.reap(j, 8, 0)
			r.wantPattern(j.buf, 0)
			if j.cb.Opcode != aio.OpWrite {
				r.Errorf("the kernel has changed the opcode to %d", j.cb.Opcode)
			}
		}},
		testCase{name: "submit/garbage for an opcode does no harm to a call of its own", source: aqueue, run: func(r *rig) {
			j := r.write(r.file(0), 0, "abc")
			j.cb.Opcode = 0x7777
			r.start(j)
			r.reap(j, 3, 0)
		}},
		testCase{name: "submit/the priority is not looked at", source: aqueue, run: func(r *rig) {
			j := r.read(r.file(8), 0, 8)
			j.cb.Reqprio = math.MinInt32
			r.start(j)
			r.reap(j, 8, 0)
		}},
		testCase{name: "submit/signal notification is accepted", source: aqueue, run: func(r *rig) {
			j := notifyBy(r, r.file(8), aio.NotifySignal, int32(unix.SIGURG)) // Go's runtime minds it least
			r.start(j)
			r.reap(j, 8, 0)
		}},
		testCase{name: "submit/a read-only descriptor may be synced", source: aqueue, run: func(r *rig) {
			j := r.fsync(r.readOnly())
			r.start(j)
			r.reap(j, 0, 0)
		}},
		testCase{name: "submit/the array of iovecs is copied", source: "FreeBSD sys/kern/subr_uio.c, copyinuio", run: func(r *rig) {
			s := r.slow()
			j := r.readv(s.fd, 0, 1)
			s.stall(j)
			r.start(j)
			j.iov[0] = aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(make([]byte, 1))), Len: 0}
			j.buf[0] = 0xff
			s.letGo()
			r.reap(j, 1, 0)
			if j.buf[0] == 0xff {
				r.Error("the byte is not in the first buffer")
			}
		}},
		testCase{name: "submit/the block is copied", source: aqueue, run: func(r *rig) {
			s := r.slow()
			j := s.read()
			r.start(j)
			j.cb.Fd, j.cb.Offset, j.cb.Buf, j.cb.Nbytes, j.cb.Opcode = noFd, -1, 0, math.MaxUint, 0x7777
			j.cb.Sigevent = aio.Sigevent{Notify: 9}
			s.letGo()
			r.reap(j, 1, 0)
		}},
	)
}
