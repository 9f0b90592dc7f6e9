package worker

import (
	"bytes"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// cachedFile is a file of so many bytes, in the page cache, on a file system that can
// tell what is there or is nothing but memory.
func cachedFile(t *testing.T, size int) (fd int, data []byte) {
	t.Helper()
	fd, data = tempFile(t), pattern(size)
	mustWrite(t, fd, data)
	if _, err := unix.Preadv2(fd, [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT); err == unix.EOPNOTSUPP && !inMemory(fd) {
		t.Skip("preadv2 with RWF_NOWAIT: ", err)
	}
	return fd, data
}

// What is in the page cache is read, and no other answer is given than a read that
// waits would give.
func TestCacheReads(t *testing.T) {
	const size = cachedSize + 8192
	fd, data := cachedFile(t, size)
	r, _ := pipe(t)
	buf := make([]byte, size)
	for _, c := range []struct {
		name string
		fd   int
		p    []byte
		bufs [][]byte
		off  int64
		ok   bool
		want []byte
	}{
		{"a read", fd, buf[:4096], nil, 100, true, data[100:4196]},
		{"as much as is asked for", fd, buf[:cachedSize], nil, 1, true, data[1:][:cachedSize]},
		{"more", fd, buf[:cachedSize+1], nil, 1, false, nil},
		{"to the end", fd, buf[:4096], nil, size - 4096, true, data[size-4096:]},
		{"across the end", fd, buf[:4096], nil, size - 192, true, data[size-192:]},
		{"from the end", fd, buf[:4096], nil, size, true, nil},
		{"far behind it", fd, buf[:4096], nil, 1 << 40, true, nil},
		{"nothing", fd, nil, nil, 0, false, nil},
		{"vectors", fd, nil, [][]byte{buf[:10], nil, buf[10:1000]}, 7, true, data[7:1007]},
		{"vectors across the end", fd, nil, [][]byte{buf[:10], buf[10:100]}, size - 50, true, data[size-50:]},
		{"one vector", fd, nil, [][]byte{buf[:64]}, 7, true, data[7:71]},
		{"vectors of nothing", fd, nil, [][]byte{nil, {}}, 7, false, nil},
		{"more in vectors", fd, nil, [][]byte{buf[:cachedSize], buf[cachedSize:][:1]}, 0, false, nil},
		{"a pipe", r, buf[:1], nil, 0, false, nil},
		{"a bad descriptor", -1, buf[:1], nil, 0, false, nil},
	} {
		clear(buf)
		n, ok := new(Cache).Read(c.fd, c.p, c.bufs, c.off, new(Pages))
		if ok != c.ok || n != len(c.want) || !bytes.Equal(buf[:n], c.want) {
			t.Errorf("%s: %d, %v", c.name, n, ok)
		}
	}
}

// A read of which the cache has only a part is not answered with that part: nothing but
// the end of the file makes an answer short.
func TestCacheLeavesWhatIsNotThere(t *testing.T) {
	const size, step = 8 << 20, 256 << 10
	fd, data := cachedFile(t, size)
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	for _, advice := range []int{unix.FADV_RANDOM, unix.FADV_DONTNEED} {
		if err := unix.Fadvise(fd, 0, 0, advice); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 8192)
	left := 0
	for off := int64(0); off < size; off += step {
		if _, err := unix.Pread(fd, buf[:4096], off); err != nil { // now the first half is there
			t.Fatal(err)
		}
		n, ok := new(Cache).Read(fd, buf, nil, off, new(Pages))
		switch {
		case !ok:
			left++
		case n != len(buf) || !bytes.Equal(buf, data[off:][:n]):
			t.Fatalf("%d bytes of %d", n, len(buf))
		}
	}
	if left == 0 {
		t.Skip("the file system keeps pages as it likes, tmpfs all of them")
	}
}

// After misses in a row there is a pause, each twice as long, up to a bound; a hit ends
// the row.
func TestCacheAskedInVainIsAskedLess(t *testing.T) {
	fd, _ := cachedFile(t, 1)
	r, _ := pipe(t) // never answers
	buf := make([]byte, 1)
	var h Cache
	// pause counts the reads that are not asked for.
	pause := func() (n int) {
		for {
			if _, ok := h.Read(fd, buf, nil, 0, new(Pages)); ok {
				return n
			}
			n++
		}
	}
	for misses, want := range []int{0, 0, 2, 6, 14, 30, 62, 126, 254, 254, 254} {
		for range misses {
			h.skip = 0
			h.Read(r, buf, nil, 0, new(Pages))
		}
		if got := pause(); got != want {
			t.Errorf("after %d misses %d reads are not asked for, want %d", misses, got, want)
		}
	}
	medium := pagesMedium // of such a one nobody asks in vain
	for range 10 {
		h.Read(fd, buf, nil, 0, &medium)
	}
	if got := pause(); got != 0 {
		t.Errorf("%d reads are not asked for, for others that could not be", got)
	}
}

// The bytes of one turn are bounded.
func TestCacheTurnEnds(t *testing.T) {
	fd, _ := cachedFile(t, cachedSize)
	buf := make([]byte, cachedSize)
	var h Cache
	for range 2 {
		for i := range cachedTurn / cachedSize {
			if _, ok := h.Read(fd, buf, nil, 0, new(Pages)); !ok {
				t.Fatalf("read %d is not made", i)
			}
		}
		if _, ok := h.Read(fd, buf[:1], nil, 0, new(Pages)); ok {
			t.Fatal("the turn does not end")
		}
		h.NextTurn()
	}
}

// Files that are nothing but memory are read at once, also where the kernel cannot be
// asked not to wait.
func TestMemoryIsRead(t *testing.T) {
	fd, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	data, buf := pattern(10_000), make([]byte, 4096)
	mustWrite(t, fd, data)
	var h Cache
	var where Pages
	for _, off := range []int{0, 4096, 8192, 10_000, 20_000} {
		want := data[min(off, len(data)):min(off+len(buf), len(data))]
		n, ok := h.Read(fd, buf, nil, int64(off), &where)
		if !ok || !bytes.Equal(buf[:n], want) {
			t.Errorf("%d bytes at %d, %v", n, off, ok)
		}
		n, ok = h.Read(fd, nil, [][]byte{buf[:1], buf[1:]}, int64(off), &where)
		if !ok || !bytes.Equal(buf[:n], want) {
			t.Errorf("vectors: %d bytes at %d, %v", n, off, ok)
		}
	}
	if where == pagesMedium || !inMemory(fd) || inMemory(-1) {
		t.Errorf("it is not known where it is: %d", where)
	}
}

func TestDirect(t *testing.T) {
	if where := pagesOf(tempFile(t)); where != pagesCached {
		t.Errorf("a plain file: %d", where)
	}
	if where := pagesOf(-1); where != pagesMedium {
		t.Errorf("no file: %d", where)
	}
	fd, err := unix.Open(filepath.Join(t.TempDir(), "direct"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o600)
	if err == unix.EINVAL {
		t.Skip("no O_DIRECT on this file system")
	}
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	if where := pagesOf(fd); where != pagesMedium {
		t.Errorf("O_DIRECT: %d", where)
	}
}
