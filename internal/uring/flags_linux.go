package uring

// SQE flags.
//
// Source: Linux include/uapi/linux/io_uring.h, IOSQE_*.
const (
	SQEFixedFile    = 1 << 0
	SQEDrain        = 1 << 1
	SQELink         = 1 << 2
	SQEHardlink     = 1 << 3
	SQEAsync        = 1 << 4
	SQEBufferSelect = 1 << 5
	SQESkipSuccess  = 1 << 6
)

// CQE flags. Source: IORING_CQE_F_*.
const (
	CQEBuffer       = 1 << 0
	CQEMore         = 1 << 1
	CQESockNonempty = 1 << 2
	CQENotif        = 1 << 3
	CQEBufMore      = 1 << 4
	CQESkip         = 1 << 5
	CQE32           = 1 << 15

	CQEBufferShift = 16 // the buffer's id is above
)

// Set-up flags. Source: io_uring_setup(2), IORING_SETUP_*.
const (
	SetupIOPoll           = 1 << 0
	SetupSQPoll           = 1 << 1
	SetupSQAff            = 1 << 2
	SetupCQSize           = 1 << 3
	SetupClamp            = 1 << 4
	SetupAttachWQ         = 1 << 5
	SetupRDisabled        = 1 << 6
	SetupSubmitAll        = 1 << 7  // 5.18
	SetupCoopTaskrun      = 1 << 8  // 5.19
	SetupTaskrunFlag      = 1 << 9  // 5.19
	SetupSQE128           = 1 << 10 // 5.19
	SetupCQE32            = 1 << 11 // 5.19
	SetupSingleIssuer     = 1 << 12 // 6.0
	SetupDeferTaskrun     = 1 << 13 // 6.1
	SetupNoMmap           = 1 << 14 // 6.5; refused: the rings are mapped here
	SetupRegisteredFDOnly = 1 << 15 // 6.5; refused: it needs NO_MMAP
	SetupNoSQArray        = 1 << 16 // 6.6
	SetupHybridIOPoll     = 1 << 17 // 6.13
	SetupCQEMixed         = 1 << 18 // 6.18
)

// Features that the kernel reports. Source: io_uring_setup(2), IORING_FEAT_*.
const (
	FeatSingleMmap     = 1 << 0
	FeatNoDrop         = 1 << 1
	FeatSubmitStable   = 1 << 2
	FeatRWCurPos       = 1 << 3
	FeatCurPersonality = 1 << 4
	FeatFastPoll       = 1 << 5
	FeatPoll32Bits     = 1 << 6
	FeatSQPollNonfixed = 1 << 7
	FeatExtArg         = 1 << 8
	FeatNativeWorkers  = 1 << 9
	FeatRsrcTags       = 1 << 10
	FeatCQESkip        = 1 << 11
	FeatLinkedFile     = 1 << 12
	FeatRegRegRing     = 1 << 13
	FeatRecvSendBundle = 1 << 14
	FeatMinTimeout     = 1 << 15
	FeatRWAttr         = 1 << 16
	FeatNoIOWait       = 1 << 17
)

// Flags of io_uring_enter(2). Source: IORING_ENTER_*.
const (
	EnterGetEvents      = 1 << 0
	EnterSQWakeup       = 1 << 1
	EnterSQWait         = 1 << 2
	EnterExtArg         = 1 << 3
	EnterRegisteredRing = 1 << 4
	EnterAbsTimer       = 1 << 5
	EnterExtArgReg      = 1 << 6
	EnterNoIOWait       = 1 << 7
)

// Flags in the shared words of the rings. Source: IORING_SQ_*, IORING_CQ_*.
const (
	sqNeedWakeup      = 1 << 0
	sqCQOverflow      = 1 << 1
	sqTaskrun         = 1 << 2
	cqEventfdDisabled = 1 << 0
)

// Flags of OpAsyncCancel and of [Ring.SyncCancel]. Source: IORING_ASYNC_CANCEL_*.
const (
	CancelAll      = 1 << 0
	CancelFd       = 1 << 1
	CancelAny      = 1 << 2
	CancelFdFixed  = 1 << 3
	CancelUserData = 1 << 4
	CancelOp       = 1 << 5
)

// Opcodes of io_uring_register(2). Source: enum io_uring_register_op.
const (
	registerBuffers          = 0
	unregisterBuffers        = 1
	registerFiles            = 2
	unregisterFiles          = 3
	registerEventfd          = 4
	unregisterEventfd        = 5
	registerFilesUpdate      = 6
	registerEventfdAsync     = 7
	registerProbe            = 8
	registerEnableRings      = 12
	registerFiles2           = 13
	registerBuffers2         = 15
	registerBuffersUpdate    = 16
	registerIOWQMaxWorkers   = 19
	registerSyncCancel       = 24 // 6.0
	registerFilesSparseFlag  = 1  // IORING_RSRC_REGISTER_SPARSE
	registerMaxProbedOpcodes = 256
)
