//go:build unix

package sim

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/aioring/aioring/aio"
)

// DeviceConfig describes a disk. The zero value is one of 64 MiB without a cache,
// as a virtio disk of FreeBSD has its limits.
type DeviceConfig struct {
	Size       int64 // bytes, a multiple of SectorSize
	SectorSize int   // of the media, 512 or a multiple of it
	MaxRequest int   // maxphys: the most bytes of one element, 1 MiB
	MaxJob     int   // si_iosize_max: the most bytes of one job, 1 MiB
	Mapped     bool  // needs its buffers mapped, so that each element takes one of vfs.aio.max_buf_aio
	Cache      bool  // has a volatile write cache, see Flush and PowerCut
}

// Device is a disk device of the model: a file of the host of which AIO thinks that
// it is a disk, by whatever descriptor. Its jobs are requests to the device itself,
// under a disk's own rules, and no daemon takes part.
//
// Calls of other packages on the descriptors see a file. What they write is not in
// the cache but on the disk.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_qbio and aio_biowakeup;
// sys/geom/geom_io.c, g_io_check.
type Device struct {
	s      *System
	cfg    DeviceConfig
	id     diskID
	path   string
	mu     sync.Mutex
	before map[int64][]byte // by sector: what was there at the last Flush
}

type diskID struct{ dev, ino uint64 }

// blockSize is what the length of every element must be a multiple of, whatever
// the sectors are (v_bufobj.bo_bsize of devfs).
const blockSize = 512

// NewDevice makes a disk in a folder of the host.
func (s *System) NewDevice(dir string, cfg DeviceConfig) (*Device, error) {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&cfg.SectorSize, blockSize)
	set(&cfg.MaxRequest, 1<<20)
	set(&cfg.MaxJob, 1<<20)
	if cfg.Size == 0 {
		cfg.Size = 64 << 20
	}
	if cfg.SectorSize%blockSize != 0 || cfg.Size%int64(cfg.SectorSize) != 0 || cfg.SectorSize <= 0 || cfg.Size <= 0 {
		return nil, fmt.Errorf("sim: a disk of %d bytes in sectors of %d", cfg.Size, cfg.SectorSize)
	}
	f, err := os.CreateTemp(dir, "disk")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, errno := fstat(int(f.Fd()))
	err = f.Truncate(cfg.Size)
	if errno != 0 {
		err = errno
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	d := &Device{s: s, cfg: cfg, id: diskID{st.Dev, st.Ino}, path: f.Name(), before: make(map[int64][]byte)}
	s.disks.Store(d.id, d)
	return d, nil
}

// Path is the name to open the disk by.
func (d *Device) Path() string { return d.path }

// Remove takes the device away. Its descriptors name a file from then on; jobs in
// flight end as they would.
func (d *Device) Remove() error {
	d.s.disks.Delete(d.id)
	return os.Remove(d.path)
}

// Flush makes what was written survive a power cut, as DIOCGFLUSH does.
func (d *Device) Flush() {
	d.mu.Lock()
	clear(d.before)
	d.mu.Unlock()
}

// PowerCut empties the cache: each sector written since the last Flush gets back
// what it had then, unless keep says that the disk got as far as writing it. keep
// is asked about the offset of each, in order; nil keeps none. It returns how many
// sectors have lost what was written.
func (d *Device) PowerCut(keep func(offset int64) bool) (lost int, err error) {
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	var offsets []int64
	for off := range d.before {
		offsets = append(offsets, off)
	}
	slices.Sort(offsets)
	for _, off := range offsets {
		if keep != nil && keep(off) {
			continue
		}
		if _, err := f.WriteAt(d.before[off], off); err != nil {
			return lost, err
		}
		lost++
	}
	clear(d.before)
	return lost, nil
}

// Unflushed is how many sectors a power cut may lose.
func (d *Device) Unflushed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.before)
}

// disk is the disk that a file is, or nil.
func (s *System) disk(st aio.FileStat) *Device {
	if d, ok := s.disks.Load(diskID{st.Dev, st.Ino}); ok {
		return d.(*Device)
	}
	return nil
}

// asDisk corrects what the host says of a disk: it is a character device.
func (s *System) asDisk(st *hostStat) {
	if st.disk = s.disk(st.FileStat); st.disk != nil {
		st.charDevice, st.vnode, st.safe = true, true, false
		st.Type, st.Rdev = aio.TypeDisk, st.Ino
	}
}

// isDisk reports whether a descriptor is a disk's.
func (s *System) isDisk(fd int) bool {
	st, errno := fstat(fd)
	return errno == 0 && s.disk(st.FileStat) != nil
}

// backend is the last step of a submission: who takes the job.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_queue_file; sys_socket.c, soo_aio_queue.
func (c *call) backend(j *job, st *hostStat) aio.Errno {
	switch {
	case st.Type == aio.TypeSocket:
		if isListening(int(j.fd)) {
			return aio.EINVAL
		}
		return 0
	case st.disk != nil && st.disk.takes(j, c.k.sys.limits.MaxBuf):
		j.direct = true
		return 0
	case st.safe:
		return 0
	case !c.k.sys.limits.EnableUnsafe:
		return aio.EOPNOTSUPP
	}
	if s := c.k.sys; s.kernel.warnings > 0 {
		s.kernel.warnings--
		if t := s.tracer; t != nil {
			t.begin(s, c.k, "console: is attempting to use unsafe AIO requests").end()
		}
	}
	return 0
}

// takes reports whether a job goes to the device itself: what does not is a
// daemon's, and as daemons may hang on devices it is refused.
func (d *Device) takes(j *job, maxBuf int) bool {
	if j.sync() || j.foffset {
		return false
	}
	n := 0
	for _, piece := range j.pieces() {
		n++
		if n > maxBuf || piece.Len%blockSize != 0 || piece.Len > uintptr(d.cfg.MaxRequest) {
			return false
		}
	}
	return j.nbytes <= uintptr(d.cfg.MaxJob)
}

// pieces are the elements of a job, one for a plain one.
func (j *job) pieces() []aio.Iovec {
	if j.op&opVectored == 0 {
		j.iov = append(j.iov[:0], aio.Iovec{Base: j.buf, Len: j.nbytes})
	}
	return j.iov
}

// claim takes what a job needs of the process's mapped buffers, and finds out
// about addresses that are none. Then the buffers from there on are never given
// back: that is how the kernel does it.
func (k *Kernel) claim(j *job) aio.Errno {
	n := len(j.pieces())
	gauge := j.file.disk.gauge()
	if j.file.disk.cfg.Mapped {
		if k.buffers+n > k.sys.limits.MaxBuf {
			return aio.EAGAIN
		}
		k.buffers += n
	}
	for i, piece := range j.pieces() {
		if piece.Len > 0 && uintptr(piece.Base) < minPointer {
			if j.file.disk.cfg.Mapped {
				k.buffers -= i
			}
			return aio.EFAULT
		}
	}
	*gauge += n
	return 0
}

// gauge counts the requests that the disk has of the kind that it takes.
func (d *Device) gauge() *int {
	if d.cfg.Mapped {
		return &d.s.mappedRequests
	}
	return &d.s.directRequests
}

// start gives an accepted job to whoever runs it.
func (s *System) start(j *job) {
	switch {
	case j.direct:
		j.state = active
		if len(j.pieces()) == 0 {
			// Nothing is asked of the device, so nothing ever ends the job.
			j.k.report(Stuck, j.name(), "a job of no elements on a disk, which never ends")
			j.state = endless
			return
		}
		if s.stepped != nil {
			s.takeStepped(j, false)
			return
		}
		s.servers++
		go s.request(j)
	case j.socket():
		s.queueSocket(j)
	default:
		s.schedule(j)
	}
}

// request is the way of a job through the device, one request for each element.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_biowakeup.
func (s *System) request(j *job) {
	d := j.file.disk
	effect := j.k.askThere(func() Op { return opOfJob(j, Transfer) })
	s.lock()
	j.verify()
	s.unlock()
	moved, failure := d.transfer(j, &effect, true)
	effect = j.k.askThere(func() Op { return opOfJob(j, Result) })
	effect.wait()
	if effect.Errno != 0 {
		failure = effect.Errno
	}
	s.lock()
	s.finishDirect(j, moved, failure)
	s.servers--
	s.quiet.Broadcast()
	s.unlock()
}

// finishDirect ends a job that no daemon had.
func (s *System) finishDirect(j *job, moved int, errno aio.Errno) {
	*j.file.disk.gauge() -= len(j.pieces())
	if j.file.disk.cfg.Mapped {
		j.k.buffers -= len(j.pieces())
	}
	j.k.finish(j, moved, errno)
}

// transfer moves every element, also after one that failed. whole is done to each;
// before it comes what a fault at Start says, which with each is asked of every one,
// by its own offset and length.
func (d *Device) transfer(j *job, whole *Effect, each bool) (moved int, failure aio.Errno) {
	offset := j.offset
	for _, piece := range j.pieces() {
		op := opOfJob(j, Start)
		op.Offset, op.Bytes = offset, piece.Len
		effect := *whole
		if each {
			start := j.k.askThere(func() Op { return op })
			start.wait()
			effect = start.or(effect)
		}
		n, errno := 0, effect.Errno
		if errno == 0 {
			length := piece.Len
			if effect.limited {
				length = min(length, effect.Limit)
			}
			n, errno = d.one(j, view[byte](piece.Base, int(length)), offset, int64(piece.Len))
			if errno == 0 {
				errno = effect.after
			}
		}
		moved += n
		if errno != 0 {
			if j.k.feat.lastErrno {
				failure = errno
			} else {
				failure |= errno
			}
		}
		offset += int64(piece.Len)
	}
	return moved, failure
}

// one is one request to the device, which wants length bytes and moves p.
// Source: FreeBSD sys/geom/geom_io.c, g_io_check.
func (d *Device) one(j *job, p []byte, offset, length int64) (int, aio.Errno) {
	sector := int64(d.cfg.SectorSize)
	switch {
	case offset%sector != 0 || length%sector != 0:
		return 0, aio.EINVAL
	case offset < 0 || offset > d.cfg.Size:
		return 0, aio.EIO
	}
	p = p[:min(int64(len(p)), d.cfg.Size-offset)]
	if len(p) == 0 {
		return 0, 0
	}
	t := transfer{fd: j.file.host, write: j.write(), offset: offset}
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.write() && d.cfg.Cache {
		if errno := d.remember(j.file.host, offset, int64(len(p))); errno != 0 {
			return 0, errno
		}
	}
	return t.plain(p)
}

// remember keeps what the sectors hold that are written for the first time since
// the last Flush.
func (d *Device) remember(fd int, offset, length int64) aio.Errno {
	sector := int64(d.cfg.SectorSize)
	for at := offset; at < offset+length; at += sector {
		if _, ok := d.before[at]; ok {
			continue
		}
		old := make([]byte, sector)
		t := transfer{fd: fd, offset: at}
		if _, errno := t.plain(old); errno != 0 {
			return errno
		}
		d.before[at] = old
	}
	return 0
}

// run is a job on a disk that a daemon got, with enable_unsafe: an ordinary read
// or write of the device, which goes by the device's rules too.
// Source: FreeBSD sys/kern/kern_physio.c, physio.
func (d *Device) run(j *job) (int, aio.Errno) {
	moved := 0
	offset := j.offset
	for _, piece := range j.pieces() {
		if piece.Len > 0 && uintptr(piece.Base) < minPointer {
			return -1, aio.EFAULT
		}
		n, errno := d.one(j, view[byte](piece.Base, int(piece.Len)), offset, int64(piece.Len))
		if errno != 0 {
			return -1, errno
		}
		moved += n
		offset += int64(n)
		if n < int(piece.Len) {
			break
		}
	}
	return moved, 0
}
