package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Message describes a message to the kernel in m: an address, or room for one, and
// buffers, which vec describes. All of it must stay until the completion.
func Message(m *unix.Msghdr, name []byte, vec []Iovec) uint64 {
	*m = unix.Msghdr{}
	if len(name) > 0 {
		m.Name, m.Namelen = unsafe.SliceData(name), uint32(len(name))
	}
	// The layouts are the same; what vec points to is the caller's to keep.
	m.Iov = (*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(vec)))
	m.SetIovlen(len(vec))
	return uint64(uintptr(unsafe.Pointer(m)))
}

// WholePages reports whether a buffer begins and ends with pages, so that advice on
// them concerns no other memory.
func WholePages(b []byte) bool {
	page := uintptr(unix.Getpagesize())
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%page == 0 && uintptr(len(b))%page == 0
}
