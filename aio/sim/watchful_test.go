//go:build unix

package sim

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// What a daemon's job is watched for and may suffer, those on sockets and disks are
// and may too.

// newPairRig is a process with a pair of sockets, of which the first is the rig's
// descriptor.
func newPairRig(t *testing.T, cfg Config) (*rig, int) {
	t.Helper()
	r := newRig(t, cfg)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { drop(p[0]); drop(p[1]) })
	r.fd = p[0]
	return r, p[1]
}

// eachHostMode runs a test in both modes, with the host's descriptors.
func eachHostMode(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Run("threaded", func(t *testing.T) { f(t, Config{}) })
	t.Run("stepped", func(t *testing.T) { f(t, Config{Stepped: true, HostFiles: true}) })
}

// ends waits until a job has finished.
func (r *rig) ends(o *op) {
	r.t.Helper()
	for r.Error(o.cb) == aio.EINPROGRESS {
		if errno := r.Suspend(blocks(o), 10*time.Second); errno != 0 && errno != aio.EINTR {
			r.t.Fatal(errno)
		}
	}
}

func TestMisuseBufferChangedOnASocket(t *testing.T) {
	eachHostMode(t, func(t *testing.T, cfg Config) {
		r, _ := newPairRig(t, cfg)
		r.Hold()
		o := r.start(r.Write, r.op(aio.OpWrite, 0, []byte("abc"), aio.Sigevent{}))
		o.buf[1] = 'X'
		r.Release()
		r.ends(o)
		r.wantReturn(o, 3, 0)
		r.wantRule(BufferChanged, "aio_write #1 (job 1", "3 bytes")
	})
}

func TestMisuseBufferChangedOnADisk(t *testing.T) {
	eachHostMode(t, func(t *testing.T, cfg Config) {
		var r *diskRig
		var o *op
		cfg.Faults = []Fault{If(And(At(Transfer), Writes), Do(func(Op) { o.buf[1] = 'X' }))}
		r = newDiskRig(t, cfg, DeviceConfig{})
		o = r.op(aio.OpWrite, 0, r.sector('x'), aio.Sigevent{})
		o.cb.Fd = int32(r.dev)
		r.finish(o, r.Write)
		r.wantRule(BufferChanged, "aio_write #1 (job 1", "512 bytes")
	})
}

// Garbage is gone before the bytes come, and so what they do not reach is as it was.
func TestScribbleOnSocketsAndDisks(t *testing.T) {
	eachHostMode(t, func(t *testing.T, cfg Config) {
		for _, at := range []Point{Submitted, Start} {
			cfg.Faults = []Fault{If(And(At(at), Reads), Scribble(7))}
			r, peer := newPairRig(t, cfg)
			o := r.op(aio.OpRead, 0, []byte("0123456789"), aio.Sigevent{})
			r.start(r.Read, o)
			if _, err := unix.Write(peer, []byte("abc")); err != nil {
				t.Fatal(err)
			}
			r.ends(o)
			r.wantReturn(o, 3, 0)
			if string(o.buf) != "abc3456789" {
				t.Errorf("point %d: a socket's read leaves %q", at, o.buf)
			}
		}
		cfg.Faults = []Fault{If(And(At(Submitted), Reads), Scribble(7))}
		d := newDiskRig(t, cfg, DeviceConfig{})
		old := bytes.Repeat([]byte("."), 2*blockSize)
		o := d.op(aio.OpRead, int64(sectors-1)*blockSize, bytes.Clone(old), aio.Sigevent{})
		o.cb.Fd = int32(d.dev)
		d.finish(o, d.Read)
		if want := append(d.sector('h'), old[blockSize:]...); !bytes.Equal(o.buf, want) {
			t.Errorf("a disk's read leaves %.8q and %.8q", o.buf, o.buf[blockSize:])
		}
	})
}

func TestFaultsOfASocketsJob(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     Point
		effect Effect
		n      int
		errno  aio.Errno
	}{
		{"short", Start, Short(2), 2, 0},
		{"short at the transfer", Transfer, Short(2), 2, 0},
		{"an error after a part hides it", Transfer, FailAfter(2, aio.EIO), -1, aio.EIO},
		{"EINTR after a part shows it", Start, FailAfter(2, aio.EINTR), 2, 0},
		{"fails", Transfer, Fail(aio.EPIPE), -1, aio.EPIPE},
		{"fails after all", Result, Fail(aio.EIO), -1, aio.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachHostMode(t, func(t *testing.T, cfg Config) {
				cfg.Faults = []Fault{If(And(At(c.at), Writes), c.effect, Sysctl("vfs.aio.max_aio_queue_per_proc", 77))}
				r, _ := newPairRig(t, cfg)
				o := r.start(r.Write, r.op(aio.OpWrite, 0, []byte("abc"), aio.Sigevent{}))
				r.ends(o)
				r.wantReturn(o, c.n, c.errno)
				if l, _ := r.Limits(); l.MaxQueuePerProc != 77 {
					t.Errorf("the sysctl is %d", l.MaxQueuePerProc)
				}
			})
		})
	}
}

func TestDoAtTheStartOfASocketsJob(t *testing.T) {
	eachHostMode(t, func(t *testing.T, cfg Config) {
		var r *rig
		cfg.Faults = []Fault{If(And(At(Start), Writes), Do(func(Op) { r.CloseKqueue(r.kq) }))}
		r, _ = newPairRig(t, cfg)
		o := r.start(r.Write, r.op(aio.OpWrite, 0, []byte("abc"), aio.Sigevent{}))
		r.ends(o)
		r.wantReturn(o, 3, 0)
		_, errno := r.Kevent(r.kq, nil, make([]aio.Kevent, 1), 0)
		r.wantErrno("kevent", errno, aio.EBADF)
	})
}
