package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// probeSystem asks FreeBSD's kernel, by sysctls and by trying. Nothing is decided
// by kern.osreldate.
func probeSystem(f *probeFacts, d demand, paths []string) {
	s := &f.System
	s.Release, _ = unix.Sysctl("kern.osrelease")
	version, _ := unix.Sysctl("kern.version")
	s.Version, _, _ = strings.Cut(version, "\n")
	s.Hypervisor, _ = unix.Sysctl("kern.vm_guest")
	s.Jail, s.Vnet = sysctlFlag("security.jail.jailed"), sysctlFlag("security.jail.vnet")
	sandboxed := aio.CapabilityMode()
	s.CapabilityMode = &sandboxed

	for _, c := range aio.Sysctls() {
		l := limitFact{Name: c.Name, Writable: c.Writable, Meaning: c.Meaning}
		if c.Default != 0 || c.Writable && !strings.HasSuffix(c.Name, "lifetime") {
			l.Default = &c.Default
		}
		if v, err := aio.ReadSysctl(c.Name); err != nil {
			l.Error = err.Error()
		} else {
			l.Value = &v
		}
		f.Limits = append(f.Limits, l)
	}

	k, err := aio.NewFreeBSD()
	if err != nil {
		f.KernelError = err.Error()
		f.Verdict = judgeOther(d, f.Kernel, f.KernelError)
		return
	}
	s.Osreldate = k.Osreldate()
	f.Features = freebsdFeatures(k)
	t := aioTrier{k}
	disks := false
	for _, path := range paths {
		p := probePath(t, path)
		disks = disks || p.Type == "disk"
		f.Paths = append(f.Paths, p)
	}

	limits, err := k.Limits()
	c := conditions{limits: limits, jailed: s.Jail != nil && *s.Jail}
	if err != nil {
		c.hidden = err.Error()
	}
	c.jobBytes = sum("vm.uma.AIOCB.size", "vm.uma.KNOTE.size")
	if page, err := aio.ReadSysctl("hw.pagesize"); err == nil {
		if c.daemonBytes = sum("vm.uma.PROC.size", "vm.uma.THREAD.size"); c.daemonBytes > 0 {
			c.daemonBytes += page * sum("kern.kstack_pages")
		}
	}
	c.maxProc = int(sum("kern.maxproc"))
	if unmapped, err := aio.ReadSysctl("vfs.unmapped_buf_allowed"); err == nil && unmapped == 0 {
		c.mapped = disks
	}
	f.Verdict = judge(d, c)
	if limits.EnableUnsafe {
		f.Warnings = append(f.Warnings, unsafeWarning)
	}
	for i := range f.Paths {
		f.Paths[i].explain(limits.EnableUnsafe)
	}
}

// sysctlFlag is nil for what cannot be read.
func sysctlFlag(name string) *bool {
	v, err := aio.ReadSysctl(name)
	if err != nil {
		return nil
	}
	on := v != 0
	return &on
}

// sum adds up numbers; 0 if one of them cannot be read.
func sum(names ...string) int64 {
	total := int64(0)
	for _, name := range names {
		v, err := aio.ReadSysctl(name)
		if err != nil {
			return 0
		}
		total += v
	}
	return total
}

// freebsdFeatures asks the kernel itself.
func freebsdFeatures(k aio.Kernel) []featureFact {
	yes := true
	features := []featureFact{
		{"aio_readv, aio_writev", &yes, "every kernel since 13.0; not tried, for where they are missing they kill the process"},
		{"aio_fsync with O_DSYNC", &yes, "every kernel since 13.0"},
	}
	learned, err := aio.LearnFeatures(k)
	vectors, offset, how := &learned.VectoredLists, &learned.ListFoffset, "asked of lio_listio"
	if err != nil {
		vectors, offset, how = nil, nil, err.Error()
	}
	return append(features,
		featureFact{"LIO_READV, LIO_WRITEV in lists", vectors, how},
		featureFact{"LIO_FOFFSET in lists", offset, how})
}

// aioTrier tries by AIO itself, beside any ring, which would hide a refusal.
type aioTrier struct{ k aio.Kernel }

// trialTimeout is for a file system that does not answer.
const trialTimeout = 10 * time.Second

func (t aioTrier) try(call aio.Call, fd int, buf []byte) (int, bool, error) {
	n, accepted, err := aio.Try(t.k, call, fd, 0, buf, trialTimeout)
	if errors.Is(err, aio.EOPNOTSUPP) {
		err = fmt.Errorf("%w: AIO does not take this file", err)
	}
	return n, accepted, err
}

func (t aioTrier) takes(stat aio.FileStat) (bool, string) {
	if stat.AIO() {
		return true, ""
	}
	return false, "not given to AIO, where it could block a daemon for ever; aioring uses plain calls on a worker"
}

// charDevicesAreDisks: FreeBSD has no block devices.
const charDevicesAreDisks = true

// diocgsectorsize is _IOR('d', 128, u_int). Source: FreeBSD sys/sys/disk.h.
const diocgsectorsize = 0x40046480

func alignmentOf(fd int, stat aio.FileStat) *alignmentFact {
	a := &alignmentFact{Memory: 1, Offset: 1, Length: 1}
	if stat.Type == aio.TypeDisk {
		a.Offset, a.Length = 512, 512
		if sector, err := unix.IoctlGetInt(fd, diocgsectorsize); err == nil && sector > 0 {
			a.Offset, a.Length = sector, sector
		}
		if part, err := aio.ReadSysctl("kern.maxphys"); err == nil {
			a.MaxPart = int(part)
		}
		a.Words = fmt.Sprintf("offset and length by %d bytes, %d at most in one part", a.Length, a.MaxPart)
		return a
	}
	a.Words = "none needed"
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil && fs.Iosize > 0 {
		a.Preferred = int(fs.Iosize)
		a.Words += fmt.Sprintf("; transfers of whole blocks of %d bytes suit it best", a.Preferred)
	}
	return a
}

func filesystemOf(fd int) *filesystemFact {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return nil
	}
	fact := &filesystemFact{
		Type: unix.ByteSliceToString(fs.Fstypename[:]), Mounted: unix.ByteSliceToString(fs.Mntonname[:]),
		From: unix.ByteSliceToString(fs.Mntfromname[:]),
	}
	// devfs is local and hides it: its statfs answers no flags at all.
	// Source: FreeBSD sys/fs/devfs/devfs_vfsops.c, devfs_statfs.
	if fact.Type != "devfs" {
		local := fs.Flags&unix.MNT_LOCAL != 0
		fact.Local = &local
	}
	return fact
}
