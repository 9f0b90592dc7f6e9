package aio

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These tests meet the real kernel: go test with GOOS=freebsd, in a guest or on a
// FreeBSD machine. They prove the system calls and the layouts. The kernel's
// rules at large are the business of aio/aiotest.

// patience is how long a job may take before a test gives up on it.
const patience = 30 * time.Second

// rig is one kqueue, and a slab whose blocks are used once each. Whatever a test
// leaves in the kernel is reaped at its end.
type rig struct {
	*testing.T
	*FreeBSD
	kq   int
	slab *Slab
	used int
	keep [][]byte // the buffers, until the end
}

func newRig(t *testing.T, blocks int) *rig {
	t.Helper()
	k, err := NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	kq, errno := k.Kqueue()
	if errno != 0 {
		t.Fatalf("kqueue: %v", errno)
	}
	slab, err := NewSlab(blocks)
	if err != nil {
		t.Fatal(err)
	}
	for slab.Len() < blocks {
		if _, err := slab.Grow(); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{T: t, FreeBSD: k, kq: kq, slab: slab}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	for i := range r.used {
		cb := r.slab.Block(i)
		deadline := time.Now().Add(patience)
		for r.Error(cb) == EINPROGRESS && cb.ErrorWord() == EINPROGRESS {
			r.Cancel(int(cb.Fd), cb)
			if time.Now().After(deadline) {
				r.Errorf("block %d does not finish; it and its kqueue are left behind", i)
				return
			}
			time.Sleep(time.Millisecond)
		}
		r.Return(cb)
	}
	if errno := r.CloseKqueue(r.kq); errno != 0 {
		r.Errorf("close of the kqueue: %v", errno)
	}
	if err := r.slab.Release(); err != nil {
		r.Errorf("release of the slab: %v", err)
	}
	runtime.KeepAlive(r.keep)
}

// Error is the kernel's: testing.T has one too.
func (r *rig) Error(cb *ControlBlock) Errno { return r.FreeBSD.Error(cb) }

// prepare fills the next block for one transfer with a one-shot event.
func (r *rig) prepare(op Opcode, fd int, off int64, buf []byte) *ControlBlock {
	r.keep = append(r.keep, buf)
	return r.prepareAt(op, fd, off, unsafe.Pointer(unsafe.SliceData(buf)), len(buf))
}

func (r *rig) prepareVector(op Opcode, fd int, off int64, bufs ...[]byte) *ControlBlock {
	iovecs := make([]Iovec, len(bufs))
	for i, buf := range bufs {
		r.keep = append(r.keep, buf)
		iovecs[i] = Iovec{Base: unsafe.Pointer(unsafe.SliceData(buf)), Len: uintptr(len(buf))}
	}
	return r.prepareAt(op, fd, off, unsafe.Pointer(unsafe.SliceData(iovecs)), len(iovecs))
}

func (r *rig) prepareAt(op Opcode, fd int, off int64, p unsafe.Pointer, n int) *ControlBlock {
	i := r.used
	r.used++
	cb := r.slab.Block(i)
	cb.Prepare(op, fd, off, p, n, Sigevent{
		Notify:      NotifyKevent,
		Kqueue:      int32(r.kq),
		Value:       Token{uint32(i), generation(i)}.Udata(),
		KeventFlags: EvOneshot,
	})
	return cb
}

// generation is distinct for each block and has its high bits in use.
func generation(i int) uint32 { return math.MaxUint32 - uint32(i) }

func (r *rig) indexOf(cb *ControlBlock) int {
	i, ok := r.slab.Index(uintptr(unsafe.Pointer(cb)))
	if !ok {
		r.Fatal("not a block of the slab")
	}
	return i
}

// kevent fetches events, again after a signal, and fails on errors.
func (r *rig) kevent(changes, events []Kevent, timeout time.Duration) int {
	r.Helper()
	for {
		n, errno := r.Kevent(r.kq, changes, events, timeout)
		if errno == 0 {
			return n
		}
		if errno != EINTR {
			r.Fatalf("kevent: %v", errno)
		}
		changes = nil
	}
}

// wait fetches the events of exactly n jobs and answers the blocks' indices in
// the order they came. Each event is checked against its block.
func (r *rig) wait(n int) []int {
	r.Helper()
	var order []int
	seen := map[int]bool{}
	events := make([]Kevent, 32)
	for deadline := time.Now().Add(patience); len(order) < n; {
		got := r.kevent(nil, events[:min(len(events), n-len(order))], time.Second)
		for i := range events[:got] {
			ev := &events[i]
			token, ok := TokenOf(ev, r.slab)
			if !ok || token.Gen != generation(int(token.Slot)) {
				r.Fatalf("event %+v belongs to no block", *ev)
			}
			if seen[int(token.Slot)] {
				r.Fatalf("block %d has a second event: %+v", token.Slot, *ev)
			}
			if ev.Flags != EvEOF|EvOneshot || ev.Fflags != 0 || ev.Ext != [4]uint64{} {
				r.Errorf("event %+v: want flags %#x and nothing else", *ev, EvEOF|EvOneshot)
			}
			if errno := r.Error(r.slab.Block(int(token.Slot))); errno != Errno(ev.Data) {
				r.Errorf("block %d: the event says %d, aio_error says %d", token.Slot, ev.Data, int(errno))
			}
			seen[int(token.Slot)] = true
			order = append(order, int(token.Slot))
		}
		if time.Now().After(deadline) {
			r.Fatalf("%d of %d events after %v", len(order), n, patience)
		}
	}
	return order
}

// noEvent says that the queue is empty. It need not wait: a job whose end is
// known has posted what it will ever post.
func (r *rig) noEvent(when string) {
	r.Helper()
	events := make([]Kevent, 4)
	if n := r.kevent(nil, events, 0); n != 0 {
		r.Errorf("%s there is an event: %+v", when, events[:n])
	}
}

func (r *rig) want(what string, got, want Errno) {
	r.Helper()
	if got != want {
		r.Errorf("%s: %s, want %s", what, got.String(), want.String())
	}
}

func (r *rig) wantWords(when string, cb *ControlBlock, status int, errno Errno) {
	r.Helper()
	if cb.StatusWord() != status || cb.ErrorWord() != errno {
		r.Errorf("%s the words are %d and %s, want %d and %s", when,
			cb.StatusWord(), cb.ErrorWord().String(), status, errno.String())
	}
}

func (r *rig) reap(cb *ControlBlock, wantN int, wantErrno Errno) {
	r.Helper()
	if n, errno := r.Return(cb); n != wantN || errno != wantErrno {
		r.Errorf("aio_return of block %d: %d, %s, want %d, %s", r.indexOf(cb), n, errno.String(), wantN, wantErrno.String())
	}
}

// file is a file of n bytes, byte i of which is pattern(i).
func (r *rig) file(n int) *os.File {
	r.Helper()
	f, err := os.Create(filepath.Join(r.TempDir(), "file"))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { f.Close() })
	data := make([]byte, n)
	for i := range data {
		data[i] = pattern(i)
	}
	if _, err := f.Write(data); err != nil {
		r.Fatal(err)
	}
	return f
}

func pattern(i int) byte { return byte(i*7 + i>>8*13 + i>>16*29) }

// wantPattern says that buf holds what the file has at off.
func (r *rig) wantPattern(buf []byte, off int) {
	r.Helper()
	for i, b := range buf {
		if b != pattern(off+i) {
			r.Fatalf("byte %d, read at %d, is %#x, want %#x", off+i, off, b, pattern(off+i))
		}
	}
}

func (r *rig) openFd(name string, flags int) int {
	r.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Fatalf("open %s: %v", name, err)
	}
	r.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestOneshotWriteGivesOneEventAndOneResult(t *testing.T) {
	r := newRig(t, 1)
	f := r.file(0)
	data := bytes.Repeat([]byte("aioring!"), 512)
	cb := r.prepare(OpWrite, int(f.Fd()), 1<<32+5, data) // beyond 32 bits: the offset is whole
	r.want("aio_write", r.Write(cb), 0)
	r.wait(1)
	r.noEvent("after the one-shot event")
	r.wantWords("after the event", cb, -1, EINPROGRESS)
	r.want("aio_error after the event", r.Error(cb), 0)
	r.reap(cb, len(data), 0)
	r.wantWords("after aio_return", cb, len(data), 0)
	r.reap(cb, -1, EINVAL)
	r.noEvent("after aio_return")

	got := make([]byte, len(data))
	if _, err := f.ReadAt(got, 1<<32+5); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has other bytes (%v)", err)
	}
}

// Without a flag the event is there on every look until the job is reaped.
func TestPlainEventStaysUntilReaped(t *testing.T) {
	r := newRig(t, 1)
	cb := r.prepare(OpRead, int(r.file(100).Fd()), 0, make([]byte, 100))
	cb.Sigevent.KeventFlags = 0
	r.want("aio_read", r.Read(cb), 0)
	events := make([]Kevent, 4)
	for look := range 3 {
		if n := r.kevent(nil, events, patience); n != 1 || events[0].Flags != EvEOF {
			t.Fatalf("look %d: %+v, want one event with flags %#x", look, events[:n], EvEOF)
		}
	}
	r.reap(cb, 100, 0)
	r.noEvent("after aio_return")
	r.wantPattern(r.keep[0], 0)
}

func TestFailedJobSaysWhyTwice(t *testing.T) {
	r := newRig(t, 1)
	cb := r.prepare(OpRead, r.openFd(t.TempDir(), unix.O_RDONLY), 0, make([]byte, 512))
	r.want("aio_read of a directory", r.Read(cb), 0)
	r.wait(1)
	r.want("aio_error", r.Error(cb), EISDIR)
	r.wantWords("after the event", cb, -1, EINPROGRESS)
	r.reap(cb, -1, EISDIR)
	r.wantWords("after aio_return", cb, -1, EISDIR)
	r.reap(cb, -1, EINVAL)
}

func TestRefusedJobLeavesItsErrnoAndNoEvent(t *testing.T) {
	r := newRig(t, 8)
	f := r.file(100)
	readOnly := r.openFd(f.Name(), unix.O_RDONLY)
	buf := make([]byte, 100)
	for _, c := range []struct {
		what  string
		call  func(*ControlBlock) Errno
		cb    *ControlBlock
		errno Errno
	}{
		{"bad descriptor", r.Read, r.prepare(OpRead, -1, 0, buf), EBADF},
		{"closed descriptor", r.Read, r.prepare(OpRead, 9999, 0, buf), EBADF},
		{"write to a read-only descriptor", r.Write, r.prepare(OpWrite, readOnly, 0, buf), EBADF},
		{"negative offset", r.Read, r.prepare(OpRead, readOnly, -1, buf), EINVAL},
		{"null device", r.Read, r.prepare(OpRead, r.openFd(os.DevNull, unix.O_RDONLY), 0, buf), EOPNOTSUPP},
		{"sync of what is no sync", func(cb *ControlBlock) Errno { return r.Fsync(1, cb) }, r.prepare(OpNop, readOnly, 0, nil), EINVAL},
	} {
		if c.cb.Touched() {
			t.Errorf("%s: touched before the call", c.what)
		}
		r.want(c.what, c.call(c.cb), c.errno)
		r.reap(c.cb, -1, EINVAL)
		if c.what == "sync of what is no sync" {
			continue // refused before the kernel looks at the block
		}
		r.wantWords("after "+c.what, c.cb, -1, c.errno)
		r.want("aio_error after "+c.what, r.Error(c.cb), c.errno)
	}
	r.noEvent("after refusals only")
}

func TestListEntriesEachGiveAnEvent(t *testing.T) {
	r := newRig(t, 8)
	fd := int(r.file(8 * 1000).Fd())
	list := make([]*ControlBlock, 8)
	for i := range list {
		list[i] = r.prepare(OpRead, fd, int64(i*1000), make([]byte, 1000))
	}
	r.want("lio_listio", r.ListIO(ListNoWait, list, nil), 0)
	for _, cb := range list {
		r.wantWords("after lio_listio", cb, -1, EINPROGRESS)
	}
	r.wait(8)
	r.noEvent("after eight events")
	for i, cb := range list {
		r.reap(cb, 1000, 0)
		r.wantPattern(r.keep[i], i*1000)
	}
}

func TestListEventIsKnownByTheArray(t *testing.T) {
	r := newRig(t, 3)
	fd := int(r.file(300).Fd())
	list := make([]*ControlBlock, 4) // with a hole
	for _, i := range []int{0, 1, 3} {
		list[i] = r.prepare(OpRead, fd, int64(i)*100, make([]byte, 100))
		list[i].Sigevent = Sigevent{}
	}
	sig := Sigevent{Notify: NotifyKevent, Kqueue: int32(r.kq), Value: 0xfeedf00d}
	r.want("lio_listio", r.ListIO(ListNoWait, list, &sig), 0)
	events := make([]Kevent, 4)
	for look := range 3 {
		n := r.kevent(nil, events, patience)
		if n != 1 || events[0].Filter != FilterLIO || events[0].Ident != uintptr(unsafe.Pointer(&list[0])) ||
			events[0].Udata != 0xfeedf00d || events[0].Flags != 0 || events[0].Data != 0 {
			t.Fatalf("look %d: %+v, want one list event of %p", look, events[:n], &list[0])
		}
	}
	r.reap(list[0], 100, 0)
	r.reap(list[1], 100, 0)
	r.reap(list[3], 0, 0)
	r.noEvent("after the last aio_return")
}

func TestListRefusalsAreNamedInTheBlocks(t *testing.T) {
	r := newRig(t, 8)
	f := r.file(8 * 100)
	readOnly := r.openFd(f.Name(), unix.O_RDONLY)
	list := make([]*ControlBlock, 8)
	for i := range list {
		list[i] = r.prepare(OpWrite, int(f.Fd()), int64(i*100), bytes.Repeat([]byte{'a' + byte(i)}, 100))
	}
	list[2].Fd = -1
	list[5].Fd = int32(readOnly)
	list[6].Opcode = 0x77
	refused := map[int]Errno{2: EBADF, 5: EBADF, 6: EINVAL}

	r.want("lio_listio", r.ListIO(ListNoWait, list, nil), EIO)
	for i, cb := range list {
		if errno, ok := refused[i]; ok {
			r.wantWords("after lio_listio", cb, -1, errno)
		} else {
			r.wantWords("after lio_listio", cb, -1, EINPROGRESS)
		}
	}
	for _, i := range r.wait(5) {
		if _, ok := refused[i]; ok {
			t.Errorf("refused entry %d has an event", i)
		}
	}
	r.noEvent("after five events")
	for i, cb := range list {
		if errno, ok := refused[i]; ok {
			r.reap(cb, -1, EINVAL)
			r.want("aio_error of a refused entry", r.Error(cb), errno)
		} else {
			r.reap(cb, 100, 0)
		}
	}
	got := make([]byte, 800)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		want := bytes.Repeat([]byte{'a' + byte(i)}, 100)
		if _, ok := refused[i]; ok {
			r.wantPattern(got[i*100:(i+1)*100], i*100)
		} else if !bytes.Equal(got[i*100:(i+1)*100], want) {
			t.Errorf("entry %d did not write", i)
		}
	}
}

func TestOverlongListTouchesNothing(t *testing.T) {
	r := newRig(t, 1)
	limits := r.limits()
	cb := r.prepare(OpRead, int(r.file(10).Fd()), 0, make([]byte, 10))
	list := make([]*ControlBlock, limits.MaxQueuePerProc+1)
	list[0] = cb
	r.want("lio_listio of one too many", r.ListIO(ListNoWait, list, nil), EINVAL)
	if cb.Touched() {
		t.Error("the block of an over-long list is touched")
	}
	r.reap(cb, -1, EINVAL)
	r.want("lio_listio of the most", r.ListIO(ListNoWait, list[:limits.MaxQueuePerProc], nil), 0)
	if !cb.Touched() {
		t.Error("the block of an accepted list is not touched")
	}
	r.wait(1)
	r.reap(cb, 10, 0)
}

func TestNopInAListIsAcceptedAndGivesNothing(t *testing.T) {
	r := newRig(t, 1)
	cb := r.prepare(OpNop, int(r.file(10).Fd()), 0, nil)
	r.want("lio_listio", r.ListIO(ListNoWait, []*ControlBlock{cb}, nil), 0)
	r.wantWords("after lio_listio", cb, -1, 0)
	r.want("aio_error", r.Error(cb), 0)
	r.reap(cb, -1, EINVAL)
	r.want("an empty list", r.ListIO(ListNoWait, nil, nil), 0)
	r.noEvent("after a NOP and an empty list")
}

// Finished jobs count against the cap until they are reaped.
func TestQueueCapCountsUnreapedJobs(t *testing.T) {
	r := newRig(t, 8192)
	limits := r.limits()
	fd := int(r.file(1).Fd())
	buf := make([]byte, 1)
	full := min(limits.MaxQueuePerProc, limits.MaxQueue-limits.QueueCount)
	if full >= 8192 {
		t.Fatalf("a cap of %d is more than this test reckons with", full)
	}
	for i := range full {
		if errno := r.Read(r.prepare(OpRead, fd, 0, buf)); errno != 0 {
			t.Fatalf("job %d of %d: %v", i+1, full, errno)
		}
	}
	r.wait(full)
	if now := r.limits(); now.QueueCount < limits.QueueCount+full {
		t.Errorf("vfs.aio.num_queue_count went from %d to %d by %d jobs", limits.QueueCount, now.QueueCount, full)
	}
	over := r.prepare(OpRead, fd, 0, buf)
	r.want("one job too many", r.Read(over), EAGAIN)
	r.wantWords("after EAGAIN", over, -1, EAGAIN)

	r.reap(r.slab.Block(17), 1, 0)
	r.want("the same after one aio_return", r.Read(over), 0)
	one := r.prepare(OpRead, fd, 0, buf)
	r.want("and one more", r.Read(one), EAGAIN)
	if i := r.wait(1); i[0] != r.indexOf(over) {
		t.Errorf("the event is of block %d, want %d", i[0], r.indexOf(over))
	}
	r.reap(over, 1, 0)

	// A list over the cap: what has no place says so, in its own word.
	pair := []*ControlBlock{r.prepare(OpRead, fd, 0, buf), r.prepare(OpRead, fd, 0, buf)}
	r.want("a list of two with one place left", r.ListIO(ListNoWait, pair, nil), EAGAIN)
	r.wantWords("the first", pair[0], -1, EINPROGRESS)
	r.wantWords("the second", pair[1], -1, EAGAIN)
	r.wait(1)
	r.reap(pair[0], 1, 0)
}

func (r *rig) limits() Limits {
	r.Helper()
	limits, err := r.Limits()
	if err != nil {
		r.Fatal(err)
	}
	return limits
}

func TestFsyncFollowsTheEarlierWrites(t *testing.T) {
	for _, op := range []SyncOp{Sync, DataSync} {
		r := newRig(t, 9)
		f := r.file(0)
		for i := range 8 {
			r.want("aio_write", r.Write(r.prepare(OpWrite, int(f.Fd()), int64(i*4096), make([]byte, 4096))), 0)
		}
		sync := r.prepare(OpNop, int(f.Fd()), 0, nil)
		r.want("aio_fsync", r.Fsync(op, sync), 0)
		if order := r.wait(9); order[8] != r.indexOf(sync) {
			t.Errorf("op %#x: the events came in the order %v, want block 8 last", int(op), order)
		}
		for i := range 8 {
			r.reap(r.slab.Block(i), 4096, 0)
		}
		r.reap(sync, 0, 0)
	}
}

func TestCancelOfAFinishedJobIsAllDone(t *testing.T) {
	r := newRig(t, 1)
	fd := int(r.file(10).Fd())
	cb := r.prepare(OpRead, fd, 0, make([]byte, 10))
	r.want("aio_read", r.Read(cb), 0)
	r.wait(1)
	for _, which := range []*ControlBlock{cb, nil} {
		if status, errno := r.Cancel(fd, which); status != AllDone || errno != 0 {
			t.Errorf("aio_cancel of %p: %d, %s, want AllDone", which, status, errno.String())
		}
	}
	if status, errno := r.Cancel(-1, cb); status != 0 || errno != EBADF {
		t.Errorf("aio_cancel on a bad descriptor: %d, %s, want EBADF", status, errno.String())
	}
	r.reap(cb, 10, 0)
}

func TestCancelledJobHasAnEventAndMustBeReaped(t *testing.T) {
	r := newRig(t, 1)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	cb := r.prepare(OpRead, pair[0], 0, make([]byte, 10))
	r.want("aio_read of a silent socket", r.Read(cb), 0)
	r.want("aio_error", r.Error(cb), EINPROGRESS)
	r.reap(cb, -1, EINVAL) // still running
	r.noEvent("while the job runs")
	if status, errno := r.Cancel(pair[0], cb); status != Cancelled || errno != 0 {
		t.Fatalf("aio_cancel: %d, %s, want Cancelled", status, errno.String())
	}
	r.want("aio_error", r.Error(cb), ECANCELED)
	r.wait(1)
	r.reap(cb, -1, ECANCELED)
	r.wantWords("after aio_return", cb, -1, ECANCELED)
}

func TestVectoredTransfers(t *testing.T) {
	r := newRig(t, 5)
	f := r.file(1000)
	fd := int(f.Fd())
	read := r.prepareVector(OpReadv, fd, 10, make([]byte, 100), make([]byte, 1), make([]byte, 500))
	r.want("aio_readv", r.Readv(read), 0)
	r.wait(1)
	r.reap(read, 601, 0)
	r.wantPattern(r.keep[0], 10)
	r.wantPattern(r.keep[1], 110)
	r.wantPattern(r.keep[2], 111)

	write := r.prepareVector(OpWritev, fd, 2000, []byte("scattered"), nil, []byte(" "), []byte("bytes"))
	r.want("aio_writev", r.Writev(write), 0)
	r.wait(1)
	r.reap(write, 15, 0)
	got := make([]byte, 15)
	if _, err := f.ReadAt(got, 2000); err != nil || string(got) != "scattered bytes" {
		t.Errorf("the file has %q (%v)", got, err)
	}

	most := make([][]byte, MaxIovecs+1)
	for i := range most {
		most[i] = make([]byte, 1)
	}
	tooMany := r.prepareVector(OpReadv, fd, 0, most...)
	r.want("aio_readv of 1025", r.Readv(tooMany), EINVAL)
	enough := r.prepareVector(OpReadv, fd, 0, most[:1000]...)
	r.want("aio_readv of 1000", r.Readv(enough), 0)
	r.wait(1)
	r.reap(enough, 1000, 0)
	for i, buf := range most[:1000] {
		r.wantPattern(buf, i)
	}
}

// Vectored list entries came with 14.0. An older kernel refuses each by itself;
// one that claims to be new enough must do them.
func TestVectoredListEntries(t *testing.T) {
	r := newRig(t, 3)
	f := r.file(1000)
	fd := int(f.Fd())
	list := []*ControlBlock{
		r.prepareVector(OpReadv, fd, 10, make([]byte, 100), make([]byte, 200)),
		r.prepare(OpRead, fd, 500, make([]byte, 50)),
		r.prepareVector(OpWritev, fd, 5000, []byte("list"), []byte("ed")),
	}
	errno := r.ListIO(ListNoWait, list, nil)
	refused := 0
	for _, i := range []int{0, 2} {
		switch e := list[i].ErrorWord(); e {
		case EINPROGRESS:
		case EINVAL:
			refused++
		default:
			t.Errorf("entry %d: %s, want EINPROGRESS or EINVAL", i, e.String())
		}
	}
	switch {
	case refused == 0:
		r.want("lio_listio", errno, 0)
		r.wait(3)
		r.reap(list[0], 300, 0)
		r.wantPattern(r.keep[0], 10)
		r.wantPattern(r.keep[1], 110)
		r.reap(list[2], 6, 0)
		got := make([]byte, 6)
		if _, err := f.ReadAt(got, 5000); err != nil || string(got) != "listed" {
			t.Errorf("the file has %q (%v)", got, err)
		}
	case refused == 2 && r.Osreldate() < 1400000:
		r.want("lio_listio", errno, EIO)
		r.wait(1)
		t.Logf("osreldate %d refuses vectored list entries", r.Osreldate())
	default:
		t.Fatalf("osreldate %d refuses %d of 2 vectored list entries", r.Osreldate(), refused)
	}
	r.reap(list[1], 50, 0)
	r.wantPattern(r.keep[2], 500)
}

func TestUserEventWakesABlockedKevent(t *testing.T) {
	r := newRig(t, 1)
	const ident = 1
	add := Kevent{Ident: ident, Filter: FilterUser, Flags: EvAdd | EvClear, Fflags: NoteTrigger}
	r.kevent([]Kevent{add}, nil, 0)
	r.noEvent("after the trigger in the change that adds")

	var awake atomic.Int64
	woken := make(chan uintptr)
	go func() {
		defer close(woken)
		events := make([]Kevent, 2)
		for {
			n, errno := r.Kevent(r.kq, nil, events, -1)
			if errno == EINTR {
				continue
			}
			if n != 1 || errno != 0 {
				t.Errorf("kevent: %d events, %s", n, errno.String())
				return
			}
			awake.Add(1)
			woken <- events[0].Udata
			if events[0].Udata == 100 {
				return
			}
		}
	}()
	for i := uintptr(1); i <= 100; i++ {
		trigger := Kevent{Ident: ident, Filter: FilterUser, Fflags: NoteTrigger, Udata: i}
		if n, errno := r.Kevent(r.kq, []Kevent{trigger}, nil, 0); n != 0 || errno != 0 {
			t.Fatalf("trigger: %d, %s", n, errno.String())
		}
		select {
		case got := <-woken:
			if got != i {
				t.Fatalf("trigger %d woke with udata %d", i, got)
			}
		case <-time.After(patience):
			t.Fatalf("trigger %d wakes nobody", i)
		}
	}
	<-woken
	if awake.Load() != 100 {
		t.Errorf("100 triggers, one at a time, woke %d times", awake.Load())
	}

	// With EvClear in the triggering change the trigger is lost, as kevent.go warns.
	r.kevent([]Kevent{{Ident: ident, Filter: FilterUser, Flags: EvClear, Fflags: NoteTrigger}}, nil, 0)
	r.noEvent("after a trigger that clears")
}

func TestKeventTimeouts(t *testing.T) {
	r := newRig(t, 1)
	events := make([]Kevent, 1)
	start := time.Now()
	if n := r.kevent(nil, events, 50*time.Millisecond); n != 0 {
		t.Errorf("an event out of nothing: %+v", events)
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("50 ms took %v", took)
	}
	r.noEvent("in an empty queue")
	// The longest durations are no error, and an event ends them.
	for _, timeout := range []time.Duration{math.MaxInt64, 1 << 31 * time.Second, math.MaxInt32 * time.Second, -1, math.MinInt64} {
		change := Kevent{Ident: 2, Filter: FilterTimer, Flags: EvAdd | EvOneshot, Data: 1}
		if n := r.kevent([]Kevent{change}, events, timeout); n != 1 || events[0].Filter != FilterTimer {
			t.Errorf("timeout %d: %d events, %+v", timeout, n, events)
		}
	}
	if _, errno := r.Kevent(-1, nil, events, 0); errno != EBADF {
		t.Errorf("kevent on a bad descriptor: %s, want EBADF", errno.String())
	}
}

func TestDescriptorsCloseOnExec(t *testing.T) {
	r := newRig(t, 1)
	fd := int(r.file(0).Fd())
	dup, errno := r.Dup(fd)
	if errno != 0 {
		t.Fatalf("dup: %v", errno)
	}
	for what, fd := range map[string]int{"kqueue": r.kq, "dup": dup} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s %d has descriptor flags %#x (%v)", what, fd, flags, err)
		}
	}
	before, errno := r.Fstat(fd)
	r.want("fstat", errno, 0)
	after, errno := r.Fstat(dup)
	r.want("fstat of the dup", errno, 0)
	if before != after {
		t.Errorf("the dup is %+v, the file %+v", after, before)
	}
	r.want("close", r.Close(dup), 0)
	r.want("second close", r.Close(dup), EBADF)
	_, errno = r.Dup(dup)
	r.want("dup of nothing", errno, EBADF)
	_, errno = r.Fstat(dup)
	r.want("fstat of nothing", errno, EBADF)
}

func TestFstatTellsTypesApart(t *testing.T) {
	r := newRig(t, 1)
	f := r.file(10)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range []int{pipe[0], pipe[1], pair[0], pair[1]} {
			unix.Close(fd)
		}
	})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		fd   int
		want FileType
	}{
		{"file", int(f.Fd()), TypeRegular},
		{"directory", r.openFd(t.TempDir(), unix.O_RDONLY), TypeDirectory},
		{"pipe", pipe[0], TypeFIFO},
		{"named pipe", r.openFd(fifo, unix.O_RDONLY|unix.O_NONBLOCK), TypeFIFO},
		{"kqueue", r.kq, TypeFIFO},
		{"socket", pair[0], TypeSocket},
		{"null device", r.openFd(os.DevNull, unix.O_RDWR), TypeOther},
		{"zero device", r.openFd("/dev/zero", unix.O_RDWR), TypeOther},
	} {
		stat, errno := r.Fstat(c.fd)
		if errno != 0 || stat.Type != c.want {
			t.Errorf("%s: %+v, %v, want type %d", c.what, stat, errno, c.want)
		}
	}

	// Two files differ, two descriptors of one do not.
	other := r.file(10)
	a, _ := r.Fstat(int(f.Fd()))
	b, _ := r.Fstat(int(other.Fd()))
	c, _ := r.Fstat(r.openFd(f.Name(), unix.O_RDONLY))
	if a == b || a != c {
		t.Errorf("one file %+v, again %+v, another %+v", a, c, b)
	}
}

// A file is the same one after writing: on UFS its st_rdev is not.
func TestFstatIsTheSameAfterWriting(t *testing.T) {
	r := newRig(t, 1)
	f := r.file(0)
	before, _ := r.Fstat(int(f.Fd()))
	for size := range 3 {
		if _, err := f.WriteAt(make([]byte, 100_000), int64(size)*1_000_000); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if after, errno := r.Fstat(int(f.Fd())); after != before || errno != 0 {
			t.Errorf("write %d made %+v of %+v (%v)", size, after, before, errno)
		}
	}
}

func TestFstatKnowsADisk(t *testing.T) {
	r := newRig(t, 2)
	for _, name := range []string{"/dev/vtbd0", "/dev/ada0", "/dev/da0", "/dev/nda0", "/dev/nvd0", "/dev/md0"} {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		defer unix.Close(fd)
		if stat, errno := r.Fstat(fd); errno != 0 || stat.Type != TypeDisk {
			t.Errorf("%s: %+v, %v, want type %d", name, stat, errno, TypeDisk)
		}
		cb := r.prepare(OpRead, fd, 0, make([]byte, 4096))
		r.want("aio_read of "+name, r.Read(cb), 0)
		r.wait(1)
		r.reap(cb, 4096, 0)
		return
	}
	t.Skip("no disk to open")
}

func TestLimitsArePlausible(t *testing.T) {
	r := newRig(t, 1)
	limits := r.limits()
	t.Logf("osreldate %d: %+v", r.Osreldate(), limits)
	list, err := unix.SysctlUint32("p1003_1b.aio_listio_max")
	if err != nil || int(list) != limits.MaxQueuePerProc {
		t.Errorf("aio_listio_max is %d (%v), MaxQueuePerProc %d: they are one variable", list, err, limits.MaxQueuePerProc)
	}
	for what, v := range map[string]int{
		"MaxQueue": limits.MaxQueue, "MaxQueuePerProc": limits.MaxQueuePerProc, "MaxPerProc": limits.MaxPerProc,
		"MaxProcs": limits.MaxProcs, "MaxBuf": limits.MaxBuf,
	} {
		if v < 1 || v > 1<<20 {
			t.Errorf("%s is %d", what, v)
		}
	}
	if limits.QueueCount < 0 || limits.QueueCount > limits.MaxQueue {
		t.Errorf("QueueCount is %d of %d", limits.QueueCount, limits.MaxQueue)
	}
}

// The buffers, the iovec arrays and the control blocks stay where they are while
// the collector runs as often as it can.
func TestReadsSurviveCollections(t *testing.T) {
	const (
		jobs  = 1000
		depth = 32
		size  = 4096
		files = 64 * size
	)
	r := newRig(t, jobs)
	fd := int(r.file(files).Fd())

	stop := make(chan struct{})
	stopped := make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				runtime.GC()
			}
		}
	}()

	// What one job reads: one buffer, or two behind an iovec array.
	reads := make([][][]byte, 0, jobs)
	submit := func() {
		i := len(reads)
		off := int64(i % 60 * size)
		var cb *ControlBlock
		var errno Errno
		if i%2 == 0 {
			reads = append(reads, [][]byte{make([]byte, size)})
			cb = r.prepare(OpRead, fd, off, reads[i][0])
			errno = r.Read(cb)
		} else {
			reads = append(reads, [][]byte{make([]byte, size/4), make([]byte, size-size/4)})
			cb = r.prepareVector(OpReadv, fd, off, reads[i]...)
			errno = r.Readv(cb)
		}
		if errno != 0 {
			t.Fatalf("job %d: %v", i, errno)
		}
	}
	for range depth {
		submit()
	}
	for range jobs {
		i := r.wait(1)[0]
		r.reap(r.slab.Block(i), size, 0)
		off := i % 60 * size
		for _, buf := range reads[i] {
			r.wantPattern(buf, off)
			off += len(buf)
		}
		if len(reads) < jobs {
			submit()
		}
	}
	close(stop)
	t.Logf("%d reads during %d collections", jobs, <-stopped)
}

// Even a block declared on a stack is put on the heap by being submitted.
func TestSubmittedBlockIsNotOnAStack(t *testing.T) {
	r := newRig(t, 1)
	fd := int(r.file(64).Fd())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var cb ControlBlock
		var buf [64]byte
		var marker byte
		was, stack := uintptr(unsafe.Pointer(&cb)), uintptr(unsafe.Pointer(&marker))
		cb.Prepare(OpRead, fd, 0, unsafe.Pointer(&buf), len(buf), Sigevent{})
		if errno := r.Read(&cb); errno != 0 {
			t.Errorf("aio_read: %v", errno)
			return
		}
		growStack(1000)
		if uintptr(unsafe.Pointer(&marker)) == stack {
			t.Error("the stack did not move, so nothing was tested")
		}
		if now := uintptr(unsafe.Pointer(&cb)); now != was {
			t.Errorf("the block went from %#x to %#x", was, now)
		}
		for deadline := time.Now().Add(patience); r.Error(&cb) == EINPROGRESS; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Errorf("not finished after %v", patience)
				return
			}
		}
		if n, errno := r.Return(&cb); n != 64 || errno != 0 {
			t.Errorf("aio_return: %d, %s", n, errno.String())
		}
		for i, b := range buf {
			if b != pattern(i) {
				t.Errorf("byte %d is %#x", i, b)
				break
			}
		}
	}()
	<-done
}

func TestErrnoOfTheKernelIsTheHosts(t *testing.T) {
	r := newRig(t, 1)
	_, errno := r.Fstat(-1)
	if !errors.Is(errno, unix.EBADF) || errors.Is(errno, io.EOF) || errno.Host() != unix.EBADF {
		t.Errorf("fstat(-1): %v", errno)
	}
}
