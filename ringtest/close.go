//go:build unix

package ringtest

import (
	"bytes"
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// The end of a ring, and of descriptors under a ring.

var closeCases = []testCase{
	{name: "exit.inflight", source: "io_uring_queue_exit(3) goes on in the background; aioring.Ring.Close does not; liburing test/teardowns.c", run: func(r *rig) {
		const content = "abcdefgh"
		f := r.file(content)
		var pipes []pipe
		var bufs [][]byte
		for i := range uint64(40) {
			p := r.pipe()
			o := p.read(i, 4)
			r.submit(o)
			pipes, bufs = append(pipes, p), append(bufs, o.Buf)
			o = f.read(100+i, 8, 0)
			r.submit(o)
			bufs = append(bufs, o.Buf)
		}
		r.submit(r.stuck(200).link(), nop(201), timeout(202, long, 0, 0), nop(203).drain(), nop(204))
		if err := r.ring.Close(); err != nil {
			r.Fatalf("Close: %v", err)
		}
		for _, b := range bufs {
			for i := range b {
				b[i] = '!'
			}
		}
		for i, p := range pipes {
			p.put("1234")
			if got := p.content(); got != "1234" {
				r.Errorf("pipe %d has %q after Close", i, got)
			}
		}
		for i, b := range bufs {
			if len(bytes.Trim(b, "!")) != 0 {
				r.Errorf("buffer %d became %q after Close", i, b)
			}
		}
		if n, err := r.ring.Submit(); n != 0 || err != aioring.ErrClosed {
			r.Errorf("Submit: %d, %v", n, err)
		}
		if err := r.ring.Push(aioring.SQE(nop(1))); err != aioring.ErrClosed {
			r.Errorf("Push: %v", err)
		}
		if _, err := r.ring.Do(context.Background(), aioring.SQE(nop(1))); !errors.Is(err, aioring.ErrClosed) {
			r.Errorf("Do: %v", err)
		}
		if err := r.ring.Close(); err != nil {
			r.Errorf("Close, a second time: %v", err)
		}
	}},
	{name: "close.pending", source: "close(2); Linux io_uring/io_uring.c, io_assign_file: an operation has its own reference to its file", run: func(r *rig) {
		for range 20 {
			p, q := r.pipe(), r.pipe()
			number := p.rd
			o := p.read(1, 4)
			r.submit(o)
			// The number is another pipe's from here on.
			if err := dup2(q.rd, number); err != nil {
				r.Fatal(err)
			}
			q.put("other")
			r.quiet("the number was filled, not the pipe")
			if got := q.content(); got != "other" {
				r.Errorf("the other pipe has %q", got)
			}
			if _, err := unix.Write(p.wr, []byte("mine")); err != nil {
				r.Fatalf("its pipe is closed: %v", err)
			}
			r.want(is(1, 4))
			if string(o.Buf) != "mine" {
				r.Errorf("it has read %q", o.Buf)
			}
		}
		p := r.pipe() // with no other descriptor left, it is still there
		o := p.read(2, 4)
		r.submit(o)
		if err := unix.Close(p.rd); err != nil {
			r.Fatal(err)
		}
		p.put("last")
		r.want(is(2, 4))
		if string(o.Buf) != "last" {
			r.Errorf("it has read %q", o.Buf)
		}
	}},
}
