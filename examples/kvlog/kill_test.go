//go:build unix

package kvlog_test

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/examples/kvlog"
)

var kills = flag.Int("kills", 4, "how often TestKilled kills the store")

const writers = 4

func TestMain(m *testing.M) {
	if path := os.Getenv("KVLOG_CHILD"); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it was to be killed
	}
	flag.Parse()
	os.Exit(m.Run())
}

// child writes for ever, with some writers at a time, and says on its standard output
// what is acknowledged: a line "writer number" each.
func child(path string) error {
	ring, err := aioring.New(64)
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s, err := kvlog.Open(ring, dir, file)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range writers {
		key := strconv.Itoa(w)
		go func() {
			last, _ := s.Get(key)
			n, _ := strconv.Atoi(strings.TrimRight(string(last), "."))
			for {
				n++
				if err := s.Put(key, []byte(strconv.Itoa(n)+strings.Repeat(".", n*37%3000))); err != nil {
					failed <- err
					return
				}
				if _, err := fmt.Fprintf(os.Stdout, "%s %d\n", key, n); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// The process is killed at random, again and again on one log. Nothing that it has
// acknowledged is lost. Set -kills for more.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	acknowledged := make([]int, writers)
	rng := rand.New(rand.NewPCG(1, 2))
	total := 0
	for range *kills {
		lines := killed(t, path, rng.IntN(300))
		total += len(lines)
		for _, line := range lines {
			var w, n int
			if _, err := fmt.Sscanf(line, "%d %d", &w, &n); err != nil || w >= writers {
				t.Fatalf("%q, %v", line, err)
			}
			acknowledged[w] = max(acknowledged[w], n)
		}
		s, ring := openStore(t, path)
		for w, n := range acknowledged {
			value, err := s.Get(strconv.Itoa(w))
			if err == kvlog.ErrNotFound && n == 0 {
				continue
			}
			got, _ := strconv.Atoi(strings.TrimRight(string(value), "."))
			// The next one may have been written and not acknowledged yet.
			if err != nil || got != n && got != n+1 {
				t.Fatalf("writer %d: %d is acknowledged, and %d is there (%v)", w, n, got, err)
			}
			acknowledged[w] = got
		}
		ring.Close()
	}
	t.Logf("killed %d times, %d records acknowledged", *kills, total)
}

// killed starts the child, kills it after so many lines, and returns all that it wrote.
func killed(t *testing.T, path string, after int) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KVLOG_CHILD="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill sync.Once
	in := bufio.NewScanner(out)
	for in.Scan() {
		if lines = append(lines, in.Text()); len(lines) > after {
			kill.Do(func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait() // killed
	if len(lines) <= after {
		t.Fatalf("the child has ended by itself, after %d records", len(lines))
	}
	return lines
}
