//go:build unix

package sim

import (
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

func infoWord(cb *aio.ControlBlock) uintptr {
	return *(*uintptr)(unsafe.Add(unsafe.Pointer(&cb.Sigevent), -int(unsafe.Sizeof(uintptr(0)))))
}

// wantRule says which one rule was broken, and what the report of it names.
func (r *rig) wantRule(rule Rule, names ...string) {
	r.t.Helper()
	r.misuse = true
	found := r.Misuse()
	if len(found) != 1 || found[0].Rule != rule {
		r.t.Fatalf("misuse %v, want one of %v", found, rule)
	}
	for _, name := range names {
		if !strings.Contains(found[0].String(), name) {
			r.t.Errorf("no %q in %q", name, found[0])
		}
	}
}

// eachMode runs a test in both modes, with files in memory.
func eachMode(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Run("stepped", func(t *testing.T) { f(t, newStepRig(t, Config{}, "abcdef")) })
	t.Run("threaded", func(t *testing.T) { f(t, newRig(t, Config{})) })
}

func TestMisuseBlockResubmitted(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		r.Hold()
		o := r.start(r.Write, r.op(aio.OpWrite, 0, []byte("x"), aio.Sigevent{}))
		r.wantErrno("list", r.ListIO(aio.ListNoWait, blocks(nil, o), nil), 0)
		r.wantRule(Resubmitted, "lio_listio #2 entry 1 (job 2", "aio_write #1 (job 1", "fd ")
		r.Release()
		r.settle()
		r.wantReturn(o, 1, 0)
		r.wantReturn(o, 1, 0)
		r.wantRule(Resubmitted)
	})
}

func TestMisuseListReused(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		a, b := r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{}), r.op(aio.OpRead, 0, make([]byte, 1), aio.Sigevent{})
		list, sig := blocks(a), r.kevent(0, 1)
		r.wantErrno("first", r.ListIO(aio.ListNoWait, list, &sig), 0)
		list[0] = b.cb
		r.wantErrno("second", r.ListIO(aio.ListNoWait, list, &sig), 0)
		r.wantRule(ListReused, "lio_listio #2", "lio_listio #1")
		r.settle()
		r.Return(a.cb)
		r.Return(b.cb)
	})
}

func TestMisuseBufferChanged(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		r.Hold()
		o := r.start(r.Write, r.op(0, 0, []byte("abc"), aio.Sigevent{}))
		v := r.start(r.Writev, r.opv(0, 10, aio.Sigevent{}, []byte("def"), []byte("ghi")))
		o.buf[1] = 'X'
		r.Run(2)
		r.wantRule(BufferChanged, "aio_write #1 (job 1", "3 bytes")
		*(*byte)(v.iov[1].Base) = 'X' // after the transfer it is no matter
		r.wantReturn(o, 3, 0)
		r.wantReturn(v, 6, 0)
		r.wantRule(BufferChanged)
		r.Release()
	})
	eachMode(t, func(t *testing.T, r *rig) {
		r.Hold()
		v := r.start(r.Writev, r.opv(0, 10, aio.Sigevent{}, []byte("def"), []byte("ghi")))
		*(*byte)(v.iov[1].Base) = 'X'
		r.Run(1)
		r.wantRule(BufferChanged, "aio_writev #1")
		r.wantReturn(v, 6, 0)
		r.Release()
	})
}

// What a read's buffer holds meanwhile is the kernel's.
func TestNoMisuseInAReadBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		r.Hold()
		o := r.start(r.Read, r.op(0, 0, make([]byte, 3), aio.Sigevent{}))
		o.buf[0] = 1
		r.Run(1)
		r.Return(o.cb)
		if found := r.Misuse(); len(found) != 0 {
			t.Errorf("%v", found)
		}
		r.Release()
	})
}

func TestMisuseBlockChanged(t *testing.T) {
	for name, change := range map[string]func(r *rig, o *op){
		"prepared anew": func(r *rig, o *op) {
			o.cb.Prepare(aio.OpRead, r.fd, 7, unsafe.Pointer(&o.buf[0]), 1, aio.Sigevent{})
		},
		"its words": func(r *rig, o *op) { o.cb.StoreWords(0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *rig) {
				o := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
				r.settle()
				change(r, o)
				r.wantReturn(o, 1, 0)
				r.wantRule(BlockChanged, "aio_write #1 (job 1")
			})
		})
	}
	// In stepped mode it shows already at the transfer.
	r := newStepRig(t, Config{}, "")
	o := r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
	o.cb.Offset = 5
	r.settle()
	r.wantRule(BlockChanged)
	r.wantReturn(o, 1, 0)
}

func TestMisuseBlockFreedEarly(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		slab, err := aio.NewSlab(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := slab.Grow(); err != nil {
			t.Fatal(err)
		}
		cb, buf := slab.Block(0), []byte("x")
		cb.Prepare(aio.OpWrite, r.fd, 0, unsafe.Pointer(&buf[0]), 1, r.kevent(aio.EvOneshot, 1))
		r.wantErrno("write", r.Write(cb), 0)
		r.settle()
		if err := slab.Release(); err != nil {
			t.Fatal(err)
		}
		if got, _, errno := r.WaitComplete(0); got != cb || errno != 0 {
			t.Errorf("waitcomplete: %p, %v", got, errno)
		}
		r.wantRule(FreedEarly, "aio_write #1 (job 1", "block")
		// And it cannot be submitted any more.
		r.wantErrno("write", r.Write(cb), aio.EFAULT)
	})
}

func TestMisuseBufferFreedEarly(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		r.Hold()
		o := r.start(r.Write, r.op(0, 0, buf, aio.Sigevent{}))
		o.buf = nil
		if err := unix.Munmap(buf); err != nil {
			t.Fatal(err)
		}
		r.Run(1)
		r.wantReturn(o, -1, aio.EFAULT)
		r.wantRule(FreedEarly, "aio_write #1 (job 1", "buffer")
		r.Release()
	})
}

func TestMisuseBufferOfAReadFreedEarly(t *testing.T) {
	for name, vectored := range map[string]bool{"plain": false, "vectored": true} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *rig) {
				buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
				if err != nil {
					t.Fatal(err)
				}
				r.Hold()
				o := r.op(aio.OpRead, 0, buf, aio.Sigevent{})
				call := r.Read
				if vectored {
					o, call = r.opv(aio.OpReadv, 0, aio.Sigevent{}, make([]byte, 1), buf), r.Readv
				}
				r.start(call, o)
				o.buf = nil
				if err := unix.Munmap(buf); err != nil {
					t.Fatal(err)
				}
				r.Run(1)
				_, _ = r.Return(o.cb) // of a vector a host may show the part before
				r.wantRule(FreedEarly, "#1 (job 1", "buffer")
				r.Release()
			})
		})
	}
}

func TestMisuseNeverReaped(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		r.start(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}))
		r.settle()
		r.CloseKqueue(r.kq)
		if err := r.Shutdown(); err == nil || !strings.Contains(err.Error(), "aio_write #1 (job 1") {
			t.Errorf("Shutdown: %v", err)
		}
		r.wantRule(NeverReaped, "finished and never reaped")
	})
}
