//go:build unix

package kvlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/examples/kvlog"
)

// openStore opens a store in a folder of the system.
func openStore(t testing.TB, path string, opts ...aioring.Option) (*kvlog.Store, *aioring.Ring) {
	t.Helper()
	ring, err := aioring.New(64, opts...)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close(); dir.Close(); file.Close() })
	s, err := kvlog.Open(ring, dir, file)
	if err != nil {
		t.Fatal(err)
	}
	return s, ring
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	want := make(map[string][]byte)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5 { // sessions
		s, ring := openStore(t, path)
		for range 30 {
			key := fmt.Sprint("key", rng.IntN(20))
			switch {
			case rng.IntN(4) == 0:
				delete(want, key)
				if err := s.Delete(key); err != nil {
					t.Fatal(err)
				}
			default:
				want[key] = bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(200_000)*rng.IntN(2))
				if err := s.Put(key, want[key]); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range []*kvlog.Store{s, func() *kvlog.Store { s, _ := openStore(t, path); return s }()} {
			if s.Len() != len(want) {
				t.Errorf("%d keys, want %d", s.Len(), len(want))
			}
			for i := range 20 {
				key := fmt.Sprint("key", i)
				value, ok := want[key]
				got, err := s.Get(key)
				if ok && (err != nil || !bytes.Equal(got, value)) || !ok && err != kvlog.ErrNotFound {
					t.Errorf("%s: %d bytes, %v, want %d", key, len(got), err, len(value))
				}
			}
		}
		ring.Close()
	}
	s, _ := openStore(t, path)
	if err := s.Put("key", make([]byte, kvlog.MaxSize+1)); err != kvlog.ErrTooLarge {
		t.Errorf("too large: %v", err)
	}
}

// While a batch is on its way, records come together in the next.
func TestGroupCommit(t *testing.T) {
	kernel := sim.New(sim.Config{})
	gate := sim.NewGate()
	s, _ := openStore(t, filepath.Join(t.TempDir(), "log"), aioring.WithAIO(kernel))
	before := kernel.Stats().Accepted
	kernel.Inject(sim.If(sim.And(sim.At(sim.Start), sim.Nth(1)), sim.HoldActive(gate)))
	var writers sync.WaitGroup
	put := func(i int) {
		writers.Go(func() {
			if err := s.Put(fmt.Sprint(i), []byte("value")); err != nil {
				t.Error(err)
			}
		})
	}
	put(0)
	gate.Await(1)
	for i := range 49 {
		put(i + 1)
	}
	for s.Filled() < 49 {
		runtime.Gosched()
	}
	gate.Open()
	writers.Wait()
	if jobs := kernel.Stats().Accepted - before; jobs != 4 {
		t.Errorf("%d jobs for two batches: want a write and a sync each", jobs)
	}
}

// What the medium has spoilt is never a value.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s, _ := openStore(t, path)
	for i := range 10 {
		if err := s.Put(fmt.Sprint(i), []byte("some value")); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 0x10
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for i := range 10 {
			if value, err := s.Get(fmt.Sprint(i)); err != nil {
				damaged++
			} else if string(value) != "some value" {
				t.Errorf("byte %d is spoilt, and %d is %q", at, i, value)
			}
		}
		if damaged != 1 {
			t.Errorf("byte %d is spoilt, and %d records", at, damaged)
		}
	}
	// Cut off anywhere, all records before are there.
	for size := 0; size < len(whole); size += 5 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, ring := openStore(t, path)
		if want := size / (len(whole) / 10); s.Len() != want {
			t.Errorf("%d bytes: %d records, want %d", size, s.Len(), want)
		}
		ring.Close()
	}
}

// A record behind a torn one was not acknowledged, and must not come back when
// something new has taken the torn one's place.
func TestNothingBehindATornRecordComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s, _ := openStore(t, path)
	for _, value := range []string{"torn", "late"} {
		if err := s.Put("key", []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[:len(data)/2]) // they are of one length
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = openStore(t, path)
	if err := s.Put("key", []byte("new!")); err != nil {
		t.Fatal(err)
	}
	s, _ = openStore(t, path)
	if v, err := s.Get("key"); string(v) != "new!" {
		t.Errorf("%q, %v", v, err)
	}
}

// simFile is a file of a disk in memory.
type simFile struct {
	kernel *sim.Kernel
	fd     int
}

func (f simFile) Fd() uintptr { return uintptr(f.fd) }
func (f simFile) Truncate(size int64) error {
	if errno := f.kernel.Truncate(f.fd, size); errno != 0 {
		return errno.Host()
	}
	return nil
}

// withStore opens the store on a disk in memory, calls do, and closes everything.
func withStore(t testing.TB, d *sim.Disk, cfg sim.Config, do func(s *kvlog.Store) error) error {
	t.Helper()
	cfg.Volume = d
	kernel := sim.New(cfg)
	ring, err := aioring.New(64, aioring.WithAIO(kernel))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ring.Close()
		if err := kernel.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	dir, errno := kernel.Open("/", os.O_RDONLY)
	if errno != 0 {
		return errno.Host()
	}
	fd, errno := kernel.Open("log", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		return errno.Host()
	}
	s, err := kvlog.Open(ring, simFile{kernel, dir}, simFile{kernel, fd})
	if err != nil {
		return err
	}
	return do(s)
}

// ledger is what the store has acknowledged, and what it may have done besides.
type ledger struct {
	mu    sync.Mutex
	safe  map[string]string // acknowledged; of a key that was deleted ""
	maybe map[string]string // the last that was asked for
}

func newLedger() *ledger {
	return &ledger{safe: make(map[string]string), maybe: make(map[string]string)}
}

// set makes one change and writes down what is promised. A key has one writer.
func (l *ledger) set(s *kvlog.Store, key, value string) error {
	l.mu.Lock()
	l.maybe[key] = value
	l.mu.Unlock()
	var err error
	if value == "" {
		err = s.Delete(key)
	} else {
		err = s.Put(key, []byte(value))
	}
	if err == nil {
		l.mu.Lock()
		l.safe[key] = value
		l.mu.Unlock()
	}
	return err
}

// adopt makes what a restarted program has found what is promised from then on.
func (l *ledger) adopt(s *kvlog.Store) error {
	if err := l.verify(s); err != nil {
		return err
	}
	for key := range l.maybe {
		value, _ := s.Get(key) // verified
		l.safe[key] = string(value)
	}
	return nil
}

// verify compares a store with it. What was asked for and not acknowledged may be there
// or not.
func (l *ledger) verify(s *kvlog.Store) error {
	for key, maybe := range l.maybe {
		got, err := s.Get(key)
		if err != nil && err != kvlog.ErrNotFound {
			return err
		}
		if safe := l.safe[key]; string(got) != safe && string(got) != maybe {
			return fmt.Errorf("%s is %.20q, acknowledged %.20q, asked for %.20q", key, got, safe, maybe)
		}
	}
	return nil
}

func (l *ledger) clone() *ledger {
	c := newLedger()
	for k, v := range l.safe {
		c.safe[k] = v
	}
	for k, v := range l.maybe {
		c.maybe[k] = v
	}
	return c
}

// work is some changes, by one goroutine. round tells its values from other rounds'.
func work(l *ledger, s *kvlog.Store, round string) error {
	for i := range 8 {
		key := fmt.Sprint("key", i%3)
		value := fmt.Sprint(round, i, strings.Repeat("x", i%4*300))
		if i == 5 {
			value = ""
		}
		if err := l.set(s, key, value); err != nil {
			return err
		}
	}
	return nil
}

// The power is cut at every point, on a disk that tears sectors too, and once more at
// every point of what the restarted program does.
func TestEveryCrashPoint(t *testing.T) {
	var cfg sim.Config // one operation at a time, so the points are the same in each run
	var l *ledger
	type left struct {
		disk *sim.Disk
		l    *ledger
	}
	var all []left
	recovers := func(d *sim.Disk) error {
		return withStore(t, d, cfg, func(s *kvlog.Store) error { return l.verify(s) })
	}
	images := sim.Crashes{Seeds: 6, Damage: sim.Damage{Torn: 0.2}}.Each(t, func(d *sim.Disk) error {
		l = newLedger()
		return withStore(t, d, cfg, func(s *kvlog.Store) error { return work(l, s, "first ") })
	}, func(d *sim.Disk) error {
		all = append(all, left{d.CrashClone(sim.CrashKeepAll), l.clone()})
		return recovers(d)
	})
	if images < 100 {
		t.Errorf("%d images", images)
	}
	for i := 0; i < len(all); i += 7 {
		images += sim.Crashes{
			Disk:  func() *sim.Disk { return all[i].disk.CrashClone(sim.CrashKeepAll) },
			Seeds: 4, Points: 12,
		}.Each(t, func(d *sim.Disk) error {
			l = all[i].l.clone()
			return withStore(t, d, cfg, func(s *kvlog.Store) error {
				if err := l.adopt(s); err != nil {
					return err
				}
				return work(l, s, "second ")
			})
		}, recovers)
	}
	t.Log(images, "power cuts")
}

// The same with writers at a time, so that batches have several records, and with a
// kernel that refuses and shortens: the points are others in each run.
func TestCrashPointsOfManyWriters(t *testing.T) {
	var l *ledger
	images := sim.Crashes{Seeds: 5}.Each(t, func(d *sim.Disk) error {
		l = newLedger()
		cfg := sim.Config{Faults: []sim.Fault{
			sim.If(sim.And(sim.At(sim.Submit), sim.Writes, sim.Every(2)), sim.Fail(aio.EAGAIN)),
			sim.If(sim.And(sim.At(sim.Start), sim.Writes, sim.Every(3)), sim.Short(100)),
		}}
		return withStore(t, d, cfg, func(s *kvlog.Store) error {
			var writers sync.WaitGroup
			failed := make([]error, 4)
			for w := range failed {
				writers.Go(func() {
					for i := range 6 {
						key := fmt.Sprint(w, " ", i%2)
						if err := l.set(s, key, fmt.Sprint(i, strings.Repeat("y", 100*i))); err != nil {
							failed[w] = err
							return
						}
					}
				})
			}
			writers.Wait()
			return errors.Join(failed...)
		})
	}, func(d *sim.Disk) error {
		return withStore(t, d, sim.Config{}, func(s *kvlog.Store) error { return l.verify(s) })
	})
	t.Log(images, "power cuts")
}

// The fsync is not submitted before the write is done: FreeBSD's would wait for it, other
// systems' would not.
func TestSyncFollowsTheWrite(t *testing.T) {
	kernel := sim.New(sim.Config{})
	s, _ := openStore(t, filepath.Join(t.TempDir(), "log"), aioring.WithAIO(kernel))
	var writing, early atomic.Int64
	count := func(v *atomic.Int64, n int64) sim.Predicate {
		return func(sim.Op) bool { v.Add(n); return false }
	}
	kernel.Inject(
		sim.If(sim.And(sim.At(sim.Submit), sim.Writes, count(&writing, 1))),
		sim.If(sim.And(sim.At(sim.Start), sim.Writes), sim.Delay(time.Millisecond)),
		sim.If(sim.And(sim.At(sim.Result), sim.Writes, count(&writing, -1))),
		sim.If(sim.And(sim.At(sim.Queue), sim.Syncs, func(sim.Op) bool { return writing.Load() > 0 }, count(&early, 1))),
	)
	for i := range 10 {
		if err := s.Put(fmt.Sprint(i), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if early.Load() > 0 {
		t.Errorf("%d of 10 fsyncs were too early", early.Load())
	}
}

// After a batch that failed nothing is acknowledged any more: the file is not known.
func TestFailureIsForGood(t *testing.T) {
	kernel := sim.New(sim.Config{})
	s, _ := openStore(t, filepath.Join(t.TempDir(), "log"), aioring.WithAIO(kernel))
	if err := s.Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	kernel.Inject(sim.If(sim.And(sim.At(sim.Result), sim.Syncs, sim.Nth(1)), sim.Fail(aio.EIO)))
	for range 3 {
		if err := s.Put("b", []byte("2")); !errors.Is(err, aio.EIO.Host()) {
			t.Errorf("%v, want EIO", err)
		}
	}
	if v, err := s.Get("a"); string(v) != "1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := s.Get("b"); err != kvlog.ErrNotFound {
		t.Errorf("%q, %v", v, err)
	}
}
