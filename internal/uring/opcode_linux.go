package uring

// Opcodes of Linux 6.18.
//
// Source: Linux include/uapi/linux/io_uring.h, enum io_uring_op.
const (
	OpNop            = 0
	OpReadv          = 1
	OpWritev         = 2
	OpFsync          = 3
	OpReadFixed      = 4
	OpWriteFixed     = 5
	OpPollAdd        = 6
	OpPollRemove     = 7
	OpSyncFileRange  = 8
	OpSendmsg        = 9
	OpRecvmsg        = 10
	OpTimeout        = 11
	OpTimeoutRemove  = 12
	OpAccept         = 13
	OpAsyncCancel    = 14
	OpLinkTimeout    = 15
	OpConnect        = 16
	OpFallocate      = 17
	OpOpenat         = 18
	OpClose          = 19
	OpFilesUpdate    = 20
	OpStatx          = 21
	OpRead           = 22
	OpWrite          = 23
	OpFadvise        = 24
	OpMadvise        = 25
	OpSend           = 26
	OpRecv           = 27
	OpOpenat2        = 28
	OpEpollCtl       = 29
	OpSplice         = 30
	OpProvideBuffers = 31
	OpRemoveBuffers  = 32
	OpTee            = 33
	OpShutdown       = 34
	OpRenameat       = 35
	OpUnlinkat       = 36
	OpMkdirat        = 37
	OpSymlinkat      = 38
	OpLinkat         = 39
	OpMsgRing        = 40
	OpFsetxattr      = 41
	OpSetxattr       = 42
	OpFgetxattr      = 43
	OpGetxattr       = 44
	OpSocket         = 45
	OpUringCmd       = 46
	OpSendZC         = 47
	OpSendmsgZC      = 48
	OpReadMultishot  = 49
	OpWaitid         = 50
	OpFutexWait      = 51
	OpFutexWake      = 52
	OpFutexWaitv     = 53
	OpFixedFdInstall = 54
	OpFtruncate      = 55
	OpBind           = 56
	OpListen         = 57
	OpRecvZC         = 58
	OpEpollWait      = 59
	OpReadvFixed     = 60
	OpWritevFixed    = 61
	OpPipe           = 62

	// OpLast is one past the last opcode of this list.
	OpLast = 63
)
