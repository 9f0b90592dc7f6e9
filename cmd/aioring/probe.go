package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/aioring/aioring"
)

// exitProbeUsage is probe's own: a script must tell it from exitFailed, and need
// know no more.
const exitProbeUsage = 2

// probeCommand is `aioring probe`: what this system offers to a ring, and whether
// that is enough.
type probeCommand struct {
	JSON      bool     `name:"json" help:"Print the facts as one JSON object."`
	Depth     int      `default:"64" placeholder:"N" help:"Jobs in flight in one process. Default ${default}."`
	Processes int      `default:"1" placeholder:"N" help:"Processes that have so many each. Default ${default}."`
	Paths     []string `arg:"" optional:"" name:"path" help:"Files, directories and disks to try. A file is read and never written; in a directory a file is made and removed."`
}

// maxProbeDepth is the most operations that a ring may have alive.
const maxProbeDepth = 1 << 24

// Validate is called by kong after parsing.
func (c *probeCommand) Validate() error {
	switch {
	case c.Depth < 1 || c.Depth > maxProbeDepth:
		return fmt.Errorf("--depth %d: want 1 to %d", c.Depth, maxProbeDepth)
	case c.Processes < 1 || c.Processes > math.MaxInt32/2/c.Depth:
		return fmt.Errorf("--processes %d: want 1 or more, and %d jobs at most in all", c.Processes, math.MaxInt32/2)
	}
	return nil
}

// probeFacts is everything that a probe found. Its JSON names are stable.
type probeFacts struct {
	System      systemFacts   `json:"system"`
	Kernel      string        `json:"kernel"`                 // what a ring runs on here; empty if there can be none
	KernelError string        `json:"kernel_error,omitempty"` // why there can be none
	Limits      []limitFact   `json:"limits"`
	Features    []featureFact `json:"features"`
	IOURing     *uringFacts   `json:"io_uring,omitempty"` // Linux
	Paths       []pathFact    `json:"paths"`
	Warnings    []string      `json:"warnings"`
	Depth       int           `json:"depth"`
	Processes   int           `json:"processes"`
	Verdict     verdict       `json:"verdict"`
}

// systemFacts is where the probe ran. The last five are FreeBSD's.
type systemFacts struct {
	OS      string `json:"os"`
	Release string `json:"release"`
	Version string `json:"version"` // the kernel's own words; in a jail Release may be made up, this is not
	Machine string `json:"machine"`

	Osreldate      int    `json:"osreldate,omitempty"` // for people to read: in a jail it may be made up
	Jail           *bool  `json:"jail,omitempty"`
	Vnet           *bool  `json:"vnet,omitempty"`
	Hypervisor     string `json:"hypervisor,omitempty"`
	CapabilityMode *bool  `json:"capability_mode,omitempty"`
}

// limitFact is one number of the kernel's. Value and Default are null where they
// are not known.
type limitFact struct {
	Name     string `json:"name"`
	Value    *int64 `json:"value"`
	Default  *int64 `json:"default"`
	Writable bool   `json:"writable"`
	Meaning  string `json:"meaning"`
	Error    string `json:"error,omitempty"`
}

// featureFact is something that a kernel has or has not; null if that could not be
// told.
type featureFact struct {
	Name  string `json:"name"`
	Has   *bool  `json:"has"`
	Known string `json:"known"` // how it is known, or why it is not
}

// uringFacts is what Linux offers.
type uringFacts struct {
	Available   bool     `json:"available"`
	Error       string   `json:"error,omitempty"`
	ForbiddenBy string   `json:"forbidden_by,omitempty"`
	Disabled    *int     `json:"io_uring_disabled"` // the sysctl; null where there is none (before 6.6)
	Seccomp     int      `json:"seccomp"`           // mode of this process: 0 none, 1 strict, 2 filter
	FeatureMask uint32   `json:"feature_mask"`
	Features    []string `json:"features"`
	Opcodes     []string `json:"opcodes"`     // those the kernel has
	LastOpcode  int      `json:"last_opcode"` // the highest it knows
	Missing     []string `json:"missing"`     // of those that aioring has a name for
}

// pathFact is what became of one PATH.
type pathFact struct {
	Path       string          `json:"path"`
	Type       string          `json:"type,omitempty"`
	Filesystem *filesystemFact `json:"filesystem,omitempty"`
	Accepted   bool            `json:"accepted"`
	Tried      []string        `json:"tried"` // what was done, in order
	Error      string          `json:"error,omitempty"`
	Note       string          `json:"note,omitempty"`
	Alignment  *alignmentFact  `json:"alignment,omitempty"`
}

// filesystemFact is where a file lies.
type filesystemFact struct {
	Type    string `json:"type"`
	Mounted string `json:"mounted_on"`
	From    string `json:"from"`
	Local   *bool  `json:"local,omitempty"` // FreeBSD: AIO takes files of local file systems only
}

// alignmentFact is in bytes; 1 is any.
type alignmentFact struct {
	Memory    int    `json:"memory"`
	Offset    int    `json:"offset"`
	Length    int    `json:"length"`
	Preferred int    `json:"preferred,omitempty"` // length of a transfer that suits the file
	MaxPart   int    `json:"max_part,omitempty"`  // the longest single part of a job
	Words     string `json:"words"`
}

// run probes and returns the exit code.
func (c *probeCommand) run(stdout, stderr io.Writer) int {
	facts := c.probe()
	out := facts.text
	if c.JSON {
		out = facts.json
	}
	if _, err := io.WriteString(stdout, out()); err != nil {
		newReport(stderr).fail(&pathError{"standard output", "cannot write", err})
		return exitFailed
	}
	return facts.exitCode()
}

// exitCode is exitDone when the demand is served and no path refused.
func (f *probeFacts) exitCode() int {
	for _, p := range f.Paths {
		if !p.Accepted {
			return exitFailed
		}
	}
	if !f.Verdict.Served {
		return exitFailed
	}
	return exitDone
}

// probe gathers the facts.
func (c *probeCommand) probe() *probeFacts {
	f := &probeFacts{
		Limits: []limitFact{}, Features: []featureFact{}, Paths: []pathFact{}, Warnings: []string{},
		Depth: c.Depth, Processes: c.Processes,
	}
	f.System.OS, f.System.Machine = runtime.GOOS, runtime.GOARCH
	f.Kernel, f.KernelError = ringKernel()
	probeSystem(f, demand{c.Depth, c.Processes}, c.Paths)
	return f
}

// ringKernel is what a ring would run on, or why there can be none.
func ringKernel() (name, failure string) {
	r, err := aioring.New(1)
	if err != nil {
		if errors.Is(err, aioring.ErrUnsupported) {
			return "", "aioring does not run on " + runtime.GOOS
		}
		return "", err.Error()
	}
	defer r.Close()
	return r.Stats().Kernel, ""
}

// explain says what a file system that is not local means on FreeBSD.
func (p *pathFact) explain(enableUnsafe bool) {
	if p.Filesystem == nil || p.Filesystem.Local == nil || *p.Filesystem.Local || len(p.Tried) == 0 {
		return
	}
	switch {
	case !p.Accepted:
		p.Note = "AIO takes files of local file systems only; aioring reads and writes these on workers"
	case enableUnsafe:
		p.Note = "accepted only because vfs.aio.enable_unsafe is 1"
	}
}

func (f *probeFacts) json() string {
	line, err := json.Marshal(f)
	if err != nil {
		panic(err) // numbers and strings
	}
	return string(line) + "\n"
}
