package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// uringStanding is what may stand between a process and io_uring on Linux, as
// /proc tells it.
type uringStanding struct {
	disabled *int // kernel.io_uring_disabled; nil where there is none
	group    int  // kernel.io_uring_group, -1 for none
	groups   []int
	admin    bool // CAP_SYS_ADMIN
	seccomp  int
}

// capSysAdmin is CAP_SYS_ADMIN's bit. Source: capabilities(7).
const capSysAdmin = 21

// readStatus takes what /proc/self/status says of seccomp, groups and
// capabilities. Source: proc_pid_status(5).
func (s *uringStanding) readStatus(status string) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields := strings.Fields(value)
		switch name {
		case "Seccomp":
			s.seccomp, _ = strconv.Atoi(strings.TrimSpace(value))
		case "Gid":
			if len(fields) == 4 {
				fields = fields[3:] // the one for files, which is the effective one but for setfsgid(2)
			}
			fallthrough
		case "Groups":
			for _, f := range fields {
				if g, err := strconv.Atoi(f); err == nil {
					s.groups = append(s.groups, g)
				}
			}
		case "CapEff":
			mask, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			s.admin = mask>>capSysAdmin&1 != 0
		}
	}
}

// sysctlForbids says which value of kernel.io_uring_disabled does, if it does.
// Source: Linux io_uring/io_uring.c, io_uring_allowed; sysctl/kernel.rst.
func (s *uringStanding) sysctlForbids() string {
	if s.disabled == nil || *s.disabled <= 0 {
		return ""
	}
	if *s.disabled >= 2 {
		return fmt.Sprintf("sysctl kernel.io_uring_disabled=%d, which is for everybody", *s.disabled)
	}
	if s.admin {
		return ""
	}
	for _, g := range s.groups {
		if s.group >= 0 && g == s.group {
			return ""
		}
	}
	words := "sysctl kernel.io_uring_disabled=1, which is for all without CAP_SYS_ADMIN"
	if s.group >= 0 {
		words += fmt.Sprintf(" and outside group %d (kernel.io_uring_group)", s.group)
	}
	return words
}

// forbiddenBy says who is behind io_uring_setup's errno.
func (s *uringStanding) forbiddenBy(errno syscall.Errno) string {
	filter := s.seccomp == 2
	switch errno {
	case syscall.EPERM:
		sysctl := s.sysctlForbids()
		switch {
		case sysctl != "" && filter:
			return sysctl + "; there is a seccomp filter too, which may forbid it as well"
		case sysctl != "":
			return sysctl
		case filter:
			return "a seccomp filter, as container runtimes install"
		}
		return "a security module: neither the sysctl nor a seccomp filter does"
	case syscall.EACCES:
		return "a security module"
	case syscall.ENOSYS:
		switch {
		case s.disabled != nil && filter: // the sysctl is there, so the kernel has io_uring
			return "a seccomp filter, as container runtimes install: the kernel itself has io_uring"
		case filter:
			return "the kernel, built without io_uring, or a seccomp filter"
		}
		return "the kernel: it is older than 5.1 or built without io_uring"
	case syscall.ENOMEM:
		return "RLIMIT_MEMLOCK, which counts rings before Linux 5.12, or want of memory"
	}
	return ""
}
