//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bigFile is one that takes long to copy in small blocks.
func bigFile(t *testing.T) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "big"), pattern(64<<20, 1))
}

// slowCopy starts a copy that is far from done when it is seen to have begun, and
// returns its stderr and its destination.
func slowCopy(t *testing.T, kernel, src string) (cmd *exec.Cmd, stderr *bufio.Reader, dst string) {
	t.Helper()
	dst = t.TempDir()
	// Small blocks, one at a time: many thousand turns of the ring.
	cmd = program(t, "cp", "--kernel", kernel, "--depth=1", "--block=512", src, dst)
	pipe, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	waitFor(t, "a temporary", func() bool {
		found, _ := filepath.Glob(dst + "/.*.aioring-*")
		return len(found) > 0
	})
	return cmd, bufio.NewReader(pipe), dst
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s after 20 s", what)
		}
	}
}

func TestInterruptRemovesTemporariesAndExits130(t *testing.T) {
	src := bigFile(t)
	for _, kernel := range kernels() {
		for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
			t.Run(fmt.Sprint(kernel, " ", sig), func(t *testing.T) {
				cmd, stderr, dst := slowCopy(t, kernel, src)
				must(t, cmd.Process.Signal(sig))
				said, _ := io.ReadAll(stderr)
				if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
					t.Errorf("%v, want exit code %d", err, code)
				}
				wantNoTemporaries(t, dst)
				if len(said) > 0 {
					t.Errorf("stderr: %s", said)
				}
			})
		}
	}
}

func TestStatusSignalPrintsOneLine(t *testing.T) {
	if len(statusSignals) == 0 {
		t.Skip("this system has no such signal")
	}
	cmd, stderr, dst := slowCopy(t, "threads", bigFile(t))
	must(t, cmd.Process.Signal(statusSignals[0]))
	line, err := stderr.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "aioring: ") || !strings.Contains(line, "/s, at ") {
		t.Errorf("%v, stderr %q", err, line)
	}
	must(t, cmd.Process.Signal(syscall.SIGINT))
	said, _ := io.ReadAll(stderr)
	if _ = cmd.Wait(); len(said) > 0 || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit code %d, stderr %s", cmd.ProcessState.ExitCode(), said)
	}
	wantNoTemporaries(t, dst)
}
