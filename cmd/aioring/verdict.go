package main

import (
	"fmt"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
)

// demand is what a probe is asked for.
type demand struct {
	depth     int // jobs in flight in one process
	processes int
}

// conditions are what FreeBSD's verdict rests on.
type conditions struct {
	limits aio.Limits
	hidden string // why the limits could not be read, if they could not
	jailed bool

	jobBytes    int64 // kernel memory of one queued job, its event included; 0 if not known
	daemonBytes int64 // of one daemon
	maxProc     int   // kern.maxproc: processes, kernel daemons included; 0 if not known

	// mapped: a disk was asked about, and disks need their buffers mapped.
	mapped bool
}

// mappedBuffers is how many mapped buffers AIO has in the whole system, whatever
// vfs.aio.max_buf_aio allows to one process. Who finds none sleeps in the submission,
// and a job of more parts than there are never comes out of it.
// Source: FreeBSD sys/vm/vm_pager.c, vm_pager_bufferinit, NSWBUF_MIN; sys/kern/vfs_aio.c, aio_qbio.
const mappedBuffers = 16

// verdict says whether a demand is served, and what would serve it.
type verdict struct {
	Served  bool           `json:"served"`
	Known   bool           `json:"known"` // false: the limits could not be read, and Served is false
	Words   []string       `json:"words"`
	File    string         `json:"file,omitempty"` // where Sysctls belong
	Sysctls []sysctlAdvice `json:"sysctls"`
}

// sysctlAdvice is one line for sysctl.conf.
type sysctlAdvice struct {
	Name   string `json:"name"`
	Now    int    `json:"now"`
	Value  int    `json:"value"`
	Line   string `json:"line"`
	Needed bool   `json:"needed"` // false: served without, but fewer jobs run at once
	Cost   string `json:"cost"`

	// What is used when the new limit is reached, beyond what it is at the old one.
	KernelBytes int64 `json:"kernel_bytes"`
	Daemons     int   `json:"daemons"`
}

// unsafeWarning is for a kernel with vfs.aio.enable_unsafe=1.
const unsafeWarning = "vfs.aio.enable_unsafe is 1: AIO takes pipes, ttys and remote files too. A read of an empty pipe then holds a daemon, and its process's exit hangs in the kernel. aioring never needs it; set it to 0."

// sysctlFile is where sysctls are set for good.
const sysctlFile = "/etc/sysctl.conf"

// judge decides for FreeBSD's AIO. Slots decide whether the demand is served;
// daemons decide how much of it runs at once.
func judge(d demand, c conditions) verdict {
	v := verdict{Known: c.hidden == "", File: sysctlFile, Sysctls: []sysctlAdvice{}}
	if c.jailed {
		v.File = "the host's " + sysctlFile
	}
	asked := d.String()
	if !v.Known {
		v.say("%s: not known to be served: the limits cannot be read. %s.", asked, c.hidden)
		return v
	}
	l, total := c.limits, d.depth*d.processes
	perProcess, system := d.depth <= l.MaxQueuePerProc, total <= l.MaxQueue-l.QueueCount
	buffers := !c.mapped || d.depth <= l.MaxBuf && total <= mappedBuffers
	v.Served = perProcess && system && buffers
	if v.Served {
		v.say("%s: served. One process may have %d, the system %d, of which %d are taken now.", asked, l.MaxQueuePerProc, l.MaxQueue, l.QueueCount)
	} else {
		v.say("%s: not served.", asked)
	}

	if !perProcess {
		v.say("One process may have %d.", l.MaxQueuePerProc)
		v.advise("vfs.aio.max_aio_queue_per_proc", l.MaxQueuePerProc, d.depth, true, 0, 0,
			"nothing by itself: the system's limit bounds the memory; a longer queue makes every reap search longer")
	}
	if !system {
		v.say("The system may have %d, and %d are taken now.", l.MaxQueue, l.QueueCount)
		value := total + l.QueueCount
		bytes := int64(value-l.MaxQueue) * c.jobBytes
		v.advise("vfs.aio.max_aio_queue", l.MaxQueue, value, true, bytes, 0,
			fmt.Sprintf("%s when all are taken, by any user", kernelMemory(bytes)))
	}
	if !buffers {
		whose := ""
		if c.jailed {
			whose = "the host's "
		}
		v.say("Disks need their buffers mapped here: a process may have %d requests to them, the system %d. No sysctl changes the second, so vfs.aio.max_buf_aio is best left alone.", l.MaxBuf, mappedBuffers)
		v.say("vfs.unmapped_buf_allowed=1 in %s/boot/loader.conf ends that from the next boot on.", whose)
	}
	if !v.Served {
		v.say("aioring holds back what does not fit until slots are free: slower, and nothing is lost.")
	}
	v.daemons(d, c)
	if c.jailed {
		v.say("This is a jail: its AIO slots and daemons are shared with all jails and the host, and only the host's root can change the limits.")
	}
	return v
}

// daemons is about how many of the jobs run at once.
func (v *verdict) daemons(d demand, c conditions) {
	l, total := c.limits, d.depth*d.processes
	if d.depth <= l.MaxPerProc && total <= l.MaxProcs {
		return
	}
	v.say("On file systems %d jobs run at once, %d of one process; the others wait in the kernel. More daemons help slow media only. Disks need none.",
		l.MaxProcs, min(l.MaxPerProc, l.MaxProcs))
	if c.maxProc > 0 && total > c.maxProc/2 {
		v.say("To run all at once would take %d daemons, and the system may have %d processes (kern.maxproc).", total, c.maxProc)
		return
	}
	if d.depth > l.MaxPerProc {
		v.advise("vfs.aio.max_aio_per_proc", l.MaxPerProc, d.depth, false, 0, 0,
			"nothing by itself, but one process can take so many of the daemons that all share")
	}
	if more := total - l.MaxProcs; more > 0 {
		bytes := int64(more) * c.daemonBytes
		v.advise("vfs.aio.max_aio_procs", l.MaxProcs, total, false, bytes, more,
			fmt.Sprintf("%d daemons more under load, %s; idle ones end", more, kernelMemory(bytes)))
	}
}

// kernelMemory is a number of bytes in words.
func kernelMemory(n int64) string {
	if n == 0 {
		return "an unknown amount of kernel memory"
	}
	return humanBytes(n) + " of kernel memory"
}

func (v *verdict) say(format string, args ...any) {
	v.Words = append(v.Words, fmt.Sprintf(format, args...))
}

func (v *verdict) advise(name string, now, value int, needed bool, bytes int64, daemons int, cost string) {
	v.Sysctls = append(v.Sysctls, sysctlAdvice{
		Name: name, Now: now, Value: value, Line: fmt.Sprintf("%s=%d", name, value), Needed: needed,
		Cost: cost, KernelBytes: bytes, Daemons: daemons,
	})
}

// judgeOther decides for the kernels whose queue is the ring's own. why is what
// stands against a ring here, if anything does.
func judgeOther(d demand, kernel, why string) verdict {
	v := verdict{Known: true, Served: why == "", Sysctls: []sysctlAdvice{}}
	asked := d.String()
	if why != "" {
		v.say("%s: not served: %s.", asked, why)
		return v
	}
	switch kernel {
	case aioring.KernelURing:
		v.say("%s: served by io_uring. The kernel sets no limit of its own on operations in flight.", asked)
	default:
		v.say("%s: served by %s: plain calls on a bounded number of workers. The others wait inside the process.", asked, kernel)
	}
	if d.depth > aioring.DefaultMaxOps {
		v.say("A ring has %d operations alive unless WithMaxOps allows more.", aioring.DefaultMaxOps)
	}
	return v
}

// String is the demand in words.
func (d demand) String() string {
	if d.processes == 1 {
		return fmt.Sprintf("%s in flight in one process", plural(d.depth, "job"))
	}
	return fmt.Sprintf("%s in flight in each of %d processes", plural(d.depth, "job"), d.processes)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
