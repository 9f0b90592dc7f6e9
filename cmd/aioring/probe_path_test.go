//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

func TestProbedFileIsReadAndNotTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("mine"), 0o400); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r := command("probe", "--json", path)
	p := onlyPath(t, r)
	if r.code != exitDone || !p.accepted || p.kind != "file" || !slices.Equal(p.tried, []string{"read of 4 bytes"}) {
		t.Errorf("exit %d, %+v", r.code, p)
	}
	after, err := os.Stat(path)
	if err != nil || after.Size() != 4 || !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() {
		t.Errorf("%v, %v before", after, before)
	}
}

// seen is what a test looks at.
type seen struct {
	accepted        bool
	kind, err, note string
	tried           []string
	fs              string
}

func onlyPath(t *testing.T, r result) seen {
	t.Helper()
	var s seen
	each(t, probed(t, r), "paths", func(x any) {
		p := x.(map[string]any)
		s.accepted = p["accepted"].(bool)
		s.kind, _ = p["type"].(string)
		s.err, _ = p["error"].(string)
		s.note, _ = p["note"].(string)
		for _, w := range p["tried"].([]any) {
			s.tried = append(s.tried, w.(string))
		}
		if fs, ok := p["filesystem"].(map[string]any); ok {
			s.fs = fs["type"].(string)
		}
	})
	return s
}

func TestProbedDirectoryIsLeftAsItWas(t *testing.T) {
	dir := t.TempDir()
	r := command("probe", "--json", dir)
	p := onlyPath(t, r)
	want := []string{"write of 512 bytes", "fsync", "read of 512 bytes"}
	if r.code != exitDone || !p.accepted || p.kind != "directory" || p.fs == "" || !slices.Equal(p.tried, want) {
		t.Errorf("exit %d, %+v", r.code, p)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestProbeOfNothingFails(t *testing.T) {
	r := command("probe", "--json", filepath.Join(t.TempDir(), "gone"))
	if p := onlyPath(t, r); r.code != exitFailed || p.accepted || p.err != "no such file or directory" {
		t.Errorf("exit %d, %+v", r.code, p)
	}
}

// Opening a FIFO or a socket could wait for ever.
func TestStreamsAreNotTried(t *testing.T) {
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "s")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, kind := range map[string]string{fifo: "FIFO", socket: "socket", os.DevNull: "character device"} {
		p := onlyPath(t, command("probe", "--json", path))
		if p.kind != kind || len(p.tried) != 0 || p.note == "" || p.accepted == charDevicesAreDisks {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// fakeTrier answers for a kernel that refuses, or fails, from the nth job on.
type fakeTrier struct {
	calls  []aio.Call
	from   int
	refuse error // nil: reads give other bytes than were written
	accept bool
}

func (t *fakeTrier) try(call aio.Call, _ int, buf []byte) (int, bool, error) {
	t.calls = append(t.calls, call)
	if len(t.calls) > t.from && t.refuse != nil {
		return 0, t.accept, t.refuse
	}
	return len(buf), true, nil
}

func (*fakeTrier) takes(aio.FileStat) (bool, string) { return true, "" }

func TestRefusalsAreTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := &aio.OpError{Op: "aio_read", Fd: 3, Err: aio.EOPNOTSUPP}
	for _, c := range []struct {
		what  string
		path  string
		t     fakeTrier
		tried []string
	}{
		{"a file refused", path, fakeTrier{refuse: refused}, []string{"read refused"}},
		{"a file that fails", path, fakeTrier{refuse: unix.EIO, accept: true}, []string{"read failed"}},
		{"a directory refused", dir, fakeTrier{refuse: refused}, []string{"write refused"}},
		{"its sync refused", dir, fakeTrier{refuse: refused, from: 1}, []string{"write of 512 bytes", "fsync refused"}},
		{"its read refused", dir, fakeTrier{refuse: refused, from: 2}, []string{"write of 512 bytes", "fsync", "read refused"}},
		{"other bytes", dir, fakeTrier{}, []string{"write of 512 bytes", "fsync", "read of 512 bytes"}},
	} {
		p := probePath(&c.t, c.path)
		if p.Accepted || p.Error == "" || !slices.Equal(p.Tried, c.tried) {
			t.Errorf("%s: %+v", c.what, p)
		}
		if c.t.refuse != nil && p.Error != c.t.refuse.Error() {
			t.Errorf("%s: %q", c.what, p.Error)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Where no file can be made the directory stands for its files.
func TestReadOnlyDirectoryIsReadItself(t *testing.T) {
	for _, eisdir := range []error{unix.EISDIR, fmt.Errorf("read: %w", aio.EISDIR)} {
		k := &fakeTrier{refuse: eisdir, accept: true}
		// A name that no file can have stands in for permissions, which root has.
		p := pathFact{Path: filepath.Join(t.TempDir(), "none")}
		if err := p.probeDirectory(k, -1); err != nil || !p.Accepted || p.Note == "" || len(p.Tried) != 1 {
			t.Errorf("%v, %+v", err, p)
		}
		if !slices.Equal(k.calls, []aio.Call{aio.CallRead}) {
			t.Errorf("%q", k.calls)
		}
	}
	k := &fakeTrier{refuse: aio.EOPNOTSUPP}
	p := pathFact{Path: filepath.Join(t.TempDir(), "none")}
	if err := p.probeDirectory(k, -1); !errors.Is(err, aio.EOPNOTSUPP) || p.Accepted {
		t.Errorf("%v, %+v", err, p)
	}
}
