//go:build unix

package ringtest

import (
	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// Chains.

const (
	linkSource  = "io_uring_linked_requests(7); Linux io_uring/io_uring.c, io_req_find_next; liburing test/link.c"
	brokenChain = "io_uring_linked_requests(7); Linux io_uring/timeout.c, io_disarm_next and io_fail_links; liburing test/link.c"
	shortBreaks = "io_uring_linked_requests(7); Linux io_uring/rw.c, __io_complete_rw_common: fewer bytes than asked for break a chain"
	hardSource  = "io_uring_linked_requests(7), IOSQE_IO_HARDLINK; liburing test/hardlink.c"
	recvBreaks  = "Linux io_uring/net.c, io_recv: a short one breaks a chain only with MSG_WAITALL; liburing test/recv-msgall-stream.c"
)

var linkCases = []testCase{
	{name: "link.order", source: linkSource, run: func(r *rig) {
		f, p := r.file("......"), r.pipe()
		back := f.read(3, 6, 0)
		r.submit(f.write(1, "abc", 0).link(), f.write(2, "xyz", 1).link(), back)
		r.want(is(1, 3), is(2, 3), is(3, 6))
		if got := string(back.Buf); got != "axyz.." {
			r.Errorf("each in its turn makes %q, not %q", "axyz..", got)
		}
		r.submit(p.read(1, 4).link(), f.write(2, "late", 0).link(), nop(3))
		r.quiet("the head waits, and so do the others")
		f.wantContent("axyz..")
		p.put("1234")
		r.want(is(1, 4), is(2, 4), is(3, 0))
		f.wantContent("late..")
		r.submit(f.write(1, "x", 0).link(), p.write(2, "done")) // it goes on with nobody at the ring
		if !r.readable(p.rd, patience) {
			r.Fatal("nobody asks the ring, and the second does not start")
		}
		r.want(is(1, 1), is(2, 4))
	}},
	{name: "link.fail_head", source: brokenChain, run: func(r *rig) {
		f := r.file("same")
		r.submit(broken(1).link(), f.write(2, "else", 0).link(), nop(3))
		r.want(failed(1, unix.EBADF), cancelled(2), cancelled(3))
		f.wantContent("same")
		// Linux lets a failed sync pass, against its manual.
		p := r.pipe()
		sync := prepared(1, func(s *aioring.SQE) { aioring.PrepFsync(s, p.wr, 0) })
		r.submit(sync.link(), nop(2))
		if r.isLinux() {
			r.want(failed(1, unix.EINVAL), is(2, 0))
			return
		}
		if c := r.reap(); c.data != 1 || c.res >= 0 {
			r.Errorf("%v: a pipe was synced", c)
		}
		r.want(cancelled(2))
	}},
	{name: "link.fail_mid", source: brokenChain, run: func(r *rig) {
		r.submit(nop(1).link(), nop(2).link(), broken(3).link(), nop(4).link(), nop(5))
		r.want(is(1, 0), is(2, 0), failed(3, unix.EBADF), cancelled(4), cancelled(5))
	}},
	{name: "link.short_read", source: shortBreaks, run: func(r *rig) {
		f, p := r.file("abcdef"), r.pipe()
		r.submit(f.read(1, 9, 0).link(), nop(2))
		r.want(is(1, 6), cancelled(2))
		r.submit(f.read(1, 6, 0).link(), nop(2))
		r.want(is(1, 6), is(2, 0))
		vector := prepared(1, func(s *aioring.SQE) {
			aioring.PrepReadv(s, f.fd, [][]byte{make([]byte, 4), make([]byte, 4)}, 0)
		})
		r.submit(vector.link(), nop(2))
		r.want(is(1, 6), cancelled(2))
		p.put("12")
		r.submit(p.read(1, 4).link(), nop(2))
		r.want(is(1, 2), cancelled(2))
	}},
	{name: "link.eof", source: shortBreaks, run: func(r *rig) {
		f, p := r.file("abcdef"), r.pipe()
		r.submit(f.read(1, 9, 6).link(), nop(2))
		r.want(is(1, 0), cancelled(2))
		if err := unix.Close(p.wr); err != nil {
			r.Fatal(err)
		}
		r.submit(p.read(1, 4).link(), nop(2))
		r.want(is(1, 0), cancelled(2))
	}},
	{name: "link.recv_short_ok", source: recvBreaks, run: func(r *rig) {
		r.needs(opRecv, "RECV")
		s := r.socket()
		s.put("123")
		r.submit(s.receive(1, 8, 0).link(), nop(2))
		r.want(is(1, 3), is(2, 0))
	}},
	{name: "link.recv_waitall_short", source: recvBreaks, run: func(r *rig) {
		r.needs(opRecv, "RECV")
		s := r.socket()
		s.put("123")
		if err := unix.Shutdown(s.wr, unix.SHUT_WR); err != nil {
			r.Fatal(err)
		}
		r.submit(s.receive(1, 8, unix.MSG_WAITALL).link(), nop(2))
		r.want(is(1, 3), cancelled(2))
	}},
	{name: "link.hard_short", source: hardSource, run: func(r *rig) {
		f := r.file("abcdef")
		r.submit(f.read(1, 9, 0).hard(), nop(2))
		r.want(is(1, 6), is(2, 0))
	}},
	{name: "link.hard_error", source: hardSource, run: func(r *rig) {
		r.submit(broken(1).hard(), nop(2))
		r.want(failed(1, unix.EBADF), is(2, 0))
		r.submit(broken(1).hard().link(), nop(2)) // both are as the hard one
		r.want(failed(1, unix.EBADF), is(2, 0))
	}},
	{name: "link.hard_then_link", source: hardSource, run: func(r *rig) {
		r.submit(broken(1).hard(), broken(2).link(), nop(3).link(), nop(4))
		r.want(failed(1, unix.EBADF), failed(2, unix.EBADF), cancelled(3), cancelled(4))
	}},
	{name: "link.hard_prep_fail", source: submitFail + ": it fails the whole chain before it runs", run: func(r *rig) {
		f := r.file("same")
		r.submit(f.write(1, "else", 0).hard(), refused(2).hard(), nop(3))
		r.want(cancelled(1), failed(2, unix.EINVAL), cancelled(3))
		f.wantContent("same")
	}},
	{name: "link.dangling", source: linkSource + ": a chain ends with its submission", run: func(r *rig) {
		p := r.pipe()
		r.submit(p.read(1, 4).link())
		r.submit(nop(2))
		r.want(is(2, 0))
		p.put("12") // short
		r.want(is(1, 2))
		r.submit(broken(1).link())
		r.submit(nop(2))
		r.wantAny(failed(1, unix.EBADF), is(2, 0))
	}},
	{name: "link.parallel", source: linkSource, run: func(r *rig) {
		f := r.file("abcdef")
		r.submit(
			broken(1).link(), nop(2).link(), nop(3),
			f.read(4, 6, 0).link(), nop(5).link(), f.write(6, "x", 6),
			nop(7).link(), broken(8).link(), nop(9),
			nop(10),
		)
		r.wantChains(
			[]result{failed(1, unix.EBADF), cancelled(2), cancelled(3)},
			[]result{is(4, 6), is(5, 0), is(6, 1)},
			[]result{is(7, 0), failed(8, unix.EBADF), cancelled(9)},
			[]result{is(10, 0)},
		)
	}},
	{name: "link.timeout_breaks", source: "io_uring_prep_timeout(3), IORING_TIMEOUT_ETIME_SUCCESS; Linux io_uring/timeout.c, io_timeout_fn", run: func(r *rig) {
		r.submit(timeout(1, ms, 0, 0).link(), nop(2))
		r.want(expired(1), cancelled(2))
		r.submit(timeout(1, ms, 0, aioring.TimeoutETimeSuccess).link(), nop(2))
		r.want(expired(1), is(2, 0))
		r.submit(timeout(1, ms, 0, 0).hard(), nop(2))
		r.want(expired(1), is(2, 0))
		r.submit(timeout(1, long, 1, 0).link(), nop(2)) // ended by its count
		r.submit(nop(3))
		r.wantChains([]result{is(3, 0)}, []result{is(1, 0), is(2, 0)})
	}},
	{name: "link.poll_read", source: "io_uring_linked_requests(7); liburing test/poll-link.c", run: func(r *rig) {
		r.needs(opPollAdd, "POLL_ADD")
		p := r.pipe()
		poll := nop(1)
		poll.Opcode, poll.Fd, poll.OpFlags = opPollAdd, int32(p.rd), unix.POLLIN
		data := p.read(2, 4)
		r.submit(poll.link(), data)
		r.quiet("there is nothing to read")
		p.put("1234")
		r.want(is(1, unix.POLLIN), is(2, 4))
		if string(data.Buf) != "1234" {
			r.Errorf("it has read %q", data.Buf)
		}
	}},
}

// socket is a pair of connected stream sockets: to read from, and to put into.
func (r *rig) socket() pipe {
	r.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	return pipe{r, r.descriptor(p[0]), r.descriptor(p[1])}
}

// receive is a RECV of a socket.
func (p pipe) receive(data uint64, n int, flags uint32) op {
	o := nop(data)
	o.Opcode, o.Fd, o.OpFlags, o.Buf = opRecv, int32(p.rd), flags, make([]byte, n)
	return o
}
