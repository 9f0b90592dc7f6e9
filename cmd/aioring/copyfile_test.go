//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"golang.org/x/sys/unix"
)

// copyOnModel copies on a model kernel with faults.
func copyOnModel(t *testing.T, cmd cpCommand, faults ...sim.Fault) result {
	t.Helper()
	kernel := sim.New(sim.Config{Faults: faults})
	r, err := aioring.New(8, aioring.WithAIO(kernel), aioring.WithMerge(0)) // faults are for one operation each
	must(t, err)
	defer func() {
		must(t, r.Close())
		must(t, kernel.Shutdown())
	}()
	cmd.Depth, cmd.Block = 8, 4096
	var stderr bytes.Buffer
	report := newReport(&stderr)
	must(t, copyAll(t.Context(), r, &cmd, report))
	code := exitDone
	if report.errors.Load() > 0 {
		code = exitFailed
	}
	return result{code: code, stderr: stderr.String()}
}

// before does something once, before the first transfer for which p holds.
func before(p sim.Predicate, do func(sim.Op)) sim.Fault {
	var once sync.Once
	return func(op sim.Op) sim.Effect {
		if op.Point == sim.Start && p(op) {
			once.Do(func() { do(op) })
		}
		return sim.Effect{}
	}
}

// twoFiles are a first one to have trouble with, and a second.
func twoFiles(t *testing.T) (first, second, dst string) {
	top := t.TempDir()
	first = write(t, top+"/src/first", pattern(50000, 1))
	second = write(t, top+"/src/second", pattern(50000, 2))
	dst = filepath.Join(top, "dst")
	must(t, os.Mkdir(dst, 0o755))
	return first, second, dst
}

// wantOnlySecond checks that the second file is there, and nothing else.
func wantOnlySecond(t *testing.T, second, dst string) {
	t.Helper()
	wantSameFile(t, second, dst+"/second")
	entries, err := os.ReadDir(dst)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("%v in the destination, want second alone", entries)
	}
}

func TestShortTransfersAreContinued(t *testing.T) {
	first, second, dst := twoFiles(t)
	copyOnModel(t, cpCommand{Verify: true, Paths: []string{first, second, dst}},
		sim.If(sim.And(sim.At(sim.Start), sim.Every(2)), sim.Short(1000))).want(t, exitDone)
	wantSameFile(t, first, dst+"/first")
	wantSameFile(t, second, dst+"/second")
}

func TestFailuresOfOneFile(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(first, dst string) sim.Fault
		words []string
	}{
		{"read error", func(_, _ string) sim.Fault {
			return sim.If(sim.And(sim.At(sim.Start), sim.Reads, sim.Nth(3)), sim.Fail(aio.EIO))
		}, []string{"src/first: cannot read", "EIO"}},
		{"full disk", func(_, dst string) sim.Fault {
			return sim.If(sim.And(sim.At(sim.Start), sim.Writes, copyOfFirst(dst), sim.Nth(3)), sim.Fail(aio.ENOSPC))
		}, []string{"dst/first: cannot write", "ENOSPC"}},
		{"sync error", func(_, dst string) sim.Fault {
			return sim.If(sim.And(sim.At(sim.Start), sim.Syncs, copyOfFirst(dst)), sim.Fail(aio.EIO))
		}, []string{"dst/first: cannot sync", "EIO"}},
		{"shrinks", func(first, _ string) sim.Fault {
			return before(sim.Reads, func(sim.Op) { _ = os.Truncate(first, 100) })
		}, []string{"src/first: shrank from 50000 to"}},
		{"grows", func(first, _ string) sim.Fault {
			return before(sim.Reads, func(sim.Op) { _ = os.Truncate(first, 50001) })
		}, []string{"src/first: grew from 50000 to 50001"}},
		{"changes", func(first, _ string) sim.Fault {
			return before(sim.Reads, func(sim.Op) { _ = os.Chtimes(first, time.Time{}, time.Now().Add(time.Hour)) })
		}, []string{"src/first: was changed"}},
		{"corrupt copy", func(_, dst string) sim.Fault { return corruptReadBack(dst) }, []string{"dst/first: the copy differs", "4096 bytes at"}},
		{"cut copy", func(_, dst string) sim.Fault { return cutReadBack(dst) }, []string{"dst/first: the copy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second, dst := twoFiles(t)
			copyOnModel(t, cpCommand{Verify: true, Sync: true, Paths: []string{first, second, dst}}, c.fault(first, dst)).
				want(t, exitFailed, c.words)
			wantOnlySecond(t, second, dst)
		})
	}
}

// copyOfFirst holds for operations on the temporary of the file first.
func copyOfFirst(dst string) sim.Predicate {
	return func(op sim.Op) bool {
		var seen, temp unix.Stat_t
		temps, _ := filepath.Glob(dst + "/.first.aioring-*")
		return len(temps) == 1 && unix.Stat(temps[0], &temp) == nil &&
			unix.Fstat(op.Fd, &seen) == nil && sameFile(&seen, &temp)
	}
}

// onReadBack does something once, before the first read of that.
func onReadBack(dst string, do func(sim.Op)) sim.Fault {
	return before(sim.And(sim.Reads, copyOfFirst(dst)), do)
}

// corruptReadBack flips a byte of the copy before it is read back.
func corruptReadBack(dst string) sim.Fault {
	return onReadBack(dst, func(op sim.Op) {
		b := make([]byte, 1)
		_, _ = unix.Pread(op.Fd, b, op.Offset)
		b[0]++
		_, _ = unix.Pwrite(op.Fd, b, op.Offset)
	})
}

// cutReadBack shortens the copy before it is read back.
func cutReadBack(dst string) sim.Fault {
	return onReadBack(dst, func(op sim.Op) { _ = unix.Ftruncate(op.Fd, op.Offset+10) })
}

// wantSparse checks that the copy has its holes where the file has them.
func wantSparse(t *testing.T, src, dst string) {
	t.Helper()
	wantSameBytes(t, src, dst)
	want, got := extents(t, src), extents(t, dst)
	if len(got) != len(want) {
		t.Fatalf("data in %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("data in %v, want %v", got, want)
		}
	}
}

// extents are where a file holds data.
func extents(t *testing.T, path string) (all [][2]int64) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	for off := int64(0); off < info.Size(); {
		start, end, err := dataFrom(int(f.Fd()), off, info.Size())
		must(t, err)
		if start < end {
			all = append(all, [2]int64{start, end})
		}
		off = end
	}
	return all
}

func TestHolesAreKept(t *testing.T) {
	top := t.TempDir()
	const hole = 4 << 20
	data := pattern(100000, 3)
	for name, at := range map[string][]int64{
		"all hole": {}, "hole first": {hole}, "hole last": {0}, "holes between": {0, hole, 2 * hole},
	} {
		t.Run(name, func(t *testing.T) {
			src := write(t, filepath.Join(top, name), nil)
			f, err := os.OpenFile(src, os.O_RDWR, 0)
			must(t, err)
			must(t, f.Truncate(3*hole))
			for _, off := range at {
				_, err := f.WriteAt(data, off)
				must(t, err)
			}
			must(t, f.Close())
			if e := extents(t, src); len(e) == 1 && e[0] == [2]int64{0, 3 * hole} {
				t.Skip("this file system does not tell where holes are")
			}
			dst := src + " copied"
			command("cp", "--verify", src, dst).want(t, exitDone)
			wantSparse(t, src, dst)
		})
	}
}

func TestFileSizeLimitIsOneLine(t *testing.T) {
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	first, second, dst := twoFiles(t)
	must(t, os.Truncate(second, 10000))
	limited := old
	limited.Cur = 20000
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limited)) // SIGXFSZ is Go's to ignore
	// FreeBSD's AIO daemons are processes of the kernel and know no limit.
	r := command("cp", "--kernel", "threads", first, second, dst)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	r.want(t, exitFailed, []string{dst + "/first", "cannot write", "EFBIG"})
	wantOnlySecond(t, second, dst)
}

func TestRingThatIsClosedIsOneLine(t *testing.T) {
	first, _, dst := twoFiles(t)
	r, err := aioring.New(8, aioring.WithKernel(aioring.KernelThreads))
	must(t, err)
	r.Close()
	var stderr bytes.Buffer
	report := newReport(&stderr)
	cmd := cpCommand{Depth: 8, Block: 4096, Paths: []string{first, dst}}
	if err := copyAll(context.Background(), r, &cmd, report); err == nil {
		t.Error("no error")
	}
	result{1, "", stderr.String()}.want(t, 1, []string{"kernel threads", "ring is closed"})
	wantNoTemporaries(t, dst)
}
