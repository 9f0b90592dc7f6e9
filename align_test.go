//go:build unix

package aioring_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/aioring/aioring"
)

func TestAlignOfAFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := aioring.Align(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{a.Buffer, a.Offset, a.Length} {
		if n < 1 || n > 1<<20 || n&(n-1) != 0 {
			t.Errorf("%+v", a)
		}
	}
	if a.Preferred < 512 {
		t.Errorf("preferred: %d", a.Preferred)
	}
	f.Close()
	if _, err := aioring.Align(f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := aioring.Align(nil); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("none: %v", err)
	}
}

func TestArenaLendsAlignedBuffers(t *testing.T) {
	a, err := aioring.NewArena(3, 5000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*byte]bool{}
	var out [][]byte
	for range 3 {
		buf := a.Get()
		if len(buf) != 5000 || cap(buf) != 5000 || uintptr(unsafe.Pointer(&buf[0]))%aioring.ArenaAlign != 0 || seen[&buf[0]] {
			t.Fatalf("%d of %d at %p", len(buf), cap(buf), buf)
		}
		seen[&buf[0]] = true
		for i := range buf {
			buf[i] = 1
		}
		out = append(out, buf)
	}
	if a.Get() != nil {
		t.Error("a fourth of three")
	}
	if a.Close() == nil {
		t.Error("closed while buffers are out")
	}
	for name, bad := range map[string][]byte{"foreign": make([]byte, 5000), "none": nil, "not its beginning": out[0][1:]} {
		if err := a.Put(bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, buf := range out {
		if err := a.Put(buf[:10]); err != nil {
			t.Error(err)
		}
	}
	if err := a.Put(out[0]); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("twice: %v", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if a.Get() != nil || a.Put(out[0]) == nil {
		t.Error("lent or taken back when closed")
	}
	for _, bad := range [][2]int{{0, 1}, {1, 0}, {-1, 5}, {1 << 30, 1 << 30}, {1, int(^uint(0) >> 1)}} {
		if _, err := aioring.NewArena(bad[0], bad[1]); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
