//go:build unix

package sim

import (
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

func arrayIdent(list []*aio.ControlBlock) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(list)))
}

// The errors of the whole call leave every block alone (part 3.1).
func TestListRefusedAsAWhole(t *testing.T) {
	r := newRig(t, Config{})
	kevent := func(kq int) *aio.Sigevent { return &aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(kq)} }
	cases := []struct {
		name string
		mode aio.ListMode
		n    int
		sig  *aio.Sigevent
		want aio.Errno
	}{
		{"mode", 7, 1, nil, aio.EINVAL},
		{"257 entries", aio.ListNoWait, 257, nil, aio.EINVAL},
		{"mode and length", 7, 257, nil, aio.EINVAL},
		{"bad kqueue", aio.ListNoWait, 1, kevent(9999), aio.EBADF},
		{"a file as kqueue", aio.ListNoWait, 1, kevent(r.fd), aio.EINVAL},
		{"SIGEV_THREAD", aio.ListNoWait, 1, &aio.Sigevent{Notify: 2}, aio.EINVAL},
		{"unknown notification", aio.ListNoWait, 1, &aio.Sigevent{Notify: 77}, aio.EINVAL},
		{"bad signal", aio.ListNoWait, 1, &aio.Sigevent{Notify: aio.NotifySignal, Kqueue: 200}, aio.EINVAL},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &rig{Kernel: r.Kernel, t: t, fd: r.fd, kq: r.kq}
			o := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})
			list := make([]*aio.ControlBlock, c.n)
			list[0] = o.cb
			r.wantErrno("list", r.ListIO(c.mode, list, c.sig), c.want)
			if o.cb.Touched() {
				t.Error("the block was touched")
			}
			if r.Stats().Accepted != 0 {
				t.Error("something was accepted")
			}
		})
	}
	r.wantEvents(0)
}

// 256 entries pass.
func TestListOfTheLongestLength(t *testing.T) {
	r := newRig(t, Config{})
	var ops []*op
	for i := range 256 {
		ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), aio.Sigevent{}))
	}
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), 0)
	r.settle()
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
}

// Entries refused for 9, 9 and 22: EIO, the others complete, the list event
// comes for them (observed).
func TestListPartlyRefused(t *testing.T) {
	r := newRig(t, Config{})
	rdonly := fdReadOnly(t, r.f.Name())
	var ops []*op
	for i := range 8 {
		ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), r.kevent(aio.EvOneshot, uintptr(i))))
	}
	ops[2].cb.Fd = 9999
	ops[5].cb.Fd = int32(rdonly)
	ops[6].cb.Opcode = 0x17
	want := map[int]aio.Errno{2: aio.EBADF, 5: aio.EBADF, 6: aio.EINVAL}
	list := blocks(ops...)
	sig := r.kevent(0, 99)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), aio.EIO)
	for i, o := range ops {
		if e := want[i]; e != 0 {
			r.wantWords(o, -1, e)
		} else {
			r.wantWords(o, -1, aio.EINPROGRESS)
		}
	}
	r.settle()
	ev := r.wantEvents(6)
	last := ev[5]
	if last.Filter != aio.FilterLIO || last.Ident != arrayIdent(list) || last.Flags != 0 || last.Data != 0 || last.Udata != 99 || last.Fflags != 0 {
		t.Errorf("list event %+v", last)
	}
	// It comes on every call until the last reap.
	r.wantEvents(1)
	for i, o := range ops {
		if want[i] != 0 {
			r.wantReturn(o, -1, aio.EINVAL)
			continue
		}
		r.wantEvents(1)
		r.wantReturn(o, 1, 0)
	}
	r.wantEvents(0)
}

func TestListEventKnowsNoFlags(t *testing.T) {
	r := newRig(t, Config{})
	o := r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{})
	list := blocks(o)
	sig := r.kevent(aio.EvOneshot, 1)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.settle()
	for range 3 {
		if ev := r.wantEvents(1); ev[0].Flags != 0 {
			t.Errorf("%+v", ev[0])
		}
	}
	// The way out of stickiness is to delete it.
	del := aio.Kevent{Ident: arrayIdent(list), Filter: aio.FilterLIO, Flags: aio.EvDelete}
	r.wantErrno("delete", r.change(del), 0)
	r.wantErrno("delete again", r.change(del), aio.ENOENT)
	r.wantEvents(0)
	r.wantReturn(o, 1, 0)
}

func TestListReapedBeforeItsEventWasFetched(t *testing.T) {
	r := newRig(t, Config{})
	ops := []*op{r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{}), r.op(aio.OpWrite, 1, []byte("x"), aio.Sigevent{})}
	list := blocks(ops...)
	sig := r.kevent(0, 1)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.settle()
	r.wantReturn(ops[0], 1, 0)
	r.wantReturn(ops[1], 1, 0)
	r.wantEvents(0)
}

// Reaping some before the event does not lose it.
func TestListReapedPartly(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	ops := []*op{r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{}), r.op(aio.OpWrite, 1, []byte("x"), aio.Sigevent{})}
	list := blocks(ops...)
	sig := r.kevent(0, 1)
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.RunJob(ops[1].cb)
	r.wantEvents(0)
	r.wantReturn(ops[1], 1, 0)
	r.wantEvents(0)
	r.RunJob(ops[0].cb)
	r.wantEvents(1)
	r.wantReturn(ops[0], 1, 0)
	r.wantEvents(0)
}

// Nothing accepted, no event, whatever the answer (PR 251515).
func TestListWithNothingAccepted(t *testing.T) {
	r := newRig(t, Config{})
	bad := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})
	bad.cb.Fd = 9999
	nop := r.op(aio.OpNop, 0, nil, r.kevent(aio.EvOneshot, 0))
	cases := []struct {
		name string
		list []*aio.ControlBlock
		want aio.Errno
	}{
		{"no entries", nil, 0},
		{"only NULL", make([]*aio.ControlBlock, 3), 0},
		{"only a NOP", blocks(nop), 0},
		{"all refused", blocks(bad), aio.EIO},
		{"a NOP and a refused one", blocks(nop, bad, nil), aio.EIO},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &rig{Kernel: r.Kernel, t: t, kq: r.kq}
			sig := r.kevent(0, 1)
			r.wantErrno("list", r.ListIO(aio.ListNoWait, c.list, &sig), c.want)
			r.wantEvents(0)
		})
	}
	// An accepted NOP: -1 and 0 in memory, aio_error 0, nothing to reap.
	r.wantWords(nop, -1, 0)
	r.wantErrno("Error", r.Error(nop.cb), 0)
	r.wantReturn(nop, -1, aio.EINVAL)
	bad.cb.Opcode = aio.OpNop
	r.wantErrno("a NOP on a bad descriptor", r.ListIO(aio.ListNoWait, blocks(bad), nil), aio.EIO)
	r.wantWords(bad, -1, aio.EBADF)
}

// A list over the cap: EAGAIN, the first six accepted, the rest 35. Mixed with
// a bad descriptor: EIO (observed).
func TestListOverTheCap(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		r := newRig(t, Config{Limits: aio.Limits{MaxQueuePerProc: 10}})
		var before, ops []*op
		for i := range 4 {
			before = append(before, r.start(r.Write, r.op(0, int64(i), []byte("x"), aio.Sigevent{})))
		}
		r.Hold()
		for i := range 9 {
			ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("y"), aio.Sigevent{}))
		}
		want := aio.EAGAIN
		if mixed {
			ops[1].cb.Fd = 9999
			want = aio.EIO
		}
		list := blocks(ops...)
		sig := r.kevent(0, 1)
		r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), want)
		accepted := 0
		for i, o := range ops {
			switch e := o.cb.ErrorWord(); {
			case mixed && i == 1:
				r.wantErrno("entry 1", e, aio.EBADF)
			case accepted < 6:
				r.wantErrno("entry", e, aio.EINPROGRESS)
				accepted++
			default:
				r.wantErrno("entry over the cap", e, aio.EAGAIN)
			}
		}
		r.Release()
		r.settle()
		r.wantEvents(1)
		for _, o := range append(before, ops...) {
			if o.cb.ErrorWord() == aio.EINPROGRESS {
				r.wantReturn(o, 1, 0)
			}
		}
		r.wantEvents(0)
	}
}

// There is no early stop: an entry refused in the middle leaves later ones
// their chance, so the accepted ones need not be a prefix.
func TestListAcceptedSetNeedNotBeAPrefix(t *testing.T) {
	r := newRig(t, Config{Faults: []Fault{If(And(At(Submit), Or(Entry(0), Entry(2))), Fail(aio.EAGAIN))}})
	var ops []*op
	for i := range 4 {
		ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("y"), aio.Sigevent{}))
	}
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(ops...), nil), aio.EAGAIN)
	r.settle()
	for i, o := range ops {
		if i%2 == 0 {
			r.wantWords(o, -1, aio.EAGAIN)
			r.wantReturn(o, -1, aio.EINVAL)
		} else {
			r.wantReturn(o, 1, 0)
		}
	}
}

func TestListOpcodesByProfile(t *testing.T) {
	for _, p := range []Profile{V13, V14, V15} {
		for _, c := range []struct {
			op   aio.Opcode
			from Profile // the first that takes it
		}{
			{aio.OpRead, V13}, {aio.OpWrite, V13}, {aio.OpReadv, V14}, {aio.OpWritev, V14},
			{aio.OpRead | opFoffset, V14}, {opSync, 99}, {opDataSync, 99}, {0x20, 99}, {0x03, 99},
		} {
			r := newRig(t, Config{Profile: p})
			o := r.opv(c.op, 0, aio.Sigevent{}, []byte("ab"))
			if c.op&opVectored == 0 {
				b := []byte("ab")
				o.cb.Prepare(c.op, r.fd, 0, unsafe.Pointer(&b[0]), 2, aio.Sigevent{})
			}
			want, entry := aio.Errno(0), aio.EINPROGRESS
			if p < c.from {
				want, entry = aio.EIO, aio.EINVAL
			}
			r.wantErrno(p.String(), r.ListIO(aio.ListNoWait, blocks(o), nil), want)
			r.wantWords(o, -1, entry)
			r.settle()
			if want == 0 {
				if _, errno := r.Return(o.cb); errno != 0 {
					t.Errorf("%s opcode %#x: %v", p, c.op, errno)
				}
			}
		}
	}
}

// What is no opcode is refused, whatever Buf holds.
func TestListBadOpcodeWithData(t *testing.T) {
	r := newRig(t, Config{})
	data := []byte("no array of iovecs at all, and at an odd address")
	for _, code := range []aio.Opcode{0x04, 0x07, 0x17, 0x0d, 0x85, -1} {
		o := r.op(code, 0, data[1:], aio.Sigevent{})
		r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(o), nil), aio.EIO)
		r.wantWords(o, -1, aio.EINVAL)
	}
	o := r.op(0, 0, data[1:], aio.Sigevent{})
	r.wantErrno("an array at an odd address", r.Readv(o.cb), aio.EFAULT)
}

// LIO_FOFFSET uses the file's own offset, and moves it.
func TestListFoffset(t *testing.T) {
	r := newRig(t, Config{})
	r.write(0, "abcdef")
	if _, err := r.f.Seek(2, 0); err != nil {
		t.Fatal(err)
	}
	o := r.op(aio.OpRead|opFoffset, 0, make([]byte, 3), aio.Sigevent{})
	r.wantErrno("list", r.ListIO(aio.ListWait, blocks(o), nil), 0)
	r.wantReturn(o, 3, 0)
	if off, _ := r.f.Seek(0, 1); off != 5 || string(o.buf) != "cde" {
		t.Errorf("offset %d, %q", off, o.buf)
	}
}

// LIO_WAIT answers after all have finished; their events are there; the list
// has none, whatever sig says (observed).
func TestListWait(t *testing.T) {
	r := newRig(t, Config{})
	var ops []*op
	for i := range 5 {
		ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), r.kevent(aio.EvOneshot, 0)))
	}
	ops[3].cb.Buf, ops[3].cb.Nbytes = 8, 1
	sig := aio.Sigevent{Notify: 55}
	r.wantErrno("list, one job failing", r.ListIO(aio.ListWait, blocks(ops...), &sig), 0)
	r.wantEvents(5)
	for i, o := range ops {
		if i == 3 {
			r.wantReturn(o, -1, aio.EFAULT)
		} else {
			r.wantReturn(o, 1, 0)
		}
	}
}

func TestListWaitIsInterrupted(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{})
	got := make(chan aio.Errno)
	go func() { got <- r.ListIO(aio.ListWait, blocks(o), nil) }()
	for done := false; !done; {
		r.Signal()
		select {
		case e := <-got:
			r.wantErrno("list", e, aio.EINTR)
			done = true
		default:
			runtime.Gosched()
		}
	}
	r.wantErrno("Error", r.Error(o.cb), aio.EINPROGRESS)
	r.Release()
	r.settle()
	r.wantReturn(o, 1, 0)
	// Its list is gone by then: a job of a list that nobody waits for.
	r.wantEvents(0)
}

// EIO masks EAGAIN masks EINTR.
func TestListAnswersByRank(t *testing.T) {
	for _, c := range []struct {
		refuse []aio.Errno
		want   aio.Errno
	}{
		{nil, aio.EINTR},
		{[]aio.Errno{aio.EAGAIN}, aio.EAGAIN},
		{[]aio.Errno{aio.EAGAIN, aio.EBADF}, aio.EIO},
		{[]aio.Errno{aio.EOPNOTSUPP}, aio.EIO},
	} {
		r := newRig(t, Config{})
		for i, e := range c.refuse {
			r.Inject(If(And(At(Submit), Entry(i+1)), Fail(e)))
		}
		r.Inject(If(At(ListSleep), Fail(aio.EINTR)))
		r.Hold()
		ops := []*op{}
		for i := range 4 {
			ops = append(ops, r.op(aio.OpWrite, int64(i), []byte("x"), aio.Sigevent{}))
		}
		r.wantErrno("list", r.ListIO(aio.ListWait, blocks(ops...), nil), c.want)
		r.Release()
		r.settle()
		for _, o := range ops {
			if o.cb.ErrorWord() == aio.EINPROGRESS {
				r.wantReturn(o, 1, 0)
			}
		}
	}
}

// The array's address registered again while the earlier list lives: the old
// event gets the new label, the new list has none (nix issue 870).
func TestListArrayReused(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	a, b := r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{}), r.op(aio.OpWrite, 1, []byte("x"), aio.Sigevent{})
	list := blocks(a)
	sig := r.kevent(0, 1)
	r.wantErrno("first", r.ListIO(aio.ListNoWait, list, &sig), 0)
	list[0] = b.cb
	sig.Value = 2
	r.wantErrno("second", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.RunJob(b.cb)
	r.wantEvents(0)
	r.RunJob(a.cb)
	if ev := r.wantEvents(1); ev[0].Udata != 2 {
		t.Errorf("%+v", ev[0])
	}
	r.wantReturn(a, 1, 0)
	r.wantEvents(0)
	r.wantReturn(b, 1, 0)
	r.wantMisuse(1)
	// Once all are reaped the address is free again.
	c := r.op(aio.OpWrite, 1, []byte("x"), aio.Sigevent{})
	list[0] = c.cb
	r.wantErrno("third", r.ListIO(aio.ListNoWait, list, &sig), 0)
	r.RunJob(c.cb)
	r.wantEvents(1)
	r.wantReturn(c, 1, 0)
}

// One block twice in a list: two jobs, one event.
func TestBlockTwiceInAList(t *testing.T) {
	r := newRig(t, Config{})
	r.Hold()
	o := r.op(aio.OpWrite, 0, []byte("x"), r.kevent(aio.EvOneshot, 1))
	r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(o, o), nil), 0)
	r.Release()
	r.settle()
	r.wantEvents(1)
	r.wantReturn(o, 1, 0)
	r.wantReturn(o, 1, 0)
	r.misuse = true
}

// A job's own event comes before that of its list.
func TestJobEventComesBeforeTheListEvent(t *testing.T) {
	r := newRig(t, Config{})
	o := r.op(aio.OpWrite, 0, []byte("x"), r.kevent(aio.EvOneshot, 1))
	list := blocks(o)
	sig := r.kevent(0, 2)
	events := make(chan []aio.Kevent)
	go func() {
		var all []aio.Kevent
		for len(all) < 2 {
			all = append(all, r.wait(1, 5*time.Second)...)
		}
		events <- all
	}()
	r.wantErrno("list", r.ListIO(aio.ListNoWait, list, &sig), 0)
	all := <-events
	if !slices.EqualFunc(all, []aio.Filter{aio.FilterAIO, aio.FilterLIO}, func(e aio.Kevent, f aio.Filter) bool { return e.Filter == f }) {
		t.Errorf("%+v", all)
	}
	r.wantReturn(o, 1, 0)
}

func fdReadOnly(t *testing.T, path string) int {
	f := mustOpen(t, path)
	return int(f.Fd())
}
