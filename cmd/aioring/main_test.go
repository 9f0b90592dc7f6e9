package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asProgram in the environment makes the test binary the program itself: for
// what takes a process of its own, such as signals.
const asProgram = "AIORING_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is the program with these arguments, not started.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the program inside this process.
func command(args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// want checks the exit code, and that stderr is exactly these lines; of each only
// the words given, in order, are compared.
func (r result) want(t *testing.T, code int, lines ...[]string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	got := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.stderr == "" {
		got = nil
	}
	if len(got) != len(lines) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(lines), r.stderr)
	}
	for i, words := range lines {
		rest, ok := strings.CutPrefix(got[i], "aioring: ")
		for _, word := range words {
			var found bool
			_, rest, found = strings.Cut(rest, word)
			ok = ok && found
		}
		if !ok {
			t.Errorf("line %q, want the words %q", got[i], words)
		}
	}
}

func TestUsageErrorsExit64(t *testing.T) {
	for _, args := range [][]string{
		{}, {"mv"}, {"cp"}, {"cp", "one"},
		{"cp", "--kernel", "windows", "a", "b"},
		{"cp", "--depth", "0", "a", "b"}, {"cp", "--depth", "32769", "a", "b"},
		{"cp", "--block", "511", "a", "b"}, {"cp", "--block", "4Q", "a", "b"},
		{"cp", "--depth", "32768", "--block", "1G", "a", "b"},
	} {
		r := command(args...)
		r.want(t, exitUsage, []string{"see aioring --help"})
		if r.stdout != "" {
			t.Errorf("%q: stdout %q", args, r.stdout)
		}
	}
}

func TestHelpExitsZero(t *testing.T) {
	out, err := program(t, "cp", "--help").Output()
	if err != nil || !strings.Contains(string(out), "--verify") {
		t.Errorf("%v, %s", err, out)
	}
}
