package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFullDisk(t *testing.T) {
	top := t.TempDir()
	first := write(t, top+"/src/first", pattern(2<<20, 1))
	second := write(t, top+"/src/second", pattern(50000, 2))
	for _, kernel := range kernels() {
		// A file system for each: io_uring lets go of the files of a closed ring a
		// moment later, and only then is their room free.
		dst := filepath.Join(top, kernel)
		must(t, os.Mkdir(dst, 0o755))
		if err := unix.Mount("tmpfs", dst, "tmpfs", 0, "size=1M"); err != nil {
			t.Skipf("cannot mount a small file system: %v", err)
		}
		defer unix.Unmount(dst, unix.MNT_DETACH)
		// One block at a time: what is under way beside the first would fail with it.
		command("cp", "--kernel", kernel, "--depth=1", first, second, dst).
			want(t, exitFailed, []string{dst + "/first", "cannot write", "ENOSPC"})
		wantOnlySecond(t, second, dst)
	}
}
