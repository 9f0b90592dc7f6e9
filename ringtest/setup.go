//go:build unix

package ringtest

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// Sizes, flags, features and the probe.

const setupSource = "io_uring_setup(2); Linux io_uring/io_uring.c, io_uring_fill_params"

// wantSizes makes a ring and looks at its sizes.
func (r *rig) wantSizes(sq, cq, entries int, opts ...aioring.Option) {
	r.Helper()
	ring := r.open(entries, opts...)
	if ring.SQEntries() != sq || ring.CQEntries() != cq {
		r.Errorf("%d entries: %d and %d, want %d and %d", entries, ring.SQEntries(), ring.CQEntries(), sq, cq)
	}
	if left := ring.SQSpaceLeft(); left != sq {
		r.Errorf("%d entries: room for %d, want %d", entries, left, sq)
	}
}

// wantRefused sees that there is no such ring.
func (r *rig) wantRefused(what string, entries int, opts ...aioring.Option) {
	r.Helper()
	ring, err := r.on.open(entries, opts...)
	if err == nil {
		r.rings = append(r.rings, ring)
		r.Errorf("%s: there is a ring", what)
	} else if !errors.Is(err, syscall.EINVAL) {
		r.Errorf("%s: %v, want EINVAL", what, err)
	}
}

var setupCases = []testCase{
	{name: "setup.zero", source: setupSource, bare: true, run: func(r *rig) {
		r.wantRefused("no entries", 0)
		r.wantRefused("no entries, clamped", 0, aioring.WithClamp())
	}},
	{name: "setup.pow2", source: setupSource + "; liburing test/nop-all-sizes.c", bare: true, run: func(r *rig) {
		r.wantSizes(1, 2, 1)
		r.wantSizes(4, 8, 3)
		r.wantSizes(8, 16, 8)
		r.wantSizes(1024, 2048, 513)
	}},
	{name: "setup.max", source: setupSource, bare: true, run: func(r *rig) {
		r.wantRefused("one entry too many", 32769)
		r.wantSizes(32768, 65536, 32769, aioring.WithClamp())
		r.wantRefused("one completion too many", 4, aioring.WithCQSize(65537))
		r.wantSizes(4, 65536, 4, aioring.WithCQSize(65537), aioring.WithClamp())
	}},
	{name: "setup.cqsize", source: setupSource + "; liburing test/cq-size.c", bare: true, run: func(r *rig) {
		r.wantSizes(4, 8, 4, aioring.WithCQSize(5))
		r.wantSizes(4, 64, 4, aioring.WithCQSize(64))
		r.wantSizes(4, 4, 4, aioring.WithCQSize(3)) // compared when rounded
		r.wantRefused("fewer completions than entries", 4, aioring.WithCQSize(2))
		r.wantRefused("no completions", 4, aioring.WithCQSize(0))
	}},
	{name: "setup.badflags", source: "io_uring_setup(2); Linux io_uring/io_uring.c, io_uring_sanitise_params", bare: true, run: func(r *rig) {
		with := aioring.WithSetup
		r.wantRefused("an unknown flag", 4, with(1<<30))
		r.wantRefused("TASKRUN_FLAG alone", 4, with(aioring.SetupTaskrunFlag))
		r.wantRefused("DEFER_TASKRUN without SINGLE_ISSUER", 4, with(aioring.SetupDeferTaskrun))
		r.wantRefused("SQPOLL with COOP_TASKRUN", 4, with(aioring.SetupSQPoll|aioring.SetupCoopTaskrun))
		r.wantRefused("SQPOLL with DEFER_TASKRUN", 4, with(aioring.SetupSQPoll|aioring.SetupDeferTaskrun|aioring.SetupSingleIssuer))
		r.wantSizes(4, 8, 4, with(aioring.SetupTaskrunFlag|aioring.SetupCoopTaskrun))
		r.submit(nop(1))
		r.want(is(1, 0))
	}},
	{name: "setup.features", source: "io_uring_setup(2), IORING_FEAT_*", run: func(r *rig) {
		const must = aioring.FeatNoDrop | aioring.FeatSubmitStable | aioring.FeatRWCurPos | aioring.FeatExtArg | aioring.FeatCQESkip
		has := r.ring.Features()
		if has&must != must {
			r.Errorf("features %#x lack %#x", uint32(has), uint32(must&^has))
		}
		for bit := range 32 {
			feature := aioring.Features(1 << bit)
			if has&feature == 0 || feature == aioring.FeatNativeWorkers { // nobody can see whose the workers are
				continue
			}
			shows := demonstrations[feature]
			if shows == nil {
				r.Errorf("feature %#x is reported, and nothing could show it", uint32(feature))
				continue
			}
			r.open(4)
			if !shows(r) {
				r.Errorf("feature %#x is reported and does not show", uint32(feature))
			}
		}
	}},
	{name: "probe.ops", source: "io_uring_register(2), IORING_REGISTER_PROBE; liburing test/probe.c", run: func(r *rig) {
		probe := r.ring.Probe()
		for code := range 256 {
			opcode := aioring.Opcode(code)
			if opcode == aioring.OpLinkTimeout || probe.Supported(opcode) && !slices.Contains(everywhere, opcode) {
				continue // refused alone (linktimeout.go) or, as some that only io_uring has, when empty
			}
			o := nop(1)
			o.Opcode = opcode
			r.submit(o)
			c := r.reap()
			if known := c.res != -int32(unix.EINVAL); known != probe.Supported(opcode) {
				r.Errorf("opcode %d: %v, and the probe says %v", code, c, probe.Supported(opcode))
			}
		}
		for _, opcode := range everywhere {
			if !probe.Supported(opcode) {
				r.Errorf("%v is not supported", opcode)
			}
		}
		if last := probe.LastOp(); !probe.Supported(last) || last < aioring.OpWrite {
			r.Errorf("the last opcode is %d", last)
		}
		r.nothingLeft()
	}},
}

// everywhere are the operations of every kernel.
var everywhere = []aioring.Opcode{
	aioring.OpNop, aioring.OpReadv, aioring.OpWritev, aioring.OpFsync, aioring.OpTimeout, aioring.OpTimeoutRemove,
	aioring.OpAsyncCancel, aioring.OpLinkTimeout, aioring.OpRead, aioring.OpWrite,
}

// demonstrations show what a ring can do that reports a feature.
var demonstrations = map[aioring.Features]func(r *rig) bool{
	aioring.FeatNoDrop: func(r *rig) bool { // more than the queue holds
		for i := range uint64(21) {
			r.submit(nop(i))
		}
		return len(r.reapN(21)) == 21
	},
	aioring.FeatSubmitStable: func(r *rig) bool {
		f := r.file("")
		bufs := [][]byte{[]byte("ab"), []byte("cd")}
		r.submit(prepared(1, func(s *aioring.SQE) { aioring.PrepWritev(s, f.fd, bufs, 0) }))
		clear(bufs)
		return r.reap() == is(1, 4) && f.content() == "abcd"
	},
	aioring.FeatRWCurPos: func(r *rig) bool {
		f := r.file("abcdef")
		first, second := f.read(1, 2, aioring.CurrentPosition), f.read(2, 2, aioring.CurrentPosition)
		r.submit(first.link(), second)
		r.want(is(1, 2), is(2, 2))
		return string(first.Buf)+string(second.Buf) == "abcd"
	},
	aioring.FeatExtArg: func(r *rig) bool { // a wait with a time submits nothing
		r.put(nop(1))
		_, err := r.ring.WaitCQETimeout(ms)
		left := r.ring.SQReady()
		r.submits(1)
		r.want(is(1, 0))
		return err == aioring.ETIME && left == 1
	},
	aioring.FeatCQESkip: func(r *rig) bool {
		r.submit(nop(1).skip(), nop(2))
		return r.reap() == is(2, 0)
	},
	aioring.FeatFastPoll: func(r *rig) bool { // reads that wait keep nothing else from running
		p, f := r.pipe(), r.file("abc")
		for i := range uint64(200) {
			r.submit(p.read(i, 1))
		}
		r.submit(f.read(1000, 3, 0))
		first := r.reap()
		r.submit(cancel(1001, 0, aioring.CancelAny))
		r.reapN(201)
		return first == is(1000, 3)
	},
	aioring.FeatSQPollNonfixed: func(r *rig) bool { // a dedicated submitter takes any descriptor
		f := r.file("abc")
		r.open(4, aioring.WithWorker())
		r.submit(f.read(1, 3, 0))
		return r.reap() == is(1, 3)
	},
	aioring.FeatLinkedFile: func(r *rig) bool { // a follower's file is found when it starts
		p, before, after := r.pipe(), r.file(""), r.file("")
		follower := before.write(2, "here", 0)
		r.submit(p.read(1, 4).link(), follower)
		if err := dup2(after.fd, before.fd); err != nil {
			r.Fatal(err)
		}
		p.put("1234")
		r.want(is(1, 4), is(2, 4))
		return after.content() == "here"
	},
	aioring.FeatMinTimeout: func(r *rig) bool { // content with one CQE before the time is over
		before := time.Now()
		r.put(nop(1))
		n, err := r.ring.SubmitAndWaitMinTimeout(2, long, ms)
		return n == 1 && err == nil && time.Since(before) < patience && r.reap() == is(1, 0)
	},
}
