//go:build unix

package main

import (
	"os"
	"testing"
)

func TestLayoutCoversAllDataOnce(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	must(t, err)
	defer f.Close()
	const size = 10000
	_, err = f.Write(make([]byte, size))
	must(t, err)
	for _, limit := range []int{1, 512, 9999, 10000, 10001} {
		l := layout{fd: int(f.Fd()), size: size}
		var covered int64
		for {
			off, n, err := l.next(limit)
			must(t, err)
			if n == 0 {
				break
			}
			if off != covered || n > limit {
				t.Fatalf("%d bytes at %d after %d", n, off, covered)
			}
			covered += int64(n)
		}
		if covered != size || l.written != size {
			t.Errorf("limit %d: %d bytes of %d", limit, covered, size)
		}
	}
}
