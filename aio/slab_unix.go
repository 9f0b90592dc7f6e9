//go:build unix

package aio

import "golang.org/x/sys/unix"

// mapMemory is zeroed memory of its own, outside the Go heap.
func mapMemory(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func unmapMemory(mapping []byte) error { return unix.Munmap(mapping) }
