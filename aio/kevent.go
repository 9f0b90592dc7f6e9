package aio

// Filter names a source of events.
type Filter int16

const (
	FilterRead  Filter = -1
	FilterWrite Filter = -2
	FilterAIO   Filter = -3  // one job finished: Ident is its control block's address, Data its errno
	FilterTimer Filter = -7  //
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
	EvReceipt  = 0x0040
	EvDispatch = 0x0080 // delivered once, then disabled

	EvError = 0x4000
	EvEOF   = 0x8000
)

// NoteTrigger fires an EVFILT_USER event. It must be a change of its own: in
// the change that adds the event it does nothing, and together with EvClear the
// trigger is cleared again.
const NoteTrigger = 0x01000000
