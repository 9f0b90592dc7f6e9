//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pattern is n bytes that no shifted or swapped block would equal.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	source := rand.NewPCG(seed, uint64(n))
	for i := 0; i < n; i += 8 {
		x := source.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(x >> (8 * (j - i)))
		}
	}
	return b
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, data, 0o644))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// smallTree is a little of everything that the copy must keep.
func smallTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "src")
	for i, size := range []int{0, 1, 511, 512, 4096, 4097, 131072, 131073, 300000} {
		path := write(t, filepath.Join(root, "sizes", fmt.Sprint(size)), pattern(size, uint64(i)))
		must(t, os.Chmod(path, os.FileMode(0o400+i)))
	}
	write(t, filepath.Join(root, "deep/er/and/deeper/still"), []byte("here"))
	write(t, filepath.Join(root, "a name with\nnewline and \xff"), []byte("odd"))
	must(t, os.Mkdir(filepath.Join(root, "empty"), 0o700))
	must(t, os.Symlink("sizes/4096", filepath.Join(root, "link")))
	must(t, os.Symlink("/nonexistent/at all", filepath.Join(root, "dangling")))
	must(t, os.Symlink("deep", filepath.Join(root, "dirlink")))
	must(t, os.Chmod(filepath.Join(root, "deep/er"), 0o2711))
	past := time.Date(2001, 2, 3, 4, 5, 6, 789000000, time.UTC)
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		past = past.Add(time.Hour)
		when := unix.NsecToTimespec(past.UnixNano())
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
	}))
	return root
}

// wantSameTree compares names, types, modes, modification times, link targets and
// every byte.
func wantSameTree(t *testing.T, src, dst string) {
	t.Helper()
	names := func(root string) (all []string) {
		must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, strings.TrimPrefix(path, root))
			return err
		}))
		return all
	}
	want, got := names(src), names(dst)
	if strings.Join(want, "\x00") != strings.Join(got, "\x00") {
		t.Fatalf("names differ:\nwant %q\ngot  %q", want, got)
	}
	for _, name := range want {
		wantSameFile(t, src+name, dst+name)
	}
}

func wantSameFile(t *testing.T, src, dst string) {
	t.Helper()
	was, err := os.Lstat(src)
	must(t, err)
	is, err := os.Lstat(dst)
	must(t, err)
	if was.Mode() != is.Mode() {
		t.Errorf("%s: mode %v, want %v", dst, is.Mode(), was.Mode())
	}
	if !was.ModTime().Equal(is.ModTime()) {
		t.Errorf("%s: modified %v, want %v", dst, is.ModTime(), was.ModTime())
	}
	switch {
	case was.Mode().IsRegular():
		wantSameBytes(t, src, dst)
	case was.Mode()&fs.ModeSymlink != 0:
		want, _ := os.Readlink(src)
		if got, _ := os.Readlink(dst); got != want {
			t.Errorf("%s: leads to %q, want %q", dst, got, want)
		}
	}
}

func wantSameBytes(t *testing.T, src, dst string) {
	t.Helper()
	want, err := os.ReadFile(src)
	must(t, err)
	got, err := os.ReadFile(dst)
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("%s: bytes differ", dst)
	}
}

// wantNoTemporaries looks for what a copy should have removed.
func wantNoTemporaries(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), ".aioring-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	}))
}

func TestDestinationIsCps(t *testing.T) {
	src := smallTree(t)
	file := filepath.Join(src, "sizes/4096")
	for _, c := range []struct {
		name    string
		sources []string
		dst     string // below an empty directory
		make    string // a directory to make there first
		want    string // where the first source must be
	}{
		{"tree to a new name", []string{src}, "new", "", "new"},
		{"tree to a new name with a slash", []string{src}, "new/", "", "new"},
		{"tree into a directory", []string{src}, "old", "old", "old/src"},
		{"tree with a slash into a directory", []string{src + "/"}, "old", "old", "old/src"},
		{"what is in a tree", []string{src + "/."}, "old", "old", "old"},
		{"file to a new name", []string{file}, "new", "", "new"},
		{"file into a directory", []string{file}, "old/", "old", "old/4096"},
		{"two", []string{file, src}, "old", "old", "old/4096"},
		{"link", []string{src + "/dirlink"}, "new", "", "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			if c.make != "" {
				must(t, os.Mkdir(filepath.Join(top, c.make), 0o755))
			}
			command(append(append([]string{"cp"}, c.sources...), top+"/"+c.dst)...).want(t, exitDone)
			source := c.sources[0]
			if source != src+"/." {
				source = strings.TrimSuffix(source, "/")
			} else {
				source = src
			}
			wantSameTree(t, source, filepath.Join(top, c.want))
			wantNoTemporaries(t, top)
		})
	}
}

func TestDestinationThroughALinkIsAllowed(t *testing.T) {
	src, top := smallTree(t), t.TempDir()
	must(t, os.Mkdir(top+"/real", 0o755))
	must(t, os.Symlink("real", top+"/link"))
	command("cp", src, top+"/link").want(t, exitDone)
	wantSameTree(t, src, top+"/real/src")
}

func TestReadOnlyDirectoryIsFilledAllTheSame(t *testing.T) {
	src, top := smallTree(t), t.TempDir()
	must(t, os.Chmod(src+"/deep", 0o500))
	command("cp", src, top).want(t, exitDone)
	wantSameTree(t, src, top+"/src")
	must(t, os.Chmod(src+"/deep", 0o700)) // for the test's own cleaning up
	must(t, os.Chmod(top+"/src/deep", 0o700))
}

func TestCopyOverAnOlderCopy(t *testing.T) {
	src, top := smallTree(t), t.TempDir()
	for range 2 {
		command("cp", src, top).want(t, exitDone)
	}
	wantSameTree(t, src, top+"/src")
}

func TestBadDestinations(t *testing.T) {
	top := t.TempDir()
	file := write(t, top+"/file", []byte("x"))
	other := write(t, top+"/other", []byte("y"))
	dir := filepath.Join(top, "dir")
	write(t, dir+"/file/inside", nil)
	for _, c := range []struct {
		name string
		args []string
		line []string
	}{
		{"two to a file", []string{file, dir, other}, []string{other, "not a directory", "ENOTDIR"}},
		{"two to nothing", []string{file, other, top + "/none"}, []string{top + "/none", "not a directory", "ENOTDIR"}},
		{"file to a new directory", []string{file, top + "/none/"}, []string{top + "/none/", "not a directory", "ENOTDIR"}},
		{"below nothing", []string{file, top + "/none/x"}, []string{top + "/none", "cannot open", "ENOENT"}},
		{"below a file", []string{file, other + "/x"}, []string{other, "ENOTDIR"}},
		{"tree to a file", []string{dir, other}, []string{other, "ENOTDIR"}},
		{"file over a directory", []string{file, dir}, []string{dir + "/file", "EISDIR"}},
		{"file to itself", []string{file, file}, []string{file, "same file"}},
		{"file into its directory", []string{file, top}, []string{file, "same file"}},
		{"tree into its directory", []string{dir, top}, []string{dir, "same directory"}},
		{"tree into itself", []string{dir, dir + "/new"}, []string{dir, "into itself"}},
		{"tree deep into itself", []string{dir, dir + "/file"}, []string{dir, "into itself"}},
		{"missing source", []string{top + "/none", dir}, []string{top + "/none", "cannot stat", "ENOENT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			command(append([]string{"cp"}, c.args...)...).want(t, exitFailed, c.line)
		})
	}
	wantNoTemporaries(t, top)
	if data, _ := os.ReadFile(file); string(data) != "x" {
		t.Errorf("the source is now %q", data)
	}
}

func TestOneBadFileDoesNotStopTheOthers(t *testing.T) {
	src, top := smallTree(t), t.TempDir()
	command("cp", src+"/none", src, top).want(t, exitFailed, []string{src + "/none", "ENOENT"})
	wantSameTree(t, src, top+"/src")
}

func TestLinkToTheSourceIsTheSameFile(t *testing.T) {
	top := t.TempDir()
	file := write(t, top+"/file", []byte("x"))
	must(t, os.Symlink("file", top+"/link"))
	command("cp", file, top+"/link").want(t, exitFailed, []string{top + "/link", "same file"})
}

func TestSpecialFiles(t *testing.T) {
	src, top := filepath.Join(t.TempDir(), "src"), t.TempDir()
	write(t, src+"/file", []byte("x"))
	must(t, unix.Mkfifo(src+"/fifo", 0o640))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(fd)
	here, err := os.Getwd() // the path of a socket is short
	must(t, err)
	must(t, os.Chdir(src))
	defer os.Chdir(here)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: "socket"}))

	command("cp", src, top).want(t, exitFailed, []string{src + "/socket", "a socket", "OTSUP"})
	must(t, os.Remove(src+"/socket"))
	now := time.Now() // the directory has changed since
	must(t, os.Chtimes(src, now, now))
	must(t, os.Chtimes(top+"/src", now, now))
	wantSameTree(t, src, top+"/src")
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	src, top := smallTree(t), t.TempDir()
	must(t, os.Chmod(src+"/sizes/512", 0))
	must(t, os.Chmod(src+"/deep", 0))
	defer os.Chmod(src+"/deep", 0o700)
	command("cp", src, top).want(t, exitFailed,
		[]string{src + "/deep", "cannot open", "EACCES"}, []string{src + "/sizes/512", "cannot open", "EACCES"})
	wantSameBytes(t, src+"/sizes/300000", top+"/src/sizes/300000")
}
