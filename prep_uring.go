package aioring

import "github.com/aioring/aioring/internal/engine"

// The operations that only Linux's own io_uring has: elsewhere, and on a Linux that is
// too old for them, their result is EINVAL. [Ring.Probe] tells.
const (
	OpReadFixed      = engine.OpReadFixed      // read into a part of a registered buffer
	OpWriteFixed     = engine.OpWriteFixed     // write such a part
	OpPollAdd        = engine.OpPollAdd        // wait for readiness
	OpPollRemove     = engine.OpPollRemove     // end such a wait or change it
	OpSyncFileRange  = engine.OpSyncFileRange  // begin to write a range back
	OpSendmsg        = engine.OpSendmsg        // send several buffers
	OpRecvmsg        = engine.OpRecvmsg        // receive into several buffers
	OpAccept         = engine.OpAccept         // accept a connection
	OpConnect        = engine.OpConnect        // connect a socket
	OpFallocate      = engine.OpFallocate      // allocate space
	OpOpenat         = engine.OpOpenat         // open a file
	OpClose          = engine.OpClose          // close a descriptor
	OpFilesUpdate    = engine.OpFilesUpdate    // change the table of files
	OpStatx          = engine.OpStatx          // tell about a file
	OpFadvise        = engine.OpFadvise        // say how a file will be used
	OpMadvise        = engine.OpMadvise        // say how memory will be used
	OpSend           = engine.OpSend           // send one buffer
	OpRecv           = engine.OpRecv           // receive into one buffer
	OpOpenat2        = engine.OpOpenat2        // open a file, with conditions
	OpEpollCtl       = engine.OpEpollCtl       // change an epoll set
	OpSplice         = engine.OpSplice         // move bytes through a pipe
	OpProvideBuffers = engine.OpProvideBuffers // give buffers to a group
	OpRemoveBuffers  = engine.OpRemoveBuffers  // take them back
	OpTee            = engine.OpTee            // copy bytes from pipe to pipe
	OpShutdown       = engine.OpShutdown       // end one direction of a connection
	OpRenameat       = engine.OpRenameat       // rename
	OpUnlinkat       = engine.OpUnlinkat       // remove a name
	OpMkdirat        = engine.OpMkdirat        // make a directory
	OpSymlinkat      = engine.OpSymlinkat      // make a symbolic link
	OpLinkat         = engine.OpLinkat         // make a link
	OpMsgRing        = engine.OpMsgRing        // post a CQE to another ring
	OpFsetxattr      = engine.OpFsetxattr      // set an extended attribute
	OpSetxattr       = engine.OpSetxattr       // the same, by name
	OpFgetxattr      = engine.OpFgetxattr      // read an extended attribute
	OpGetxattr       = engine.OpGetxattr       // the same, by name
	OpSocket         = engine.OpSocket         // make a socket
	OpUringCmd       = engine.OpUringCmd       // a command of the file
	OpSendZC         = engine.OpSendZC         // send without a copy
	OpSendmsgZC      = engine.OpSendmsgZC      // send several buffers so
	OpReadMultishot  = engine.OpReadMultishot  // read as long as something comes
	OpWaitid         = engine.OpWaitid         // wait for a process
	OpFutexWait      = engine.OpFutexWait      // wait for a futex
	OpFutexWake      = engine.OpFutexWake      // wake those who do
	OpFutexWaitv     = engine.OpFutexWaitv     // wait for one of several
	OpFixedFdInstall = engine.OpFixedFdInstall // make a descriptor of a file of the table
	OpFtruncate      = engine.OpFtruncate      // set the length of a file
	OpBind           = engine.OpBind           // give a socket its address
	OpListen         = engine.OpListen         // make a socket accept
	OpRecvZC         = engine.OpRecvZC         // receive without a copy
	OpEpollWait      = engine.OpEpollWait      // wait for an epoll set
	OpReadvFixed     = engine.OpReadvFixed     // read into parts of a registered buffer
	OpWritevFixed    = engine.OpWritevFixed    // write such parts
	OpPipe           = engine.OpPipe           // make a pipe
)

// The Prep functions below take what liburing's of the same names take, with these
// exceptions: a path is a string; an address of a socket, and every structure that the
// kernel reads or writes, is a slice of its bytes as the system has it. What they are
// given is the ring's until the final CQE.

// text is a string as the kernel reads it.
func text(s string) []byte { return append([]byte(s), 0) }

// PrepReadFixed prepares a [PrepRead] into a part of the registered buffer of this
// index.
func PrepReadFixed(sqe *SQE, fd int, buf []byte, off int64, index uint16) {
	prep(sqe, OpReadFixed, fd, off)
	sqe.Buf = buf
	sqe.SetBufIndex(index)
}

// PrepWriteFixed prepares a [PrepWrite] of a part of the registered buffer of this
// index.
func PrepWriteFixed(sqe *SQE, fd int, buf []byte, off int64, index uint16) {
	prep(sqe, OpWriteFixed, fd, off)
	sqe.Buf = buf
	sqe.SetBufIndex(index)
}

// PrepReadvFixed prepares a [PrepReadv] into parts of one registered buffer.
func PrepReadvFixed(sqe *SQE, fd int, bufs [][]byte, off int64, index uint16) {
	prep(sqe, OpReadvFixed, fd, off)
	sqe.Bufs = bufs
	sqe.SetBufIndex(index)
}

// PrepWritevFixed prepares a [PrepWritev] of parts of one registered buffer.
func PrepWritevFixed(sqe *SQE, fd int, bufs [][]byte, off int64, index uint16) {
	prep(sqe, OpWritevFixed, fd, off)
	sqe.Bufs = bufs
	sqe.SetBufIndex(index)
}

// PrepReadMultishot prepares reads of a stream, for as long as something comes, into
// buffers of a group.
func PrepReadMultishot(sqe *SQE, fd int, off int64, group uint16) {
	prep(sqe, OpReadMultishot, fd, off)
	sqe.Flags = FlagBufferSelect
	sqe.SetBufIndex(group)
}

// PrepPollAdd prepares a wait until a file is ready for one of the events of poll(2):
// the result is those that it is ready for.
func PrepPollAdd(sqe *SQE, fd int, events uint32) {
	prep(sqe, OpPollAdd, fd, 0)
	sqe.OpFlags = events
}

// PrepPollMultishot is [PrepPollAdd] that goes on: with each CQE but the last comes
// [CQEMore].
func PrepPollMultishot(sqe *SQE, fd int, events uint32) {
	PrepPollAdd(sqe, fd, events)
	sqe.Len = 1
}

// PrepPollRemove prepares the end of a wait with this user data.
func PrepPollRemove(sqe *SQE, userData uint64) {
	prep(sqe, OpPollRemove, -1, 0)
	sqe.Addr = userData
}

// PrepPollUpdate prepares a change of the events of a wait with this user data.
func PrepPollUpdate(sqe *SQE, userData uint64, events uint32) {
	PrepPollRemove(sqe, userData)
	sqe.Len, sqe.OpFlags = 1<<1, events
}

// PrepSyncFileRange prepares a sync_file_range(2).
func PrepSyncFileRange(sqe *SQE, fd int, n uint32, off int64, flags uint32) {
	prep(sqe, OpSyncFileRange, fd, off)
	sqe.Len, sqe.OpFlags = n, flags
}

// PrepFallocate prepares a fallocate(2).
func PrepFallocate(sqe *SQE, fd int, mode uint32, off, n int64) {
	prep(sqe, OpFallocate, fd, off)
	sqe.Len, sqe.Addr = mode, uint64(n)
}

// PrepFtruncate prepares a ftruncate(2).
func PrepFtruncate(sqe *SQE, fd int, n int64) { prep(sqe, OpFtruncate, fd, n) }

// PrepFadvise prepares a posix_fadvise(2).
func PrepFadvise(sqe *SQE, fd int, off int64, n uint32, advice uint32) {
	prep(sqe, OpFadvise, fd, off)
	sqe.Len, sqe.OpFlags = n, advice
}

// PrepMadvise prepares a madvise(2) of whole pages; other memory is EINVAL.
func PrepMadvise(sqe *SQE, memory []byte, advice uint32) {
	prep(sqe, OpMadvise, -1, 0)
	sqe.Buf, sqe.OpFlags = memory, advice
}

// PrepOpenat prepares an openat(2): the result is the descriptor.
func PrepOpenat(sqe *SQE, dirfd int, path string, flags, mode uint32) {
	prep(sqe, OpOpenat, dirfd, 0)
	sqe.Buf, sqe.OpFlags, sqe.Len = text(path), flags, mode
}

// PrepOpenat2 prepares an openat2(2); how is a struct open_how.
func PrepOpenat2(sqe *SQE, dirfd int, path string, how []byte) {
	prep(sqe, OpOpenat2, dirfd, 0)
	sqe.Buf, sqe.Bufs, sqe.Len = text(path), [][]byte{how}, uint32(len(how))
}

// PrepClose prepares a close(2).
func PrepClose(sqe *SQE, fd int) { prep(sqe, OpClose, fd, 0) }

// PrepStatx prepares a statx(2); into is a struct statx, of 256 bytes.
func PrepStatx(sqe *SQE, dirfd int, path string, flags, mask uint32, into []byte) {
	prep(sqe, OpStatx, dirfd, 0)
	sqe.Buf, sqe.Bufs, sqe.OpFlags, sqe.Len = text(path), [][]byte{into}, flags, mask
}

// PrepRenameat prepares a renameat2(2).
func PrepRenameat(sqe *SQE, olddirfd int, oldpath string, newdirfd int, newpath string, flags uint32) {
	prep(sqe, OpRenameat, olddirfd, 0)
	sqe.Buf, sqe.Bufs = text(oldpath), [][]byte{text(newpath)}
	sqe.Len, sqe.OpFlags = uint32(newdirfd), flags
}

// PrepLinkat prepares a linkat(2).
func PrepLinkat(sqe *SQE, olddirfd int, oldpath string, newdirfd int, newpath string, flags uint32) {
	prep(sqe, OpLinkat, olddirfd, 0)
	sqe.Buf, sqe.Bufs = text(oldpath), [][]byte{text(newpath)}
	sqe.Len, sqe.OpFlags = uint32(newdirfd), flags
}

// PrepSymlinkat prepares a symlinkat(2).
func PrepSymlinkat(sqe *SQE, target string, newdirfd int, linkpath string) {
	prep(sqe, OpSymlinkat, newdirfd, 0)
	sqe.Buf, sqe.Bufs = text(target), [][]byte{text(linkpath)}
}

// PrepUnlinkat prepares an unlinkat(2).
func PrepUnlinkat(sqe *SQE, dirfd int, path string, flags uint32) {
	prep(sqe, OpUnlinkat, dirfd, 0)
	sqe.Buf, sqe.OpFlags = text(path), flags
}

// PrepMkdirat prepares a mkdirat(2).
func PrepMkdirat(sqe *SQE, dirfd int, path string, mode uint32) {
	prep(sqe, OpMkdirat, dirfd, 0)
	sqe.Buf, sqe.Len = text(path), mode
}

// PrepFsetxattr prepares a fsetxattr(2).
func PrepFsetxattr(sqe *SQE, fd int, name string, value []byte, flags uint32) {
	prep(sqe, OpFsetxattr, fd, 0)
	sqe.Buf, sqe.Bufs, sqe.Len, sqe.OpFlags = text(name), [][]byte{value}, uint32(len(value)), flags
}

// PrepSetxattr prepares a setxattr(2).
func PrepSetxattr(sqe *SQE, path, name string, value []byte, flags uint32) {
	prep(sqe, OpSetxattr, -1, 0)
	sqe.Buf, sqe.Bufs, sqe.Len, sqe.OpFlags = text(name), [][]byte{value, text(path)}, uint32(len(value)), flags
}

// PrepFgetxattr prepares a fgetxattr(2).
func PrepFgetxattr(sqe *SQE, fd int, name string, into []byte) {
	prep(sqe, OpFgetxattr, fd, 0)
	sqe.Buf, sqe.Bufs, sqe.Len = text(name), [][]byte{into}, uint32(len(into))
}

// PrepGetxattr prepares a getxattr(2).
func PrepGetxattr(sqe *SQE, path, name string, into []byte) {
	prep(sqe, OpGetxattr, -1, 0)
	sqe.Buf, sqe.Bufs, sqe.Len = text(name), [][]byte{into, text(path)}, uint32(len(into))
}

// PrepSplice prepares a splice(2); an offset of -1 is a pipe's, which has none.
func PrepSplice(sqe *SQE, in int, inOff int64, out int, outOff int64, n, flags uint32) {
	prep(sqe, OpSplice, out, outOff)
	sqe.Addr, sqe.Len, sqe.OpFlags = uint64(inOff), n, flags
	sqe.SetFileIndex(int32(in))
}

// PrepTee prepares a tee(2).
func PrepTee(sqe *SQE, in, out int, n, flags uint32) {
	prep(sqe, OpTee, out, 0)
	sqe.Len, sqe.OpFlags = n, flags
	sqe.SetFileIndex(int32(in))
}

// PrepPipe prepares a pipe2(2); into is room for two descriptors, 8 bytes.
func PrepPipe(sqe *SQE, into []byte, flags uint32) {
	prep(sqe, OpPipe, 0, 0)
	sqe.Buf, sqe.OpFlags = into, flags
}

// PrepSocket prepares a socket(2): the result is the descriptor.
func PrepSocket(sqe *SQE, domain, typ, protocol int, flags uint32) {
	prep(sqe, OpSocket, domain, int64(typ))
	sqe.Len, sqe.OpFlags = uint32(protocol), flags
}

// PrepBind prepares a bind(2).
func PrepBind(sqe *SQE, fd int, addr []byte) {
	prep(sqe, OpBind, fd, 0)
	sqe.Buf = addr
}

// PrepListen prepares a listen(2).
func PrepListen(sqe *SQE, fd int, backlog uint32) {
	prep(sqe, OpListen, fd, 0)
	sqe.Len = backlog
}

// PrepConnect prepares a connect(2).
func PrepConnect(sqe *SQE, fd int, addr []byte) {
	prep(sqe, OpConnect, fd, 0)
	sqe.Buf = addr
}

// PrepAccept prepares an accept4(2): the result is the descriptor. Whose it is,
// getpeername(2) tells.
func PrepAccept(sqe *SQE, fd int, flags uint32) {
	prep(sqe, OpAccept, fd, 0)
	sqe.OpFlags = flags
}

// PrepMultishotAccept is [PrepAccept] that goes on: with each CQE but the last comes
// [CQEMore].
func PrepMultishotAccept(sqe *SQE, fd int, flags uint32) {
	PrepAccept(sqe, fd, flags)
	sqe.IOPrio = 1
}

// PrepShutdown prepares a shutdown(2).
func PrepShutdown(sqe *SQE, fd int, how uint32) {
	prep(sqe, OpShutdown, fd, 0)
	sqe.Len = how
}

// PrepSend prepares a send(2).
func PrepSend(sqe *SQE, fd int, buf []byte, flags uint32) {
	prep(sqe, OpSend, fd, 0)
	sqe.Buf, sqe.OpFlags = buf, flags
}

// PrepSendZC prepares a send(2) without a copy: after the CQE with the result, which
// has [CQEMore], another says that the buffer is free.
func PrepSendZC(sqe *SQE, fd int, buf []byte, flags uint32) {
	prep(sqe, OpSendZC, fd, 0)
	sqe.Buf, sqe.OpFlags = buf, flags
}

// PrepRecv prepares a recv(2).
func PrepRecv(sqe *SQE, fd int, buf []byte, flags uint32) {
	prep(sqe, OpRecv, fd, 0)
	sqe.Buf, sqe.OpFlags = buf, flags
}

// PrepRecvMultishot prepares receiving for as long as something comes, into buffers
// of a group.
func PrepRecvMultishot(sqe *SQE, fd int, flags uint32, group uint16) {
	PrepRecv(sqe, fd, nil, flags)
	sqe.IOPrio, sqe.Flags = 2, FlagBufferSelect
	sqe.SetBufIndex(group)
}

// PrepRecvZC prepares receiving without a copy, into the area of a registered queue of
// a network interface.
func PrepRecvZC(sqe *SQE, fd int, n, queue uint32) {
	prep(sqe, OpRecvZC, fd, 0)
	sqe.Len, sqe.IOPrio = n, 2
	sqe.SetFileIndex(int32(queue))
}

// PrepSendmsg prepares a sendmsg(2) of buffers, to an address if there is one.
func PrepSendmsg(sqe *SQE, fd int, bufs [][]byte, addr []byte, flags uint32) {
	prep(sqe, OpSendmsg, fd, 0)
	sqe.Bufs, sqe.Buf, sqe.OpFlags = bufs, addr, flags
}

// PrepSendmsgZC is [PrepSendmsg] without a copy: see [PrepSendZC].
func PrepSendmsgZC(sqe *SQE, fd int, bufs [][]byte, addr []byte, flags uint32) {
	PrepSendmsg(sqe, fd, bufs, addr, flags)
	sqe.Opcode = OpSendmsgZC
}

// PrepRecvmsg prepares a recvmsg(2) into buffers. The sender's address goes into addr,
// as much of it as fits.
func PrepRecvmsg(sqe *SQE, fd int, bufs [][]byte, addr []byte, flags uint32) {
	prep(sqe, OpRecvmsg, fd, 0)
	sqe.Bufs, sqe.Buf, sqe.OpFlags = bufs, addr, flags
}

// PrepGetsockopt prepares a getsockopt(2): the result is the length.
func PrepGetsockopt(sqe *SQE, fd, level, name int, into []byte) {
	prepSocketCommand(sqe, 2, fd, level, name, into)
}

// PrepSetsockopt prepares a setsockopt(2).
func PrepSetsockopt(sqe *SQE, fd, level, name int, value []byte) {
	prepSocketCommand(sqe, 3, fd, level, name, value)
}

func prepSocketCommand(sqe *SQE, command int64, fd, level, name int, value []byte) {
	prep(sqe, OpUringCmd, fd, command)
	sqe.Addr = uint64(uint32(level)) | uint64(uint32(name))<<32
	sqe.Bufs = [][]byte{nil, value}
	sqe.SetFileIndex(int32(len(value)))
}

// PrepFilesUpdate prepares a change of the table of files from an index on; fds are
// 32-bit numbers as the system has them.
func PrepFilesUpdate(sqe *SQE, fds []byte, index int) {
	prep(sqe, OpFilesUpdate, -1, int64(index))
	sqe.Buf, sqe.Len = fds, uint32(len(fds)/4)
}

// PrepFixedFdInstall prepares making a descriptor of the file at an index of the table.
func PrepFixedFdInstall(sqe *SQE, index int, flags uint32) {
	prep(sqe, OpFixedFdInstall, index, 0)
	sqe.Flags, sqe.OpFlags = FlagFixedFile, flags
}

// PrepProvideBuffers prepares giving memory to a group as so many buffers of n bytes,
// numbered from first on. It is the ring's until Close.
func PrepProvideBuffers(sqe *SQE, memory []byte, n uint32, group, first uint16) {
	count := 0
	if n > 0 {
		count = len(memory) / int(n)
	}
	prep(sqe, OpProvideBuffers, count, int64(first))
	sqe.Buf, sqe.Len = memory, n
	sqe.SetBufIndex(group)
}

// PrepRemoveBuffers prepares taking n buffers out of a group.
func PrepRemoveBuffers(sqe *SQE, n int, group uint16) {
	prep(sqe, OpRemoveBuffers, n, 0)
	sqe.SetBufIndex(group)
}

// PrepMsgRing prepares posting a CQE with this result and user data to another
// io_uring, by its descriptor.
func PrepMsgRing(sqe *SQE, fd int, res uint32, userData uint64, flags uint32) {
	prep(sqe, OpMsgRing, fd, int64(userData))
	sqe.Len, sqe.OpFlags = res, flags
}

// PrepEpollCtl prepares an epoll_ctl(2); event is a struct epoll_event.
func PrepEpollCtl(sqe *SQE, epfd, fd int, op uint32, event []byte) {
	prep(sqe, OpEpollCtl, epfd, int64(fd))
	sqe.Len, sqe.Buf = op, event
}

// PrepEpollWait prepares an epoll_wait(2); into is room for events.
func PrepEpollWait(sqe *SQE, epfd int, into []byte) {
	prep(sqe, OpEpollWait, epfd, 0)
	sqe.Buf, sqe.Len = into, uint32(len(into)/12)
}

// PrepWaitid prepares a waitid(2); into is room for a siginfo_t, 128 bytes, or nil.
func PrepWaitid(sqe *SQE, idtype uint32, id int, into []byte, options uint32) {
	prep(sqe, OpWaitid, id, 0)
	sqe.Len, sqe.Bufs = idtype, [][]byte{into}
	sqe.SetFileIndex(int32(options))
}

// PrepFutexWait prepares waiting while a 32-bit futex has this value; flags are of
// futex2. EAGAIN: it has not.
func PrepFutexWait(sqe *SQE, futex []byte, value uint64, flags uint32) {
	prep(sqe, OpFutexWait, int(flags), int64(value))
	sqe.Buf = futex
}

// PrepFutexWake prepares waking up to n who wait for a futex: the result is how many.
func PrepFutexWake(sqe *SQE, futex []byte, n uint64, flags uint32) {
	prep(sqe, OpFutexWake, int(flags), int64(n))
	sqe.Buf = futex
}

// PrepFutexWaitv prepares waiting for one of several; waiters are struct futex_waitv.
func PrepFutexWaitv(sqe *SQE, waiters []byte) {
	prep(sqe, OpFutexWaitv, 0, 0)
	sqe.Buf, sqe.Len = waiters, uint32(len(waiters)/24)
}
