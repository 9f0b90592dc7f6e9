package aioring

import "sync/atomic"

// An operation that is alone in its ring, and whose submitter waits for it, gains
// nothing from a kernel's queue: a plain call by the submitter himself saves two
// switches of threads. So Do, and SubmitAndWait of one entry, offer to make the call.
// Whoever starts the operation may take the offer; the submitter runs it when he has
// let go of the engine.

// runner is a call that its submitter makes.
type runner interface{ run() }

// offer is that of one Do.
type offer struct {
	stage atomic.Uint32
	call  runner // published by stage
}

const (
	noOffer uint32 = iota
	offered
	accepted
)

func (o *offer) make() {
	o.call = nil
	o.stage.Store(offered)
}

// accept takes the offer, if it still stands. The engine's owner calls it.
func (o *offer) accept(call runner) bool {
	if o.stage.Load() != offered {
		return false
	}
	o.call = call
	// Publishes call to withdraw.
	return o.stage.CompareAndSwap(offered, accepted)
}

// withdraw ends the offer and returns what was made of it, if anything.
func (o *offer) withdraw() runner {
	if o.stage.CompareAndSwap(offered, noOffer) {
		return nil
	}
	return o.call
}
