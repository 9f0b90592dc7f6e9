//go:build unix

package sim

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/aioring/aioring/aio"
)

// diskRig is a process with a disk of eight sectors, which hold a to h.
type diskRig struct {
	*rig
	disk *Device
	dev  int
}

const sectors = 8

func newDiskRig(t *testing.T, cfg Config, disk DeviceConfig) *diskRig {
	t.Helper()
	r := &diskRig{rig: newRig(t, cfg)}
	if disk.SectorSize == 0 {
		disk.SectorSize = blockSize
	}
	disk.Size = int64(sectors * disk.SectorSize)
	var err error
	if r.disk, err = r.System().NewDevice(t.TempDir(), disk); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(r.disk.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r.dev = int(f.Fd())
	for i := range sectors {
		if _, err := f.WriteAt(r.sector('a'+byte(i)), int64(i*disk.SectorSize)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *diskRig) sector(b byte) []byte {
	return bytes.Repeat([]byte{b}, r.disk.cfg.SectorSize)
}

// put writes whole sectors by a job.
func (r *diskRig) put(at int, letters string) {
	r.t.Helper()
	var data []byte
	for _, b := range []byte(letters) {
		data = append(data, r.sector(b)...)
	}
	o := r.op(aio.OpWrite, int64(at*r.disk.cfg.SectorSize), data, aio.Sigevent{})
	o.cb.Fd = int32(r.dev)
	r.finish(o, r.Write)
}

func (r *diskRig) finish(o *op, call func(*aio.ControlBlock) aio.Errno) {
	r.t.Helper()
	r.wantErrno("submission", call(o.cb), 0)
	for r.Error(o.cb) == aio.EINPROGRESS {
		if errno := r.Suspend(blocks(o), -1); errno != 0 {
			r.t.Fatal(errno)
		}
	}
	if n, errno := r.Return(o.cb); errno != 0 || n == 0 {
		r.t.Fatal(n, errno)
	}
}

// wantDisk reads the disk by a job: a letter for each sector, ? for a torn one.
func (r *diskRig) wantDisk(when, want string) {
	r.t.Helper()
	buf := make([]byte, r.disk.cfg.Size)
	o := r.op(aio.OpRead, 0, buf, aio.Sigevent{})
	o.cb.Fd = int32(r.dev)
	r.finish(o, r.Read)
	var got strings.Builder
	for ; len(buf) > 0; buf = buf[r.disk.cfg.SectorSize:] {
		if bytes.Equal(buf[:r.disk.cfg.SectorSize], r.sector(buf[0])) {
			got.WriteByte(buf[0])
		} else {
			got.WriteByte('?')
		}
	}
	if got.String() != want {
		r.t.Errorf("%s the disk has %q, want %q", when, got.String(), want)
	}
}

func (r *diskRig) cut(keep func(int64) bool, lost int) {
	r.t.Helper()
	if n, err := r.disk.PowerCut(keep); n != lost || err != nil {
		r.t.Errorf("power cut: %d sectors lost, %v, want %d", n, err, lost)
	}
	if n := r.disk.Unflushed(); n != 0 {
		r.t.Errorf("%d sectors are not flushed after the power cut", n)
	}
}

// Both modes, and sectors larger than the least length of an element.
func onDisks(t *testing.T, cache bool, f func(t *testing.T, r *diskRig)) {
	for name, c := range map[string]struct {
		cfg  Config
		disk DeviceConfig
	}{
		"threaded":        {},
		"stepped":         {cfg: Config{Stepped: true, HostFiles: true}},
		"mapped buffers":  {disk: DeviceConfig{Mapped: true}},
		"sectors of 4096": {disk: DeviceConfig{SectorSize: 4096}},
	} {
		t.Run(name, func(t *testing.T) {
			c.disk.Cache = cache
			f(t, newDiskRig(t, c.cfg, c.disk))
		})
	}
}

func TestPowerCutTakesWhatWasNotFlushed(t *testing.T) {
	onDisks(t, true, func(t *testing.T, r *diskRig) {
		r.put(1, "XY")
		r.put(5, "Z")
		r.wantDisk("before the cut", "aXYdeZgh")
		if n := r.disk.Unflushed(); n != 3 {
			t.Errorf("%d sectors are not flushed, want 3", n)
		}
		r.cut(nil, 3)
		r.wantDisk("after the cut", "abcdefgh")
	})
}

func TestPowerCutLeavesWhatWasFlushed(t *testing.T) {
	onDisks(t, true, func(t *testing.T, r *diskRig) {
		r.put(0, "WXYZ")
		r.disk.Flush()
		if n := r.disk.Unflushed(); n != 0 {
			t.Errorf("%d sectors are not flushed after the flush", n)
		}
		r.put(1, "12")
		r.put(2, "34")
		r.wantDisk("before the cut", "W134efgh")
		r.cut(nil, 3)
		r.wantDisk("after the cut", "WXYZefgh")
	})
}

// A disk may have got as far as writing some of it, in any order.
func TestPowerCutMayTearAWrite(t *testing.T) {
	onDisks(t, true, func(t *testing.T, r *diskRig) {
		r.put(2, "1234")
		size := int64(r.disk.cfg.SectorSize)
		var asked []int64
		r.cut(func(offset int64) bool {
			asked = append(asked, offset/size)
			return offset == 3*size || offset == 5*size
		}, 2)
		if len(asked) != 4 || asked[0] != 2 || asked[3] != 5 {
			t.Errorf("asked about %v", asked)
		}
		r.wantDisk("after the cut", "abc2e4gh")
		r.cut(nil, 0) // what it has kept is on the disk
		r.wantDisk("after a second cut", "abc2e4gh")
	})
}

func TestDiskWithoutCacheLosesNothing(t *testing.T) {
	onDisks(t, false, func(t *testing.T, r *diskRig) {
		r.put(3, "XY")
		r.cut(nil, 0)
		r.wantDisk("after the cut", "abcXYfgh")
	})
}

// Each element of a vector is a request of its own, and in the cache as such.
func TestPowerCutTakesElementsOfAVector(t *testing.T) {
	onDisks(t, true, func(t *testing.T, r *diskRig) {
		o := r.opv(aio.OpWritev, int64(r.disk.cfg.SectorSize), aio.Sigevent{}, r.sector('X'), r.sector('Y'))
		o.cb.Fd = int32(r.dev)
		r.finish(o, r.Writev)
		r.wantDisk("before the cut", "aXYdefgh")
		r.cut(func(offset int64) bool { return offset == int64(r.disk.cfg.SectorSize) }, 1)
		r.wantDisk("after the cut", "aXcdefgh")
	})
}

// What a daemon writes with enable_unsafe is in the cache as well.
func TestPowerCutTakesWhatADaemonWrote(t *testing.T) {
	r := newDiskRig(t, Config{}, DeviceConfig{Cache: true, MaxJob: blockSize})
	r.wantErrno("enable_unsafe", r.System().SetSysctl("vfs.aio.enable_unsafe", 1), 0)
	r.put(1, "XY") // longer than the device takes in one job
	r.wantDisk("before the cut", "aXYdefgh")
	r.cut(nil, 2)
	r.wantDisk("after the cut", "abcdefgh")
}

// A write under way when the power goes comes after it, or not at all: never with
// the old and the new in one sector.
func TestPowerCutWithAWriteUnderWay(t *testing.T) {
	g := NewGate()
	r := newDiskRig(t, Config{Faults: []Fault{If(And(At(Start), Writes), HoldActive(g))}}, DeviceConfig{Cache: true})
	o := r.op(aio.OpWrite, 0, r.sector('X'), aio.Sigevent{})
	o.cb.Fd = int32(r.dev)
	r.wantErrno("write", r.Write(o.cb), 0)
	g.Await(1)
	r.cut(nil, 0)
	g.Open()
	for r.Error(o.cb) == aio.EINPROGRESS {
		r.Suspend(blocks(o), -1)
	}
	r.wantReturn(o, blockSize, 0)
	r.wantDisk("after the write", "Xbcdefgh")
	r.cut(nil, 1)
	r.wantDisk("after a second cut", "abcdefgh")
}

func TestRequestsOfDisksAreCounted(t *testing.T) {
	for name, mapped := range map[string]bool{"vfs.aio.num_unmapped_aio": false, "vfs.aio.num_buf_aio": true} {
		g := NewGate()
		r := newDiskRig(t, Config{Faults: []Fault{If(At(Start), HoldActive(g))}}, DeviceConfig{Mapped: mapped})
		o := r.opv(aio.OpReadv, 0, aio.Sigevent{}, r.sector(0), r.sector(0), r.sector(0))
		o.cb.Fd = int32(r.dev)
		r.wantErrno("read", r.Readv(o.cb), 0)
		if n, errno := r.System().Sysctl(name); n != 3 || errno != 0 {
			t.Errorf("%s is %d, %v, want 3", name, n, errno)
		}
		g.Open()
		for r.Error(o.cb) == aio.EINPROGRESS {
			r.Suspend(blocks(o), -1)
		}
		if n, _ := r.System().Sysctl(name); n != 0 {
			t.Errorf("%s is %d at rest", name, n)
		}
		r.wantReturn(o, 3*blockSize, 0)
	}
}
