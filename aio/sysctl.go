package aio

import "fmt"

// Sysctl is one of the numbers that bound AIO or tell how it stands, and what the
// code does with it: aio(4) swaps the descriptions of max_aio_per_proc and
// max_aio_queue_per_proc.
// Source: FreeBSD sys/kern/vfs_aio.c, sys_socket.c, subr_param.c, kern_event.c.
type Sysctl struct {
	Name     string
	Default  int64 // in 12 to 15; 0 for a gauge, and for what depends on the machine
	Writable bool  // by root, on the host, at any time
	Meaning  string
}

// sysctlTable is limits first.
var sysctlTable = []Sysctl{
	{"vfs.aio.max_aio_queue", 1024, true, "jobs accepted and not reaped, whole system, all jails"},
	{"vfs.aio.max_aio_queue_per_proc", 256, true, "jobs accepted and not reaped, one process; also the longest list of lio_listio and aio_suspend"},
	{"vfs.aio.max_aio_per_proc", 32, true, "jobs of one process that daemons run at once"},
	{"vfs.aio.max_aio_procs", 32, true, "daemons that run jobs on files, whole system"},
	{"vfs.aio.target_aio_procs", 4, true, "daemons started at a process's first job and kept when idle"},
	{"vfs.aio.aiod_lifetime", 0, true, "how long a daemon above the target stays idle, in clock ticks"},
	{"vfs.aio.max_buf_aio", 16, true, "requests to disks that need mapped buffers, one process; also the most parts of a vectored job on a disk"},
	{"vfs.aio.enable_unsafe", 0, true, "1 lets daemons run jobs on pipes, ttys and remote files, which may block them for ever"},
	{"vfs.aio.unsafe_warningcnt", 1, true, "console warnings about such jobs still to come"},
	{"vfs.aio.num_queue_count", 0, false, "jobs accepted and not reaped now, whole system"},
	{"vfs.aio.num_aio_procs", 0, false, "daemons there are now"},
	{"vfs.aio.num_buf_aio", 0, false, "requests to disks with mapped buffers now"},
	{"vfs.aio.num_unmapped_aio", 0, false, "requests to disks with unmapped buffers now"},
	{"kern.ipc.aio.max_procs", 32, true, "daemons that run jobs on sockets, whole system"},
	{"kern.ipc.aio.target_procs", 4, false, "socket daemons kept when idle"},
	{"kern.ipc.aio.num_procs", 0, false, "socket daemons there are now"},
	{"p1003_1b.aio_listio_max", 256, false, "vfs.aio.max_aio_queue_per_proc by its POSIX name"},
	{"p1003_1b.aio_max", 1024, false, "a constant: it does not follow vfs.aio.max_aio_queue"},
	{"p1003_1b.aio_prio_delta_max", 0, false, "0: jobs have no priorities"},
	{"kern.maxphys", 0, false, "bytes of the largest single part of a job on a disk"},
	{"kern.kq_calloutmax", 4096, true, "timers in all kqueues, whole system"},
}

// Sysctls lists them: the limits, then the gauges, then what lies around. The
// caller owns the slice. [ReadSysctl] reads one.
func Sysctls() []Sysctl { return append([]Sysctl(nil), sysctlTable...) }

// SysctlError says which number could not be read, and why.
type SysctlError struct {
	Name           string
	Err            Errno // EPERM in capability mode, ENOENT for a name the kernel lacks
	CapabilityMode bool  // the process is in capability mode
}

func (e *SysctlError) Error() string {
	s := fmt.Sprintf("aio: sysctl %s: %v", e.Name, e.Err)
	if e.CapabilityMode {
		s += ": the process is in capability mode (capsicum(4)), which hides it; read it before cap_enter(2)"
	}
	return s
}

func (e *SysctlError) Unwrap() error { return e.Err }
