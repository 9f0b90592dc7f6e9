package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPartOf(t *testing.T) {
	for part, want := range map[string]bool{
		"/dev/ada0": true, "/dev/ada0p2": true, "/dev/ada0s1a": true, "/dev/ada0a": true,
		"/dev/ada01": false, "/dev/ada1": false, "/dev/ad": false, "tmpfs": false,
	} {
		if got := partOf(part, "/dev/ada0"); got != want {
			t.Errorf("%s is part of ada0: %v", part, got)
		}
	}
}

// The disk that the root is on is not to be had.
func TestMountedDeviceIsRefused(t *testing.T) {
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		t.Fatal(err)
	}
	root := unix.ByteSliceToString(st.Mntfromname[:])
	if !strings.HasPrefix(root, "/dev/") {
		t.Skip("the root is on ", root)
	}
	if where, err := deviceInUse(root); err != nil || !strings.HasPrefix(where, "mounted on /") {
		t.Errorf("%q, %v", where, err)
	}
}
