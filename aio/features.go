package aio

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Features are what a kernel may have beyond what FreeBSD 13.2 has.
type Features struct {
	VectoredLists bool // OpReadv and OpWritev in lists: 14.0
	ListFoffset   bool // LIO_FOFFSET in lists, the file's own offset: 14.1
}

// opFoffset is LIO_FOFFSET, a bit beside an opcode.
const opFoffset Opcode = 0x40

// LearnFeatures asks the kernel itself, with lists of one entry that names no
// descriptor: the kernel looks at the opcode first and refuses one it does not know
// with EINVAL, at the descriptor second and refuses that with EBADF. So nothing is
// ever queued. No release number is looked at: in a jail it may be anything.
//
// The error is EAGAIN when all of the system's slots are taken, which the kernel
// sees to before anything else.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_aqueue.
func LearnFeatures(k Kernel) (Features, error) {
	var f Features
	for _, c := range []struct {
		op  Opcode
		has *bool
	}{
		{OpReadv, &f.VectoredLists},
		{OpRead | opFoffset, &f.ListFoffset},
	} {
		var err error
		if *c.has, err = takesInLists(k, c.op); err != nil {
			return Features{}, err
		}
	}
	return f, nil
}

// takesInLists asks about one opcode.
func takesInLists(k Kernel, op Opcode) (bool, error) {
	// On the Go heap, which does not move; nothing is queued, so the kernel
	// forgets all three when the call returns.
	data := make([]byte, 1)
	iovec := &Iovec{Base: unsafe.Pointer(unsafe.SliceData(data)), Len: 1}
	cb := new(ControlBlock)
	cb.Prepare(op, -1, 0, unsafe.Pointer(iovec), 1, Sigevent{})
	errno := k.ListIO(ListNoWait, []*ControlBlock{cb}, nil)
	runtime.KeepAlive(iovec)
	if cb.Touched() {
		switch cb.ErrorWord() {
		case EBADF:
			return true, nil
		case EINVAL:
			return false, nil
		case EAGAIN:
			errno = EAGAIN
		}
	}
	return false, fmt.Errorf("aio: lio_listio of an entry with opcode %#x and no descriptor: %w", int(op), errno)
}
