package aio

import "unsafe"

// The layouts on arm, from FreeBSD's headers. A wrong one does not
// compile: the array lengths of the two sides differ.
var (
	// struct aiocb, sys/sys/aio.h
	_ [0]byte   = [unsafe.Offsetof(ControlBlock{}.Fd)]byte{}
	_ [8]byte   = [unsafe.Offsetof(ControlBlock{}.Offset)]byte{}
	_ [16]byte  = [unsafe.Offsetof(ControlBlock{}.Buf)]byte{}
	_ [20]byte  = [unsafe.Offsetof(ControlBlock{}.Nbytes)]byte{}
	_ [36]byte  = [unsafe.Offsetof(ControlBlock{}.Opcode)]byte{}
	_ [40]byte  = [unsafe.Offsetof(ControlBlock{}.Reqprio)]byte{}
	_ [44]byte  = [unsafe.Offsetof(ControlBlock{}.status)]byte{}
	_ [48]byte  = [unsafe.Offsetof(ControlBlock{}.errno)]byte{}
	_ [56]byte  = [unsafe.Offsetof(ControlBlock{}.Sigevent)]byte{}
	_ [104]byte = [unsafe.Sizeof(ControlBlock{})]byte{}

	// struct sigevent, sys/sys/signal.h
	_ [0]byte  = [unsafe.Offsetof(Sigevent{}.Notify)]byte{}
	_ [4]byte  = [unsafe.Offsetof(Sigevent{}.Kqueue)]byte{}
	_ [8]byte  = [unsafe.Offsetof(Sigevent{}.Value)]byte{}
	_ [12]byte = [unsafe.Offsetof(Sigevent{}.KeventFlags)]byte{}
	_ [44]byte = [unsafe.Sizeof(Sigevent{})]byte{}

	// struct kevent, sys/sys/event.h
	_ [0]byte  = [unsafe.Offsetof(Kevent{}.Ident)]byte{}
	_ [4]byte  = [unsafe.Offsetof(Kevent{}.Filter)]byte{}
	_ [6]byte  = [unsafe.Offsetof(Kevent{}.Flags)]byte{}
	_ [8]byte  = [unsafe.Offsetof(Kevent{}.Fflags)]byte{}
	_ [16]byte = [unsafe.Offsetof(Kevent{}.Data)]byte{}
	_ [24]byte = [unsafe.Offsetof(Kevent{}.Udata)]byte{}
	_ [32]byte = [unsafe.Offsetof(Kevent{}.Ext)]byte{}
	_ [64]byte = [unsafe.Sizeof(Kevent{})]byte{}

	// struct iovec, sys/sys/_iovec.h
	_ [0]byte = [unsafe.Offsetof(Iovec{}.Base)]byte{}
	_ [4]byte = [unsafe.Offsetof(Iovec{}.Len)]byte{}
	_ [8]byte = [unsafe.Sizeof(Iovec{})]byte{}
)

// In a slab of such blocks every one is aligned to eight bytes.
var _ [0]byte = [unsafe.Sizeof(ControlBlock{}) % 8]byte{}
