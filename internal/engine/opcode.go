package engine

// Opcode says what an operation does. The numbers are io_uring's.
type Opcode uint8

// The operations. Source: Linux 6.18 include/uapi/linux/io_uring.h, enum io_uring_op.
const (
	OpNop            Opcode = 0
	OpReadv          Opcode = 1
	OpWritev         Opcode = 2
	OpFsync          Opcode = 3
	OpReadFixed      Opcode = 4
	OpWriteFixed     Opcode = 5
	OpPollAdd        Opcode = 6
	OpPollRemove     Opcode = 7
	OpSyncFileRange  Opcode = 8
	OpSendmsg        Opcode = 9
	OpRecvmsg        Opcode = 10
	OpTimeout        Opcode = 11
	OpTimeoutRemove  Opcode = 12
	OpAccept         Opcode = 13
	OpAsyncCancel    Opcode = 14
	OpLinkTimeout    Opcode = 15
	OpConnect        Opcode = 16
	OpFallocate      Opcode = 17
	OpOpenat         Opcode = 18
	OpClose          Opcode = 19
	OpFilesUpdate    Opcode = 20
	OpStatx          Opcode = 21
	OpRead           Opcode = 22
	OpWrite          Opcode = 23
	OpFadvise        Opcode = 24
	OpMadvise        Opcode = 25
	OpSend           Opcode = 26
	OpRecv           Opcode = 27
	OpOpenat2        Opcode = 28
	OpEpollCtl       Opcode = 29
	OpSplice         Opcode = 30
	OpProvideBuffers Opcode = 31
	OpRemoveBuffers  Opcode = 32
	OpTee            Opcode = 33
	OpShutdown       Opcode = 34
	OpRenameat       Opcode = 35
	OpUnlinkat       Opcode = 36
	OpMkdirat        Opcode = 37
	OpSymlinkat      Opcode = 38
	OpLinkat         Opcode = 39
	OpMsgRing        Opcode = 40
	OpFsetxattr      Opcode = 41
	OpSetxattr       Opcode = 42
	OpFgetxattr      Opcode = 43
	OpGetxattr       Opcode = 44
	OpSocket         Opcode = 45
	OpUringCmd       Opcode = 46
	OpSendZC         Opcode = 47
	OpSendmsgZC      Opcode = 48
	OpReadMultishot  Opcode = 49
	OpWaitid         Opcode = 50
	OpFutexWait      Opcode = 51
	OpFutexWake      Opcode = 52
	OpFutexWaitv     Opcode = 53
	OpFixedFdInstall Opcode = 54
	OpFtruncate      Opcode = 55
	OpBind           Opcode = 56
	OpListen         Opcode = 57
	OpRecvZC         Opcode = 58
	OpEpollWait      Opcode = 59
	OpReadvFixed     Opcode = 60
	OpWritevFixed    Opcode = 61
	OpPipe           Opcode = 62
)

var opcodes = [...]string{
	OpNop:            "NOP",
	OpReadv:          "READV",
	OpWritev:         "WRITEV",
	OpFsync:          "FSYNC",
	OpReadFixed:      "READ_FIXED",
	OpWriteFixed:     "WRITE_FIXED",
	OpPollAdd:        "POLL_ADD",
	OpPollRemove:     "POLL_REMOVE",
	OpSyncFileRange:  "SYNC_FILE_RANGE",
	OpSendmsg:        "SENDMSG",
	OpRecvmsg:        "RECVMSG",
	OpTimeout:        "TIMEOUT",
	OpTimeoutRemove:  "TIMEOUT_REMOVE",
	OpAccept:         "ACCEPT",
	OpAsyncCancel:    "ASYNC_CANCEL",
	OpLinkTimeout:    "LINK_TIMEOUT",
	OpConnect:        "CONNECT",
	OpFallocate:      "FALLOCATE",
	OpOpenat:         "OPENAT",
	OpClose:          "CLOSE",
	OpFilesUpdate:    "FILES_UPDATE",
	OpStatx:          "STATX",
	OpRead:           "READ",
	OpWrite:          "WRITE",
	OpFadvise:        "FADVISE",
	OpMadvise:        "MADVISE",
	OpSend:           "SEND",
	OpRecv:           "RECV",
	OpOpenat2:        "OPENAT2",
	OpEpollCtl:       "EPOLL_CTL",
	OpSplice:         "SPLICE",
	OpProvideBuffers: "PROVIDE_BUFFERS",
	OpRemoveBuffers:  "REMOVE_BUFFERS",
	OpTee:            "TEE",
	OpShutdown:       "SHUTDOWN",
	OpRenameat:       "RENAMEAT",
	OpUnlinkat:       "UNLINKAT",
	OpMkdirat:        "MKDIRAT",
	OpSymlinkat:      "SYMLINKAT",
	OpLinkat:         "LINKAT",
	OpMsgRing:        "MSG_RING",
	OpFsetxattr:      "FSETXATTR",
	OpSetxattr:       "SETXATTR",
	OpFgetxattr:      "FGETXATTR",
	OpGetxattr:       "GETXATTR",
	OpSocket:         "SOCKET",
	OpUringCmd:       "URING_CMD",
	OpSendZC:         "SEND_ZC",
	OpSendmsgZC:      "SENDMSG_ZC",
	OpReadMultishot:  "READ_MULTISHOT",
	OpWaitid:         "WAITID",
	OpFutexWait:      "FUTEX_WAIT",
	OpFutexWake:      "FUTEX_WAKE",
	OpFutexWaitv:     "FUTEX_WAITV",
	OpFixedFdInstall: "FIXED_FD_INSTALL",
	OpFtruncate:      "FTRUNCATE",
	OpBind:           "BIND",
	OpListen:         "LISTEN",
	OpRecvZC:         "RECV_ZC",
	OpEpollWait:      "EPOLL_WAIT",
	OpReadvFixed:     "READV_FIXED",
	OpWritevFixed:    "WRITEV_FIXED",
	OpPipe:           "PIPE",
}

// String is io_uring's name of the operation.
func (o Opcode) String() string {
	if int(o) < len(opcodes) {
		return opcodes[o]
	}
	return "OP" + utoa(uint(o))
}
