//go:build unix

package aioring

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

func align(fd int) (Alignment, error) {
	stat, errno := (aio.HostFiles{}).Fstat(fd)
	if errno != 0 {
		return Alignment{}, errno.Host()
	}
	sector, block := (aio.HostFiles{}).Geometry(fd, stat.Type)
	a := Alignment{Buffer: 1, Offset: max(1, sector), Length: max(1, sector), Preferred: block}
	alignDirect(fd, &a)
	return a, nil
}

func mapArena(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func unmapArena(mapping []byte) error { return unix.Munmap(mapping) }
