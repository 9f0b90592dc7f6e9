//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlantedLinksAreNotFollowed(t *testing.T) {
	src, top := smallTree(t), t.TempDir()
	victim := write(t, top+"/victim/file", []byte("precious"))
	dst := filepath.Join(top, "dst")
	must(t, os.MkdirAll(dst+"/src/sizes", 0o755))
	must(t, os.Symlink("../../victim", dst+"/src/deep"))          // in place of a directory, and within reach
	must(t, os.Symlink(victim, dst+"/src/sizes/4096"))            // in place of a file
	must(t, os.Symlink(top+"/victim/new", dst+"/src/sizes/4097")) // to be created
	must(t, os.Symlink(victim, dst+"/src/link"))                  // in place of a link

	command("cp", src, dst).want(t, exitFailed, []string{dst + "/src/deep", "ENOTDIR"})
	wantSameBytes(t, src+"/sizes/4096", dst+"/src/sizes/4096")
	wantSameFile(t, src+"/sizes/4097", dst+"/src/sizes/4097")
	wantSameFile(t, src+"/link", dst+"/src/link")
	entries, err := os.ReadDir(top + "/victim")
	must(t, err)
	if data, _ := os.ReadFile(victim); string(data) != "precious" || len(entries) != 1 {
		t.Errorf("the victim is %q among %v", data, entries)
	}
}

func TestLongestNameGetsATemporary(t *testing.T) {
	top := t.TempDir()
	name := strings.Repeat("n", 255)
	src := write(t, top+"/src/"+name, []byte("x"))
	must(t, os.Mkdir(top+"/dst", 0o755))
	command("cp", src, top+"/dst").want(t, exitDone)
	wantSameFile(t, src, top+"/dst/"+name)
	wantNoTemporaries(t, top)
}

func TestTemporaryNames(t *testing.T) {
	d := new(directory)
	var tried []string
	temp, err := d.makeTemporary("name", func(temp string) error {
		tried = append(tried, temp)
		switch len(tried) {
		case 1:
			return unix.EEXIST
		case 2:
			return unix.ENAMETOOLONG
		}
		return nil
	})
	if err != nil || len(tried) != 3 || temp != tried[2] || tried[0] == tried[1] ||
		!strings.HasPrefix(tried[0], ".name.aioring-") || !strings.HasPrefix(tried[2], ".aioring-") {
		t.Errorf("%q, %v, tried %q", temp, err, tried)
	}
	for _, refusal := range []error{unix.EEXIST, unix.ENAMETOOLONG, unix.EACCES} {
		if _, err := d.makeTemporary("name", func(string) error { return refusal }); !errors.Is(err, refusal) {
			t.Errorf("%v, want %v", err, refusal)
		}
	}
}
