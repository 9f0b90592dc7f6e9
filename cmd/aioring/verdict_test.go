package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
)

// defaults are FreeBSD's limits out of the box, on a machine where a job costs 700
// bytes and a daemon 20000.
func defaults(change func(*conditions)) conditions {
	c := conditions{
		limits:   aio.Limits{MaxQueue: 1024, MaxQueuePerProc: 256, MaxPerProc: 32, MaxProcs: 32, TargetProcs: 4, MaxBuf: 16},
		jobBytes: 700, daemonBytes: 20000, maxProc: 10000,
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name     string
		d        demand
		change   func(*conditions)
		served   bool
		needed   []string
		optional []string
		bytes    int64 // of all lines
		daemons  int
		words    []string
		noLine   bool // not served, and no sysctl helps
	}{
		{name: "what a daemon each can run", d: demand{32, 1}, served: true, words: []string{"32 jobs in flight in one process: served", "have 256, the system 1024, of which 0"}},
		{
			name: "all that one process may have", d: demand{256, 1}, served: true,
			optional: []string{"vfs.aio.max_aio_per_proc=256", "vfs.aio.max_aio_procs=256"}, bytes: 224 * 20000, daemons: 224,
		},
		{
			name: "one more", d: demand{257, 1}, needed: []string{"vfs.aio.max_aio_queue_per_proc=257"},
			optional: []string{"vfs.aio.max_aio_per_proc=257", "vfs.aio.max_aio_procs=257"}, bytes: 225 * 20000, daemons: 225,
			words: []string{"not served", "One process may have 256"},
		},
		{name: "all that the system may have", d: demand{32, 32}, served: true, optional: []string{"vfs.aio.max_aio_procs=1024"}, bytes: 992 * 20000, daemons: 992},
		{
			name: "one process too many", d: demand{32, 33}, needed: []string{"vfs.aio.max_aio_queue=1056"},
			optional: []string{"vfs.aio.max_aio_procs=1056"}, bytes: 32*700 + 1024*20000, daemons: 1024,
			words: []string{"The system may have 1024, and 0 are taken", "in each of 33 processes"},
		},
		{
			name: "others have taken slots", d: demand{32, 32}, change: func(c *conditions) { c.limits.QueueCount = 10 },
			needed: []string{"vfs.aio.max_aio_queue=1034"}, optional: []string{"vfs.aio.max_aio_procs=1024"},
			bytes: 10*700 + 992*20000, daemons: 992, words: []string{"10 are taken now"},
		},
		{
			name: "others leave just enough", d: demand{32, 1}, change: func(c *conditions) { c.limits.QueueCount = 992 },
			served: true, words: []string{"of which 992 are taken"},
		},
		{
			name: "both caps", d: demand{512, 4}, needed: []string{"vfs.aio.max_aio_queue_per_proc=512", "vfs.aio.max_aio_queue=2048"},
			optional: []string{"vfs.aio.max_aio_per_proc=512", "vfs.aio.max_aio_procs=2048"}, bytes: 1024*700 + 2016*20000, daemons: 2016,
		},
		{
			name: "no more daemons than processes", d: demand{256, 24}, needed: []string{"vfs.aio.max_aio_queue=6144"}, bytes: 5120 * 700,
			words: []string{"would take 6144 daemons, and the system may have 10000 processes"},
		},
		{
			name: "raised before", d: demand{512, 4}, served: true,
			change: func(c *conditions) {
				c.limits = aio.Limits{MaxQueue: 4096, MaxQueuePerProc: 512, MaxPerProc: 512, MaxProcs: 2048, MaxBuf: 16}
			},
		},
		{
			name: "a disk with mapped buffers", d: demand{17, 1}, change: func(c *conditions) { c.mapped = true }, noLine: true,
			words: []string{"may have 16 requests to them, the system 16", "vfs.unmapped_buf_allowed=1 in /boot/loader.conf"},
		},
		{
			name: "of which the system has few", d: demand{4, 5}, noLine: true,
			change: func(c *conditions) { c.mapped, c.jailed, c.limits.MaxBuf = true, true, 1024 },
			words:  []string{"may have 1024 requests to them, the system 16", "in the host's /boot/loader.conf"},
		},
		{name: "and within both", d: demand{8, 2}, change: func(c *conditions) { c.mapped = true }, served: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judge(c.d, defaults(c.change))
			if !v.Known || v.Served != c.served || !strings.HasSuffix(v.File, "/etc/sysctl.conf") {
				t.Errorf("known %t, served %t, file %q", v.Known, v.Served, v.File)
			}
			var needed, optional []string
			var bytes int64
			daemons := 0
			for _, s := range v.Sysctls {
				if s.Line != fmt.Sprintf("%s=%d", s.Name, s.Value) || s.Value <= s.Now || s.Cost == "" {
					t.Errorf("%+v", s)
				}
				if s.Needed {
					needed = append(needed, s.Line)
				} else {
					optional = append(optional, s.Line)
				}
				bytes, daemons = bytes+s.KernelBytes, daemons+s.Daemons
			}
			if !slices.Equal(needed, c.needed) || !slices.Equal(optional, c.optional) {
				t.Errorf("needed %q, optional %q", needed, optional)
			}
			if bytes != c.bytes || daemons != c.daemons {
				t.Errorf("%d bytes, %d daemons, want %d and %d", bytes, daemons, c.bytes, c.daemons)
			}
			if (c.served || c.noLine) == (len(needed) > 0) {
				t.Errorf("served %t with %d lines that are needed", c.served, len(needed))
			}
			wantWords(t, strings.Join(v.Words, "\n"), c.words...)
		})
	}
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("nothing says %q:\n%s", w, text)
		}
	}
}

// What is advised serves: a second look with the lines obeyed finds it enough.
func TestAdviceServes(t *testing.T) {
	for _, d := range []demand{{1, 1}, {257, 1}, {64, 17}, {1000, 3}, {1 << 20, 2}, {maxProbeDepth, 63}} {
		c := defaults(func(c *conditions) { c.limits.QueueCount = 5 })
		for _, s := range judge(d, c).Sysctls {
			switch s.Name {
			case "vfs.aio.max_aio_queue":
				c.limits.MaxQueue = s.Value
			case "vfs.aio.max_aio_queue_per_proc":
				c.limits.MaxQueuePerProc = s.Value
			case "vfs.aio.max_aio_per_proc":
				c.limits.MaxPerProc = s.Value
			case "vfs.aio.max_aio_procs":
				c.limits.MaxProcs = s.Value
			default:
				t.Errorf("%v: %s is advised", d, s.Name)
			}
		}
		if v := judge(d, c); !v.Served {
			t.Errorf("%v: %q", d, v.Words)
		}
	}
}

func TestVerdictInAJailIsForTheHost(t *testing.T) {
	for _, d := range []demand{{64, 1}, {512, 1}} {
		v := judge(d, defaults(func(c *conditions) { c.jailed = true }))
		if v.File != "the host's /etc/sysctl.conf" {
			t.Errorf("file %q", v.File)
		}
		wantWords(t, strings.Join(v.Words, "\n"), "shared with all jails", "only the host's root")
		var b strings.Builder
		v.lines(&b)
		wantWords(t, b.String(), "# for the host's /etc/sysctl.conf")
	}
}

func TestVerdictWithoutLimitsIsUnknown(t *testing.T) {
	v := judge(demand{1, 1}, defaults(func(c *conditions) { c.hidden = "sysctl hidden" }))
	if v.Known || v.Served || len(v.Sysctls) != 0 {
		t.Errorf("%+v", v)
	}
	wantWords(t, v.Words[0], "not known to be served", "sysctl hidden")
}

// Nothing ever advises what makes exits hang.
func TestUnsafeIsNeverAdvised(t *testing.T) {
	for _, on := range []bool{false, true} {
		v := judge(demand{100000, 10}, defaults(func(c *conditions) { c.limits.EnableUnsafe, c.mapped = on, true }))
		var b strings.Builder
		v.lines(&b)
		if strings.Contains(b.String(), "unsafe") {
			t.Error(b.String())
		}
	}
	wantWords(t, unsafeWarning, "vfs.aio.enable_unsafe is 1", "set it to 0")
}

func TestUnknownCostsAreSaidToBe(t *testing.T) {
	v := judge(demand{300, 4}, defaults(func(c *conditions) { c.jobBytes, c.daemonBytes, c.maxProc = 0, 0, 0 }))
	for _, s := range v.Sysctls {
		if strings.Contains(s.Cost, "0 B") {
			t.Errorf("%+v", s)
		}
	}
}

func TestLinesCanBePasted(t *testing.T) {
	v := judge(demand{512, 4}, defaults(nil))
	var b strings.Builder
	v.lines(&b)
	var settings []string
	for line := range strings.Lines(b.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			settings = append(settings, line)
		}
	}
	want := []string{
		"vfs.aio.max_aio_queue_per_proc=512", "vfs.aio.max_aio_queue=2048",
		"vfs.aio.max_aio_per_proc=512", "vfs.aio.max_aio_procs=2048",
	}
	if !slices.Equal(settings, want) {
		t.Errorf("%q", settings)
	}
}

func TestVerdictOfOtherKernels(t *testing.T) {
	for _, c := range []struct {
		kernel, why string
		depth       int
		served      bool
		words       string
	}{
		{aioring.KernelURing, "", 64, true, "served by io_uring"},
		{aioring.KernelThreads, "", 64, true, "served by threads: plain calls"},
		{aioring.KernelThreads, "", aioring.DefaultMaxOps, true, "plain calls"},
		{aioring.KernelThreads, "", aioring.DefaultMaxOps + 1, true, "WithMaxOps"},
		{"", "aioring does not run on windows", 1, false, "not served: aioring does not run on windows."},
	} {
		v := judgeOther(demand{c.depth, 1}, c.kernel, c.why)
		if v.Served != c.served || !v.Known || len(v.Sysctls) != 0 {
			t.Errorf("%+v: %+v", c, v)
		}
		wantWords(t, strings.Join(v.Words, "\n"), c.words)
	}
	if v := judgeOther(demand{aioring.DefaultMaxOps, 1}, aioring.KernelURing, ""); len(v.Words) != 1 {
		t.Errorf("%q", v.Words)
	}
}
