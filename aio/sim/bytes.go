//go:build unix

package sim

import (
	"sync"
	"time"

	"github.com/aioring/aioring/aio"
)

// FromBytes is a schedule of faults that the bytes choose: a fuzzer's input, so that
// coverage drives the faults. Each time it is asked it takes one byte, and one more if
// that is a fault; when there are none left nothing goes wrong any more. So every
// input ends, and the shortest that fails shows which fault it was.
//
// The faults are such as a kernel may always do: refusals for want of room, jobs that
// end early, late or short, interrupted sleeps, failures of the medium (EIO), daemons
// that scribble. No event is lost. The same bytes are the same faults as long as the
// model is asked in the same order, in stepped mode that is.
func FromBytes(data []byte) Fault {
	var mu sync.Mutex
	next := func() byte {
		mu.Lock()
		defer mu.Unlock()
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	return func(op Op) Effect {
		if next()&3 != 3 { // three in four go well
			return Effect{}
		}
		b := next()
		n := int(b >> 2)
		switch op.Point {
		case Submit:
			switch b & 3 {
			case 0:
				return Fail(aio.EAGAIN)
			case 1:
				return Early()
			}
		case Queue:
			if b&3 == 0 {
				return Unsafe()
			}
			return Fail(aio.EAGAIN)
		case Start:
			switch b & 3 {
			case 0:
				return Fail(aio.EIO)
			case 1:
				return Short(n)
			case 2:
				return Scribble(uint64(b))
			}
			return Delay(time.Duration(n) * time.Microsecond)
		case Transfer:
			if b&3 == 0 {
				return FailAfter(n, aio.EIO)
			}
		case Result:
			if b&3 == 0 {
				return Fail(aio.EIO)
			}
			return Delay(time.Duration(n) * time.Microsecond)
		case Sleep, ListSleep, SuspendSleep, WaitSleep:
			return Fail(aio.EINTR)
		case Fetch:
			return Short(1 + n%4)
		case Cancel:
			if b&3 == 0 {
				return Early()
			}
			return Refuse()
		}
		return Effect{}
	}
}
