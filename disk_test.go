//go:build unix

package aioring_test

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// diskRing is a ring on a disk in memory, with one file of it open.
func diskRing(t *testing.T, disk *sim.Disk, cfg sim.Config) (r *aioring.Ring, kernel *sim.Kernel, fd int) {
	t.Helper()
	cfg.Volume = disk
	r, kernel = modelRing(t, cfg, 64)
	fd, errno := kernel.Open("file", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		t.Fatal(errno)
	}
	return r, kernel, fd
}

// What does not go through AIO goes to the model's files too: their numbers are those of
// other files on this system.
func TestPlainCallsOnAModelsFiles(t *testing.T) {
	for name, faults := range map[string][]sim.Fault{
		"AIO":    nil,
		"EAGAIN": {sim.If(sim.At(sim.Submit), sim.Fail(aio.EAGAIN))},
		"EOPNOTSUPP after a while, from a private descriptor": {
			sim.If(sim.And(sim.At(sim.Submit), sim.First(40)), sim.Fail(aio.EAGAIN)),
			sim.If(sim.At(sim.Submit), sim.Fail(aio.EOPNOTSUPP)),
		},
	} {
		for _, stepped := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " stepped=", stepped), func(t *testing.T) {
				guard(t, time.Minute)
				disk := sim.NewDisk(sim.DiskConfig{})
				r, _, fd := diskRing(t, disk, sim.Config{Faults: faults, Stepped: stepped})
				do := func(want int32, prep func(sqe *aioring.SQE)) {
					t.Helper()
					prep(r.GetSQE())
					if _, err := r.SubmitAndWait(1); err != nil {
						t.Fatal(err)
					}
					if cqe := reap(t, r); cqe.Res != want {
						t.Errorf("%+v, want %d", cqe, want)
					}
				}
				do(6, func(s *aioring.SQE) { aioring.PrepWrite(s, fd, []byte("abcdef"), 0) })
				do(3, func(s *aioring.SQE) { aioring.PrepWrite(s, fd, []byte("123"), aioring.CurrentPosition) })
				do(5, func(s *aioring.SQE) {
					aioring.PrepWritev(s, fd, [][]byte{[]byte("gh"), nil, []byte("ijk")}, 6)
				})
				p, q := make([]byte, 4), make([]byte, 20)
				do(8, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, [][]byte{p, nil, q}, aioring.CurrentPosition) })
				if got := string(p) + string(q[:4]); got != "defghijk" {
					t.Errorf("%q", got)
				}
				do(0, func(s *aioring.SQE) { aioring.PrepRead(s, fd, q, 11) })
				do(0, func(s *aioring.SQE) { aioring.PrepReadv(s, fd, nil, 0) })
				do(0, func(s *aioring.SQE) { aioring.PrepFsync(s, fd, 0) })
				do(0, func(s *aioring.SQE) { aioring.PrepFsync(s, fd, aioring.FsyncDatasync) })
				do(-int32(syscall.EBADF), func(s *aioring.SQE) { aioring.PrepRead(s, 1000, q, 0) })
				if got, err := disk.ReadFile("file"); string(got) != "123defghijk" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}

// After a power cut everything fails, nothing hangs, and the ring closes.
func TestRingOnADiskWithoutPower(t *testing.T) {
	guard(t, time.Minute)
	disk := sim.NewDisk(sim.DiskConfig{})
	r, _, fd := diskRing(t, disk, sim.Config{})
	for i := range 32 {
		sqe := r.GetSQE()
		aioring.PrepWrite(sqe, fd, bytes.Repeat([]byte{byte(i)}, 512), int64(i)*512)
		sqe.UserData = uint64(i)
	}
	disk.CutPowerAfter(10)
	submit(t, r, 32)
	failed := 0
	for range 32 {
		if c := reap(t, r); c.Res == -int32(syscall.EIO) {
			failed++
		} else if c.Res != 512 {
			t.Errorf("%+v", c)
		}
	}
	if failed != 22 {
		t.Errorf("%d of 32 have failed after the tenth", failed)
	}
}

// In stepped mode the same program has the same history on the disk, and the seed
// chooses it.
func TestRingOnADiskIsDeterministicInSteps(t *testing.T) {
	history := func(seed uint64) string {
		disk := sim.NewDisk(sim.DiskConfig{})
		kernel := sim.New(sim.Config{Volume: disk, Stepped: true, Seed: seed})
		r, err := aioring.New(16, aioring.WithAIO(kernel), aioring.WithMerge(0))
		if err != nil {
			t.Fatal(err)
		}
		defer kernel.Shutdown()
		defer r.Close()
		fd, errno := kernel.Open("file", os.O_RDWR|os.O_CREATE)
		if errno != 0 {
			t.Fatal(errno)
		}
		disk.CutPowerAfter(9)
		var b bytes.Buffer
		for i := range 16 {
			sqe := r.GetSQE()
			aioring.PrepWrite(sqe, fd, bytes.Repeat([]byte{byte('a' + i)}, 512), int64(i)*512)
			sqe.UserData = uint64(i)
		}
		if _, err := r.SubmitAndWait(16); err != nil {
			t.Fatal(err)
		}
		for range 16 {
			cqe, err := r.PeekCQE()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, cqe.UserData, cqe.Res)
			r.CQESeen(cqe)
		}
		for seed := range uint64(8) {
			data, err := disk.CrashClone(seed).ReadFile("file")
			fmt.Fprintf(&b, "%q %v\n", data, err)
		}
		return b.String()
	}
	different := make(map[string]bool)
	for seed := range uint64(20) {
		one := history(seed)
		if one != history(seed) {
			t.Fatalf("seed %d: two histories", seed)
		}
		different[one] = true
	}
	if len(different) < 10 {
		t.Errorf("20 seeds have %d histories", len(different))
	}
}
