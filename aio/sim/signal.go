//go:build unix

package sim

import "github.com/aioring/aioring/aio"

// Signal is one that a finished job or list has sent (SIGEV_SIGNAL).
type Signal struct {
	No    int32
	Value uintptr // sigev_value
}

// maxSignals is how many wait at most, kern.sigqueue.max_pending_per_proc; what
// comes after that is lost.
const maxSignals = 128

// Signals are those that jobs of the process have sent, in order. There is one
// channel for all who ask; it is never closed. No signal of the host is sent, and
// no system call is interrupted: that is [Kernel.Signal]. One that was not received
// stays after its job is reaped, while the kernel takes it back.
func (k *Kernel) Signals() <-chan Signal {
	k.sys.lock()
	defer k.sys.unlock()
	if k.signals == nil {
		k.signals = make(chan Signal, maxSignals)
	}
	return k.signals
}

// raise is aio_sendsig.
func (k *Kernel) raise(sig Signal) {
	if k.signals == nil {
		return // nobody has asked
	}
	select {
	case k.signals <- sig:
	default:
	}
}

// sends is the signal that a sigevent asks for, or 0.
func sends(ev *aio.Sigevent) int32 {
	if ev.Notify == aio.NotifySignal || ev.Notify == notifyThreadID {
		return ev.Kqueue
	}
	return 0
}
