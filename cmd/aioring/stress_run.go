//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// stress is one run: files, what is known of them, and one ring after the other.
type stress struct {
	cmd       *stressCommand
	kernel    string
	depth     int
	seed      uint64
	faults    faultSet
	dir       string
	made      bool // dir is temporary
	targets   []*target
	bystander *bystander
	acks      *ackLog
	buffers   buffers
	history   history
	wrap      func(*sim.Kernel) aio.Kernel // tests put a kernel with a bug in between

	counts      faultCounts
	lastID      atomic.Uint64
	lastVersion atomic.Uint64
	completed   atomic.Uint64
	checks      atomic.Uint64
	rounds      atomic.Int64
	ring        atomic.Pointer[aioring.Ring]
	failure     atomic.Pointer[error]
	began       time.Time
}

// unit is what the lengths of transfers are multiples of, in bytes: of those that are cut
// short too.
func (s *stress) unit() int {
	if s.cmd.Direct || s.cmd.Device != "" {
		return 4096
	}
	return 1
}

// fail keeps the first failure: what comes after it may come from it.
func (s *stress) fail(err error) { s.failure.CompareAndSwap(nil, &err) }
func (s *stress) failed() bool   { return s.failure.Load() != nil }

func (s *stress) err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// stress runs the command.
func (c *stressCommand) stress(stdout, stderr io.Writer) int {
	return c.stressOn(stdout, stderr, nil)
}

func (c *stressCommand) stressOn(stdout, stderr io.Writer, wrap func(*sim.Kernel) aio.Kernel) int {
	s := &stress{cmd: c, kernel: c.Kernel, depth: c.Depth, began: time.Now(), wrap: wrap}
	s.history.began, s.buffers.direct = s.began, c.Direct
	if err := s.prepare(); err != nil {
		fmt.Fprintf(stderr, "aioring: stress: %v\n", err)
		var usage usageError
		if errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
	var signal atomic.Int32
	ctx, cancel := context.WithTimeout(context.Background(), c.Duration)
	defer cancel()
	defer watchSignals(func(n syscall.Signal) { signal.Store(int32(n)); cancel() }, func() { fmt.Fprintln(stderr, s.line()) })()
	// On a goroutine of its own: an operation that never ends must not keep the verdict.
	over := make(chan error, 1)
	go func() { over <- s.run(ctx) }()
	hung, err := s.watch(over, stderr)

	summary := s.summary(err)
	if err != nil {
		summary.Replay = s.replay()
		if path, werr := s.history.write(s.dir, err); werr == nil {
			summary.Trace = path
		}
		fmt.Fprintf(stderr, "aioring: stress: %v\naioring: to repeat: %s\naioring: trace and files: %s\n", err, summary.Replay, s.dir)
	} else if signal.Load() != 0 {
		summary.Verdict = "interrupted"
	}
	if !hung {
		if err := s.cleanUp(err == nil); err != nil {
			fmt.Fprintf(stderr, "aioring: stress: %v\n", err)
		}
	}
	out := s.text(summary)
	if c.JSON {
		line, err := json.Marshal(summary)
		if err != nil {
			panic(err) // numbers and strings
		}
		out = string(line)
	}
	if _, err := fmt.Fprintln(stdout, out); err != nil {
		return exitFailed
	}
	switch n := signal.Load(); {
	case err != nil:
		return exitFailed
	case n != 0:
		return 128 + int(n)
	}
	return exitDone
}

// usageError is a wish that cannot be.
type usageError struct{ error }

// prepare makes the files, or opens the device.
func (s *stress) prepare() error {
	c := s.cmd
	faults, err := parseFaults(c.Faults, c.Kernel == aioring.KernelSim)
	if err != nil {
		return usageError{err}
	}
	s.faults, s.seed = faults, rand.Uint64()
	if c.Seed != nil {
		s.seed = *c.Seed
	}
	// Once, to say at once what is not to be had, and for its name.
	ring, err := aioring.New(1, aioring.WithKernel(c.Kernel))
	if err != nil {
		return err
	}
	s.kernel = ring.Kernel()
	if err := ring.Close(); err != nil {
		return err
	}
	if s.dir, s.made = c.Dir, c.Dir == ""; s.made {
		if s.dir, err = os.MkdirTemp("", "aioring-stress"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	flags, align := os.O_RDWR, 1
	if c.Direct {
		if directFlag == 0 {
			return usageError{errors.New("--direct: not on this system")}
		}
		flags, align = flags|directFlag, s.unit()/stressBlock
	}
	run := rand.Uint64() | 1 // what an earlier run has left is not this one's
	if c.Device != "" {
		align = s.unit() / stressBlock
		if err := s.openDevice(run, flags, align); err != nil {
			return err
		}
	} else {
		for i := range c.Files {
			t := newTarget(uint32(i), run, filepath.Join(s.dir, fmt.Sprintf("file%d", i)), int64(c.Size), align)
			if t.file, err = os.OpenFile(t.path, flags|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
				return err
			}
			if err := errors.Join(t.file.Truncate(int64(c.Size)), t.file.Sync()); err != nil {
				return err
			}
			s.targets = append(s.targets, t)
		}
	}
	if s.bystander, err = newBystander(filepath.Join(s.dir, "bystander")); err != nil {
		return err
	}
	s.acks, err = newAckLog(s.dir, run, s.targets)
	return err
}

// openDevice takes a disk, if nobody else has it.
func (s *stress) openDevice(run uint64, flags, align int) error {
	c := s.cmd
	where, err := deviceInUse(c.Device)
	switch {
	case err != nil:
		return err
	case where != "":
		return usageError{fmt.Errorf("--device %s: in use: %s", c.Device, where)}
	}
	f, err := os.OpenFile(c.Device, flags|exclusiveDevice, 0)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < int64(c.Size) {
		return usageError{fmt.Errorf("--device %s: has %d bytes, --size is %d", c.Device, size, c.Size)}
	}
	t := newTarget(0, run, c.Device, int64(c.Size), align)
	t.file, t.device = f, size > int64(c.Size)
	zeros := alignedBuffer(1 << 20)
	for off := int64(0); off < int64(c.Size); off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), int64(c.Size)-off)], off); err != nil {
			return err
		}
	}
	s.targets = []*target{t}
	return f.Sync()
}

// run makes rounds until it is time.
func (s *stress) run(ctx context.Context) error {
	for n := range s.cmd.rounds() {
		if ctx.Err() != nil {
			break
		}
		if err := s.runRound(s.seed + uint64(n)); err != nil {
			s.fail(err)
			return s.err()
		}
		s.rounds.Add(1)
	}
	return nil
}

// hangAfter is how long nothing may end while operations are under way. Delays on
// purpose are milliseconds. Tests have less patience.
var hangAfter = time.Minute

// watch waits for the end, shows how things go, and notices when they do not.
func (s *stress) watch(over <-chan error, stderr io.Writer) (hung bool, err error) {
	live := !s.cmd.Quiet && isTerminal(stderr)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last, since := uint64(0), time.Now()
	for {
		select {
		case err := <-over:
			if live {
				fmt.Fprint(stderr, "\r\x1b[K")
			}
			return false, err
		case <-tick.C:
		}
		if live {
			fmt.Fprintf(stderr, "\r\x1b[K%s", s.line())
		}
		if now := s.completed.Load() + s.checks.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > hangAfter {
			stats := ""
			if r := s.ring.Load(); r != nil {
				stats = fmt.Sprintf("; %+v", r.Stats())
			}
			err := fmt.Errorf("nothing has happened for %v%s", hangAfter, stats)
			s.fail(err)
			return true, err
		}
	}
}

// line is how things stand.
func (s *stress) line() string {
	elapsed := time.Since(s.began)
	flying := 0
	if r := s.ring.Load(); r != nil {
		flying = r.Stats().InFlight
	}
	n := s.completed.Load()
	return fmt.Sprintf("%v  %d rings  %d ops  %.0f/s  %d checks  %d in flight  %s",
		elapsed.Round(time.Second), s.rounds.Load(), n, float64(n)/elapsed.Seconds(), s.checks.Load(), flying, faultText(s.counts.byName()))
}

func faultText(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

func (s *stress) summary(err error) stressSummary {
	sum := stressSummary{
		Verdict: "ok", Kernel: s.kernel, Seed: s.seed, Seconds: time.Since(s.began).Seconds(), Rounds: int(s.rounds.Load()),
		Operations: s.completed.Load(), Checks: s.checks.Load(), Faults: s.counts.byName(),
		Goroutines: runtime.NumGoroutine(), HeapBytes: heapInUse(),
	}
	if err != nil {
		sum.Verdict, sum.Reason = "failed", err.Error()
	}
	return sum
}

func (s *stress) text(sum stressSummary) string {
	return fmt.Sprintf("%s: kernel %s, seed %d, %d rings, %d operations, %d checks, %.1f s; faults: %s",
		sum.Verdict, sum.Kernel, sum.Seed, sum.Rounds, sum.Operations, sum.Checks, sum.Seconds, faultText(sum.Faults))
}

// replay is the command that does the round at hand again, as far as the system does.
func (s *stress) replay() string {
	c := s.cmd
	line := fmt.Sprintf("aioring stress --kernel %s --seed %d --rounds 1 --faults %s --files %d --size %d --depth %d",
		s.kernel, s.seed+uint64(s.rounds.Load()), c.Faults, c.Files, c.Size, c.Depth)
	if c.Dir != "" {
		line += " --dir " + c.Dir
	}
	if c.Direct {
		line += " --direct"
	}
	if c.Device != "" {
		line += " --erase --device " + c.Device
	}
	return line
}

// cleanUp closes everything, and removes what was made for this run alone, if it went
// well.
func (s *stress) cleanUp(well bool) error {
	errs := []error{s.acks.close(), s.bystander.file.Close()}
	for _, t := range s.targets {
		errs = append(errs, t.file.Close())
	}
	if s.made && well {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// collectGarbage keeps the collector busy, and stacks moving.
func (s *stress) collectGarbage(over <-chan struct{}) {
	var keep [][]byte
	for {
		select {
		case <-over:
			return
		default:
		}
		for i := range 50 {
			keep = append(keep, make([]byte, 1+i*100))
		}
		keep = keep[:0]
		go deep(200)
		runtime.GC()
		time.Sleep(time.Millisecond) // or there is nothing else to see on few processors
		s.counts.add("gc")
	}
}

// deep makes a stack grow, so that it moves.
func deep(n int) int {
	var frame [64]int
	frame[n%64] = n
	if n == 0 {
		return 0
	}
	return deep(n-1) + frame[n%64]
}
