//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/aioring/aioring"
)

// kernels are those that this system has.
func kernels() []string {
	all := []string{"threads", "sim"}
	if runtime.GOOS == "freebsd" {
		all = append(all, "freebsd")
	}
	if hasURing() {
		all = append(all, "uring")
	}
	return all
}

// hasURing reports whether io_uring is to be had: containers forbid it as a rule.
var hasURing = sync.OnceValue(func() bool {
	r, err := aioring.New(1, aioring.WithKernel(aioring.KernelURing))
	if err != nil {
		return false
	}
	r.Close()
	return true
})

func TestCopyOnEveryKernel(t *testing.T) {
	src := smallTree(t)
	for i := range 1000 {
		write(t, filepath.Join(src, "many", fmt.Sprint(i%10), fmt.Sprint(i)), pattern(i*7, uint64(i)))
	}
	write(t, src+"/big", pattern(64<<20, 64))
	for _, kernel := range kernels() {
		for _, flags := range [][]string{nil, {"--verify", "--sync", "--depth=512", "--block=32K"}} {
			t.Run(fmt.Sprint(kernel, flags), func(t *testing.T) {
				dst := filepath.Join(t.TempDir(), "dst")
				args := append([]string{"cp", "--json", "--kernel", kernel}, flags...)
				r := command(append(args, src, dst)...)
				r.want(t, exitDone)
				t.Log(r.stdout)
				wantSameTree(t, src, dst)
			})
		}
	}
}

func TestDepthOneOnEveryKernel(t *testing.T) {
	src := smallTree(t)
	for _, kernel := range kernels() {
		dst := filepath.Join(t.TempDir(), "dst")
		command("cp", "--verify", "--sync", "--depth=1", "--block=512", "--kernel", kernel, src, dst).want(t, exitDone)
		wantSameTree(t, src, dst)
	}
}

func TestJSON(t *testing.T) {
	src := smallTree(t)
	var files, bytes int64
	for _, size := range []int64{0, 1, 511, 512, 4096, 4097, 131072, 131073, 300000, 4, 3} {
		files, bytes = files+1, bytes+size
	}
	for _, kernel := range kernels() {
		for _, verify := range []bool{false, true} {
			t.Run(fmt.Sprint(kernel, verify), func(t *testing.T) {
				r := command("cp", "--json", "--kernel", kernel, fmt.Sprintf("--verify=%v", verify), src, t.TempDir())
				r.want(t, exitDone)
				var got struct {
					Bytes, Files, Dirs, Symlinks, Operations, Lists, Errors *int64
					Seconds                                                 *float64
					Kernel                                                  *string
					Verified                                                *bool
				}
				if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
					t.Fatalf("%v in %q", err, r.stdout)
				}
				if *got.Bytes != bytes || *got.Files != files || *got.Dirs != 7 || *got.Symlinks != 3 || *got.Errors != 0 ||
					*got.Kernel != kernel || *got.Verified != verify || *got.Seconds <= 0 ||
					*got.Operations < 2*(files-1) || (*got.Lists > 0) != (kernel == "freebsd" || kernel == "sim") {
					t.Error(r.stdout)
				}
			})
		}
	}
}

func TestJSONCountsErrors(t *testing.T) {
	r := command("cp", "--json", "--verify", "/nonexistent", t.TempDir())
	r.want(t, exitFailed, []string{"/nonexistent", "ENOENT"})
	var got struct {
		Errors   int
		Verified bool
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Errors != 1 || got.Verified {
		t.Errorf("%v in %q", err, r.stdout)
	}
}

func TestKernelThatIsNotHereIsOneLine(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "dst")
	if runtime.GOOS != "linux" {
		command("cp", "--kernel", "uring", "cp.go", dst).want(t, exitFailed, []string{"kernel uring", "not on " + runtime.GOOS})
	}
	if runtime.GOOS != "freebsd" {
		command("cp", "--kernel", "freebsd", "cp.go", dst).want(t, exitFailed, []string{"kernel freebsd", "not on " + runtime.GOOS})
	}
	if _, err := os.Lstat(dst); err == nil {
		t.Error("copied all the same")
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "4096": 4096, "4k": 4096, "4K": 4096, "4KB": 4096, "4KiB": 4096, "3M": 3 << 20, "1g": 1 << 30, "7b": 7,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1", "1.5K", "1T", "9223372036854775807K", "4 K"} {
		if err := new(byteSize).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
