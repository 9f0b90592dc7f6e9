//go:build !race

package worker

import "testing"

func TestCacheReadAllocatesNothing(t *testing.T) {
	fd, _ := cachedFile(t, 4096)
	buf := make([]byte, 4096)
	bufs := [][]byte{buf[:100], buf[100:]}
	var h Cache
	var where Pages
	if n := testing.AllocsPerRun(100, func() {
		h.NextTurn()
		h.Read(fd, buf, nil, 0, &where)
		h.Read(fd, nil, bufs, 0, &where)
		h.Read(fd, buf, nil, 4000, &where)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
