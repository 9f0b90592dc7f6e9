package aio

// Filter names a source of events.
type Filter int16

const (
	FilterRead  Filter = -1  // Ident is a descriptor, Data the bytes to read, or connections to accept
	FilterWrite Filter = -2  // Ident is a descriptor, Data the bytes there is room for
	FilterAIO   Filter = -3  // one job finished: Ident is its control block's address, Data its errno
	FilterTimer Filter = -7  // Data is the period in, and the number of expirations out
	FilterLIO   Filter = -10 // every accepted job of a list finished: Ident is the list array's address
	FilterUser  Filter = -11 // triggered by a program
)

// Actions and flags of a kevent.
const (
	EvAdd     = 0x0001
	EvDelete  = 0x0002
	EvEnable  = 0x0004
	EvDisable = 0x0008

	EvOneshot  = 0x0010 // delivered once, then gone
	EvClear    = 0x0020 // delivered once for each change of state
	EvReceipt  = 0x0040 // report the change as an event with EvError, Data 0 for success
	EvDispatch = 0x0080 // delivered once, then disabled

	EvError = 0x4000
	EvEOF   = 0x8000
)

// NoteTrigger fires an EVFILT_USER event. It must be a change of its own: in
// the change that adds the event it does nothing, and together with EvClear the
// trigger is cleared again.
const NoteTrigger = 0x01000000

// Bits of Fflags for EVFILT_READ and EVFILT_WRITE. Like Data they are replaced by
// every later change of the event, one that only enables it too.
// Source: FreeBSD sys/sys/event.h; sys/kern/kern_event.c, kqueue_register.
const (
	NoteLowat    = 0x0001 // of a socket: Data is how many bytes it takes to be ready
	NoteFilePoll = 0x0002 // of a file: ready at its end too, as poll(2) has it
)

// Bits of Fflags for EVFILT_TIMER. Without a unit Data is in milliseconds. A
// timer comes again after each period unless it is EvOneshot or NoteAbstime; it is
// EvClear unless it is NoteAbstime.
// Source: FreeBSD sys/kern/kern_event.c, filt_timerattach.
const (
	NoteSeconds  = 0x0001
	NoteMseconds = 0x0002
	NoteUseconds = 0x0004
	NoteNseconds = 0x0008
	NoteAbstime  = 0x0010 // Data is a time since the epoch
)

// Bits of Fflags for EVFILT_USER: what a change does with the event's own bits,
// which are those of NoteFFlagsMask, in Fflags of the change.
// Source: FreeBSD sys/kern/kern_event.c, filt_usertouch.
const (
	NoteFFNop      = 0x00000000
	NoteFFAnd      = 0x40000000
	NoteFFOr       = 0x80000000
	NoteFFCopy     = 0xc0000000
	NoteFFlagsMask = 0x00ffffff
)
