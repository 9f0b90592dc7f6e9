package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/aioring/aioring"
)

// stressCommand is `aioring stress`: random operations in all ways at a time, on rings
// that come and go, with every byte checked.
type stressCommand struct {
	Kernel    string        `enum:"auto,freebsd,uring,threads,sim" default:"auto" help:"What runs the operations: ${enum}."`
	Dir       string        `type:"path" placeholder:"PATH" help:"Where the files are. A new temporary directory, removed if all goes well, unless given."`
	Duration  time.Duration `default:"10s" placeholder:"D" help:"How long. Default ${default}."`
	Rounds    int           `placeholder:"N" help:"End after so many rings, if that is earlier."`
	Seed      *uint64       `placeholder:"S" help:"What everything is drawn from. Random unless given."`
	Faults    string        `default:"all" placeholder:"LIST" help:"What goes wrong on purpose: all, none, or names with commas between. A wrong name gives the list."`
	Files     int           `default:"4" placeholder:"N" help:"How many files. Default ${default}."`
	Size      byteSize      `default:"1M" placeholder:"SIZE" help:"Bytes of each, or of the device's part that is used. Default ${default}."`
	Depth     int           `default:"256" placeholder:"N" help:"The most entries of a ring. Default ${default}."`
	Direct    bool          `help:"Past the page cache (O_DIRECT)."`
	Device    string        `placeholder:"DEV" help:"Use a disk instead of files. What is on it is lost."`
	Erase     bool          `help:"Yes, what is on --device may be lost."`
	CheckOnly bool          `help:"Only check, after a power cut, that all is there which a run in --dir was promised."`
	JSON      bool          `name:"json" help:"Print one line of JSON at the end."`
	Quiet     bool          `help:"No live line."`
}

// Validate is called by kong after parsing.
func (c *stressCommand) Validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("--duration %v: want more than nothing", c.Duration)
	case c.Files < 1 || c.Files > 1000:
		return fmt.Errorf("--files %d: want 1 to 1000", c.Files)
	case c.Size < 64<<10 || c.Size%4096 != 0 || c.Size > 64<<30:
		return fmt.Errorf("--size %d: want a multiple of 4096, 64K to 64G", c.Size)
	case c.Depth < 1 || c.Depth > aioring.MaxEntries:
		return fmt.Errorf("--depth %d: want 1 to %d", c.Depth, aioring.MaxEntries)
	case c.Rounds < 0:
		return fmt.Errorf("--rounds %d: want 0 or more", c.Rounds)
	case c.CheckOnly && c.Dir == "":
		return errors.New("--check-only: want the --dir of the run before")
	case c.Device != "" && !c.Erase && !c.CheckOnly:
		return fmt.Errorf("--device %s: what is on it will be lost; say --erase if it may", c.Device)
	case c.Erase && c.Device == "":
		return errors.New("--erase: what? It goes with --device")
	}
	return nil
}

// rounds is how many there may be.
func (c *stressCommand) rounds() int {
	if c.Rounds == 0 {
		return math.MaxInt
	}
	return c.Rounds
}

// run stresses, or checks, and returns the exit code: the verdict.
func (c *stressCommand) run(stdout, stderr io.Writer) int {
	if c.CheckOnly {
		return c.checkOnly(stdout, stderr)
	}
	return c.stress(stdout, stderr)
}

// stressSummary is the line that --json prints.
type stressSummary struct {
	Verdict    string            `json:"verdict"` // "ok", "failed" or "interrupted"
	Reason     string            `json:"reason,omitempty"`
	Replay     string            `json:"replay,omitempty"` // the command that repeats the round that failed
	Trace      string            `json:"trace,omitempty"`
	Kernel     string            `json:"kernel"`
	Seed       uint64            `json:"seed"`
	Seconds    float64           `json:"seconds"`
	Rounds     int               `json:"rounds"`
	Operations uint64            `json:"operations"`
	Checks     uint64            `json:"checks"` // of results and blocks
	Faults     map[string]uint64 `json:"faults"` // injected, by kind
	Goroutines int               `json:"goroutines"`
	HeapBytes  uint64            `json:"heap_bytes"` // in use at the end
}

// heapInUse is what the collector leaves.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
