//go:build unix

package sim

import (
	"sync"
	"time"

	"github.com/aioring/aioring/aio"
)

// Hold keeps the daemons from taking jobs of this process: what is submitted
// stays queued, where it can be cancelled. Calls nest. What is active goes on.
func (k *Kernel) Hold() {
	k.sys.lock()
	k.held++
	k.sys.unlock()
}

// Release undoes one Hold.
func (k *Kernel) Release() {
	k.sys.lock()
	if k.held > 0 {
		k.held--
	}
	k.sys.kick()
	k.sys.kickSockets()
	k.sys.unlock()
}

// Run takes up to n queued jobs of this process in order of submission, held or
// not (but not those behind a closed gate), and does each to its end in the
// calling goroutine. It returns how many there were. With Hold before, it is
// how a test decides when things happen.
func (k *Kernel) Run(n int) int {
	for ran := range n {
		if !k.runOne(0) {
			return ran
		}
	}
	return n
}

// RunJob does the same with the oldest queued job of one control block, so that
// a test decides in which order things finish. It reports whether there was one.
func (k *Kernel) RunJob(cb *aio.ControlBlock) bool { return k.runOne(key(cb)) }

func (k *Kernel) runOne(addr uint64) bool {
	s := k.sys
	s.lock()
	for e := s.runq.head; e != nil; e = e.next {
		j := e.v
		if j.k != k || addr != 0 && uint64(j.addr) != addr || j.gate.holds(s) {
			continue
		}
		s.take(j)
		s.unlock()
		status, errno := j.perform()
		s.lock()
		s.finishActive(j, status, errno)
		s.unlock()
		return true
	}
	s.unlock()
	return false
}

// Gate holds jobs until it is opened: see [HoldQueued] and [HoldActive].
type Gate struct {
	mu      sync.Mutex
	open    bool
	opened  chan struct{} // closed by Open
	waiting int           // active jobs behind it
	came    *sync.Cond    // waiting has grown
	systems []*System     // whose run queues may have jobs behind it
}

// NewGate makes a closed gate.
func NewGate() *Gate {
	g := &Gate{opened: make(chan struct{})}
	g.came = sync.NewCond(&g.mu)
	return g
}

// Open lets everything through, now and later.
func (g *Gate) Open() {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	g.open = true
	close(g.opened)
	systems := g.systems
	g.systems = nil
	g.mu.Unlock()
	for _, s := range systems {
		s.lock()
		s.kick()
		s.kickSockets()
		s.unlock()
	}
}

// Await waits until n active jobs stand behind the gate at once.
func (g *Gate) Await(n int) {
	g.mu.Lock()
	for g.waiting < n {
		g.came.Wait()
	}
	g.mu.Unlock()
}

// holds reports whether a queued job must wait. Locks are taken in the order
// System, Gate.
func (g *Gate) holds(s *System) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return false
	}
	for _, known := range g.systems {
		if known == s {
			return true
		}
	}
	g.systems = append(g.systems, s)
	return true
}

// pass waits at the gate.
func (g *Gate) pass() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.waiting++
	g.came.Broadcast()
	g.mu.Unlock()
	<-g.opened
	g.mu.Lock()
	g.waiting--
	g.mu.Unlock()
}

// wait is the delay that a fault wants.
func (e *Effect) wait() {
	e.active.pass()
	if e.Delay > 0 {
		time.Sleep(e.Delay)
	}
}
