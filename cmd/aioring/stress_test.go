//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// stressed runs the command and returns its exit code and what it wrote.
func stressed(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"stress"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestStressIsClean(t *testing.T) {
	for _, kernel := range []string{"sim", "threads", "auto"} {
		for seed := range 2 {
			t.Run(fmt.Sprint(kernel, seed), func(t *testing.T) {
				dir := t.TempDir()
				code, out, errs := stressed(t, "--kernel", kernel, "--seed", fmt.Sprint(100*seed), "--rounds", "2",
					"--duration", "1m", "--dir", dir, "--json", "--size", "64K")
				var sum stressSummary
				if err := json.Unmarshal([]byte(out), &sum); err != nil || code != 0 || errs != "" {
					t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
				}
				if sum.Verdict != "ok" || sum.Rounds != 2 || sum.Operations < 500 || sum.Checks < sum.Operations {
					t.Errorf("%+v", sum)
				}
				if code, out, errs = stressed(t, "--check-only", "--dir", dir); code != 0 || !strings.HasPrefix(out, "ok: 512 blocks") {
					t.Errorf("check: exit %d\n%s%s", code, out, errs)
				}
			})
		}
	}
}

// meddler is a kernel with one bug.
type meddler struct {
	*sim.Kernel
	swallow atomic.Bool // the next event
	result  func(n int, errno aio.Errno) (int, aio.Errno)
	reaped  func(cb *aio.ControlBlock)
	keep    atomic.Int64 // so many descriptors are not closed
	kept    chan int
}

func (k *meddler) Kevent(kq int, changes, events []aio.Kevent, timeout time.Duration) (int, aio.Errno) {
	n, errno := k.Kernel.Kevent(kq, changes, events, timeout)
	if n > 0 && events[n-1].Filter == aio.FilterAIO && k.swallow.CompareAndSwap(true, false) {
		n--
	}
	return n, errno
}

func (k *meddler) Return(cb *aio.ControlBlock) (int, aio.Errno) {
	n, errno := k.Kernel.Return(cb)
	if k.reaped != nil && errno == 0 {
		k.reaped(cb)
	}
	if k.result != nil {
		n, errno = k.result(n, errno)
	}
	return n, errno
}

func (k *meddler) Close(fd int) aio.Errno {
	if k.keep.Add(-1) >= 0 {
		k.kept <- fd
		return 0
	}
	return k.Kernel.Close(fd)
}

// What it is for: each of these bugs is found.
func TestStressFindsBugs(t *testing.T) {
	patience := hangAfter
	hangAfter = 3 * time.Second
	defer func() { hangAfter = patience }()

	// at does something to the files behind the kernel's back, where a write has just
	// been: now and then, for what it has spoilt may be written again.
	at := func(k *sim.Kernel, dir string, do func(f *os.File, op sim.Op)) aio.Kernel {
		k.Inject(sim.If(sim.And(sim.At(sim.Result), sim.Writes, sim.Every(10)), sim.Do(func(op sim.Op) {
			for i := range 4 { // whose descriptor it is nobody says
				f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("file", i)), os.O_RDWR, 0)
				if err != nil {
					t.Error(err)
					return
				}
				do(f, op)
				f.Close()
			}
		})))
		return k
	}
	for name, c := range map[string]struct {
		wrap func(k *sim.Kernel, dir string) aio.Kernel
		want string
	}{
		"a block lost": {func(k *sim.Kernel, dir string) aio.Kernel {
			return at(k, dir, func(f *os.File, op sim.Op) { f.WriteAt(make([]byte, stressBlock), op.Offset) })
		}, "all zeros"},
		"a bit turned over": {func(k *sim.Kernel, dir string) aio.Kernel {
			return at(k, dir, func(f *os.File, op sim.Op) {
				p := make([]byte, 1)
				f.ReadAt(p, op.Offset+100)
				p[0] ^= 4
				f.WriteAt(p, op.Offset+100)
			})
		}, "checksum is wrong|never written"},
		"a block elsewhere": {func(k *sim.Kernel, dir string) aio.Kernel {
			return at(k, dir, func(f *os.File, op sim.Op) {
				p := make([]byte, stressBlock)
				f.ReadAt(p, op.Offset)
				f.WriteAt(p, (op.Offset+64<<10)%(256<<10))
			})
		}, "is block|all zeros"},
		"a byte too many": {func(k *sim.Kernel, _ string) aio.Kernel {
			var n atomic.Int64
			return &meddler{Kernel: k, result: func(bytes int, errno aio.Errno) (int, aio.Errno) {
				if n.Add(1) == 100 && errno == 0 {
					bytes++
				}
				return bytes, errno
			}}
		}, "which cannot be"},
		"an errno of nowhere": {func(k *sim.Kernel, _ string) aio.Kernel {
			var n atomic.Int64
			return &meddler{Kernel: k, result: func(bytes int, errno aio.Errno) (int, aio.Errno) {
				if n.Add(1) == 100 {
					return -1, aio.ENOSPC
				}
				return bytes, errno
			}}
		}, "no space left on device"},
		"an event lost": {func(k *sim.Kernel, _ string) aio.Kernel {
			m := &meddler{Kernel: k}
			m.swallow.Store(true)
			return m
		}, "nothing has happened"},
		"a buffer written late": {func(k *sim.Kernel, _ string) aio.Kernel {
			var old atomic.Uintptr
			return &meddler{Kernel: k, reaped: func(cb *aio.ControlBlock) {
				if late := old.Swap(cb.Buf); late != 0 && cb.Opcode == aio.OpRead {
					// The buffer is alive: it is put aside, and is asked for again.
					*(*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&late))) ^= 1
				}
			}}
		}, "a buffer was changed|buffer was changed|checksum is wrong|never written"},
		"a descriptor left open": {func(k *sim.Kernel, _ string) aio.Kernel {
			// What the kernel has no room for has a private one.
			k.SetLimits(aio.Limits{MaxQueuePerProc: 1})
			m := &meddler{Kernel: k, kept: make(chan int, 3)}
			m.keep.Store(3)
			t.Cleanup(func() {
				for len(m.kept) > 0 {
					k.Close(<-m.kept)
				}
			})
			return m
		}, "descriptors were left open"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			seed := uint64(7)
			cmd := &stressCommand{
				Kernel: aioring.KernelSim, Dir: dir, Duration: time.Minute, Seed: &seed, Faults: "reuse,early", Files: 4,
				Size: 256 << 10, Depth: 64, JSON: true,
			}
			var out, errs bytes.Buffer
			began := time.Now()
			code := cmd.stressOn(&out, &errs, func(k *sim.Kernel) aio.Kernel { return c.wrap(k, dir) })
			told := func(s string) bool {
				return slices.ContainsFunc(strings.Split(c.want, "|"), func(want string) bool { return strings.Contains(s, want) })
			}
			if code != exitFailed || !told(errs.String()) {
				t.Fatalf("exit %d, want %q\n%s%s", code, c.want, errs.String(), out.String())
			}
			t.Logf("after %v: %s", time.Since(began).Round(time.Millisecond), firstLine(errs.String()))
			var sum stressSummary
			if err := json.Unmarshal(out.Bytes(), &sum); err != nil || sum.Verdict != "failed" || !told(sum.Reason) {
				t.Errorf("%v, %+v", err, sum)
			}
			trace, err := os.ReadFile(sum.Trace)
			if err != nil || !told(string(trace)) || !strings.Contains(string(trace), "goroutine ") {
				t.Errorf("no good trace: %v", err)
			}
			// The line repeats the round that failed, of any run: here it finds nothing,
			// for the kernel is in order.
			replay := strings.Fields(sum.Replay)[2:]
			if code, _, errs := stressed(t, replay...); code != 0 {
				t.Errorf("%s\nexit %d\n%s", sum.Replay, code, errs)
			}
		})
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func TestStressChecksWhatWasPromised(t *testing.T) {
	once := t.TempDir()
	code, out, errs := stressed(t, "--kernel", "threads", "--seed", "5", "--rounds", "1", "--duration", "1m",
		"--dir", once, "--files", "1", "--size", "64K", "--faults", "none")
	if code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	// make copies it, and finds a block that was promised.
	make := func(t *testing.T) (dir string, block int64) {
		t.Helper()
		dir = t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(once)); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(filepath.Join(dir, ackName))
		if err != nil {
			t.Fatal(err)
		}
		log = bytes.Replace(log, []byte(once), []byte(dir), 1)
		if err := os.WriteFile(filepath.Join(dir, ackName), log, 0o600); err != nil {
			t.Fatal(err)
		}
		_, versions, err := readAcks(dir)
		if err != nil {
			t.Fatal(err)
		}
		for b, v := range versions[0] {
			if v > 1 {
				return dir, int64(b)
			}
		}
		t.Fatal("nothing was promised")
		return
	}
	edit := func(t *testing.T, dir string, do func(p []byte) []byte) {
		t.Helper()
		path := filepath.Join(dir, "file0")
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, do(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(b []byte, h ackHeader, block int64)
		want string
	}{
		"as it was": {func([]byte, ackHeader, int64) {}, ""},
		"a later version": {func(b []byte, h ackHeader, block int64) {
			stamp{h.Run, 0, uint64(block), 1 << 40}.fill(b)
		}, ""},
		"an earlier version": {func(b []byte, h ackHeader, block int64) {
			stamp{h.Run, 0, uint64(block), 1}.fill(b)
		}, "was durable"},
		"another block's": {func(b []byte, h ackHeader, block int64) {
			stamp{h.Run, 0, uint64(block) + 1, 1 << 40}.fill(b)
		}, "is block"},
		"another run's": {func(b []byte, h ackHeader, block int64) {
			stamp{h.Run + 1, 0, uint64(block), 1 << 40}.fill(b)
		}, "another run"},
		"torn":  {func(b []byte, _ ackHeader, _ int64) { clear(b[300:]) }, "checksum"},
		"zeros": {func(b []byte, _ ackHeader, _ int64) { clear(b) }, "zeros"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, block := make(t)
			h, _, err := readAcks(dir)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, dir, func(p []byte) []byte {
				c.do(p[block*stressBlock:][:stressBlock], h, block)
				return p
			})
			code, out, errs := stressed(t, "--check-only", "--dir", dir)
			if c.want == "" && code != 0 || c.want != "" && (code != exitFailed || !strings.Contains(errs, c.want)) {
				t.Errorf("exit %d, want %q\n%s%s", code, c.want, out, errs)
			}
		})
	}
	t.Run("a file cut off", func(t *testing.T) {
		dir, _ := make(t)
		edit(t, dir, func(p []byte) []byte { return p[:len(p)/2] })
		if code, out, errs := stressed(t, "--check-only", "--dir", dir, "--json"); code != exitFailed || !strings.Contains(errs, "ends before block") {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
	})
	t.Run("a log with a torn end", func(t *testing.T) {
		dir, _ := make(t)
		log := filepath.Join(dir, ackName)
		p, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{1, 20, ackRecord, ackRecord + 5} {
			if err := os.WriteFile(log, p[:len(p)-cut], 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out, errs := stressed(t, "--check-only", "--dir", dir); code != 0 {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		}
	})
	t.Run("no log", func(t *testing.T) {
		if code, _, errs := stressed(t, "--check-only", "--dir", t.TempDir()); code != exitFailed || errs == "" {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})
}

func TestStressFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--duration", "0s"},
		{"--files", "0"},
		{"--size", "1000"},
		{"--size", "4K"},
		{"--depth", "0"},
		{"--rounds", "-1"},
		{"--check-only"},
		{"--erase"},
		{"--device", os.DevNull},
		{"--device", os.DevNull, "--erase"},
		{"--faults", "gremlins"},
		{"--kernel", "threads", "--faults", "short"},
		{"--kernel", "vms"},
	} {
		if code, out, errs := stressed(t, args...); code != exitUsage || out != "" || errs == "" {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
}

// Past the page cache, where the file system can do that.
func TestStressDirect(t *testing.T) {
	if directFlag == 0 {
		t.Skip("no O_DIRECT on " + runtime.GOOS)
	}
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_RDWR|os.O_CREATE|directFlag, 0o600)
	if err != nil {
		t.Skip("not on this file system: ", err)
	}
	f.Close()
	for _, kernel := range []string{"sim", "auto"} {
		code, out, errs := stressed(t, "--kernel", kernel, "--direct", "--dir", dir, "--rounds", "1", "--seed", "3", "--size", "64K", "--duration", "10s")
		if code != 0 {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
	}
}

// A temporary directory is gone afterwards; one that failed is kept.
func TestStressCleansUp(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if code, out, errs := stressed(t, "--rounds", "1", "--duration", "1m", "--size", "64K"); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
