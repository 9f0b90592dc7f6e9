//go:build unix

package sim

import (
	"time"

	"github.com/aioring/aioring/aio"
)

// sysctls are those that aio.Limits has not.
type sysctls struct {
	lifetime int  // vfs.aio.aiod_lifetime, in ticks
	warnings int  // vfs.aio.unsafe_warningcnt
	clamp    bool // debug.iosize_max_clamp
}

// hz is how many ticks a second has, kern.hz.
const hz = 1000

// defaultSysctls. Source: FreeBSD sys/kern/vfs_aio.c, AIOD_LIFETIME_DEFAULT and
// the definitions beside it.
var defaultSysctls = sysctls{lifetime: 30 * hz, warnings: 1}

// aioMax is p1003_1b.aio_max, which does not follow vfs.aio.max_aio_queue.
const aioMax = 1024

// lifetime is how long a daemon above the target stays without work.
func (s *System) lifetime() time.Duration {
	return ticks(s.kernel.lifetime)
}

func ticks(n int) time.Duration { return time.Duration(n) * (time.Second / hz) }

// sysctl is one variable: where it is, or how it is had when it is read-only.
type sysctl struct {
	number func(s *System) *int
	flag   func(s *System) *bool
	gauge  func(s *System) int
}

// sysctlTable is every variable of aio(4) that this model heeds.
// Source: FreeBSD sys/kern/vfs_aio.c and sys_socket.c, the SYSCTL definitions; posix4_mib.c.
var sysctlTable = map[string]sysctl{
	"vfs.aio.max_aio_queue":          {number: func(s *System) *int { return &s.limits.MaxQueue }},
	"vfs.aio.max_aio_queue_per_proc": {number: func(s *System) *int { return &s.limits.MaxQueuePerProc }},
	"vfs.aio.max_aio_per_proc":       {number: func(s *System) *int { return &s.limits.MaxPerProc }},
	"vfs.aio.max_aio_procs":          {number: func(s *System) *int { return &s.limits.MaxProcs }},
	"vfs.aio.max_buf_aio":            {number: func(s *System) *int { return &s.limits.MaxBuf }},
	"vfs.aio.target_aio_procs":       {number: func(s *System) *int { return &s.limits.TargetProcs }},
	"vfs.aio.aiod_lifetime":          {number: func(s *System) *int { return &s.kernel.lifetime }},
	"vfs.aio.unsafe_warningcnt":      {number: func(s *System) *int { return &s.kernel.warnings }},
	"vfs.aio.enable_unsafe":          {flag: func(s *System) *bool { return &s.limits.EnableUnsafe }},
	"debug.iosize_max_clamp":         {flag: func(s *System) *bool { return &s.kernel.clamp }},
	"kern.ipc.aio.max_procs":         {number: func(s *System) *int { return &s.limits.MaxSocketProcs }},
	"kern.ipc.aio.lifetime":          {number: func(s *System) *int { return &s.socketDaemons.lifetime }},
	"kern.ipc.aio.target_procs":      {gauge: func(*System) int { return socketTarget }},
	"kern.ipc.aio.num_procs":         {gauge: func(s *System) int { s.socketDaemons.expire(s); return s.socketDaemons.procs }},
	"kern.ipc.aio.empty_results":     {gauge: func(s *System) int { return s.socketDaemons.emptyResults }},
	"kern.ipc.aio.empty_retries":     {gauge: func(s *System) int { return s.socketDaemons.emptyRetries }},
	"vfs.aio.num_queue_count":        {gauge: func(s *System) int { return s.queueCount }},
	"vfs.aio.num_buf_aio":            {gauge: func(s *System) int { return s.mappedRequests }},
	"vfs.aio.num_unmapped_aio":       {gauge: func(s *System) int { return s.directRequests }},
	"vfs.aio.num_aio_procs":          {gauge: func(s *System) int { return max(s.daemons, s.kept) }},
	"p1003_1b.aio_listio_max":        {gauge: func(s *System) int { return s.limits.MaxQueuePerProc }},
	"p1003_1b.aio_max":               {gauge: func(*System) int { return aioMax }},
	"p1003_1b.aio_prio_delta_max":    {gauge: func(*System) int { return 0 }},
}

// Sysctl reads a variable by its name; ENOENT: there is none. Flags are 0 and 1.
func (s *System) Sysctl(name string) (int, aio.Errno) {
	v, ok := sysctlTable[name]
	if !ok {
		return 0, aio.ENOENT
	}
	s.lock()
	defer s.unlock()
	switch {
	case v.number != nil:
		return *v.number(s), 0
	case v.flag != nil:
		if *v.flag(s) {
			return 1, 0
		}
		return 0, 0
	}
	return v.gauge(s), 0
}

// SetSysctl changes a variable, at any time, and takes any number, as the kernel
// does: a cap of 0 refuses everything. EPERM: it is read-only. What is in the kernel
// already stays there when a cap falls below it, and daemons above a lowered
// maximum stay until they have been idle for their lifetime (in threaded mode, until
// their job ends).
func (s *System) SetSysctl(name string, value int) aio.Errno {
	v, ok := sysctlTable[name]
	if !ok {
		return aio.ENOENT
	}
	s.lock()
	defer s.unlock()
	return s.store(v, name, value)
}

func (s *System) store(v sysctl, name string, value int) aio.Errno {
	switch {
	case v.number != nil:
		*v.number(s) = value
	case v.flag != nil:
		*v.flag(s) = value != 0
	default:
		return aio.EPERM
	}
	if t := s.tracer; t != nil {
		t.begin(s, nil, "sysctl").word(name).num("value", int64(value)).end()
	}
	s.kick()
	s.kickSocketDaemons()
	return 0
}
