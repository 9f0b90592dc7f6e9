//go:build unix

package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// wakePipe ends a poll(2) that is under way. Pool.mu guards it; the poller's
// goroutine also has the reading end in its poll. The zero value is a closed one.
type wakePipe struct {
	isOpen      bool
	rung        bool // the byte is in it: one is enough
	read, write int
}

// open makes the pipe if there is none yet.
//
// Source: pipe(2). x/sys has no pipe2(2) for macOS, so ForkLock keeps the ends from
// a child that starts in between.
func (w *wakePipe) open() syscall.Errno {
	if w.isOpen {
		return 0
	}
	var ends [2]int
	syscall.ForkLock.RLock()
	err := unix.Pipe(ends[:])
	if err == nil {
		unix.CloseOnExec(ends[0])
		unix.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		_, errno := result(0, err)
		return errno
	}
	*w = wakePipe{isOpen: true, read: ends[0], write: ends[1]}
	return 0
}

// ring wakes the poller. Neither this nor clear blocks: rung says what is in the
// pipe.
func (w *wakePipe) ring() {
	if !w.rung {
		_, errno := write(w.write, wakeByte[:], -1)
		w.rung = errno == 0
	}
}

// clear takes the byte out.
func (w *wakePipe) clear() {
	if w.rung {
		var b [1]byte
		_, _ = read(w.read, b[:], -1)
		w.rung = false
	}
}

func (w *wakePipe) close() {
	if w.isOpen {
		_ = unix.Close(w.read)
		_ = unix.Close(w.write)
		*w = wakePipe{}
	}
}

var wakeByte [1]byte
