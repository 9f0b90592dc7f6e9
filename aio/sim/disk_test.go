//go:build unix

package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aioring/aioring/aio"
)

func openOn(t testing.TB, d *Disk, name string, flag int) *DiskFile {
	t.Helper()
	f, err := d.OpenFile(name, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put makes a file with content, synced by itself.
func put(t testing.TB, d *Disk, name, content string) *DiskFile {
	t.Helper()
	f := openOn(t, d, name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	must(t, f.Sync())
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func syncDir(t testing.TB, d *Disk, name string) {
	t.Helper()
	f := openOn(t, d, name, os.O_RDONLY)
	must(t, f.Sync())
	must(t, f.Close())
}

// tree is every file's path and content, and every directory's path.
func tree(t testing.TB, d *Disk, at string) string {
	t.Helper()
	names, err := d.ReadDir(at)
	must(t, err)
	var b strings.Builder
	for _, name := range names {
		name = strings.TrimPrefix(at+"/"+name, "/")
		if data, err := d.ReadFile(name); err == nil {
			fmt.Fprintf(&b, "%s=%s ", name, data)
		} else {
			fmt.Fprintf(&b, "%s/ %s", name, tree(t, d, name))
		}
	}
	return b.String()
}

// images is every tree that a power cut may leave, sorted.
func images(t testing.TB, d *Disk, damage ...Damage) []string {
	t.Helper()
	seen := make(map[string]bool)
	for seed := range uint64(300) {
		seen[strings.TrimSpace(tree(t, d.CrashClone(seed, damage...), ""))] = true
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

func wantImages(t testing.TB, d *Disk, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := images(t, d); !slices.Equal(got, want) {
		t.Errorf("after a power cut:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A small sector makes small tests.
func smallDisk() *Disk { return NewDisk(DiskConfig{SectorSize: 4}) }

func TestUnsyncedSectorsAreKeptOrLost(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "aaaabbbb")
	syncDir(t, d, "/")
	wantImages(t, d, "f=aaaabbbb")
	f.WriteAt([]byte("1111"), 0)
	wantImages(t, d, "f=1111bbbb", "f=aaaabbbb")
	f.WriteAt([]byte("22"), 3) // across the border
	wantImages(t, d, "f=aaaabbbb", "f=1111bbbb", "f=1112bbbb", "f=aaaa2bbb", "f=11112bbb", "f=11122bbb")
}

func TestSyncMakesBytesAndSizeDurable(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "aaaa")
	syncDir(t, d, "/")
	f.WriteAt([]byte("bbbbcccc"), 2)
	must(t, f.Sync())
	wantImages(t, d, "f=aabbbbcccc")
	must(t, f.Truncate(3))
	must(t, f.Sync())
	wantImages(t, d, "f=aab")
}

// What lies beyond a size that is kept while the bytes are not is zero.
func TestSizeIsKeptOrLostByItself(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "aaaa")
	syncDir(t, d, "/")
	f.WriteAt([]byte("bbbb"), 4)
	wantImages(t, d, "f=aaaa", "f=aaaa\x00\x00\x00\x00", "f=aaaabbbb")
}

func TestTruncationIsKeptOrLost(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "aaaabbbb")
	syncDir(t, d, "/")
	must(t, f.Truncate(2))
	wantImages(t, d, "f=aa", "f=aaaabbbb")
	// Grown again: what was cut off does not come back, but the truncation may be
	// lost.
	must(t, f.Truncate(6))
	wantImages(t, d, "f=aa", "f=aa\x00\x00\x00\x00", "f=aaaabbbb")
}

func TestNamesAreTheDirectorys(t *testing.T) {
	d := smallDisk()
	put(t, d, "f", "data") // synced, its name not
	wantImages(t, d, "", "f=data")
	syncDir(t, d, ".")
	wantImages(t, d, "f=data")
	must(t, d.Remove("f"))
	wantImages(t, d, "", "f=data")
	syncDir(t, d, "")
	wantImages(t, d, "")
}

func TestRenameIsOneChange(t *testing.T) {
	d := smallDisk()
	put(t, d, "old", "1")
	put(t, d, "new", "2")
	syncDir(t, d, "/")
	must(t, d.Rename("new", "old"))
	wantImages(t, d, "new=2 old=1", "old=2")
	syncDir(t, d, "/")
	wantImages(t, d, "old=2")
	// A replacement that is not synced has its name and nothing in it.
	f := openOn(t, d, "tmp", os.O_RDWR|os.O_CREATE)
	f.WriteAt([]byte("3"), 0)
	must(t, d.Rename("tmp", "old"))
	wantImages(t, d, "old=", "old=\x00", "old=2", "old=2 tmp=", "old=2 tmp=\x00", "old=2 tmp=3", "old=3")
}

func TestRenameBetweenDirectoriesIsSyncedByEither(t *testing.T) {
	for _, dir := range []string{"a", "b"} {
		d := smallDisk()
		must(t, d.Mkdir("a"))
		must(t, d.Mkdir("b"))
		put(t, d, "a/f", "1")
		must(t, d.Sync())
		must(t, d.Rename("a/f", "b/g"))
		wantImages(t, d, "a/ a/f=1 b/", "a/ b/ b/g=1")
		syncDir(t, d, dir)
		wantImages(t, d, "a/ b/ b/g=1")
	}
}

// Of one name the changes keep their order, of several they do not.
func TestChangesOfOneNameKeepTheirOrder(t *testing.T) {
	d := smallDisk()
	put(t, d, "a", "1")
	put(t, d, "b", "2")
	wantImages(t, d, "", "a=1", "a=1 b=2", "b=2")
	must(t, d.Rename("a", "c"))
	must(t, d.Remove("c"))
	must(t, d.Remove("b"))
	wantImages(t, d, "", "a=1", "a=1 b=2", "b=2", "b=2 c=1", "c=1")
}

// Two directories cannot each end in the other, where nobody would find them.
func TestDirectoriesAreMovedInOrder(t *testing.T) {
	d := smallDisk()
	must(t, d.Mkdir("a"))
	must(t, d.Mkdir("b"))
	must(t, d.Sync())
	must(t, d.Rename("b", "a/b"))
	must(t, d.Rename("a/b", "c"))
	must(t, d.Rename("a", "c/a"))
	wantImages(t, d, "a/ a/b/", "a/ b/", "a/ c/", "c/ c/a/")
}

func TestSyncOfADirectoryTakesWhatItNeeds(t *testing.T) {
	d := smallDisk()
	must(t, d.Mkdir("a"))
	must(t, d.Mkdir("b"))
	must(t, d.Sync())
	put(t, d, "a/f", "1")
	must(t, d.Rename("a/f", "b/f"))
	put(t, d, "a/g", "2")
	syncDir(t, d, "b") // the rename, and so the creation in a
	wantImages(t, d, "a/ a/g=2 b/ b/f=1", "a/ b/ b/f=1")
}

func TestOldVersionsOfASectorMayBeLeft(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "0000")
	syncDir(t, d, "/")
	for i := 1; i <= 9; i++ {
		f.WriteAt(bytes.Repeat([]byte{'0' + byte(i)}, 4), 0)
	}
	wantImages(t, d, "f=0000", "f=6666", "f=7777", "f=8888", "f=9999")
}

func TestDamage(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "aaaabbbb")
	syncDir(t, d, "/")
	f.WriteAt([]byte("1234"), 0)
	got := images(t, d, Damage{Torn: 0.5})
	if want := []string{"f=1234bbbb", "f=123abbbb", "f=12aabbbb", "f=1aaabbbb", "f=aaaabbbb"}; !slices.Equal(got, want) {
		t.Errorf("torn: %q", got)
	}
	got = images(t, d, Damage{Misdirected: 0.5})
	if want := []string{"f=1234bbbb", "f=aaaa1234", "f=aaaabbbb"}; !slices.Equal(got, want) {
		t.Errorf("misdirected: %q", got)
	}
	must(t, f.Sync())
	rotten := 0
	for _, s := range images(t, d, Damage{Rotten: 0.5}) {
		if len(s) != len("f=1234bbbb") {
			t.Errorf("rot has changed a size: %q", s)
		}
		if s != "f=1234bbbb" {
			rotten++
		}
	}
	if rotten < 50 {
		t.Errorf("%d kinds of rot", rotten)
	}
	for seed := range uint64(100) {
		image := d.CrashClone(seed, Damage{Rotten: 0.3})
		intact := strings.TrimSpace(tree(t, image, "")) == "f=1234bbbb"
		if intact == (len(image.Lost()) > 0) {
			// Two flips of one bit are none, which the report cannot know.
			if !intact {
				t.Errorf("seed %d: %q, %q", seed, tree(t, image, ""), image.Lost())
			}
		}
	}
}

func TestSameSeedSameImage(t *testing.T) {
	build := func() *Disk {
		d := NewDisk(DiskConfig{})
		must(t, d.Mkdir("dir"))
		syncDir(t, d, "/")
		for i := range 20 {
			f := openOn(t, d, fmt.Sprintf("dir/%d", i), os.O_RDWR|os.O_CREATE)
			f.WriteAt(bytes.Repeat([]byte{byte(i)}, 300*i), int64(i)*100)
			if i%3 == 0 {
				must(t, f.Sync())
			}
			if i%4 == 0 {
				must(t, d.Rename(fmt.Sprintf("dir/%d", i), fmt.Sprintf("%d", i)))
			}
		}
		return d
	}
	a, b := build(), build()
	different := make(map[string]bool)
	for seed := range uint64(50) {
		damage := Damage{Torn: 0.1, Misdirected: 0.1, Rotten: 0.1}
		x, y := tree(t, a.CrashClone(seed, damage), ""), tree(t, b.CrashClone(seed, damage), "")
		if x != y {
			t.Fatalf("seed %d: two images", seed)
		}
		different[x] = true
	}
	if len(different) < 40 {
		t.Errorf("50 seeds, %d images", len(different))
	}
	if got, want := tree(t, a.CrashClone(CrashKeepAll), ""), tree(t, a, ""); got != want {
		t.Errorf("CrashKeepAll:\n%q\nwant\n%q", got, want)
	}
}

// The image of an image is itself: there everything is durable.
func TestImagesAreDurable(t *testing.T) {
	d := smallDisk()
	must(t, d.Mkdir("a"))
	put(t, d, "a/f", "12345678")
	image := d.CrashClone(CrashKeepAll)
	wantImages(t, image, "a/ a/f=12345678")
	f := openOn(t, image, "a/f", os.O_RDWR)
	f.WriteAt([]byte("x"), 0)
	wantImages(t, d.CrashClone(CrashKeepAll), "a/ a/f=12345678") // its own bytes
}

func TestPowerCutEndsEverything(t *testing.T) {
	d := smallDisk()
	f := put(t, d, "f", "1")
	before := d.Ops()
	d.CutPowerAfter(2)
	if _, err := f.WriteAt([]byte("2"), 0); err != nil {
		t.Error(err)
	}
	must(t, f.Sync())
	if d.Ops() != before+2 || d.PowerIsCut() {
		t.Errorf("%d operations more, cut: %v", d.Ops()-before, d.PowerIsCut())
	}
	for name, err := range map[string]error{
		"write":    second(f.WriteAt([]byte("3"), 0)),
		"append":   second(f.Write([]byte("3"))),
		"read":     second(f.ReadAt(make([]byte, 1), 0)),
		"sync":     f.Sync(),
		"truncate": f.Truncate(0),
		"open":     second(d.OpenFile("f", os.O_RDWR, 0)),
		"create":   second(d.OpenFile("g", os.O_RDWR|os.O_CREATE, 0)),
		"mkdir":    d.Mkdir("dir"),
		"rename":   d.Rename("f", "g"),
		"remove":   d.Remove("f"),
		"readdir":  second(d.ReadDir("/")),
		"readfile": second(d.ReadFile("f")),
		"sync all": d.Sync(),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", name, err)
		}
	}
	must(t, f.Close())
	if !d.PowerIsCut() {
		t.Error("the power is on")
	}
	wantImages(t, d, "", "f=2")
}

func second[V any](_ V, err error) error { return err }

func TestDiskErrnos(t *testing.T) {
	d := NewDisk(DiskConfig{Capacity: 10})
	must(t, d.Mkdir("dir"))
	f := put(t, d, "dir/f", "12345")
	ro := openOn(t, d, "dir/f", os.O_RDONLY)
	wo := openOn(t, d, "dir/f", os.O_WRONLY)
	app := openOn(t, d, "dir/f", os.O_RDWR|os.O_APPEND)
	dir := openOn(t, d, "dir", os.O_RDONLY)
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"full":                    {second(f.WriteAt(make([]byte, 6), 5)), syscall.ENOSPC},
		"truncate beyond the end": {f.Truncate(11), syscall.ENOSPC},
		"nothing there":           {second(d.OpenFile("x", os.O_RDWR, 0)), fs.ErrNotExist},
		"there already":           {second(d.OpenFile("dir/f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0)), fs.ErrExist},
		"no directory":            {second(d.OpenFile("x/y", os.O_RDWR|os.O_CREATE, 0)), syscall.ENOENT},
		"a file on the way":       {second(d.OpenFile("dir/f/y", os.O_RDWR|os.O_CREATE, 0)), syscall.ENOTDIR},
		"a directory to write":    {second(d.OpenFile("dir", os.O_RDWR, 0)), syscall.EISDIR},
		"mkdir twice":             {d.Mkdir("dir"), fs.ErrExist},
		"remove a full one":       {d.Remove("dir"), syscall.ENOTEMPTY},
		"remove the root":         {d.Remove("/"), syscall.EBUSY},
		"remove nothing":          {d.Remove("x"), syscall.ENOENT},
		"rename nothing":          {d.Rename("x", "y"), syscall.ENOENT},
		"rename into itself":      {d.Rename("dir", "dir/sub"), syscall.EINVAL},
		"rename over a directory": {d.Rename("dir/f", "dir"), syscall.EISDIR},
		"write, read-only":        {second(ro.WriteAt([]byte("x"), 0)), syscall.EBADF},
		"truncate, read-only":     {ro.Truncate(0), syscall.EBADF},
		"read, write-only":        {second(wo.ReadAt(make([]byte, 1), 0)), syscall.EBADF},
		"WriteAt, append":         {second(app.WriteAt([]byte("x"), 0)), syscall.EINVAL},
		"negative":                {second(f.WriteAt([]byte("x"), -1)), syscall.EINVAL},
		"read a directory":        {second(dir.ReadAt(make([]byte, 1), 0)), syscall.EISDIR},
		"at the end":              {second(f.ReadAt(make([]byte, 1), 5)), io.EOF},
		"across the end":          {second(f.ReadAt(make([]byte, 2), 4)), io.EOF},
		"readdir of a file":       {second(d.ReadDir("dir/f")), syscall.ENOTDIR},
		"readfile of a directory": {second(d.ReadFile("dir")), syscall.EISDIR},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	must(t, ro.Close())
	if err := ro.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if err := second(ro.ReadAt(nil, 0)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read when closed: %v", err)
	}
}

func TestDiskFilePositions(t *testing.T) {
	d := smallDisk()
	f := openOn(t, d, "f", os.O_RDWR|os.O_CREATE)
	for _, s := range []string{"one ", "two ", "three"} {
		must(t, second(io.WriteString(f, s)))
	}
	app := openOn(t, d, "f", os.O_WRONLY|os.O_APPEND)
	must(t, second(io.WriteString(app, "!")))
	if at, err := f.Seek(-6, io.SeekEnd); at != 8 || err != nil {
		t.Errorf("Seek: %d, %v", at, err)
	}
	rest, err := io.ReadAll(f)
	if string(rest) != "three!" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if at, err := f.Seek(-2, io.SeekCurrent); at != 12 || err != nil {
		t.Errorf("Seek: %d, %v", at, err)
	}
	if err := second(f.Seek(-1, io.SeekStart)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Seek: %v", err)
	}
	if size, err := f.Size(); size != 14 || err != nil {
		t.Errorf("Size: %d, %v", size, err)
	}
	tr := openOn(t, d, "f", os.O_RDWR|os.O_TRUNC|os.O_SYNC)
	must(t, second(tr.Write([]byte("sync"))))
	syncDir(t, d, "/")
	wantImages(t, d, "f=sync")
}

// A file that has lost its name lives on where it is open, and its room is given back
// when it is not.
func TestRemovedFilesLiveWhileOpen(t *testing.T) {
	d := NewDisk(DiskConfig{Capacity: 8})
	f := put(t, d, "f", "12345678")
	must(t, d.Remove("f"))
	g := openOn(t, d, "g", os.O_RDWR|os.O_CREATE)
	if err := second(g.WriteAt([]byte("x"), 0)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the room of an open file: %v", err)
	}
	p := make([]byte, 8)
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "12345678" {
		t.Errorf("%q, %v", p, err)
	}
	must(t, f.Close())
	must(t, second(g.WriteAt(p, 0)))
	put(t, d, "h", "")
	must(t, d.Rename("h", "g"))
	must(t, g.Close())
	put(t, d, "i", "87654321")
}

// A kernel's jobs reach the disk, directories included.
func TestDiskUnderAKernel(t *testing.T) {
	d := smallDisk()
	k := New(Config{Volume: d, Stepped: true, Seed: 3})
	must(t, d.Mkdir("dir"))
	syncDir(t, d, "/")
	fd, errno := k.Open("dir/f", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		t.Fatal(errno)
	}
	dir, errno := k.Open("dir", os.O_RDONLY)
	if errno != 0 {
		t.Fatal(errno)
	}
	if st, errno := k.Fstat(dir); errno != 0 || st.Type != aio.TypeDirectory {
		t.Fatalf("%+v, %v", st, errno)
	}
	if _, errno := k.Open("dir", os.O_RDWR); errno != aio.EISDIR {
		t.Errorf("a directory to write: %v", errno)
	}
	r := &rig{Kernel: k, t: t, fd: fd}
	do := func(call func(*aio.ControlBlock) aio.Errno, o *op, n int, errno aio.Errno) {
		t.Helper()
		r.wantReturn(settled(r, r.start(call, o)), n, errno)
	}
	do(r.Write, r.op(0, 0, []byte("12345678"), aio.Sigevent{}), 8, 0)
	wantImages(t, d, "dir/", "dir/ dir/f=", "dir/ dir/f=\x00\x00\x00\x00\x00\x00\x00\x00",
		"dir/ dir/f=\x00\x00\x00\x005678", "dir/ dir/f=1234\x00\x00\x00\x00", "dir/ dir/f=12345678")
	fsync := func(fd int) *op {
		o := r.op(0, 0, nil, aio.Sigevent{})
		o.cb.Fd = int32(fd)
		return o
	}
	sync := func(cb *aio.ControlBlock) aio.Errno { return r.Fsync(aio.Sync, cb) }
	do(sync, fsync(fd), 0, 0)
	wantImages(t, d, "dir/", "dir/ dir/f=12345678")
	do(sync, fsync(dir), 0, 0)
	wantImages(t, d, "dir/ dir/f=12345678")

	d.CutPowerAfter(0)
	do(r.Write, r.op(0, 0, []byte("x"), aio.Sigevent{}), -1, aio.EIO)
	do(sync, fsync(dir), -1, aio.EIO)
	must(t, k.Shutdown())
}

func settled(r *rig, o *op) *op {
	r.settle()
	return o
}
