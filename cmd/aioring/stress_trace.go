//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// history is the last operations, for whoever has to find out what went wrong.
type history struct {
	began time.Time

	mu     sync.Mutex
	about  string // the round
	events []event
	next   int
}

// event is something that happened to an operation.
type event struct {
	at      time.Duration
	what    string
	op      uint64
	kind    string
	target  int
	first   int
	n       int
	version uint64
	res     int32
}

const historyLength = 20000

// begin begins the history of a round.
func (h *history) begin(about string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.about, h.events, h.next = about, h.events[:0], 0
}

func (h *history) add(what string, o *operation, res int32) {
	e := event{at: time.Since(h.began), what: what, res: res}
	if o != nil {
		e.op, e.kind, e.first, e.n, e.version, e.target = o.id, o.kind.String(), o.first, o.n, o.version, -1
		if o.target != nil {
			e.target = int(o.target.id)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) < historyLength {
		h.events = append(h.events, e)
		return
	}
	h.events[h.next] = e
	h.next = (h.next + 1) % historyLength
}

// write puts it into a file of a folder, with the reason and where every goroutine is.
func (h *history) write(dir string, reason error) (path string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v\n\n%s\n\n", reason, h.about)
	for i := range h.events {
		e := &h.events[(h.next+i)%len(h.events)]
		fmt.Fprintf(&b, "%12.6f %-9s #%d %s file %d blocks %d+%d version %d = %d\n",
			e.at.Seconds(), e.what, e.op, e.kind, e.target, e.first, e.n, e.version, e.res)
	}
	stacks := make([]byte, 1<<20)
	fmt.Fprintf(&b, "\n%s\n", stacks[:runtime.Stack(stacks, true)])
	path = filepath.Join(dir, "trace")
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}
