package aioring

import (
	"github.com/aioring/aioring/internal/engine"
	"github.com/aioring/aioring/internal/uring"
)

// What an operation's entry points to is memory that the SQE has as a slice, never a
// number of the user's: the kernel writes to no place that was not handed to it.

// argument is what one of the three fields of an entry is that may be an address.
type argument uint8

const (
	none    argument = iota // 0
	number                  // the SQE's field of the same name
	data                    // a buffer, whose length is the entry's
	path                    // a string that ends with a NUL
	block                   // a buffer of at least a certain length
	size                    // of the buffer in addr
	vectors                 // buffers
	message                 // buffers and an address in a msghdr
	anyBit                  // all bits of a futex
)

// shape is how an SQE is made into an entry: addr is of Buf, off of Bufs[0], addr3 of
// Bufs[1], but vectors take all of Bufs.
type shape struct {
	addr, off, addr3 argument
	least            func(s *SQE) (addr, off, addr3 int) // of blocks
}

func blocks(addr, off, addr3 int) func(*SQE) (int, int, int) {
	return func(*SQE) (int, int, int) { return addr, off, addr3 }
}

// Source: Linux io_uring/*.c, the prep function of each operation.
var shapes = [...]shape{
	OpNop:       {},
	OpReadv:     {addr: vectors, off: number},
	OpWritev:    {addr: vectors, off: number},
	OpFsync:     {off: number},
	OpRead:      {addr: data, off: number},
	OpWrite:     {addr: data, off: number},
	OpReadFixed: {addr: data, off: number}, OpWriteFixed: {addr: data, off: number},
	OpReadvFixed: {addr: vectors, off: number}, OpWritevFixed: {addr: vectors, off: number},
	OpReadMultishot: {off: number},

	OpTimeout: {off: number}, OpTimeoutRemove: {}, OpLinkTimeout: {}, OpAsyncCancel: {},
	OpPollAdd: {}, OpPollRemove: {},

	OpSyncFileRange: {off: number},
	OpFallocate:     {addr: number, off: number},
	OpFadvise:       {addr: number, off: number},
	OpMadvise:       {addr: data},
	OpFtruncate:     {off: number},
	OpOpenat:        {addr: path},
	OpOpenat2:       {addr: path, off: block, least: func(s *SQE) (int, int, int) { return 0, int(s.Len), 0 }},
	OpClose:         {},
	OpStatx:         {addr: path, off: block, least: blocks(0, 256, 0)},
	OpRenameat:      {addr: path, off: path},
	OpLinkat:        {addr: path, off: path},
	OpSymlinkat:     {addr: path, off: path},
	OpUnlinkat:      {addr: path}, OpMkdirat: {addr: path},
	OpFsetxattr: {addr: path, off: block, least: ofLen}, OpFgetxattr: {addr: path, off: block, least: ofLen},
	OpSetxattr: {addr: path, off: block, addr3: path, least: ofLen}, OpGetxattr: {addr: path, off: block, addr3: path, least: ofLen},
	OpSplice: {addr: number, off: number}, OpTee: {},
	OpPipe: {addr: block, least: blocks(8, 0, 0)},

	OpSocket: {off: number}, OpListen: {}, OpShutdown: {}, OpAccept: {},
	OpBind: {addr: block, off: size}, OpConnect: {addr: block, off: size},
	OpSend: {addr: data}, OpSendZC: {addr: data}, OpRecv: {addr: data}, OpRecvZC: {},
	OpSendmsg: {addr: message}, OpSendmsgZC: {addr: message}, OpRecvmsg: {addr: message},
	OpUringCmd: {addr: number, off: number, addr3: block, least: ofOption},

	OpFilesUpdate:    {addr: block, off: number, least: func(s *SQE) (int, int, int) { return 4 * int(s.Len), 0, 0 }},
	OpProvideBuffers: {addr: block, off: number, least: func(s *SQE) (int, int, int) { return int(s.Len) * int(s.Fd), 0, 0 }},
	OpRemoveBuffers:  {},
	OpMsgRing:        {addr: number, off: number},
	OpFixedFdInstall: {},
	OpEpollCtl:       {addr: block, off: number, least: blocks(12, 0, 0)},
	OpEpollWait:      {addr: block, least: func(s *SQE) (int, int, int) { return 12 * int(s.Len), 0, 0 }},
	OpWaitid:         {off: block, least: blocks(0, 128, 0)},
	OpFutexWait:      {addr: block, off: number, addr3: anyBit, least: blocks(4, 0, 0)},
	OpFutexWake:      {addr: block, off: number, addr3: anyBit, least: blocks(4, 0, 0)},
	OpFutexWaitv:     {addr: block, least: func(s *SQE) (int, int, int) { return 24 * int(s.Len), 0, 0 }},
}

func ofOption(s *SQE) (addr, off, addr3 int) {
	_, _, n := s.Rest()
	return 0, 0, int(n)
}

func ofLen(s *SQE) (addr, off, addr3 int) { return 0, int(s.Len), 0 }

// shaped fills in what an entry points to. false: the SQE's buffers are not what the
// operation takes.
func (l *uringLower) shaped(k *uring.SQE, op *engine.Op) bool {
	s := &op.SQE
	sh := &shapes[s.Opcode]
	var least, leastOff, least3 int
	if sh.least != nil {
		least, leastOff, least3 = sh.least(s)
	}
	k.Len, k.Off, k.Addr, k.Addr3 = s.Len, 0, 0, 0
	ok := true
	switch sh.addr {
	case number:
		k.Addr = s.Addr
	case data:
		k.Addr = uring.Address(s.Buf)
		if s.Buf != nil || s.Flags&FlagBufferSelect == 0 {
			k.Len = uint32(min(len(s.Buf), MaxTransfer))
		}
		ok = s.Opcode != OpMadvise || uring.WholePages(s.Buf)
	case vectors:
		k.Addr, k.Len = vector(op)
	case message:
		if len(s.Bufs) > engine.MaxVectors {
			return false
		}
		args := argsOf(op)
		args.vector, _ = uring.Vectors(args.vector, s.Bufs)
		k.Addr, k.Len = uring.Message(&args.message, s.Buf, args.vector), 1
	default:
		k.Addr, ok = place(sh.addr, s.Buf, least)
	}
	switch sh.off {
	case number:
		k.Off = uint64(s.Off)
	case size:
		k.Off = uint64(len(s.Buf))
	default:
		var fits bool
		k.Off, fits = place(sh.off, further(s, 0), leastOff)
		ok = ok && fits
	}
	if sh.addr3 == anyBit {
		k.Addr3 = 1<<32 - 1
	} else {
		var fits bool
		k.Addr3, fits = place(sh.addr3, further(s, 1), least3)
		ok = ok && fits
	}
	if s.Opcode == OpProvideBuffers {
		l.provided = append(l.provided, s.Buf) // the kernel's from now on
	}
	return ok
}

// further is one of the buffers beside Buf, nil if there is none.
func further(s *SQE, i int) []byte {
	if i < len(s.Bufs) {
		return s.Bufs[i]
	}
	return nil
}

// place is the address of a path or a block. No buffer is none, of which the kernel
// thinks what it likes.
func place(kind argument, b []byte, least int) (addr uint64, ok bool) {
	if kind == none || b == nil {
		return 0, true
	}
	if kind == path && (len(b) == 0 || b[len(b)-1] != 0) || kind == block && (least < 0 || len(b) < least) {
		return 0, false
	}
	return uring.Address(b), true
}
