package aio

import "golang.org/x/sys/unix"

// sysctls are the numbers of Limits, with the defaults of aio(4).
var sysctls = []struct {
	name    string
	missing int
	field   func(l *Limits) *int
}{
	{"vfs.aio.max_aio_queue", 1024, func(l *Limits) *int { return &l.MaxQueue }},
	{"vfs.aio.max_aio_queue_per_proc", 256, func(l *Limits) *int { return &l.MaxQueuePerProc }},
	{"vfs.aio.max_aio_per_proc", 32, func(l *Limits) *int { return &l.MaxPerProc }},
	{"vfs.aio.max_aio_procs", 32, func(l *Limits) *int { return &l.MaxProcs }},
	{"vfs.aio.target_aio_procs", 4, func(l *Limits) *int { return &l.TargetProcs }},
	{"vfs.aio.max_buf_aio", 16, func(l *Limits) *int { return &l.MaxBuf }},
	{"kern.ipc.aio.max_procs", 32, func(l *Limits) *int { return &l.MaxSocketProcs }},
	{"vfs.aio.num_queue_count", 0, func(l *Limits) *int { return &l.QueueCount }},
}

const enableUnsafe = "vfs.aio.enable_unsafe"

// Limits asks the kernel for each number. One that this kernel does not have gets
// the default of aio(4). One that may not be read, in capability mode say, is what
// it was the last time, and the error names it: a [*SysctlError], which unwraps to EPERM.
func (k *FreeBSD) Limits() (Limits, error) {
	var l Limits
	for _, s := range sysctls {
		*s.field(&l) = s.missing
	}
	if known := k.known.Load(); known != nil {
		l = *known
	}
	var refused error
	read := func(name string, missing int, v *int) {
		switch got, err := unix.SysctlUint32(name); err {
		case nil:
			*v = int(int32(got))
		case unix.ENOENT:
			*v = missing
		default:
			if refused == nil {
				refused = sysctlError(name, err)
			}
		}
	}
	for _, s := range sysctls {
		read(s.name, s.missing, s.field(&l))
	}
	on := 0
	if l.EnableUnsafe {
		on = 1
	}
	read(enableUnsafe, 0, &on)
	l.EnableUnsafe = on != 0
	if refused == nil {
		k.known.Store(&l)
	}
	return l, refused
}
