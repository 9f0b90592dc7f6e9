//go:build unix

package worker

// Stats is what a pool is doing and has done.
type Stats struct {
	Working   int    // goroutines that make calls, now
	HighWater int    // the most of them there ever were
	Polling   bool   // the one goroutine that waits for readiness is there
	Queued    int    // calls waiting for a goroutine, now
	Waiting   int    // calls on streams waiting for readiness, now
	Calls     uint64 // calls done, cancelled ones too
}

// Stats returns the counters, all of one moment.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Working:   p.working,
		HighWater: p.high,
		Polling:   p.poller.running,
		Queued:    p.queue.n,
		Waiting:   p.waiting,
		Calls:     p.calls,
	}
}
