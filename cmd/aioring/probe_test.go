package main

import (
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestProbeUsageErrorsExit2(t *testing.T) {
	for _, args := range [][]string{
		{"--depth", "0"}, {"--depth", "16777217"}, {"--depth", "many"}, {"--processes", "0"},
		{"--depth", "16777216", "--processes", "64"}, {"--verbose"},
	} {
		r := command(append([]string{"probe"}, args...)...)
		r.want(t, exitProbeUsage, []string{"see aioring --help"})
		if r.stdout != "" {
			t.Errorf("%q: stdout %q", args, r.stdout)
		}
	}
}

// probed is the JSON of a run, as names and values.
func probed(t *testing.T, r result) map[string]any {
	t.Helper()
	var facts map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &facts); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if strings.Count(r.stdout, "\n") != 1 || r.stderr != "" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	return facts
}

// wantNames checks the names of a JSON object: these, and perhaps of the others.
func wantNames(t *testing.T, what string, object any, always string, perhaps string) {
	t.Helper()
	m, ok := object.(map[string]any)
	if !ok {
		t.Errorf("%s is %T", what, object)
		return
	}
	names := slices.Sorted(maps.Keys(m))
	for _, name := range strings.Fields(always) {
		if !slices.Contains(names, name) {
			t.Errorf("%s has no %q: %q", what, name, names)
		}
	}
	for _, name := range names {
		if !slices.Contains(strings.Fields(always+" "+perhaps), name) {
			t.Errorf("%s has %q, which nobody knows", what, name)
		}
	}
}

func each(t *testing.T, facts map[string]any, name string, f func(any)) int {
	t.Helper()
	list, ok := facts[name].([]any)
	if !ok {
		t.Errorf("%s is %T, not a list", name, facts[name])
	}
	for _, x := range list {
		f(x)
	}
	return len(list)
}

// The names are a promise to scripts.
func TestProbeJSONHasItsNames(t *testing.T) {
	facts := probed(t, command("probe", "--json", "--depth", "7", "--processes", "3", t.TempDir()))
	wantNames(t, "the object", facts, "system kernel limits features paths warnings depth processes verdict", "kernel_error io_uring")
	wantNames(t, "system", facts["system"], "os release version machine", "osreldate jail vnet hypervisor capability_mode")
	wantNames(t, "verdict", facts["verdict"], "served known words sysctls", "file")
	each(t, facts["verdict"].(map[string]any), "sysctls", func(s any) {
		wantNames(t, "a sysctl", s, "name now value line needed cost kernel_bytes daemons", "")
	})
	each(t, facts, "limits", func(l any) { wantNames(t, "a limit", l, "name value default writable meaning", "error") })
	each(t, facts, "features", func(f any) { wantNames(t, "a feature", f, "name has known", "") })
	each(t, facts, "warnings", func(any) {})
	if n := each(t, facts, "paths", func(p any) {
		wantNames(t, "a path", p, "path accepted tried", "type filesystem error note alignment")
		if fs := p.(map[string]any)["filesystem"]; fs != nil {
			wantNames(t, "a file system", fs, "type mounted_on from", "local")
		}
		if a := p.(map[string]any)["alignment"]; a != nil {
			wantNames(t, "an alignment", a, "memory offset length words", "preferred max_part")
		}
	}); n != 1 {
		t.Errorf("%d paths", n)
	}
	if u := facts["io_uring"]; u != nil {
		wantNames(t, "io_uring", u, "available io_uring_disabled seccomp feature_mask features opcodes last_opcode missing", "error forbidden_by")
	}
	if facts["depth"] != 7.0 || facts["processes"] != 3.0 || facts["system"].(map[string]any)["os"] != runtime.GOOS {
		t.Errorf("%v", facts)
	}
}

func TestProbeTextHasItsSections(t *testing.T) {
	dir := t.TempDir()
	r := command("probe", dir)
	sections := []string{"system", dir, "verdict"}
	switch runtime.GOOS {
	case "freebsd":
		sections = slices.Insert(sections, 1, "limits", "features")
	case "linux":
		sections = slices.Insert(sections, 1, "io_uring")
	}
	var got []string
	for line := range strings.Lines(r.stdout) {
		line = strings.TrimSuffix(line, "\n")
		if line != strings.TrimRight(line, " ") {
			t.Errorf("blanks at the end of %q", line)
		}
		if line != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "#") && !strings.Contains(line, "=") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, sections) {
		t.Errorf("sections %q, want %q", got, sections)
	}
	wantWords(t, r.stdout, "kernel", runtime.GOOS, runtime.GOARCH, "64 jobs in flight in one process")
	if r.stderr != "" {
		t.Errorf("stderr %q", r.stderr)
	}
}

func TestProbeSaysWhatIsNotKnown(t *testing.T) {
	yes := true
	ten, twenty := int64(10), int64(20)
	f := &probeFacts{
		System:      systemFacts{OS: "freebsd", Osreldate: 1302001, Jail: &yes, CapabilityMode: &yes},
		KernelError: "no ring",
		Limits: []limitFact{
			{Name: "hidden", Meaning: "something", Error: "the first error"}, {Name: "too", Meaning: "more", Error: "the second"},
			{Name: "changed", Value: &ten, Default: &twenty, Meaning: "less"},
		},
		Features: []featureFact{{"flying", nil, "no slot"}},
		Warnings: []string{"mind the gap"},
		IOURing:  &uringFacts{Error: "operation not permitted", ForbiddenBy: "somebody", Seccomp: 2},
	}
	text := f.text()
	wantWords(t, text, "or whatever the jail's creator made of it", "jail             yes", "limits and paths are hidden",
		"nothing: no ring", "hidden   ?   something", "the first error", "less (default 20)", "flying  ?  no slot",
		"mind the gap", "io_uring_setup  operation not permitted", "because of      somebody", "seccomp         filter")
	if strings.Contains(text, "the second") {
		t.Error("every hidden limit says why")
	}
}

func TestExitCodeOfAProbe(t *testing.T) {
	ok, bad := pathFact{Accepted: true}, pathFact{}
	for _, c := range []struct {
		served bool
		paths  []pathFact
		want   int
	}{
		{true, nil, 0}, {false, nil, 1}, {true, []pathFact{ok}, 0}, {true, []pathFact{ok, bad}, 1}, {false, []pathFact{ok}, 1},
	} {
		f := &probeFacts{Paths: c.paths, Verdict: verdict{Served: c.served}}
		if got := f.exitCode(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestRemoteFilesAreExplained(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		local    *bool
		accepted bool
		unsafe   bool
		want     string
	}{
		{&no, false, false, "local file systems only"}, {&no, true, true, "only because vfs.aio.enable_unsafe is 1"},
		{&no, true, false, ""}, {&yes, true, true, ""}, {nil, false, false, ""},
	} {
		p := pathFact{Filesystem: &filesystemFact{Local: c.local}, Accepted: c.accepted, Tried: []string{"read"}}
		p.explain(c.unsafe)
		if (p.Note == "") != (c.want == "") || !strings.Contains(p.Note, c.want) {
			t.Errorf("%+v: %q", c, p.Note)
		}
	}
}
