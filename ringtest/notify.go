//go:build unix

package ringtest

import (
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors and channels that tell of completions to those who do not wait in the
// ring.

const eventfdSource = "io_uring_register_eventfd(3); liburing test/eventfd.c"

// readable waits for a descriptor to be so.
func (r *rig) readable(fd int, limit time.Duration) bool {
	r.Helper()
	deadline := time.Now().Add(limit)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll(p, int((left+ms-1)/ms))
		switch {
		case err == unix.EINTR:
		case err != nil:
			r.Fatal(err)
		default:
			return n == 1
		}
	}
}

// drained reads what a non-blocking descriptor has to say.
func (r *rig) drained(fd int) {
	r.Helper()
	buf := make([]byte, 512)
	for {
		switch _, err := unix.Read(fd, buf); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			r.Fatal(err)
		}
	}
}

// eventfd opens the ring's.
func (r *rig) eventfd() int {
	r.Helper()
	fd, err := r.ring.OpenEventfd()
	if err != nil {
		r.Fatal(err)
	}
	return fd
}

var notifyCases = []testCase{
	{name: "eventfd.edge", source: eventfdSource, entries: 64, run: func(r *rig) {
		fd, ch := r.eventfd(), r.ring.Notify()
		a, b := r.pipe(), r.pipe()
		const each = 100
		go func() { // completions come at any time
			for range each {
				_, _ = unix.Write(a.wr, []byte("1"))
				_, _ = unix.Write(b.wr, []byte("1"))
			}
		}()
		submitted, seen := 0, 0
		next := func() {
			if submitted < each {
				r.submit(a.read(1, 1), b.read(2, 1), nop(3))
				submitted++
			}
		}
		for range 8 {
			next()
		}
		for seen < 3*each {
			// First the descriptor or the channel, then all that is there.
			if seen%2 == 0 {
				if !r.readable(fd, patience) {
					r.Fatalf("nothing was told after %d of %d", seen, 3*each)
				}
			} else {
				soon(r, "a signal on the channel", ch)
			}
			r.drained(fd)
			select {
			case <-ch:
			default:
			}
			for {
				c, err := r.ring.PeekCQE()
				if err != nil {
					break
				}
				seen++
				if data := c.UserData; data == 3 {
					r.ring.CQESeen(c)
					next()
				} else {
					r.ring.CQESeen(c)
				}
			}
		}
	}},
	{name: "eventfd.toggle", source: "io_uring_cq_eventfd_toggle(3); liburing test/eventfd-disable.c", run: func(r *rig) {
		fd := r.eventfd()
		p := r.pipe()
		for range 3 {
			if err := r.ring.ToggleEventfd(false); err != nil {
				r.Fatal(err)
			}
			r.submit(nop(1), p.read(2, 1))
			p.put("x")
			r.wantAny(is(1, 0), is(2, 1))
			if r.readable(fd, 0) {
				r.Error("it is off, and was told")
			}
			if err := r.ring.ToggleEventfd(true); err != nil {
				r.Fatal(err)
			}
			r.submit(nop(3), p.read(4, 1))
			p.put("x")
			r.wantAny(is(3, 0), is(4, 1))
			if !r.readable(fd, patience) {
				r.Error("it is on, and was not told")
			}
			r.drained(fd)
		}
	}},
	{name: "eventfd.errors", source: eventfdSource, run: func(r *rig) {
		if err := r.ring.UnregisterEventfd(); err != unix.ENXIO {
			r.Errorf("there is none: %v", err)
		}
		if err := r.ring.RegisterEventfd(r.file("").fd); err != unix.EINVAL {
			r.Errorf("a file: %v", err)
		}
		if err := r.ring.RegisterEventfd(noFd); err != unix.EBADF {
			r.Errorf("a number that is not open: %v", err)
		}
		fd := r.eventfd()
		if _, err := r.ring.OpenEventfd(); err != unix.EBUSY {
			r.Errorf("a second one: %v", err)
		}
		r.submit(nop(1))
		if !r.readable(fd, patience) {
			r.Error("the first is told nothing any more")
		}
		r.want(is(1, 0))
		if err := r.ring.UnregisterEventfd(); err != nil {
			r.Errorf("unregistered: %v", err)
		}
		if err := r.ring.UnregisterEventfd(); err != unix.ENXIO {
			r.Errorf("unregistered again: %v", err)
		}
		r.eventfd()
	}},
}
