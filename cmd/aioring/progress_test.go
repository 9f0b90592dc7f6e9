package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBarHasBytesRateAndTime(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, -1)
	p.draw(1<<20, 0)
	if !strings.Contains(out.String(), "1.0 MiB") {
		t.Errorf("while the total is unknown: %q", out.String())
	}
	out.Reset()
	p.draw(2<<20, 8<<20)
	for _, part := range []string{"25%", "2.0/8.0 MiB", "/s)", "[0s:"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in %q", part, out.String())
		}
	}
	out.Reset()
	p.draw(9<<20, 8<<20) // a file grew
	if !strings.Contains(out.String(), "100%") {
		t.Errorf("at the end: %q", out.String())
	}
}

func TestLinesAreKeptOffTheBar(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	src := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(src, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := r.showProgress(t.Context(), &out, []string{src})
	r.fail(&pathError{"a", "cannot b", nil})
	r.status()
	stop()
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "\raioring: a: cannot b") || !strings.Contains(lines[1], "\raioring: 0 files, 0 B") {
		t.Errorf("%q", lines)
	}
	if strings.Contains(out.String(), "\x1b[") {
		t.Errorf("colour or cursor codes in %q", out.String())
	}
}

func TestSilentWhenNotOnATerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(new(bytes.Buffer)) {
		t.Error("taken for a terminal")
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<63 - 1: "8.0 EiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
