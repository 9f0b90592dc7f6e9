//go:build unix

package sim

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring/aio"
)

// Random histories in stepped mode, with random faults on. Each seed is played
// twice and must give the same trace to the byte; and whatever the faults did, every
// accepted job is reaped once, every event is for one of them, no rule is broken,
// and when the faults are off everything finishes.

var (
	replaySeed  = flag.Int64("seed", -1, "the one seed that TestReplay plays")
	replaySeeds = flag.Int("seeds", 0, "how many seeds TestReplay plays; 0: as many as suit the build")
	replayTrace = flag.Bool("history", false, "TestReplay prints the history of -seed")
)

// replayCorpus has the seeds that have failed once, a line each. They come first.
const replayCorpus = "testdata/replay-seeds"

func TestReplay(t *testing.T) {
	if *replaySeed >= 0 {
		if *replayTrace {
			h := play(uint64(*replaySeed))
			t.Logf("seed %d:\n%s", *replaySeed, h.trace.Bytes())
		}
		replay(t, uint64(*replaySeed))
		return
	}
	for _, seed := range corpus(t) {
		replay(t, seed)
	}
	n := *replaySeeds
	switch {
	case n > 0:
	case raceEnabled:
		n = 300
	default:
		n = 10_000
	}
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range min(2, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for !t.Failed() {
				seed := next.Add(1) - 1
				if seed >= uint64(n) {
					return
				}
				replay(t, seed)
			}
		})
	}
	wg.Wait()
}

// The marks of replayed histories: what they are known to reach. A mark that is
// missed would mean that a rule is checked where it never holds.
func TestReplayReaches(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(200) {
		h := play(seed)
		for mark, n := range h.marks {
			seen[mark] += n
		}
	}
	for _, mark := range []string{
		"EAGAIN", "EIO list", "partial list", "empty list event", "list event", "cancelled", "not cancelled", "all done",
		"short", "failed", "EINTR", "timeout", "late cancel", "fsync", "reused number", "kqueue closed", "forked", "exec",
		"suspend", "waitcomplete", "scribbled", "sysctl", "foreign",
	} {
		if seen[mark] == 0 {
			t.Errorf("no history reaches %q", mark)
		}
	}
}

// The same in another process, whose addresses, descriptors and speed are others.
func TestReplayInAnotherProcess(t *testing.T) {
	const env = "SIM_REPLAY_CHILD"
	if os.Getenv(env) != "" {
		for seed := range uint64(20) {
			fmt.Printf("history %d %x\n", seed, play(seed).trace.Bytes())
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestReplayInAnotherProcess$")
	cmd.Env = append(os.Environ(), env+"=1", "GOMAXPROCS=1", "GOGC=10")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, len(out)+1)
	found := 0
	for lines.Scan() {
		var seed uint64
		var trace []byte
		if n, _ := fmt.Sscanf(lines.Text(), "history %d %x", &seed, &trace); n != 2 {
			continue
		}
		found++
		if !bytes.Equal(trace, play(seed).trace.Bytes()) {
			t.Errorf("seed %d has another history in another process", seed)
		}
	}
	if found != 20 {
		t.Fatalf("%d histories of the child, want 20:\n%.2000s", found, out)
	}
}

// Different seeds give different histories.
func TestSeedsDiffer(t *testing.T) {
	if bytes.Equal(play(1).trace.Bytes(), play(2).trace.Bytes()) {
		t.Error("seeds 1 and 2 have one history")
	}
}

func corpus(t *testing.T) (seeds []uint64) {
	t.Helper()
	data, err := os.ReadFile(replayCorpus)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		seed, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", replayCorpus, err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// replay plays one seed twice.
func replay(t *testing.T, seed uint64) {
	a, b := play(seed), play(seed)
	again := fmt.Sprintf("go test ./aio/sim -run 'TestReplay$' -seed %d -history -v\nand the line %d for %s", seed, seed, replayCorpus)
	if a.wrong != "" {
		t.Errorf("seed %d: %s\nplay it again: %s", seed, a.wrong, again)
		return
	}
	x, y := a.trace.Bytes(), b.trace.Bytes()
	if !bytes.Equal(x, y) {
		at := 0
		for at < min(len(x), len(y)) && x[at] == y[at] {
			at++
		}
		from := max(0, bytes.LastIndexByte(x[:at], '\n'))
		t.Errorf("seed %d: two histories, from byte %d on:\n%.300s\n%.300s\nplay it again: %s", seed, at, x[from:], y[from:], again)
	}
}

// history is one played seed: one process with files, queues and jobs, one
// goroutine, and what it knows of its own.
type history struct {
	k     *Kernel
	r     *rand.PCG
	trace bytes.Buffer
	marks map[string]int
	wrong string

	fds   []int
	kqs   []int
	jobs  []*histJob  // accepted and not reaped
	lists []*histList // with jobs
	pool  []*histJob  // reaped, to be used again
	gates []*Gate
}

type histJob struct {
	cb   *aio.ControlBlock
	buf  []byte
	iov  []aio.Iovec
	op   aio.Opcode
	fd   int
	kq   int // or -1
	live bool
	n    uint64 // udata
}

type histList struct {
	array []*aio.ControlBlock
	left  int
	jobs  []*histJob
}

func (h *history) intn(n int) int { return int(h.r.Uint64() >> 1 % uint64(n)) }

func (h *history) chance(percent int) bool { return h.intn(100) < percent }

func (h *history) fail(format string, args ...any) {
	if h.wrong == "" {
		h.wrong = fmt.Sprintf(format, args...)
	}
}

func (h *history) mark(name string) { h.marks[name]++ }

// play is a pure function of its seed.
func play(seed uint64) *history {
	h := &history{r: rand.NewPCG(seed, 77), marks: make(map[string]int)}
	profiles := []Profile{V13, V14, V15}
	cfg := Config{
		Stepped: true, Seed: seed, Trace: &h.trace, Profile: profiles[h.intn(3)],
		Limits: aio.Limits{
			MaxQueue: 8 + h.intn(60), MaxQueuePerProc: 4 + h.intn(40), MaxPerProc: 1 + h.intn(8),
			MaxProcs: 1 + h.intn(8), TargetProcs: 1 + h.intn(4),
		},
	}
	h.k = New(cfg)
	h.k.Inject(h.swarm()...)
	for i := range 3 {
		fd, errno := h.k.Open(fmt.Sprint("file", i), os.O_RDWR|os.O_CREATE)
		if errno != 0 {
			h.fail("open: %v", errno)
		}
		_, _ = h.k.Pwrite(fd, bytes.Repeat([]byte{byte('a' + i)}, 200), 0)
		h.fds = append(h.fds, fd)
	}
	for range 2 {
		kq, errno := h.k.Kqueue()
		if errno != 0 {
			h.fail("kqueue: %v", errno)
		}
		h.kqs = append(h.kqs, kq)
	}
	for range 30 + h.intn(60) {
		h.act()
		if h.wrong != "" {
			return h
		}
	}
	h.finish()
	return h
}

// swarm chooses the faults of a history, each kind on or off.
func (h *history) swarm() (faults []Fault) {
	maybe := func(fs ...Fault) {
		if h.chance(40) {
			faults = append(faults, fs...)
		}
	}
	rnd := func(p float64) Predicate { return Randomly(h.r.Uint64(), p) }
	errnos := []aio.Errno{aio.EIO, aio.ENOSPC, aio.EFAULT, aio.ENXIO}
	maybe(If(And(At(Submit), rnd(0.1)), Fail(aio.EAGAIN)))
	maybe(If(And(At(Queue), rnd(0.1)), Fail(aio.EAGAIN)), If(And(At(Queue), rnd(0.05)), Unsafe()))
	maybe(If(And(At(Submit), rnd(0.1)), Fail(aio.EINVAL)))
	maybe(If(And(At(Submit), rnd(0.2)), Early()))
	maybe(If(And(At(Start), rnd(0.2)), Short(h.intn(64))))
	maybe(If(And(At(Transfer), rnd(0.1)), FailAfter(h.intn(32), errnos[h.intn(4)])))
	maybe(If(And(At(Transfer), rnd(0.1)), FailAfter(1+h.intn(32), aio.EINTR)))
	maybe(If(And(At(Result), rnd(0.1)), Fail(errnos[h.intn(4)])))
	maybe(If(And(At(Start), rnd(0.1)), Delay(time.Duration(h.intn(100))*time.Millisecond)))
	maybe(If(And(At(Sleep), rnd(0.2)), Fail(aio.EINTR)))
	maybe(If(And(At(Sleep), rnd(0.2)), Expire()), If(And(At(Sleep), rnd(0.2)), Delay(time.Millisecond)))
	maybe(If(And(Or(At(ListSleep), At(SuspendSleep), At(WaitSleep)), rnd(0.3)), Fail(aio.EINTR)))
	maybe(If(And(At(Fetch), rnd(0.3)), Short(1)))
	maybe(If(And(At(Cancel), rnd(0.3)), Refuse()), If(And(At(Result), Marked), Fail(aio.ECANCELED)))
	maybe(If(And(At(Cancel), rnd(0.3)), Early()))
	maybe(If(And(At(NewDaemon), rnd(0.5)), Delay(20*time.Millisecond)))
	maybe(If(And(Or(At(Start), At(Submitted), At(Cancel)), rnd(0.3)), Scribble(h.r.Uint64()), Do(func(Op) { h.mark("scribbled") })))
	maybe(If(And(At(Start), rnd(0.02)), Sysctl("vfs.aio.max_aio_queue_per_proc", 2+h.intn(30)), Do(func(Op) { h.mark("sysctl") })))
	if h.chance(30) {
		g := NewGate()
		h.gates = append(h.gates, g)
		faults = append(faults, If(And(At(Start), rnd(0.1)), HoldActive(g)))
	}
	if h.chance(30) {
		g := NewGate()
		h.gates = append(h.gates, g)
		faults = append(faults, If(And(At(Submit), rnd(0.1)), HoldQueued(g)))
	}
	if h.chance(20) {
		// Another thread takes what the event of a list of nothing shows for once.
		faults = append(faults, If(And(At(ListPosted), Empty), Do(func(Op) {
			for _, kq := range h.kqs {
				var ev [8]aio.Kevent
				if n, _ := h.k.Kevent(kq, nil, ev[:], 0); n > 0 {
					h.deliver(kq, ev[:n])
				}
			}
		})))
	}
	return faults
}

// act is one thing that the process does.
func (h *history) act() {
	k := h.k
	switch h.intn(16) {
	case 0, 1, 2:
		h.submit()
	case 3, 4, 5:
		h.list()
	case 6, 7, 8:
		h.kevent(time.Duration(h.intn(3)) * time.Millisecond)
	case 9:
		h.cancel()
	case 10:
		for range h.intn(20) {
			k.Step()
		}
	case 11:
		h.reapSome()
	case 12:
		h.wait()
	case 13:
		h.number()
	case 14:
		switch h.intn(5) {
		case 0:
			n := h.intn(20)
			k.System().Occupy(n)
			h.mark("foreign")
			k.System().After(time.Duration(h.intn(20))*time.Millisecond, func() { k.System().Occupy(-n) })
		case 1:
			k.System().After(time.Duration(h.intn(5))*time.Millisecond, k.Signal)
		case 2:
			h.closeQueue()
		case 3:
			h.fork()
		case 4:
			for _, g := range h.gates {
				g.Open()
			}
		}
	case 15:
		if h.chance(10) {
			h.exec()
		} else {
			k.System().Sleep(time.Duration(h.intn(2000)) * time.Microsecond)
		}
	}
}

// job prepares one that is not in flight.
func (h *history) job() *histJob {
	var j *histJob
	if n := len(h.pool); n > 0 && h.chance(50) {
		j = h.pool[n-1]
		h.pool = h.pool[:n-1]
	} else {
		j = &histJob{cb: new(aio.ControlBlock)}
	}
	ops := []aio.Opcode{aio.OpRead, aio.OpWrite, aio.OpRead, aio.OpWrite, aio.OpReadv, aio.OpWritev}
	j.op = ops[h.intn(len(ops))]
	j.fd = h.fds[h.intn(len(h.fds))]
	j.buf = make([]byte, h.intn(100))
	for i := range j.buf {
		j.buf[i] = byte(h.r.Uint64())
	}
	j.iov = nil
	p, n := unsafe.Pointer(unsafe.SliceData(j.buf)), len(j.buf)
	if j.op&opVectored != 0 {
		cut := h.intn(n + 1)
		for _, part := range [][]byte{j.buf[:cut], j.buf[cut:]} {
			j.iov = append(j.iov, aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(part)), Len: uintptr(len(part))})
		}
		p, n = unsafe.Pointer(unsafe.SliceData(j.iov)), 2
	}
	ev := aio.Sigevent{}
	j.kq = -1
	if len(h.kqs) > 0 && h.chance(80) {
		j.kq = h.kqs[h.intn(len(h.kqs))]
		flags := []uint16{aio.EvOneshot, aio.EvOneshot, 0, aio.EvClear, aio.EvDispatch}
		j.n = h.r.Uint64() >> 33 // fits a uintptr of 32 bits
		ev = aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(j.kq), Value: uintptr(j.n), KeventFlags: flags[h.intn(5)]}
	}
	j.cb.Prepare(j.op, j.fd, int64(h.intn(300)), p, n, ev)
	return j
}

func (h *history) accepted(j *histJob) {
	j.live = true
	h.jobs = append(h.jobs, j)
}

func (h *history) submit() {
	j := h.job()
	k := h.k
	var errno aio.Errno
	switch {
	case h.chance(20):
		h.mark("fsync")
		op := aio.Sync
		if h.chance(50) {
			op = aio.DataSync
		}
		j.op = opSync
		errno = k.Fsync(op, j.cb)
	case j.op == aio.OpRead:
		errno = k.Read(j.cb)
	case j.op == aio.OpWrite:
		errno = k.Write(j.cb)
	case j.op == aio.OpReadv:
		errno = k.Readv(j.cb)
	default:
		errno = k.Writev(j.cb)
	}
	h.submitted(j, errno)
}

func (h *history) submitted(j *histJob, errno aio.Errno) {
	switch word := j.cb.ErrorWord(); {
	case errno == 0 && word == aio.EINPROGRESS && j.cb.StatusWord() == -1:
		h.accepted(j)
	case errno != 0 && word == errno:
		if errno == aio.EAGAIN {
			h.mark("EAGAIN")
		}
		if _, e := h.k.Return(j.cb); e != aio.EINVAL {
			h.fail("a refused job was reaped")
		}
		h.pool = append(h.pool, j)
	default:
		h.fail("submission answers %v, the word is %v", errno, word)
	}
}

func (h *history) list() {
	l := &histList{}
	for range h.intn(8) {
		if h.chance(10) {
			l.array = append(l.array, nil)
			l.jobs = append(l.jobs, nil)
			continue
		}
		j := h.job()
		l.jobs = append(l.jobs, j)
		l.array = append(l.array, j.cb)
	}
	if len(l.array) == 0 {
		l.array = make([]*aio.ControlBlock, 0, 1) // an address of its own
	}
	var sig *aio.Sigevent
	if len(h.kqs) > 0 && h.chance(60) {
		sig = &aio.Sigevent{Notify: aio.NotifyKevent, Kqueue: int32(h.kqs[h.intn(len(h.kqs))]), Value: 1 << 20}
	}
	mode := aio.ListNoWait
	if h.chance(15) && len(h.gates) == 0 {
		mode = aio.ListWait
	}
	errno := h.k.ListIO(mode, l.array, sig)
	refused := 0
	for i, j := range l.jobs {
		if j == nil {
			continue
		}
		if j.cb.ErrorWord() != aio.EINPROGRESS {
			l.jobs[i] = nil // no part of it
		}
		switch word := j.cb.ErrorWord(); {
		case !j.cb.Touched():
			if errno != aio.EINVAL {
				h.fail("a list of %v left a block untouched", errno)
			}
			h.pool = append(h.pool, j)
		case word == aio.EINPROGRESS:
			h.accepted(j)
			l.left++
		default:
			refused++
			h.pool = append(h.pool, j)
		}
	}
	if errno == aio.EIO {
		h.mark("EIO list")
	}
	if refused > 0 && l.left > 0 {
		h.mark("partial list")
	}
	if errno == 0 && refused > 0 || (errno == aio.EIO || errno == aio.EAGAIN) && refused == 0 {
		h.fail("a list answers %v with %d refused", errno, refused)
	}
	if l.left > 0 {
		h.lists = append(h.lists, l)
	}
}

func (h *history) kevent(timeout time.Duration) int {
	if len(h.kqs) == 0 {
		return 0
	}
	kq := h.kqs[h.intn(len(h.kqs))]
	events := make([]aio.Kevent, 1+h.intn(6))
	n, errno := h.k.Kevent(kq, nil, events, timeout)
	switch {
	case errno == aio.EINTR:
		h.mark("EINTR")
	case errno != 0:
		h.fail("kevent: %v", errno)
	case n == 0 && timeout > 0:
		h.mark("timeout")
	}
	if n > 0 {
		h.deliver(kq, events[:n])
	}
	return max(n, 0)
}

// deliver looks at what kevent gave: each event is for a job that is not reaped and
// has finished, or for a list.
func (h *history) deliver(kq int, events []aio.Kevent) {
	for i := range events {
		ev := &events[i]
		switch ev.Filter {
		case aio.FilterLIO:
			h.listEvent(kq, ev)
		case aio.FilterAIO:
			j := h.find(ev.Ident)
			switch {
			case j == nil:
				// Another thread's call: the entry is accepted, and its list not over.
				continue
			case j.kq != kq || uint64(ev.Udata) != j.n:
				h.fail("an event of a job on another queue, or with another label")
			case h.k.Error(j.cb) != aio.Errno(ev.Data):
				h.fail("the event says %d, aio_error %v", ev.Data, h.k.Error(j.cb))
			}
			if j.live && h.chance(80) {
				h.reap(j)
			}
		}
	}
}

func (h *history) listEvent(kq int, ev *aio.Kevent) {
	for _, l := range h.lists {
		if uintptr(unsafe.Pointer(unsafe.SliceData(l.array))) != ev.Ident {
			continue
		}
		h.mark("list event")
		for _, j := range l.jobs {
			if j != nil && j.live && h.k.Error(j.cb) == aio.EINPROGRESS {
				h.fail("a list event with a job of it in flight")
			}
		}
		_, errno := h.k.Kevent(kq, []aio.Kevent{{Ident: ev.Ident, Filter: aio.FilterLIO, Flags: aio.EvDelete}}, nil, 0)
		if errno != 0 && errno != aio.ENOENT {
			h.fail("delete of a list event: %v", errno)
		}
		return
	}
	h.mark("empty list event")
}

func (h *history) find(ident uintptr) *histJob {
	for _, j := range h.jobs {
		if uintptr(unsafe.Pointer(j.cb)) == ident {
			return j
		}
	}
	return nil
}

// reap takes the result of a job that has finished.
func (h *history) reap(j *histJob) {
	want := h.k.Error(j.cb)
	n, errno := h.k.Return(j.cb)
	h.reaped(j, n, errno)
	if errno != want {
		h.fail("aio_error %v, aio_return %v", want, errno)
	}
}

func (h *history) reaped(j *histJob, n int, errno aio.Errno) {
	switch {
	case !j.live:
		h.fail("reaped twice")
	case errno == 0 && (n < 0 || n > len(j.buf)):
		h.fail("%d of %d bytes", n, len(j.buf))
	case errno == aio.ECANCELED:
		h.mark("cancelled")
	case errno != 0:
		h.mark("failed")
	case n < len(j.buf):
		h.mark("short")
	}
	j.live = false
	for i, have := range h.jobs {
		if have == j {
			h.jobs = append(h.jobs[:i], h.jobs[i+1:]...)
			break
		}
	}
	for i := len(h.lists) - 1; i >= 0; i-- {
		l := h.lists[i]
		for i, have := range l.jobs {
			if have == j {
				l.jobs[i] = nil // it may soon be another's
				l.left--
			}
		}
		if l.left == 0 {
			h.lists = append(h.lists[:i], h.lists[i+1:]...)
		}
	}
	h.pool = append(h.pool, j)
}

// reapSome reaps what has finished, without events.
func (h *history) reapSome() {
	for _, j := range append([]*histJob(nil), h.jobs...) {
		if h.chance(50) && h.k.Error(j.cb) != aio.EINPROGRESS {
			h.reap(j)
		}
	}
}

func (h *history) wait() {
	timeout := time.Duration(h.intn(2000)) * time.Microsecond
	if h.chance(50) {
		var some []*aio.ControlBlock
		for _, j := range h.jobs {
			if h.chance(50) && len(some) < 4 {
				some = append(some, j.cb)
			}
		}
		h.mark("suspend")
		switch errno := h.k.Suspend(some, timeout); errno {
		case 0, aio.EAGAIN, aio.EINTR, aio.EINVAL:
		default:
			h.fail("suspend: %v", errno)
		}
		return
	}
	cb, n, errno := h.k.WaitComplete(timeout)
	if cb == nil {
		if errno != aio.EAGAIN && errno != aio.EINTR {
			h.fail("waitcomplete: %v", errno)
		}
		return
	}
	h.mark("waitcomplete")
	j := h.find(uintptr(unsafe.Pointer(cb)))
	if j == nil {
		h.fail("waitcomplete reaped what is not ours")
		return
	}
	h.reaped(j, n, errno)
}

func (h *history) cancel() {
	if len(h.jobs) == 0 {
		return
	}
	j := h.jobs[h.intn(len(h.jobs))]
	cb := j.cb
	if h.chance(30) {
		cb = nil
	}
	before := h.k.Error(j.cb)
	status, errno := h.k.Cancel(j.fd, cb)
	switch {
	case errno == aio.EBADF:
		h.mark("late cancel") // its number is closed
	case errno != 0:
		h.fail("cancel: %v", errno)
	case status == aio.Cancelled && h.k.Error(j.cb) == aio.EINPROGRESS:
		h.fail("cancelled, and in flight")
	case status == aio.NotCancelled:
		h.mark("not cancelled")
	case status == aio.AllDone:
		h.mark("all done")
		if cb != nil && before == aio.EINPROGRESS && h.k.Error(j.cb) == aio.EINPROGRESS {
			h.fail("all done, and in flight")
		}
	}
}

// number closes a descriptor, with what is in flight on it, and gives its number to
// another file.
func (h *history) number() {
	i := h.intn(len(h.fds))
	old := h.fds[i]
	if errno := h.k.Close(old); errno != 0 {
		h.fail("close: %v", errno)
	}
	if h.chance(30) {
		h.cancelClosed(old)
	}
	fd, errno := h.k.Open(fmt.Sprint("file", h.intn(3)), os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		h.fail("open: %v", errno)
	}
	if fd == old {
		h.mark("reused number")
	}
	h.fds[i] = fd
	if h.chance(30) {
		if d, errno := h.k.Dup(fd); errno == 0 {
			_ = h.k.Close(fd)
			h.fds[i] = d
		}
	}
}

func (h *history) cancelClosed(fd int) {
	if _, errno := h.k.Cancel(fd, nil); errno != aio.EBADF {
		h.fail("cancel of a closed descriptor: %v", errno)
	}
	h.mark("late cancel")
}

// closeQueue closes a queue with the events that were to come, and makes another.
func (h *history) closeQueue() {
	i := h.intn(len(h.kqs))
	if errno := h.k.CloseKqueue(h.kqs[i]); errno != 0 {
		h.fail("close of a queue: %v", errno)
	}
	h.mark("kqueue closed")
	for _, j := range h.jobs {
		if j.kq == h.kqs[i] {
			j.kq = -1 // none of its events will come, by whatever queue has the number
		}
	}
	kq, errno := h.k.Kqueue()
	if errno != 0 {
		h.fail("kqueue: %v", errno)
	}
	h.kqs[i] = kq
}

// fork makes a child that knows no job of ours, and ends.
func (h *history) fork() {
	h.mark("forked")
	child := h.k.Fork()
	for _, j := range h.jobs {
		if n, errno := child.Return(j.cb); errno != aio.EINVAL {
			h.fail("the child reaps a job of the parent: %d, %v", n, errno)
		}
	}
	if err := child.Shutdown(); err != nil {
		h.fail("the child: %v", err)
	}
}

// exec ends all jobs without an event, and the process begins anew.
func (h *history) exec() {
	h.mark("exec")
	for _, g := range h.gates {
		g.Open()
	}
	if errno := h.k.Exec(); errno != 0 {
		h.fail("exec: %v", errno)
	}
	if st := h.k.Stats(); st.Unfinished+st.Done != 0 {
		h.fail("jobs live through exec: %+v", st)
	}
	h.jobs, h.lists, h.kqs, h.pool = nil, nil, nil, nil
	for i := range h.fds {
		h.fds[i], _ = h.k.Open(fmt.Sprint("file", i), os.O_RDWR)
	}
	for range 2 {
		kq, _ := h.k.Kqueue()
		h.kqs = append(h.kqs, kq)
	}
}

// finish takes the faults off: everything must end, by itself.
func (h *history) finish() {
	k := h.k
	k.ClearFaults()
	for _, g := range h.gates {
		g.Open()
	}
	for k.Step() {
	}
	if st := k.Stats(); st.Unfinished != 0 {
		h.fail("nothing can happen any more, and %d jobs are in flight", st.Unfinished)
	}
	for _, kq := range h.kqs {
		var ev [64]aio.Kevent
		n, errno := k.Kevent(kq, nil, ev[:], 0)
		if errno != 0 {
			h.fail("kevent: %v", errno)
		}
		h.deliver(kq, ev[:max(n, 0)])
	}
	for len(h.jobs) > 0 && h.wrong == "" {
		h.reap(h.jobs[0])
	}
	for _, kq := range h.kqs {
		_ = k.CloseKqueue(kq)
	}
	if err := k.Shutdown(); err != nil {
		h.fail("%v", err)
	}
	if l, _ := k.Limits(); l.QueueCount != k.sys.foreign {
		h.fail("%d jobs are counted when all are reaped", l.QueueCount)
	}
	if st := k.Stats(); st.Accepted != st.Finished {
		h.fail("%d accepted, %d finished", st.Accepted, st.Finished)
	}
}
