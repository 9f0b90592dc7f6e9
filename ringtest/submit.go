//go:build unix

package ringtest

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// What Submit takes, refuses and counts, and the waits that submit.

const (
	submitSource = "io_uring_submit(3); Linux io_uring/io_uring.c, io_submit_sqes"
	submitFail   = "io_uring_enter(2); Linux io_uring/io_uring.c, io_submit_fail_init"
	waitSource   = "io_uring_submit_and_wait(3); Linux io_uring/io_uring.c, io_cqring_wait"
	waitTimeout  = "io_uring_submit_and_wait_timeout(3); liburing test/wait-timeout.c"
)

var submitCases = []testCase{
	{name: "submit.empty", source: submitSource, run: func(r *rig) {
		r.submits(0)
		if n, err := r.ring.SubmitAndWait(0); n != 0 || err != nil {
			r.Errorf("SubmitAndWait(0): %d, %v", n, err)
		}
		r.nothingLeft()
	}},
	{name: "submit.count", source: submitSource, run: func(r *rig) {
		for n := range 17 {
			var want []result
			for i := range uint64(n) {
				r.put(nop(i))
				want = append(want, is(i, 0))
			}
			r.submits(n)
			if left := r.ring.SQReady(); left != 0 {
				r.Errorf("%d are left of %d", left, n)
			}
			r.wantAny(want...)
		}
	}},
	{name: "submit.bad_mid", source: submitFail + "; liburing test/drop-submit.c", run: func(r *rig) {
		r.put(nop(1), refused(2), nop(3), nop(4))
		r.submits(2)
		if left := r.ring.SQReady(); left != 2 {
			r.Errorf("%d are left, want 2", left)
		}
		r.wantAny(is(1, 0), failed(2, unix.EINVAL))
		r.submits(2)
		r.wantAny(is(3, 0), is(4, 0))
	}},
	{name: "submit.bad_first", source: submitFail, run: func(r *rig) {
		ring := r.ring
		for name, submit := range map[string]func() (int, error){
			"SubmitAndWait":           func() (int, error) { return ring.SubmitAndWait(2) },
			"SubmitAndWaitTimeout":    func() (int, error) { return ring.SubmitAndWaitTimeout(2, long) },
			"SubmitAndWaitMinTimeout": func() (int, error) { return ring.SubmitAndWaitMinTimeout(2, long, long) },
		} {
			r.put(refused(1), nop(2))
			type answer struct {
				n   int
				err error
			}
			answers := make(chan answer, 1)
			go func() {
				n, err := submit()
				answers <- answer{n, err}
			}()
			if got := soon(r, name+" returns", answers); got != (answer{1, nil}) { // one CQE, not two
				r.Errorf("%s: %d, %v", name, got.n, got.err)
			}
			r.want(failed(1, unix.EINVAL))
			r.submits(1)
			r.want(is(2, 0))
		}
	}},
	{name: "submit.all", source: "io_uring_setup(2), IORING_SETUP_SUBMIT_ALL, IORING_SETUP_SQPOLL", bare: true, run: func(r *rig) {
		for _, opt := range []aioring.Option{aioring.WithSubmitAll(), aioring.WithWorker()} {
			r.open(16, opt)
			r.submit(nop(1), refused(2), nop(3), nop(4))
			r.wantAny(is(1, 0), failed(2, unix.EINVAL), is(3, 0), is(4, 0))
		}
	}},
	{name: "submit.bad_in_chain", source: submitFail + "; liburing test/submit-link-fail.c", run: func(r *rig) {
		r.submit(nop(1).link(), refused(2).link(), nop(3), nop(4))
		r.wantChains([]result{cancelled(1), failed(2, unix.EINVAL), cancelled(3)}, []result{is(4, 0)})
		r.submit(refused(1).link(), nop(2), nop(3))
		r.wantChains([]result{failed(1, unix.EINVAL), cancelled(2)}, []result{is(3, 0)})
	}},
	{name: "submit.badflag", source: submitFail + ": bit 7 of the flags is nobody's", run: func(r *rig) {
		bad := nop(1)
		bad.Flags = 1 << 7
		r.put(bad, nop(2))
		r.submits(1)
		r.want(failed(1, unix.EINVAL))
		r.submits(1)
		r.want(is(2, 0))
	}},
	{name: "submit.badfd", source: submitSource + ": a descriptor is looked up when the operation starts", run: func(r *rig) {
		r.submit(nop(1), broken(2), nop(3), broken(4), nop(5))
		r.wantAny(is(1, 0), failed(2, unix.EBADF), is(3, 0), failed(4, unix.EBADF), is(5, 0))
	}},
	{name: "submit.disabled", source: "io_uring_setup(2), IORING_SETUP_R_DISABLED; io_uring_enable_rings(3)", bare: true, run: func(r *rig) {
		r.open(16, aioring.WithDisabled())
		r.put(nop(1), nop(2))
		if n, err := r.ring.Submit(); n != 0 || err != aioring.EBADFD {
			r.Errorf("Submit: %d, %v", n, err)
		}
		if left := r.ring.SQReady(); left != 2 {
			r.Errorf("%d are left, want 2", left)
		}
		if err := r.ring.Push(aioring.SQE(nop(3))); err != aioring.EBADFD {
			r.Errorf("Push: %v", err)
		}
		if err := r.ring.Enable(); err != nil {
			r.Errorf("Enable: %v", err)
		}
		if err := r.ring.Enable(); err != aioring.EBADFD {
			r.Errorf("Enable, a second time: %v", err)
		}
		r.submits(2)
		r.wantAny(is(1, 0), is(2, 0))
	}},
	{name: "submit.stable", source: "io_uring_setup(2), IORING_FEAT_SUBMIT_STABLE", run: func(r *rig) {
		f, gate := r.file(""), r.pipe()
		var want []result
		vector := [][]byte{nil, nil}
		write := func(i int) op {
			vector[0], vector[1] = []byte{byte('a' + i)}, []byte{byte('a' + i), '.'}
			return prepared(uint64(i), func(s *aioring.SQE) { aioring.PrepWritev(s, f.fd, vector, int64(3*i)) })
		}
		for i := range 13 { // each with the same slice
			r.submit(write(i))
			clear(vector)
			want = append(want, is(uint64(i), 3))
		}
		r.submit(gate.read(50, 1).link(), write(13)) // not even started when the slice is cleared
		clear(vector)
		gate.put("x")
		r.wantAny(append(want, is(50, 1), is(13, 3))...)
		f.wantContent("aa.bb.cc.dd.ee.ff.gg.hh.ii.jj.kk.ll.mm.nn.")
	}},
	{name: "submit.wait_counts_ready", source: waitSource, run: func(r *rig) {
		r.submit(nop(1), nop(2))
		if _, err := r.ring.WaitCQENr(2); err != nil {
			r.Fatal(err)
		}
		r.put(r.stuck(3), nop(4))
		if n, err := r.ring.SubmitAndWaitTimeout(3, patience); n != 2 || err != nil || r.ring.CQReady() != 3 {
			r.Errorf("two there and one new: %d, %v, %d ready", n, err, r.ring.CQReady())
		}
		if n, err := r.ring.SubmitAndWait(3); n != 0 || err != nil {
			r.Errorf("all there: %d, %v", n, err)
		}
		r.wantAny(is(1, 0), is(2, 0), is(4, 0))
	}},
	{name: "submit.wait_timeout_partial", source: waitTimeout, run: func(r *rig) {
		began := time.Now()
		r.put(nop(1))
		if n, err := r.ring.SubmitAndWaitTimeout(3, pause); n != 1 || err != nil {
			r.Errorf("one of three: %d, %v", n, err)
		}
		if took := time.Since(began); took < pause {
			r.Errorf("it waited %v for the other two, want %v", took, pause)
		}
		if c, err := r.ring.WaitCQEs(3, ms); err != nil || resultOf(c) != is(1, 0) {
			r.Errorf("WaitCQEs, one of three: %v", err)
		}
		began = time.Now() // no least time: for all of them, as long as it may take
		if n, err := r.ring.SubmitAndWaitMinTimeout(3, pause, 0); n != 0 || err != nil || time.Since(began) < pause {
			r.Errorf("SubmitAndWaitMinTimeout: %d, %v, after %v", n, err, time.Since(began))
		}
		r.want(is(1, 0))
		r.put(r.stuck(2))
		if n, err := r.ring.SubmitAndWaitTimeout(1, ms); n != 1 || err != nil {
			r.Errorf("one submitted, and no CQE: %d, %v", n, err)
		}
	}},
	{name: "submit.wait_timeout_none", source: waitTimeout, run: func(r *rig) {
		began := time.Now()
		if n, err := r.ring.SubmitAndWaitTimeout(1, pause); n != 0 || err != aioring.ETIME {
			r.Errorf("SubmitAndWaitTimeout: %d, %v", n, err)
		}
		if c, err := r.ring.WaitCQETimeout(pause); c != nil || err != aioring.ETIME {
			r.Errorf("WaitCQETimeout: %v, %v", c, err)
		}
		if c, err := r.ring.WaitCQEs(2, pause); c != nil || err != aioring.ETIME {
			r.Errorf("WaitCQEs: %v, %v", c, err)
		}
		if took := time.Since(began); took < 3*pause {
			r.Errorf("three waits of %v took %v", pause, took)
		}
	}},
	{name: "submit.signal", source: "signal(7): io_uring_enter(2) answers EINTR whatever SA_RESTART says; Go sends SIGURG to preempt", run: func(r *rig) {
		var stop atomic.Bool
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for !stop.Load() {
				_ = unix.Kill(unix.Getpid(), unix.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}()
		defer func() { stop.Store(true); <-stopped }()
		p, f := r.pipe(), r.file("abcdefgh")
		for began, i := time.Now(), uint64(0); i < 30 || i < 300 && time.Since(began) < 2*time.Second; i++ {
			r.put(p.read(3*i, 4), f.read(3*i+1, 8, 0), nop(3*i+2))
			n, err := r.ring.SubmitAndWait(2)
			if n != 3 || err != nil {
				r.Fatalf("round %d: SubmitAndWait: %d, %v", i, n, err)
			}
			p.put("1234")
			if _, err := r.ring.WaitCQENr(3); err != nil {
				r.Fatalf("round %d: WaitCQENr: %v", i, err)
			}
			got := r.reapN(3)
			want := []result{is(3*i, 4), is(3*i+1, 8), is(3*i+2, 0)}
			if slices.SortFunc(got, byData); !slices.Equal(got, want) {
				r.Fatalf("round %d: %v, want %v", i, got, want)
			}
		}
		r.nothingLeft()
	}},
}
