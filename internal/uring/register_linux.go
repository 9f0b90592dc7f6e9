package uring

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// escape moves what p points to off the stack, where an address that the kernel is
// told inside another argument would not follow it.
func escape[T any](p *T) *T {
	if never {
		sink = p
	}
	return p
}

var (
	never bool
	sink  any
)

// register is io_uring_register(2).
func (r *Ring) register(op uint32, arg unsafe.Pointer, n uint32) (int, error) {
	for {
		got, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// RegisterEventfd has the kernel signal an eventfd when completions are posted.
// EBUSY: there is one already.
func (r *Ring) RegisterEventfd(fd int) error {
	n := int32(fd)
	_, err := r.register(registerEventfd, unsafe.Pointer(&n), 1)
	return err
}

// RegisterEventfdAsync is RegisterEventfd for what does not complete during
// submission.
func (r *Ring) RegisterEventfdAsync(fd int) error {
	n := int32(fd)
	_, err := r.register(registerEventfdAsync, unsafe.Pointer(&n), 1)
	return err
}

// UnregisterEventfd ends it. ENXIO: there is none.
func (r *Ring) UnregisterEventfd() error {
	_, err := r.register(unregisterEventfd, nil, 0)
	return err
}

// RegisterFiles makes a table of files, of which SQEFixedFile uses the index; -1
// is an empty place. EBUSY: there is one already.
func (r *Ring) RegisterFiles(fds []int32) error {
	_, err := r.register(registerFiles, unsafe.Pointer(unsafe.SliceData(fds)), uint32(len(fds)))
	runtime.KeepAlive(fds)
	return err
}

// RegisterFilesSparse makes a table of n empty places. Linux 5.19.
func (r *Ring) RegisterFilesSparse(n int) error {
	arg := resources{nr: uint32(n), flags: registerFilesSparseFlag}
	_, err := r.register(registerFiles2, unsafe.Pointer(&arg), uint32(unsafe.Sizeof(arg)))
	return err
}

// UpdateFiles replaces files of the table from offset on, and returns how many:
// fewer if a descriptor was bad. -1 empties a place, -2 leaves it.
func (r *Ring) UpdateFiles(offset int, fds []int32) (int, error) {
	arg := filesUpdate{offset: uint32(offset), fds: uint64(uintptr(unsafe.Pointer(escape(unsafe.SliceData(fds)))))}
	n, err := r.register(registerFilesUpdate, unsafe.Pointer(&arg), uint32(len(fds)))
	runtime.KeepAlive(fds)
	return n, err
}

// UnregisterFiles ends the table. ENXIO: there is none.
func (r *Ring) UnregisterFiles() error {
	_, err := r.register(unregisterFiles, nil, 0)
	return err
}

// iovecs describes buffers to the kernel. They must stay reachable while the
// kernel reads the result.
func iovecs(bufs [][]byte) []Iovec {
	vec := make([]Iovec, len(bufs))
	for i, b := range bufs {
		vec[i] = Iovec{Base: uintptr(unsafe.Pointer(escape(unsafe.SliceData(b)))), Len: uintptr(len(b))}
		if b == nil {
			vec[i].Base = 0
		}
	}
	return vec
}

// RegisterBuffers makes a table of buffers for OpReadFixed and OpWriteFixed; a nil
// one is an empty place. The kernel keeps their pages: they must stay in place and
// reachable until UnregisterBuffers or Close, which the caller sees to. EBUSY:
// there is a table already; ENOMEM: RLIMIT_MEMLOCK.
func (r *Ring) RegisterBuffers(bufs [][]byte) error {
	vec := iovecs(bufs)
	_, err := r.register(registerBuffers, unsafe.Pointer(unsafe.SliceData(vec)), uint32(len(vec)))
	runtime.KeepAlive(vec)
	runtime.KeepAlive(bufs)
	return err
}

// RegisterBuffersSparse makes a table of n empty places. Linux 5.19.
func (r *Ring) RegisterBuffersSparse(n int) error {
	arg := resources{nr: uint32(n), flags: registerFilesSparseFlag}
	_, err := r.register(registerBuffers2, unsafe.Pointer(&arg), uint32(unsafe.Sizeof(arg)))
	return err
}

// UpdateBuffers replaces buffers of the table from offset on and returns how many.
func (r *Ring) UpdateBuffers(offset int, bufs [][]byte) (int, error) {
	vec := iovecs(bufs)
	arg := resourceUpdate{
		offset: uint32(offset), nr: uint32(len(vec)),
		data: uint64(uintptr(unsafe.Pointer(escape(unsafe.SliceData(vec))))),
	}
	n, err := r.register(registerBuffersUpdate, unsafe.Pointer(&arg), uint32(unsafe.Sizeof(arg)))
	runtime.KeepAlive(vec)
	runtime.KeepAlive(bufs)
	return n, err
}

// UnregisterBuffers ends the table. ENXIO: there is none.
func (r *Ring) UnregisterBuffers() error {
	_, err := r.register(unregisterBuffers, nil, 0)
	return err
}

// Enable starts a ring that was made with SetupRDisabled. With SetupSingleIssuer
// the calling thread is the one that may submit from here on.
func (r *Ring) Enable() error {
	_, err := r.register(registerEnableRings, nil, 0)
	return err
}

// MaxWorkers bounds the kernel's worker threads for this ring, those for files and
// those for what may block for ever; 0 leaves a bound as it is. It returns what
// the bounds were.
func (r *Ring) MaxWorkers(files, others uint32) (wasFiles, wasOthers uint32, err error) {
	arg := [2]uint32{files, others}
	_, err = r.register(registerIOWQMaxWorkers, unsafe.Pointer(&arg), 2)
	return arg[0], arg[1], err
}

// SyncCancel cancels by user data outside the submission queue, so that neither a
// full queue nor a drain holds it up. It does not wait for what it interrupts.
// ENOENT: nothing matched; ETIME: a worker was interrupted in its call. flags are
// of Cancel*. Linux 6.0.
func (r *Ring) SyncCancel(userData uint64, flags uint32) error {
	arg := syncCancel{addr: userData, fd: -1, flags: flags}
	_, err := r.register(registerSyncCancel, unsafe.Pointer(&arg), 1)
	return err
}

// Probe says which opcodes a kernel has.
type Probe struct {
	supported [registerMaxProbedOpcodes]bool
	last      int
}

// Probe asks the kernel. EINVAL: it is older than 5.6.
func (r *Ring) Probe() (*Probe, error) {
	arg := new(probe)
	if _, err := r.register(registerProbe, unsafe.Pointer(arg), registerMaxProbedOpcodes); err != nil {
		return nil, err
	}
	p := &Probe{last: int(arg.lastOp)}
	for _, op := range arg.ops[:arg.opsLen] {
		p.supported[op.op] = op.flags&1 != 0
	}
	return p, nil
}

// Supports reports whether the kernel has an opcode. One that it does not have
// ends with EINVAL.
func (p *Probe) Supports(op uint8) bool { return p.supported[op] }

// Last is the highest opcode that the kernel knows.
func (p *Probe) Last() int { return p.last }

// Without is the probe of a kernel that lacks these opcodes besides: what an older
// one would answer.
func (p *Probe) Without(ops ...uint8) *Probe {
	masked := *p
	for _, op := range ops {
		masked.supported[op] = false
	}
	return &masked
}
