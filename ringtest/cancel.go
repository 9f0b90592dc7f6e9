//go:build unix

package ringtest

import (
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// ASYNC_CANCEL and the synchronous form. Whether the CQE of a cancellation or that of
// its target comes first is nobody's promise.

const (
	cancelSource = "io_uring_prep_cancel(3); Linux io_uring/cancel.c, io_async_cancel; liburing test/io-cancel.c"
	cancelFdPage = "io_uring_prep_cancel_fd(3); Linux io_uring/cancel.c, io_cancel_req_match; liburing test/cancel-fd-userdata.c"
)

// pending submits reads that nobody satisfies, all with this user data.
func (r *rig) pending(data uint64, n int) (fds []int) {
	r.Helper()
	for range n {
		o := r.stuck(data)
		r.submit(o)
		fds = append(fds, int(o.Fd))
	}
	return fds
}

// wantOver reaps so many cancelled operations, all with this user data, and nothing else.
func (r *rig) wantOver(data uint64, n int, others ...result) {
	r.Helper()
	for range n {
		others = append(others, cancelled(data))
	}
	r.wantAny(others...)
}

var cancelCases = []testCase{
	{name: "cancel.found", source: cancelSource, run: func(r *rig) {
		p := r.pipe()
		r.submit(p.read(1, 4))
		r.submit(cancel(2, 1, 0))
		r.wantAny(is(2, 0), cancelled(1))
		p.put("1234")
		r.quiet("each had its CQE")
		if got := p.content(); got != "1234" {
			r.Errorf("a cancelled read left %q", got)
		}
		r.submit(timeout(3, long, 0, 0), cancel(4, 3, 0))
		r.wantAny(is(4, 0), cancelled(3))
		r.submit(p.read(5, 4).link(), nop(6), nop(7))
		r.want(is(7, 0))
		r.submit(cancel(8, 5, 0)) // and what follows it in its chain
		r.wantChains([]result{is(8, 0)}, []result{cancelled(5), cancelled(6)})
	}},
	{name: "cancel.none", source: cancelSource, run: func(r *rig) {
		r.submit(cancel(1, 9, 0))
		r.want(failed(1, unix.ENOENT))
		r.submit(cancel(2, 9, aioring.CancelAll))
		r.want(is(2, 0))
		r.submit(cancel(3, 0, aioring.CancelAny))
		r.want(is(3, 0))
		r.submit(nop(4))
		r.want(is(4, 0))
		r.submit(cancel(5, 4, 0)) // over
		r.want(failed(5, unix.ENOENT))
	}},
	{name: "cancel.one_of_many", source: cancelSource, run: func(r *rig) {
		r.pending(1, 3)
		for left := 3; left > 0; left-- {
			r.submit(cancel(2, 1, 0))
			r.wantOver(1, 1, is(2, 0))
		}
		r.submit(cancel(2, 1, 0))
		r.want(failed(2, unix.ENOENT))
	}},
	{name: "cancel.all", source: cancelSource + ": IORING_ASYNC_CANCEL_ALL", run: func(r *rig) {
		r.pending(1, 4)
		r.pending(5, 1)
		r.submit(cancel(2, 1, aioring.CancelAll))
		r.wantOver(1, 4, is(2, 4))
		r.submit(cancel(3, 5, aioring.CancelAll))
		r.wantOver(5, 1, is(3, 1))
	}},
	{name: "cancel.any", source: cancelSource + ": IORING_ASYNC_CANCEL_ANY", run: func(r *rig) {
		r.pending(1, 2)
		r.pending(2, 1)
		r.submit(timeout(3, long, 0, 0))
		r.submit(cancel(4, 0, aioring.CancelAny))
		r.wantAny(is(4, 4), cancelled(1), cancelled(1), cancelled(2), cancelled(3))
	}},
	{name: "cancel.fd", source: cancelFdPage, run: func(r *rig) {
		first, second, third := r.stuck(21), r.stuck(22), r.stuck(23)
		r.submit(first, second, third)
		r.submit(cancelFd(2, int(second.Fd), 0))
		r.wantAny(is(2, 0), cancelled(22))
		r.submit(cancelFd(3, int(second.Fd), 0))
		r.want(failed(3, unix.ENOENT))
		r.submit(cancelFd(3, int(third.Fd), aioring.CancelAll))
		r.wantAny(is(3, 1), cancelled(23))
		r.submit(cancelFd(4, noFd, 0))
		r.want(failed(4, unix.EBADF))
		p := r.pipe()
		for i := range uint64(3) {
			r.submit(p.read(10+i, 4))
		}
		both := cancelFd(5, p.rd, aioring.CancelUserData)
		both.Addr = 11
		r.submit(both)
		r.wantAny(is(5, 0), cancelled(11))
		r.submit(cancelFd(6, p.rd, aioring.CancelAll))
		r.wantAny(is(6, 2), cancelled(10), cancelled(12))
		r.submit(cancelFd(7, p.rd, aioring.CancelAll))
		r.want(is(7, 0))
	}},
	{name: "cancel.op", source: cancelSource + ": IORING_ASYNC_CANCEL_OP", run: func(r *rig) {
		r.pending(1, 2)
		r.submit(timeout(3, long, 0, 0))
		byOp := func(data uint64, opcode aioring.Opcode, flags uint32) op {
			return prepared(data, func(s *aioring.SQE) { aioring.PrepCancelOp(s, opcode, flags) })
		}
		r.submit(byOp(4, aioring.OpWrite, 0))
		r.want(failed(4, unix.ENOENT))
		r.submit(byOp(5, aioring.OpRead, aioring.CancelAll))
		r.wantOver(1, 2, is(5, 2))
		r.submit(byOp(6, aioring.OpTimeout, 0))
		r.wantAny(is(6, 0), cancelled(3))
	}},
	{name: "cancel.badflags", source: "io_uring_prep_cancel(3); Linux io_uring/cancel.c, io_async_cancel_prep", run: func(r *rig) {
		fds := r.pending(1, 1)
		r.submit(cancel(2, 1, 1<<20))
		r.want(failed(2, unix.EINVAL))
		r.submit(cancelFd(3, fds[0], aioring.CancelAny))
		r.want(failed(3, unix.EINVAL))
		r.submit(cancel(4, 1, 0))
		r.wantOver(1, 1, is(4, 0))
	}},
	{name: "cancel.partial", source: "Linux io_uring/net.c, io_net_kill_retry: what was received is not taken back", run: func(r *rig) {
		r.needs(opRecv, "RECV")
		s := r.socket()
		o := s.receive(1, 10, unix.MSG_WAITALL)
		r.submit(o)
		s.put("abc")
		r.until("the three bytes are received", func() bool { return !r.readable(s.rd, 0) })
		r.submit(cancel(2, 1, 0))
		r.wantAny(is(2, 0), is(1, 3))
		if string(o.Buf[:3]) != "abc" {
			r.Errorf("received %q", o.Buf[:3])
		}
	}},
	{name: "cancel.worker", source: "io_uring_prep_cancel(3), EALREADY; aio_cancel(2), AIO_NOTCANCELED", run: func(r *rig) {
		if r.on.stall != nil {
			f := r.file("abcd")
			running, release := r.on.stall()
			r.submit(f.read(1, 4, 0))
			running()
			r.submit(cancel(2, 1, 0))
			r.want(failed(2, unix.EALREADY))
			r.quiet("it is held")
			release()
			r.want(is(1, 4))
		}
		// What the answer says is what became of it, wherever the write was.
		const size = 16 << 20
		buf := make([]byte, size)
		answers := map[int32]int{}
		for range 5 {
			f := r.file("")
			r.submit(prepared(1, func(s *aioring.SQE) { aioring.PrepWrite(s, f.fd, buf, 0) }).async())
			for range rand.IntN(100) {
				runtime.Gosched()
			}
			r.submit(cancel(2, 1, 0))
			got := map[uint64]int32{}
			for range 2 {
				c := r.reap()
				got[c.data] = c.res
			}
			st, err := os.Stat(f.name)
			if err != nil {
				r.Fatal(err)
			}
			answer, res := got[2], got[1]
			answers[answer]++
			switch {
			case answer == 0 && res == -int32(unix.ECANCELED) && st.Size() == 0:
			case answer == -int32(unix.ENOENT) && res == size && st.Size() == size:
			case answer == -int32(unix.EALREADY) && res >= 0 && st.Size() == int64(res):
			case answer == -int32(unix.EALREADY) && res < 0 && st.Size() == 0: // Linux interrupts it
			default:
				r.Errorf("the answer is %v, the target %v, and the file has %d bytes", is(2, answer), is(1, res), st.Size())
			}
		}
		r.nothingLeft()
		r.Logf("answers: %v", answers)
	}},
	{name: "cancel.completed_race", source: cancelSource + "; test/cancel-race.c", run: func(r *rig) {
		answers := map[string]int{}
		for began, n := time.Now(), 0; n < 30 || n < 300 && time.Since(began) < 2*time.Second; n++ {
			p := r.pipe()
			o := p.read(1, 4)
			r.submit(o)
			written := make(chan struct{})
			go func() {
				defer close(written)
				for range rand.IntN(20) {
					runtime.Gosched()
				}
				_, _ = unix.Write(p.wr, []byte("1234"))
			}()
			r.submit(cancel(2, 1, 0))
			got := map[uint64]int32{}
			for range 2 {
				c := r.reap()
				got[c.data] = c.res
			}
			<-written
			left := p.content()
			answer, res := got[2], got[1]
			if len(got) != 2 {
				r.Fatalf("%v", got)
			}
			switch {
			case res == -int32(unix.ECANCELED) && left == "1234" && (answer == 0 || answer == -int32(unix.EALREADY)):
				answers["cancelled"]++ // EALREADY: as it was about to run
			case res == 4 && string(o.Buf) == "1234" && left == "" && answer < 0:
				answers["completed"]++
			default:
				r.Fatalf("the answer is %v, the target %v with %q, and %q are in the pipe", is(2, answer), is(1, res), o.Buf, left)
			}
			r.nothingLeft()
			for _, fd := range []int{p.rd, p.wr} {
				_ = unix.Close(fd)
			}
			r.fds = r.fds[:len(r.fds)-2]
		}
		r.Logf("%v", answers)
	}},
	{name: "cancel.sync", source: "io_uring_register_sync_cancel(3); liburing test/sync-cancel.c", run: func(r *rig) {
		which := func(prep func(s *aioring.SQE)) (n int, err error) {
			var s aioring.SQE
			prep(&s)
			return r.ring.CancelSync(r.Context(), s)
		}
		r.pending(1, 3)
		r.submit(timeout(2, long, 0, 0))
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 1, aioring.CancelAll) }); n != 3 || err != nil {
			r.Errorf("all with 1: %d, %v", n, err)
		}
		if n := r.ring.PeekBatchCQE(make([]*aioring.CQE, 4)); n != 3 { // they are over when it returns
			r.Errorf("%d of 3 are over", n)
		}
		r.wantOver(1, 3)
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 2, 0) }); n != 1 || err != nil {
			r.Errorf("a timer: %d, %v", n, err)
		}
		r.want(cancelled(2))
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 1, 0) }); n != 0 || err != unix.ENOENT {
			r.Errorf("nothing: %d, %v", n, err)
		}
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 1, aioring.CancelAll) }); n != 0 || err != nil {
			r.Errorf("all of nothing: %d, %v", n, err)
		}
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancelFd(s, noFd, 0) }); n != 0 || err != unix.EBADF {
			r.Errorf("no descriptor: %d, %v", n, err)
		}
		if n, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 1, 1<<20) }); n != 0 || err != unix.EINVAL {
			r.Errorf("an unknown flag: %d, %v", n, err)
		}
		r.nothingLeft()
		if r.on.stall == nil {
			return
		}
		running, release := r.on.stall()
		r.submit(r.file("abcd").read(7, 4, 0))
		running()
		over := make(chan error, 1)
		go func() {
			_, err := which(func(s *aioring.SQE) { aioring.PrepCancel(s, 7, 0) })
			over <- err
		}()
		select {
		case err := <-over:
			r.Errorf("what nothing stops is under way: %v", err)
			over <- err
		case <-time.After(pause):
		}
		release()
		if err := soon(r, "CancelSync returns", over); err != nil {
			r.Errorf("what nothing stops: %v", err)
		}
		if r.ring.PeekBatchCQE(make([]*aioring.CQE, 1)) != 1 {
			r.Error("CancelSync has returned, and what it meant is not over")
		}
		r.want(is(7, 4))
	}},
	{name: "cancel.member", source: "io_uring_cancelation(7): what has not started is not found", run: func(r *rig) {
		p := r.pipe()
		r.submit(p.read(1, 4).link(), nop(2).link(), r.stuck(3))
		r.submit(cancel(4, 2, 0), cancel(5, 3, 0), cancel(6, 3, aioring.CancelAll))
		r.wantAny(failed(4, unix.ENOENT), failed(5, unix.ENOENT), is(6, 0))
		p.put("1234")
		r.want(is(1, 4), is(2, 0))
		r.submit(cancel(7, 3, 0)) // now it has
		r.wantAny(is(7, 0), cancelled(3))
	}},
}
