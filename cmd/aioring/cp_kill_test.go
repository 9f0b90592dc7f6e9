//go:build unix

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var kills = flag.Int("kills", 2, "how often TestCopyKilled kills a copy, on each kernel")

// A copy is killed at random. What has a file's name then is that file, old or new, to
// the last byte; what has ended well is all there; and another copy brings the rest.
func TestCopyKilled(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	for i := range 60 {
		write(t, filepath.Join(src, fmt.Sprint("dir", i%4), fmt.Sprint(i)), pattern(1+i*i*100, uint64(i)))
	}
	old := []byte("what was there before")
	for _, kernel := range kernels() {
		t.Run(kernel, func(t *testing.T) {
			fresh := func() (dst string) {
				dst = filepath.Join(t.TempDir(), "dst")
				for i := range 60 {
					write(t, filepath.Join(dst, "src", fmt.Sprint("dir", i%4), fmt.Sprint(i)), old)
				}
				return dst
			}
			copying := func(dst string, after time.Duration) (ended bool) {
				cmd := program(t, "cp", "--kernel", kernel, "--sync", "--block=8K", "--depth=16", src, dst)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				must(t, cmd.Start())
				kill := time.AfterFunc(after, func() { cmd.Process.Kill() })
				defer kill.Stop()
				err := cmd.Wait()
				if err != nil && errs.Len() > 0 {
					t.Errorf("%v\n%s", err, errs.String())
				}
				return err == nil
			}
			began := time.Now()
			if !copying(fresh(), time.Minute) {
				t.Fatal("a copy that nobody killed has failed")
			}
			takes := time.Since(began)
			rng := rand.New(rand.NewPCG(1, 1))
			killed, halfway := 0, 0
			for range *kills {
				dst := fresh()
				ended := copying(dst, time.Duration(rng.Int64N(int64(takes))))
				done := 0
				must(t, filepath.WalkDir(src, func(path string, entry fs.DirEntry, err error) error {
					if err != nil || !entry.Type().IsRegular() {
						return err
					}
					want, err := os.ReadFile(path)
					must(t, err)
					got, err := os.ReadFile(filepath.Join(dst, "src", strings.TrimPrefix(path, src)))
					must(t, err)
					switch {
					case bytes.Equal(got, want):
						done++
					case ended || !bytes.Equal(got, old):
						t.Errorf("%s has %d bytes, neither the old nor the new; cp has ended: %v", path, len(got), ended)
					}
					return nil
				}))
				if !ended {
					killed++
				}
				if done > 0 && done < 60 {
					halfway++
				}
				leave(t, dst)
				if !copying(dst, time.Minute) {
					t.Error("the second copy has failed")
				}
				wantSameTree(t, src, filepath.Join(dst, "src"))
			}
			t.Logf("killed %d times, %d of them halfway", killed, halfway)
		})
	}
}

// leave removes the temporaries that killed copies have left.
func leave(t *testing.T, dst string) {
	t.Helper()
	must(t, filepath.WalkDir(dst, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.Contains(entry.Name(), ".aioring-") {
			return os.Remove(path)
		}
		return err
	}))
}
