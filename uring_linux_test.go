package aioring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/internal/uring/uringtest"
)

const (
	flagDrain    = 1 << 1
	flagLink     = 1 << 2
	flagHardlink = 1 << 3
	flagSkip     = 1 << 6
)

// uring makes a ring over io_uring.
func uring(t *testing.T, entries int, opts ...aioring.Option) *aioring.Ring {
	t.Helper()
	if !hasURing() {
		t.Skip("no io_uring here")
	}
	guard(t, time.Minute)
	return variant{kernel: aioring.KernelURing}.open(t, entries, opts...)
}

func TestAutoTakesURing(t *testing.T) {
	if !hasURing() {
		t.Skip("no io_uring here")
	}
	r, err := aioring.New(8)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if s := r.Stats(); r.Kernel() != aioring.KernelURing || s.Kernel != aioring.KernelURing || s.Forbidden != "" {
		t.Errorf("%s: %+v", r.Kernel(), s)
	}
}

// threads counts the threads of this process.
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// Ten thousand goroutines wait, each for its own pipe, and cost no thread. Half of
// them get their byte; Close ends the rest.
func TestTenThousandWaitersCostNoThreads(t *testing.T) {
	const pipes, most = 10_000, 40
	r := uring(t, 1024)
	ends := make([]*os.File, pipes)
	defer func() {
		for _, f := range ends {
			f.Close()
		}
	}()
	type result struct {
		pipe int
		cqe  aioring.CQE
		err  error
	}
	results := make(chan result, pipes)
	var reading []*os.File
	for i := range pipes {
		rd, wr, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = wr
		started := make(chan struct{})
		go func() {
			var sqe aioring.SQE
			aioring.PrepRead(&sqe, int(rd.Fd()), make([]byte, 1), 0)
			close(started)
			cqe, err := r.Do(context.Background(), sqe)
			results <- result{i, cqe, err}
		}()
		<-started
		reading = append(reading, rd)
		if i%100 == 99 {
			for r.Stats().InFlight < i+1 {
				runtime.Gosched()
			}
			// Entries are taken in order: with this one it has taken the others.
			if _, err := r.Do(t.Context(), aioring.SQE{}); err != nil {
				t.Fatal(err)
			}
			for _, rd := range reading {
				rd.Close() // the kernel holds the file: half as many numbers do
			}
			reading = reading[:0]
		}
	}
	if n := threads(t); n >= most {
		t.Errorf("%d threads", n)
	}
	for i := 0; i < pipes; i += 2 {
		if _, err := ends[i].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range pipes / 2 {
		if got := <-results; got.err != nil || got.cqe.Res != 1 || got.pipe%2 != 0 {
			t.Fatalf("%+v", got)
		}
	}
	if s := r.Stats(); s.InFlight != pipes/2 {
		t.Errorf("%d in flight", s.InFlight)
	}
	if n := threads(t); n >= most {
		t.Errorf("%d threads after half of it", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range pipes / 2 {
		if got := <-results; !errors.Is(got.err, syscall.ECANCELED) || got.pipe%2 != 1 {
			t.Fatalf("%+v", got)
		}
	}
	if n := threads(t); n >= most {
		t.Errorf("%d threads at the end", n)
	}
}

// Contract checks 46 to 49, 53 and 72, which the kernel keeps: the flags reach it.
func TestLinksAndDrainsAreTheKernels(t *testing.T) {
	r := uring(t, 16)
	f := tempFile(t, 0)
	fd := int(f.Fd())
	if _, err := f.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	ok := func(s *aioring.SQE) { aioring.PrepNop(s) }
	bad := func(s *aioring.SQE) { aioring.PrepRead(s, 1<<20, buf, 0) }
	short := func(s *aioring.SQE) { aioring.PrepRead(s, fd, buf, 0) }
	const cancelled, badf = -int32(syscall.ECANCELED), -int32(syscall.EBADF)
	type entry struct {
		prep  func(*aioring.SQE)
		flags uint8
		want  int32
	}
	for _, c := range []struct {
		name  string
		chain []entry
	}{
		{"all is well", []entry{{ok, flagLink, 0}, {ok, flagLink, 0}, {ok, 0, 0}}},
		{"the first fails", []entry{{bad, flagLink, badf}, {ok, flagLink, cancelled}, {ok, 0, cancelled}, {ok, 0, 0}}},
		{"the second fails", []entry{{ok, flagLink, 0}, {bad, flagLink, badf}, {ok, 0, cancelled}}},
		{"a short read", []entry{{short, flagLink, 10}, {ok, 0, cancelled}}},
		{"a hard link", []entry{{bad, flagHardlink, badf}, {ok, 0, 0}}},
		{"a drain", []entry{{short, 0, 10}, {ok, flagDrain, 0}, {ok, 0, 0}}},
	} {
		for _, way := range []string{"submit", "push"} {
			sqes := make([]aioring.SQE, len(c.chain))
			for i, e := range c.chain {
				e.prep(&sqes[i])
				sqes[i].Flags, sqes[i].UserData = e.flags, uint64(i)
			}
			if way == "push" {
				if err := r.Push(sqes...); err != nil {
					t.Fatal(err)
				}
			} else {
				for i := range sqes {
					*r.GetSQE() = sqes[i]
				}
				submit(t, r, len(sqes))
			}
			for range sqes {
				if cqe := reap(t, r); cqe.Res != c.chain[cqe.UserData].want {
					t.Errorf("%s, by %s: entry %d: %d, want %d", c.name, way, cqe.UserData, cqe.Res, c.chain[cqe.UserData].want)
				}
			}
		}
	}
}

// A chain that was pushed reaches the kernel in one piece, whatever else is pushed
// and however full the queue is, and ends with its batch. Otherwise members after
// one that fails would run, or those of another batch would not.
func TestPushedChainsStayWhole(t *testing.T) {
	r := uring(t, 8)
	const pushers, each = 4, 300
	var pushing sync.WaitGroup
	for p := range pushers {
		pushing.Go(func() {
			for range each {
				chain := make([]aioring.SQE, 3+p)
				aioring.PrepRead(&chain[0], 1<<20, make([]byte, 1), 0)
				for i := range chain {
					chain[i].Flags = flagLink // on the last one too
					chain[i].UserData = uint64(min(i, 1))
				}
				loose := aioring.SQE{UserData: 2}
				if err := r.PushContext(t.Context(), chain...); err != nil {
					t.Error(err)
				}
				if err := r.PushContext(t.Context(), loose); err != nil {
					t.Error(err)
				}
			}
		})
	}
	want := map[uint64]int32{0: -int32(syscall.EBADF), 1: -int32(syscall.ECANCELED), 2: 0}
	total := 0
	for p := range pushers {
		total += each * (4 + p)
	}
	for range total {
		if c := reap(t, r); c.Res != want[c.UserData] {
			t.Fatalf("%d: %d", c.UserData, c.Res)
		}
	}
	pushing.Wait()
}

// Contract checks 68 and 69.
func TestSkippedSuccessHasNoCQE(t *testing.T) {
	r := uring(t, 8)
	for i, fd := range []int{-1, 1 << 20} {
		s := r.GetSQE()
		if i == 1 {
			aioring.PrepRead(s, fd, make([]byte, 1), 0)
		}
		s.Flags, s.UserData = flagSkip, uint64(i)
	}
	r.GetSQE().UserData = 2
	submit(t, r, 3)
	for _, want := range []aioring.CQE{{UserData: 1, Res: -int32(syscall.EBADF)}, {UserData: 2}} {
		if c := reap(t, r); c.UserData != want.UserData || c.Res != want.Res {
			t.Errorf("%+v, want %+v", c, want)
		}
	}
	if s := r.Stats(); s.Alive != 0 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

// Close gets past a drain that waits for what never ends.
func TestCloseGetsPastADrain(t *testing.T) {
	r := uring(t, 8)
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 1), 0)
	for range 3 {
		r.GetSQE().Flags = flagDrain
	}
	submit(t, r, 4)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// On an older kernel a missing opcode is EINVAL, and stops the submission, as
// there.
func TestMissingOpcodeIsEINVAL(t *testing.T) {
	r := uring(t, 8, aioring.WithoutOpcodes(aioring.OpRead))
	f := tempFile(t, 0)
	buf := make([]byte, 4)
	r.GetSQE()
	aioring.PrepRead(r.GetSQE(), int(f.Fd()), buf, 0)
	aioring.PrepReadv(r.GetSQE(), int(f.Fd()), [][]byte{buf}, 0)
	for i, want := range []int{2, 1} {
		if n, err := r.Submit(); n != want || err != nil {
			t.Errorf("Submit %d = %d, %v", i, n, err)
		}
	}
	for i, want := range []int32{0, -int32(syscall.EINVAL), 0} {
		if c := reap(t, r); c.Res != want {
			t.Errorf("entry %d: %d", i, c.Res)
		}
	}
}

func TestSetupFlags(t *testing.T) {
	both := aioring.SetupSingleIssuer | aioring.SetupDeferTaskrun
	if s := uring(t, 8, aioring.WithSetup(both|aioring.SetupTaskrunFlag)).Stats(); s.Stripped != both {
		t.Errorf("not locked: stripped %#x", s.Stripped)
	}
	if s := uring(t, 8, aioring.WithSetup(both), aioring.WithLockedThread()).Stats(); s.Stripped != 0 {
		t.Errorf("locked: stripped %#x", s.Stripped)
	}
	if _, err := aioring.New(8, aioring.WithSetup(1<<30)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("an unknown flag: %v", err)
	}
	coop := aioring.SetupSQPoll | aioring.SetupCoopTaskrun
	if _, err := aioring.New(8, aioring.WithKernel(aioring.KernelURing), aioring.WithSetup(coop)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("flags that exclude each other: %v", err)
	}
	all := uring(t, 8, aioring.WithSetup(aioring.SetupSubmitAll|aioring.SetupCoopTaskrun|aioring.SetupTaskrunFlag))
	for i := range 4 {
		if s := all.GetSQE(); i == 1 {
			s.Opcode = 200
		}
	}
	submit(t, all, 4)
	for range 4 {
		reap(t, all)
	}
}

// With a locked thread, what completes later is deferred until that thread enters;
// nobody has to do anything for it.
func TestDeferredCompletionsCome(t *testing.T) {
	r := uring(t, 8, aioring.WithSetup(aioring.SetupSingleIssuer|aioring.SetupDeferTaskrun), aioring.WithLockedThread())
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	for i := range 100 {
		aioring.PrepRead(r.GetSQE(), int(rd.Fd()), make([]byte, 1), 0)
		submit(t, r, 1)
		if i%2 == 0 {
			for r.Stats().Enters == 0 {
				runtime.Gosched()
			}
		}
		if _, err := wr.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if c := reap(t, r); c.Res != 1 {
			t.Fatal(c)
		}
	}
}

// A waiter for several sleeps in the kernel until they are all there; one who
// comes later for less is not kept waiting by it, nor does it wait for more than
// it needs when others take completions away.
func TestSeveralWaitersInTheKernel(t *testing.T) {
	r := uring(t, 64)
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	rd1, wr1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd1.Close()
	defer wr1.Close()
	var read, other aioring.SQE
	aioring.PrepRead(&read, int(rd.Fd()), make([]byte, 1), 0)
	aioring.PrepRead(&other, int(rd1.Fd()), make([]byte, 1), 0)
	for range 50 {
		for range 3 {
			*r.GetSQE() = read
		}
		several := make(chan error)
		go func() { _, err := r.SubmitAndWait(3); several <- err }()
		for r.Stats().InFlight < 3 {
			runtime.Gosched()
		}
		one := make(chan error)
		go func() { _, err := r.Do(context.Background(), other); one <- err }()
		for r.Stats().InFlight < 4 {
			runtime.Gosched()
		}
		wr1.Write([]byte("x"))
		if err := <-one; err != nil {
			t.Fatal(err)
		}
		for range 3 {
			wr.Write([]byte("x"))
			if err := r.Push(aioring.SQE{UserData: 1}); err != nil { // somebody else's turn
				t.Fatal(err)
			}
		}
		if err := <-several; err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 6; n++ {
			reap(t, r)
		}
	}
}

// A directory, a file that only appends and one past its end, as io_uring has
// them: the threads kernel gives the same.
func TestThreadsAgreeWithURing(t *testing.T) {
	if !hasURing() {
		t.Skip("no io_uring here")
	}
	dir := t.TempDir()
	type step struct {
		flags int
		prep  func(s *aioring.SQE, fd int, buf []byte)
	}
	write := func(off int64) func(*aioring.SQE, int, []byte) {
		return func(s *aioring.SQE, fd int, buf []byte) { aioring.PrepWrite(s, fd, buf, off) }
	}
	read := func(off int64) func(*aioring.SQE, int, []byte) {
		return func(s *aioring.SQE, fd int, buf []byte) { aioring.PrepRead(s, fd, buf, off) }
	}
	readv := func(off int64, cut int) func(*aioring.SQE, int, []byte) {
		return func(s *aioring.SQE, fd int, buf []byte) {
			aioring.PrepReadv(s, fd, [][]byte{buf[:cut], nil, buf[cut:]}, off)
		}
	}
	steps := []step{
		{0, write(0)}, {0, write(100)}, {syscall.O_APPEND, write(0)}, {syscall.O_APPEND, write(aioring.CurrentPosition)},
		{0, read(90)}, {0, read(100000)}, {0, read(aioring.CurrentPosition)}, {0, readv(20, 3)}, {0, readv(20, 0)},
		{0, readv(aioring.CurrentPosition, 5)}, {syscall.O_DIRECTORY, read(0)}, {0, read(1 << 62)},
		{0, write(1<<63 - 1)}, {0, read(1<<63 - 1)}, {syscall.O_WRONLY, read(0)},
	}
	var results [2][]string
	for k, kernel := range []string{aioring.KernelURing, aioring.KernelThreads} {
		r := variant{kernel: kernel}.open(t, 8)
		path := filepath.Join(dir, kernel)
		if err := os.WriteFile(path, pattern(104, 3), 0o600); err != nil {
			t.Fatal(err)
		}
		for i, s := range steps {
			name, mode := path, os.O_RDWR
			switch s.flags {
			case syscall.O_DIRECTORY:
				name, mode = dir, os.O_RDONLY
			case syscall.O_WRONLY:
				mode = 0
			}
			f, err := os.OpenFile(name, mode|s.flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			buf := bytes.Repeat([]byte{byte(i)}, 30)
			s.prep(r.GetSQE(), int(f.Fd()), buf)
			submit(t, r, 1)
			c := reap(t, r)
			pos, _ := f.Seek(0, 1)
			if s.flags == syscall.O_DIRECTORY {
				pos = 0
			}
			results[k] = append(results[k], fmt.Sprintf("res %d, position %d, %x", c.Res, pos, buf))
			f.Close()
		}
		all, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		results[k] = append(results[k], fmt.Sprintf("%x", all))
	}
	for i := range results[0] {
		if results[0][i] != results[1][i] {
			t.Errorf("step %d: io_uring %s\nthreads %s", i, results[0][i], results[1][i])
		}
	}
}

// TestForbiddenChild is what TestForbiddenMeansThreads runs in a process of its
// own.
func TestForbiddenChild(t *testing.T) {
	errno := map[string]syscall.Errno{"EPERM": syscall.EPERM, "ENOSYS": syscall.ENOSYS}[os.Getenv("AIORING_FORBID")]
	if errno == 0 {
		t.Skip("run by TestForbiddenMeansThreads")
	}
	var lines bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	if err := uringtest.Forbid(errno); err != nil {
		t.Fatal(err)
	}
	if _, err := aioring.New(8, aioring.WithKernel(aioring.KernelURing)); !errors.Is(err, errno) || !strings.Contains(err.Error(), "io_uring_setup") {
		t.Errorf("asked for: %v", err)
	}
	for range 3 {
		r, err := aioring.New(16)
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.Kernel != aioring.KernelThreads || !strings.Contains(s.Forbidden, errno.Error()) {
			t.Errorf("%+v", s)
		}
		writeMany(t, r, 100)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(lines.String(), "\n"); n != 1 || !strings.Contains(lines.String(), "io_uring") {
		t.Errorf("%d lines: %s", n, lines.String())
	}
}

// Where io_uring is forbidden, as containers do it, auto works on threads and says
// so once.
func TestForbiddenMeansThreads(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, errno := range []string{"EPERM", "ENOSYS"} {
		cmd := exec.Command(self, "-test.run=^TestForbiddenChild$", "-test.v")
		cmd.Env = append(os.Environ(), "AIORING_FORBID="+errno)
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestForbiddenChild")) {
			t.Errorf("%s: %v\n%s", errno, err, out)
		}
	}
}

// Many goroutines push, run and wait at once while others close in on them: no
// completion is lost between the three ways to sleep.
func TestEveryWayToWaitAtOnce(t *testing.T) {
	r := uring(t, 32)
	f := tempFile(t, 0)
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	defer wr.Close()
	const n, over = 400, 1
	var got atomic.Int64
	var group sync.WaitGroup
	group.Go(func() { // feeds the reads of the pipe
		for range 2 * n {
			if _, err := wr.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	for range 2 {
		group.Go(func() {
			var s aioring.SQE
			aioring.PrepRead(&s, int(rd.Fd()), make([]byte, 1), 0)
			for range n {
				if c, err := r.Do(t.Context(), s); err != nil || c.Res != 1 {
					t.Error(c, err)
				}
			}
		})
		group.Go(func() {
			var s aioring.SQE
			aioring.PrepRead(&s, int(f.Fd()), make([]byte, 64), 0)
			s.Flags = aioring.FlagAsync // so that it does not complete at once
			for range n {
				if err := r.PushContext(t.Context(), s, s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var reaping sync.WaitGroup
	for _, ctx := range []context.Context{ctx, ctx, context.Background()} {
		reaping.Go(func() {
			for got.Load() < 4*n {
				c, err := r.Wait(ctx)
				if err != nil {
					return
				}
				if c.UserData == over {
					return
				}
				if c.Res != 64 {
					t.Error(c)
				}
				if got.Add(1) == 4*n {
					cancel()
					r.Push(aioring.SQE{UserData: over}) // for the one whose context never ends
				}
			}
		})
	}
	group.Wait()
	for got.Load() < 4*n {
		runtime.Gosched()
	}
	cancel()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	reaping.Wait()
}

// A ring that polls devices takes direct I/O alone, and brings its completions in by
// itself.
func TestIOPoll(t *testing.T) {
	for _, kernel := range []string{aioring.KernelThreads, aioring.KernelSim} {
		if r, err := aioring.New(8, aioring.WithKernel(kernel), aioring.WithSetup(aioring.SetupIOPoll)); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", kernel, err)
			r.Close()
		}
	}
	r := uring(t, 8, aioring.WithSetup(aioring.SetupIOPoll))
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, pattern(4*4096, 5), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		t.Skip("no direct I/O here: ", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	aioring.PrepFsync(r.GetSQE(), int(f.Fd()), 0)
	submit(t, r, 1)
	if c := reap(t, r); c.Res != -int32(syscall.EINVAL) {
		t.Errorf("an FSYNC: %d", c.Res)
	}
	memory, err := unix.Mmap(-1, 0, 4*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	for i := range 4 {
		s := r.GetSQE()
		aioring.PrepRead(s, int(f.Fd()), memory[i*4096:][:4096], int64(i)*4096)
	}
	submit(t, r, 4)
	for range 4 {
		c := reap(t, r)
		if c.Res == -int32(syscall.EOPNOTSUPP) {
			t.Skip("the device here cannot be polled: ", syscall.EOPNOTSUPP)
		}
		if c.Res != 4096 {
			t.Errorf("%d", c.Res)
		}
	}
	if !bytes.Equal(memory, pattern(4*4096, 5)) {
		t.Error("what was read is not what was written")
	}
	var s aioring.SQE
	aioring.PrepRead(&s, int(f.Fd()), memory[:4096], 0)
	if c, err := r.Do(context.Background(), s); err != nil || c.Res != 4096 {
		t.Errorf("Do: %d, %v", c.Res, err)
	}
	if c, err := r.Do(t.Context(), s); err != nil || c.Res != 4096 {
		t.Errorf("Do with an end: %d, %v", c.Res, err)
	}
}
