//go:build unix

package sim

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// socketRig is a process with pairs of local sockets.
type socketRig struct {
	*rig
	a, b []int
}

func newSocketRig(t *testing.T, cfg Config, pairs int) *socketRig {
	r := &socketRig{rig: newRig(t, cfg)}
	for range pairs {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(p[0]); _ = unix.Close(p[1]) })
		r.a, r.b = append(r.a, p[0]), append(r.b, p[1])
	}
	return r
}

// reads starts a read of one byte on each socket from from on, and sends that byte.
func (r *socketRig) reads(from, to int) (ops []*op) {
	r.t.Helper()
	for i := from; i < to; i++ {
		o := r.op(aio.OpRead, 0, make([]byte, 1), r.kevent(aio.EvOneshot, uintptr(i)))
		o.cb.Fd = int32(r.a[i])
		r.wantErrno("read", r.Read(o.cb), 0)
		if _, err := unix.Write(r.b[i], []byte{1}); err != nil {
			r.t.Fatal(err)
		}
		ops = append(ops, o)
	}
	return ops
}

func (r *socketRig) sysctl(name string) int {
	r.t.Helper()
	n, errno := r.System().Sysctl(name)
	r.wantErrno(name, errno, 0)
	return n
}

func (r *socketRig) done(ops ...*op) {
	r.t.Helper()
	for range ops {
		if ev := r.wait(1, 30*time.Second); len(ev) != 1 {
			r.t.Fatal("a job does not end")
		}
	}
	for _, o := range ops {
		r.wantReturn(o, 1, 0)
	}
}

func TestSocketDaemonsComeWithTheFirstJobAndGoWhenIdle(t *testing.T) {
	const n = 7
	g := NewGate()
	r := newSocketRig(t, Config{Faults: []Fault{If(At(Start), HoldActive(g))}}, n)
	if got := r.sysctl("kern.ipc.aio.num_procs"); got != 0 {
		t.Errorf("%d daemons before the first job", got)
	}
	first := r.reads(0, 1)
	g.Await(1)
	if got, want := r.sysctl("kern.ipc.aio.num_procs"), r.sysctl("kern.ipc.aio.target_procs"); got != want {
		t.Errorf("%d daemons with the first job, want %d", got, want)
	}
	rest := r.reads(1, n)
	g.Await(n)
	if got := r.sysctl("kern.ipc.aio.num_procs"); got != n {
		t.Errorf("%d daemons for %d jobs that are held up", got, n)
	}
	g.Open()
	r.done(append(first, rest...)...)
	r.wantErrno("the lifetime", r.System().SetSysctl("kern.ipc.aio.lifetime", 0), 0)
	for deadline := time.Now().Add(30 * time.Second); r.sysctl("kern.ipc.aio.num_procs") != socketTarget; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d daemons are idle", r.sysctl("kern.ipc.aio.num_procs"))
		}
	}
	r.wantErrno("the target", r.System().SetSysctl("kern.ipc.aio.target_procs", 9), aio.EPERM)
}

// The pool is one for all sockets, and its size is not a process's.
func TestSocketsShareTheirDaemons(t *testing.T) {
	const most = socketTarget
	g := NewGate()
	r := newSocketRig(t, Config{Limits: aio.Limits{MaxSocketProcs: most}, Faults: []Fault{If(At(Start), HoldActive(g))}}, most+2)
	ops := r.reads(0, most)
	g.Await(most)
	r.ClearFaults()
	late := r.reads(most, most+2)
	for _, o := range late {
		r.wantErrno("a job without a daemon", r.Error(o.cb), aio.EINPROGRESS)
	}
	if got := r.sysctl("kern.ipc.aio.num_procs"); got != most {
		t.Errorf("%d daemons, want %d", got, most)
	}
	r.wantErrno("the limit", r.System().SetSysctl("kern.ipc.aio.max_procs", most+1), 0)
	r.done(late...)
	if got := r.sysctl("kern.ipc.aio.num_procs"); got != most+1 {
		t.Errorf("%d daemons, want %d", got, most+1)
	}
	g.Open()
	r.done(ops...)
}

// Files have a pool of their own.
func TestFilesDoNotWaitForSocketDaemons(t *testing.T) {
	g := NewGate()
	r := newSocketRig(t, Config{Limits: aio.Limits{MaxSocketProcs: socketTarget}, Faults: []Fault{If(And(At(Start), Type(aio.TypeSocket)), HoldActive(g))}}, socketTarget)
	ops := r.reads(0, socketTarget)
	g.Await(socketTarget)
	r.write(0, "x")
	o := r.op(aio.OpRead, 0, make([]byte, 1), r.kevent(aio.EvOneshot, 99))
	r.wantErrno("read", r.Read(o.cb), 0)
	r.done(o)
	g.Open()
	r.done(ops...)
}

// A job that finds nothing after all is counted.
func TestEmptyResultsAreCounted(t *testing.T) {
	const much = 4 << 20
	r := newSocketRig(t, Config{}, 1)
	o := r.op(aio.OpWrite, 0, make([]byte, much), r.kevent(aio.EvOneshot, 1))
	o.cb.Fd = int32(r.a[0])
	r.wantErrno("write", r.Write(o.cb), 0)
	for deadline := time.Now().Add(30 * time.Second); r.sysctl("kern.ipc.aio.empty_results") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a write that finds no room is not counted")
		}
	}
	buf := make([]byte, 64<<10)
	for got := 0; got < much; {
		n, err := unix.Read(r.b[0], buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		got += n
	}
	if ev := r.wait(1, 30*time.Second); len(ev) != 1 {
		t.Fatal("the write does not end")
	}
	r.wantReturn(o, much, 0)
	// Sent and found full by turns; not looked at again and again.
	if results, retries := r.sysctl("kern.ipc.aio.empty_results"), r.sysctl("kern.ipc.aio.empty_retries"); retries > results {
		t.Errorf("%d retries of %d results", retries, results)
	}
}
