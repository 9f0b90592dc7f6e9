//go:build unix

package aiotest

import (
	"time"

	"github.com/aioring/aioring/aio"
)

// The sysctls that are no limits: gauges, and limits by other names.

const (
	soaiod   = "FreeBSD sys/kern/sys_socket.c, soaio_enqueue and soaio_kproc_create"
	posix4   = "FreeBSD sys/kern/vfs_aio.c, aio_onceonly and sysctl_aio_max_queue_per_proc; posix4_mib.c"
	bioGauge = "FreeBSD sys/kern/vfs_aio.c, aio_qbio and aio_biocleanup"
)

func (r *rig) sysctl(name string) int {
	r.Helper()
	if r.target.Sysctl == nil {
		r.Skip("sysctls cannot be read here")
	}
	n, err := r.target.Sysctl(r.k, name)
	if err != nil {
		r.Fatalf("%s: %v", name, err)
	}
	return n
}

// waitSysctl waits until a gauge is at least so high.
func (r *rig) waitSysctl(name string, least int) {
	r.Helper()
	for deadline := time.Now().Add(patience); r.sysctl(name) < least; r.pause(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("%s is %d after %v, want %d", name, r.sysctl(name), patience, least)
		}
	}
}

var sysctlCases = []testCase{
	{name: "sysctl/aio_listio_max is max_aio_queue_per_proc", source: posix4, alone: true, run: func(r *rig) {
		for _, n := range []int{17, 300} {
			r.room(n)
			if got := r.sysctl("p1003_1b.aio_listio_max"); got != n {
				r.Errorf("%d, want %d", got, n)
			}
		}
	}},
	{name: "sysctl/aio_max does not follow max_aio_queue", source: posix4, alone: true, run: func(r *rig) {
		before := r.sysctl("p1003_1b.aio_max")
		r.setLimits(func(l *aio.Limits) { l.MaxQueue += 100 })
		if got := r.sysctl("p1003_1b.aio_max"); got != before {
			r.Errorf("%d, it was %d", got, before)
		}
		if got := r.sysctl("vfs.aio.max_aio_queue"); got != r.limits().MaxQueue {
			r.Errorf("max_aio_queue is %d, the limits have %d", got, r.limits().MaxQueue)
		}
	}},
	{name: "sysctl/there are no priorities", source: posix4, run: func(r *rig) {
		if got := r.sysctl("p1003_1b.aio_prio_delta_max"); got != 0 {
			r.Errorf("%d", got)
		}
	}},
	{name: "sysctl/daemons come with the first job, as many as stay", source: "FreeBSD sys/kern/vfs_aio.c, aio_init_aioinfo", run: func(r *rig) {
		r.warmUp()
		l := r.limits()
		if got := r.sysctl("vfs.aio.num_aio_procs"); got < min(l.TargetProcs, l.MaxProcs) || got > l.MaxProcs {
			r.Errorf("%d daemons, want %d to %d", got, l.TargetProcs, l.MaxProcs)
		}
	}},
	{name: "sysctl/daemons are never more than the limit", source: "FreeBSD sys/kern/vfs_aio.c, aio_kick_nowait", alone: true, run: func(r *rig) {
		jobs := r.reads(4 * r.limits().MaxProcs)
		for _, j := range jobs {
			r.start(j)
			if got, most := r.sysctl("vfs.aio.num_aio_procs"), r.limits().MaxProcs; got > most {
				r.Fatalf("%d daemons, the limit is %d", got, most)
			}
		}
		r.reapAll(1, jobs...)
	}},
	{name: "sysctl/daemons for sockets come with the first job, as many as stay", source: soaiod, run: func(r *rig) {
		a, b := r.sockets()
		j := r.read(a, 0, 1)
		r.start(j)
		r.send(b, "x")
		r.reap(j, 1, 0)
		r.waitSysctl("kern.ipc.aio.num_procs", r.sysctl("kern.ipc.aio.target_procs"))
		if got, most := r.sysctl("kern.ipc.aio.num_procs"), r.limits().MaxSocketProcs; got > most {
			r.Errorf("%d daemons, the limit is %d", got, most)
		}
		if got := r.sysctl("kern.ipc.aio.max_procs"); got != r.limits().MaxSocketProcs {
			r.Errorf("max_procs is %d, the limits have %d", got, r.limits().MaxSocketProcs)
		}
	}},
	{name: "sysctl/daemons for sockets stay when they are idle", source: soaiod + "; soaio_kproc_loop", run: func(r *rig) {
		for range 3 {
			r.roundTrip()
		}
		r.waitSysctl("kern.ipc.aio.num_procs", r.sysctl("kern.ipc.aio.target_procs"))
	}},
	{name: "sysctl/empty_results: a write that was sent in part and found no more room", source: soaio, run: func(r *rig) {
		a, b := r.sockets()
		before := r.sysctl("kern.ipc.aio.empty_results")
		j := r.write(a, 0, repeat("0123456789", much))
		r.start(j)
		r.waitSysctl("kern.ipc.aio.empty_results", before+1)
		r.receive(b, much)
		r.reap(j, much, 0)
	}},
	{name: "sysctl/num_unmapped_aio and num_buf_aio: none at rest", source: bioGauge, run: func(r *rig) {
		fd := r.disk()
		var jobs []*job
		for i := range 16 {
			jobs = append(jobs, r.readv(fd, int64(i)*sectorSize, sectorSize, sectorSize))
		}
		r.start(jobs...)
		r.reapAll(2*sectorSize, jobs...)
		for _, name := range []string{"vfs.aio.num_unmapped_aio", "vfs.aio.num_buf_aio"} {
			if got := r.sysctl(name); got != 0 {
				r.Errorf("%s is %d", name, got)
			}
		}
	}},
}
