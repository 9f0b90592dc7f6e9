//go:build unix

package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestWhoForbidsIOURing(t *testing.T) {
	zero, one, two := 0, 1, 2
	for _, c := range []struct {
		name  string
		s     uringStanding
		errno syscall.Errno
		want  []string
		not   string
	}{
		{"everybody", uringStanding{disabled: &two, group: -1, admin: true}, syscall.EPERM, []string{"kernel.io_uring_disabled=2", "everybody"}, "seccomp"},
		{"the unprivileged", uringStanding{disabled: &one, group: -1}, syscall.EPERM, []string{"kernel.io_uring_disabled=1", "CAP_SYS_ADMIN"}, "group"},
		{"those outside the group", uringStanding{disabled: &one, group: 7, groups: []int{1, 2}}, syscall.EPERM, []string{"outside group 7"}, "seccomp"},
		{"not a member", uringStanding{disabled: &one, group: 7, groups: []int{7}}, syscall.EPERM, []string{"security module"}, "sysctl kernel"},
		{"not root", uringStanding{disabled: &one, group: -1, admin: true}, syscall.EPERM, []string{"security module"}, "sysctl kernel"},
		{"a filter", uringStanding{disabled: &zero, seccomp: 2}, syscall.EPERM, []string{"seccomp filter"}, "sysctl"},
		{"a filter on an old kernel", uringStanding{seccomp: 2}, syscall.EPERM, []string{"seccomp filter"}, "sysctl"},
		{"sysctl and filter", uringStanding{disabled: &two, seccomp: 2}, syscall.EPERM, []string{"io_uring_disabled=2", "seccomp filter too"}, ""},
		{"a filter that plays old", uringStanding{disabled: &zero, seccomp: 2}, syscall.ENOSYS, []string{"seccomp filter", "kernel itself has io_uring"}, "older"},
		{"a filter or an old kernel", uringStanding{seccomp: 2}, syscall.ENOSYS, []string{"without io_uring, or a seccomp filter"}, ""},
		{"an old kernel", uringStanding{}, syscall.ENOSYS, []string{"older than 5.1"}, "seccomp"},
		{"a label", uringStanding{}, syscall.EACCES, []string{"security module"}, ""},
		{"memory", uringStanding{}, syscall.ENOMEM, []string{"RLIMIT_MEMLOCK"}, ""},
	} {
		got := c.s.forbiddenBy(c.errno)
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q lacks %q", c.name, got, w)
			}
		}
		if c.not != "" && strings.Contains(got, c.not) && !strings.Contains(got, "neither the "+c.not) {
			t.Errorf("%s: %q says %q", c.name, got, c.not)
		}
	}
	if s := (&uringStanding{}).forbiddenBy(syscall.EMFILE); s != "" {
		t.Errorf("EMFILE is blamed on %q", s)
	}
}

func TestStandingIsReadFromProc(t *testing.T) {
	var s uringStanding
	s.readStatus("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t100\t101\t102\t103\nGroups:\t7 8 \nCapEff:\t0000000000200000\nSeccomp:\t2\nSeccomp_filters:\t1\n")
	if s.seccomp != 2 || !s.admin || !slices.Equal(s.groups, []int{103, 7, 8}) {
		t.Errorf("%+v", s)
	}
	s = uringStanding{}
	s.readStatus("CapEff:\t00000000001fffff\nSeccomp:\t0\n")
	if s.seccomp != 0 || s.admin {
		t.Errorf("%+v", s)
	}
}
