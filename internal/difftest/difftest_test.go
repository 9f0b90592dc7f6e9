//go:build unix

package difftest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aioring/aioring"
)

var (
	seeds    = flag.Int("seeds", 300, "number of random programs")
	first    = flag.Uint64("seed", 1, "the first seed")
	failures = flag.Int("failures", 1, "how many failing programs end the test")
	program  = flag.String("program", "", "run the program in this file, on every kernel")
)

// kernel is one way to run programs.
type kernel struct {
	name string
	how  Departures
	open func(entries int, o ...aioring.Option) (*aioring.Ring, error)
	ran  atomic.Uint64 // programs
}

// kernels are those of this machine.
func kernels(t testing.TB) []*kernel {
	var all []*kernel
	for _, name := range []string{aioring.KernelURing, aioring.KernelFreeBSD, aioring.KernelThreads, aioring.KernelSim} {
		k := &kernel{name: name, open: func(entries int, o ...aioring.Option) (*aioring.Ring, error) {
			return aioring.New(entries, append(o, aioring.WithKernel(name))...)
		}}
		if name == aioring.KernelURing {
			k.how = Linux
		}
		r, err := k.open(4)
		if err != nil {
			t.Logf("no %s here: %v", name, err)
			continue
		}
		r.Close()
		all = append(all, k)
	}
	return all
}

func newPlace(t testing.TB, dir string) *Place {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := NewPlace(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// judge runs a program on a kernel and says what was otherwise than foreseen. What the
// kernel's departures leave open is not run.
func (k *kernel) judge(at *Place, p *Program) (differences []string, got *Outcome, err error) {
	f, err := Foresee(p, k.how)
	if err != nil {
		return nil, nil, err
	}
	k.ran.Add(1)
	got, err = at.Run(p, f, k.open)
	if got == nil {
		return nil, nil, err
	}
	differences = Compare(f, got)
	if err != nil {
		differences = append([]string{err.Error()}, differences...)
	}
	return differences, got, nil
}

func TestDifferential(t *testing.T) {
	all := kernels(t)
	dir := t.TempDir()
	var next atomic.Uint64
	var failed atomic.Int64
	var telling sync.Mutex // one failure at a time
	var wg sync.WaitGroup
	for worker := range 2 * runtime.GOMAXPROCS(0) {
		at := newPlace(t, filepath.Join(dir, fmt.Sprint(worker)))
		wg.Add(1)
		go func() {
			defer wg.Done()
			for failed.Load() < int64(*failures) {
				n := next.Add(1) - 1
				if n >= uint64(*seeds) {
					return
				}
				p := Generate(*first + n)
				for i := range all {
					d, _, err := all[i].judge(at, p)
					if errors.As(err, new(errOpen)) {
						continue
					}
					if err != nil || len(d) > 0 {
						telling.Lock()
						if failed.Add(1) <= int64(*failures) {
							report(t, at, all, all[i], p, fmt.Sprintf("seed %d", *first+n), d, err)
						}
						telling.Unlock()
						break
					}
				}
			}
		}()
	}
	wg.Wait()
	for _, k := range all {
		t.Logf("%s ran %d programs of %d", k.name, k.ran.Load(), *seeds)
		if failed.Load() == 0 && k.ran.Load() < uint64(*seeds)/3 {
			t.Errorf("%s ran %d programs of %d: the contract leaves too much open", k.name, k.ran.Load(), *seeds)
		}
	}
}

// report shrinks a program that a kernel runs otherwise than foreseen, and tells.
func report(t *testing.T, at *Place, all []*kernel, k *kernel, p *Program, name string, first []string, err error) {
	if err != nil {
		t.Errorf("%s, %s: %v\n%s", name, k.name, err, p)
		return
	}
	q := Shrink(p, func(q *Program) bool {
		for range 5 {
			if d, _, err := k.judge(at, q); err == nil && len(d) > 0 {
				return true
			}
		}
		return false
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %s\n\nthe program\n%s\nshrunk to\n%s\n", name, k.name, strings.Join(first, "\n"), p, q)
	tell(&b, at, all, q)
	fmt.Fprintf(&b, "\nas a program:\n%s", q.Go(k.name))
	t.Error(b.String())
}

// tell runs a program everywhere.
func tell(b *strings.Builder, at *Place, all []*kernel, p *Program) {
	if f, err := Foresee(p, Departures{}); err == nil {
		fmt.Fprintf(b, "foreseen\n%s", f.Outcome.String())
	}
	for i := range all {
		d, got, err := all[i].judge(at, p)
		fmt.Fprintf(b, "%s\n", all[i].name)
		switch {
		case err != nil:
			fmt.Fprintf(b, "  %v\n", err)
		default:
			b.WriteString(got.String())
			for _, line := range d {
				fmt.Fprintf(b, "  DIFFERS: %s\n", line)
			}
		}
	}
}

// Programs that once went wrong, or show a rule.
func TestPrograms(t *testing.T) {
	names, err := filepath.Glob("testdata/programs/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no programs", err)
	}
	if *program != "" {
		names = []string{*program}
	}
	all := kernels(t)
	at := newPlace(t, t.TempDir())
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range all {
			d, _, err := all[i].judge(at, p)
			if errors.As(err, new(errOpen)) && all[i].how != (Departures{}) {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(d) > 0 || *program != "" {
				var b strings.Builder
				tell(&b, at, all, p)
				if len(d) > 0 {
					t.Errorf("%s: %s\n%s", name, all[i].name, b.String())
				} else {
					t.Logf("%s\n%s", name, b.String())
				}
				break
			}
		}
	}
}

func TestTextIsTheProgram(t *testing.T) {
	for seed := range uint64(200) {
		p := Generate(seed)
		q, err := Parse(p.String())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, p)
		}
		if q.String() != p.String() {
			t.Fatalf("seed %d:\n%s\nis read as\n%s", seed, p, q)
		}
		if _, err := Foresee(q, Departures{}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
