//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwnersAreKeptByRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	src, top := smallTree(t), t.TempDir()
	file := src + "/sizes/4096"
	must(t, os.Lchown(src+"/link", 12, 34))
	must(t, os.Lchown(src+"/deep", 56, 78))
	must(t, os.Chown(file, 90, 12))
	must(t, os.Chmod(file, 0o755|os.ModeSetuid|os.ModeSetgid))
	copied := filepath.Join(top, "src")
	command("cp", src, top).want(t, exitDone)
	wantSameTree(t, src, copied)
	for _, name := range []string{"/link", "/deep", "/sizes/4096", "/sizes/4097"} {
		var want, got unix.Stat_t
		must(t, unix.Lstat(src+name, &want))
		must(t, unix.Lstat(copied+name, &got))
		if got.Uid != want.Uid || got.Gid != want.Gid {
			t.Errorf("%s: owned by %d:%d, want %d:%d", name, got.Uid, got.Gid, want.Uid, want.Gid)
		}
	}
}

func TestWithoutRightsSetuidIsDropped(t *testing.T) {
	top := t.TempDir()
	path := write(t, top+"/file", nil)
	var stat unix.Stat_t
	must(t, unix.Stat(path, &stat))
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	must(t, err)
	defer unix.Close(fd)
	dir, err := unix.Open(top, unix.O_RDONLY, 0)
	must(t, err)
	defer unix.Close(dir)

	stat.Mode = unix.S_IFREG | unix.S_ISUID | 0o750
	must(t, setAttributes(fd, dir, "file", &stat))
	if info, _ := os.Stat(path); info.Mode() != 0o750|os.ModeSetuid {
		t.Errorf("our own file has mode %v", info.Mode())
	}
	if os.Geteuid() == 0 {
		return // may do as it likes
	}
	stat.Uid++
	must(t, setAttributes(fd, dir, "file", &stat))
	if info, _ := os.Stat(path); info.Mode() != 0o750 {
		t.Errorf("another's file has mode %v", info.Mode())
	}
}
