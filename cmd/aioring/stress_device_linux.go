package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// directFlag and exclusiveDevice are for open(2). With O_EXCL a block device that is
// mounted, or part of something else, is EBUSY.
const (
	directFlag      = unix.O_DIRECT
	exclusiveDevice = unix.O_EXCL
)

// usesOfDevice looks for a block device, and for its partitions, among the mounts, the
// swaps, and what holds others.
// Source: proc_pid_mountinfo(5), proc_swaps(5); Linux Documentation/ABI/stable/sysfs-block.
func usesOfDevice(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", usageError{fmt.Errorf("--device %s: not a disk", path)}
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	return usesOfBlock(number, "/sys/dev/block", "/proc/self/mountinfo", "/proc/swaps")
}

// usesOfBlock does so by number, in files that say it.
func usesOfBlock(number, sys, mounts, swaps string) (string, error) {
	mine := map[string]string{number: ""}
	parts, err := filepath.Glob(filepath.Join(sys, number, "*", "partition"))
	if err != nil {
		return "", err
	}
	for _, part := range parts {
		n, err := os.ReadFile(filepath.Join(filepath.Dir(part), "dev"))
		if err != nil {
			return "", err
		}
		mine[strings.TrimSpace(string(n))] = ""
	}
	for n := range mine {
		// What is empty or is not there holds nothing.
		if holders, _ := os.ReadDir(filepath.Join(sys, n, "holders")); len(holders) > 0 {
			return "part of " + holders[0].Name(), nil
		}
	}
	f, err := os.Open(mounts)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) < 5 {
			continue
		}
		if _, ok := mine[fields[2]]; ok {
			return "mounted on " + fields[4], nil
		}
	}
	s, err := os.ReadFile(swaps)
	if err != nil {
		return "", nil // a kernel without
	}
	for line := range strings.SplitSeq(string(s), "\n") {
		name, _, _ := strings.Cut(line, " ")
		var st unix.Stat_t
		if !strings.HasPrefix(name, "/") || unix.Stat(name, &st) != nil {
			continue
		}
		if _, ok := mine[fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))]; ok {
			return "swap", nil
		}
	}
	return "", nil
}
