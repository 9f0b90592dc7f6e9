//go:build unix

package aio

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A poller may have found a descriptor ready whose registration ended before the
// queue could look, and began again for another file.
func TestHostQueueDropsWhatAnEarlierRegistrationFound(t *testing.T) {
	for _, poll := range []bool{false, true} {
		h := &HostQueues{Poll: poll}
		kq, errno := h.Kqueue()
		if errno != 0 {
			t.Fatal(errno)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fd := int(r.Fd())
		change := func(flags uint16) {
			t.Helper()
			kev := Kevent{Ident: uintptr(fd), Filter: FilterRead, Flags: flags}
			if _, errno := h.Kevent(kq, []Kevent{kev}, nil, 0); errno != 0 {
				t.Fatal(errno)
			}
		}
		q := h.queues[kq]
		change(EvAdd | EvOneshot)
		found := hostReady{fd: fd, revents: unix.POLLIN, sequence: q.files[fd].sequence}
		change(EvDelete)
		change(EvAdd | EvOneshot)
		var events [1]Kevent
		if n := q.take(found, events[:]); n != 0 || !q.files[fd].read {
			t.Errorf("took %+v", events[0])
		}
		found.sequence = q.files[fd].sequence
		if n := q.take(found, events[:]); n != 1 || q.files[fd].read {
			t.Error("did not take its own")
		}
		r.Close()
		w.Close()
		if errno := h.CloseKqueue(kq); errno != 0 {
			t.Error(errno)
		}
	}
}
