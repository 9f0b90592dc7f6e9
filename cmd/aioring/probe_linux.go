package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/internal/uring"
)

// probeSystem asks Linux for its io_uring.
func probeSystem(f *probeFacts, d demand, paths []string) {
	uname(&f.System)
	f.IOURing = probeURing()
	probePaths(f, paths)
	f.Verdict = judgeOther(d, f.Kernel, f.KernelError)
	if f.Kernel == aioring.KernelThreads && f.IOURing.ForbiddenBy != "" {
		f.Verdict.say("io_uring is kept from this process by %s.", f.IOURing.ForbiddenBy)
	}
}

// probeURing makes a ring and asks it.
func probeURing() *uringFacts {
	standing := uringStanding{disabled: procNumber("io_uring_disabled"), group: -1}
	if group := procNumber("io_uring_group"); group != nil {
		standing.group = *group
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		standing.readStatus(string(status))
	}
	u := &uringFacts{
		Disabled: standing.disabled, Seccomp: standing.seccomp,
		Features: []string{}, Opcodes: []string{}, Missing: []string{},
	}
	var params uring.Params
	ring, err := uring.Setup(1, &params)
	u.FeatureMask = params.Features
	for bit, name := range uringFeatures {
		if params.Features>>bit&1 != 0 {
			u.Features = append(u.Features, name)
		}
	}
	if err != nil {
		u.Error = err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			u.ForbiddenBy = standing.forbiddenBy(errno)
		}
		return u
	}
	defer func() { _ = ring.Close() }()
	u.Available = true
	probe, err := ring.Probe()
	if err != nil {
		u.Error = fmt.Sprintf("io_uring_register: %v", err)
		return u
	}
	u.LastOpcode = probe.Last()
	for op := 0; op <= max(probe.Last(), len(uringOpcodes)-1); op++ {
		name := strconv.Itoa(op)
		if op < len(uringOpcodes) {
			name = uringOpcodes[op]
		}
		if op <= 0xff && probe.Supports(uint8(op)) {
			u.Opcodes = append(u.Opcodes, name)
		} else {
			u.Missing = append(u.Missing, name)
		}
	}
	return u
}

// procNumber is a sysctl of kernel.*, nil where there is none.
func procNumber(name string) *int {
	text, err := os.ReadFile("/proc/sys/kernel/" + name)
	if err != nil {
		return nil
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil
	}
	return &n
}

// uringFeatures are the bits of io_uring_params.features, from 0 on, by the names
// of IORING_FEAT_*. Source: Linux include/uapi/linux/io_uring.h.
var uringFeatures = [...]string{
	"single_mmap", "nodrop", "submit_stable", "rw_cur_pos", "cur_personality", "fast_poll", "poll_32bits",
	"sqpoll_nonfixed", "ext_arg", "native_workers", "rsrc_tags", "cqe_skip", "linked_file", "reg_reg_ring",
	"recvsend_bundle", "min_timeout", "rw_attr", "no_iowait",
}

// uringOpcodes are the opcodes from 0 on, by the names of IORING_OP_*.
var uringOpcodes = [uring.OpLast]string{
	"nop", "readv", "writev", "fsync", "read_fixed", "write_fixed", "poll_add", "poll_remove",
	"sync_file_range", "sendmsg", "recvmsg", "timeout", "timeout_remove", "accept", "async_cancel",
	"link_timeout", "connect", "fallocate", "openat", "close", "files_update", "statx", "read", "write",
	"fadvise", "madvise", "send", "recv", "openat2", "epoll_ctl", "splice", "provide_buffers",
	"remove_buffers", "tee", "shutdown", "renameat", "unlinkat", "mkdirat", "symlinkat", "linkat",
	"msg_ring", "fsetxattr", "setxattr", "fgetxattr", "getxattr", "socket", "uring_cmd", "send_zc",
	"sendmsg_zc", "read_multishot", "waitid", "futex_wait", "futex_wake", "futex_waitv",
	"fixed_fd_install", "ftruncate", "bind", "listen", "recv_zc", "epoll_wait", "readv_fixed",
	"writev_fixed", "pipe",
}

// alignmentOf asks statx(2) for what O_DIRECT needs. Linux 6.1.
func alignmentOf(fd int, _ aio.FileStat) *alignmentFact {
	a := &alignmentFact{Memory: 1, Offset: 1, Length: 1, Words: "none needed"}
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_DIOALIGN, &stx); err != nil {
		return a
	}
	if a.Preferred = int(stx.Blksize); a.Preferred > 0 {
		a.Words += fmt.Sprintf("; transfers of whole blocks of %d bytes suit it best", a.Preferred)
	}
	if stx.Mask&unix.STATX_DIOALIGN != 0 && stx.Dio_offset_align != 0 {
		a.Words += fmt.Sprintf("; with O_DIRECT offset and length by %d bytes, memory by %d", stx.Dio_offset_align, stx.Dio_mem_align)
	}
	return a
}

// filesystemOf finds a descriptor's mount.
func filesystemOf(fd int) *filesystemFact {
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx); err != nil || stx.Mask&unix.STATX_MNT_ID == 0 {
		return nil
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return mountOf(string(table), stx.Mnt_id)
}

// mountOf finds a mount in mountinfo. Source: proc_pid_mountinfo(5).
func mountOf(table string, id uint64) *filesystemFact {
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		mount, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(fs) < 2 || mount[0] != strconv.FormatUint(id, 10) {
			continue
		}
		unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
		return &filesystemFact{Type: fs[0], Mounted: unescape(mount[4]), From: unescape(fs[1])}
	}
	return nil
}
