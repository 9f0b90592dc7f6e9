package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aioring/aioring"
)

// cpCommand is `aioring cp`.
type cpCommand struct {
	Kernel string   `enum:"auto,freebsd,uring,threads,sim" default:"auto" help:"What runs the operations: ${enum}."`
	Depth  int      `default:"64" placeholder:"N" help:"Blocks in flight, over all files. Default ${default}."`
	Block  byteSize `default:"128K" placeholder:"SIZE" help:"Bytes of one block; K, M and G are understood. Default ${default}."`
	Verify bool     `help:"Read every copy back and compare checksums before it gets its name."`
	Sync   bool     `help:"Write files and directories through to the disk."`
	JSON   bool     `name:"json" help:"Print one line of JSON at the end."`
	Quiet  bool     `help:"Show no progress."`
	Paths  []string `arg:"" name:"path" help:"SRC... DST: what to copy, and where to: into DST if it is a directory, else as DST."`
}

// Validate is called by kong after parsing.
func (c *cpCommand) Validate() error {
	switch {
	case len(c.Paths) < 2:
		return errors.New("want a source and a destination")
	case c.Depth < 1 || c.Depth > aioring.MaxEntries:
		return fmt.Errorf("--depth %d: want 1 to %d", c.Depth, aioring.MaxEntries)
	case c.Block < 512 || c.Block > math.MaxInt32/byteSize(c.Depth):
		return fmt.Errorf("--block %d: want 512 or more, and 2 GiB at most for all %d blocks", c.Block, c.Depth)
	}
	return nil
}

// run copies and returns the exit code.
func (c *cpCommand) run(stdout, stderr io.Writer) int {
	report := newReport(stderr)
	ring, err := aioring.New(c.Depth, aioring.WithKernel(c.Kernel))
	if err != nil {
		report.fail(c.kernelError(err))
		return exitFailed
	}
	defer ring.Close()

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer watchSignals(func(s syscall.Signal) { cancel(interrupted(s)) }, report.status)()
	stopProgress := func() {}
	if !c.Quiet && isTerminal(stderr) {
		stopProgress = report.showProgress(ctx, stderr, c.Paths[:len(c.Paths)-1])
	}
	err = copyAll(ctx, ring, c, report)
	stopProgress() // the summary wants a line of its own

	if c.JSON {
		if _, err := fmt.Fprintln(stdout, c.summary(ring.Stats(), report, err == nil)); err != nil {
			report.fail(&pathError{"standard output", "cannot write", err})
		}
	}
	var signal interrupted
	switch {
	case errors.As(err, &signal):
		return 128 + int(signal)
	case report.errors.Load() > 0:
		return exitFailed
	}
	return exitDone
}

// interrupted is the cause of a copy's end by a signal.
type interrupted syscall.Signal

func (s interrupted) Error() string { return syscall.Signal(s).String() }

// kernelError says in one line why there is no ring.
func (c *cpCommand) kernelError(err error) error {
	if !errors.Is(err, aioring.ErrUnsupported) {
		return &pathError{"kernel " + c.Kernel, "cannot make a ring", err}
	}
	why := "not on " + runtime.GOOS
	if c.Kernel == aioring.KernelURing && runtime.GOOS == "linux" {
		why = "needs Linux 5.11"
	}
	return &pathError{"kernel " + c.Kernel, why, syscall.EOPNOTSUPP}
}

// summary is the line that --json prints.
func (c *cpCommand) summary(stats aioring.Stats, report *report, finished bool) string {
	line, err := json.Marshal(struct {
		Bytes      int64   `json:"bytes"` // sizes of the files copied, holes included
		Files      int64   `json:"files"`
		Dirs       int64   `json:"dirs"`
		Symlinks   int64   `json:"symlinks"`
		Seconds    float64 `json:"seconds"`
		Operations uint64  `json:"operations"` // taken by the ring
		Lists      uint64  `json:"lists"`      // lio_listio calls
		Kernel     string  `json:"kernel"`
		Errors     int64   `json:"errors"`
		Verified   bool    `json:"verified"` // --verify, and nothing failed
	}{
		report.bytes.Load(), report.files.Load(), report.dirs.Load(), report.symlinks.Load(),
		time.Since(report.began).Seconds(), stats.Submitted, stats.Lists, stats.Kernel,
		report.errors.Load(), c.Verify && finished && report.errors.Load() == 0,
	})
	if err != nil {
		panic(err) // numbers and strings
	}
	return string(line)
}

// byteSize is a flag's number of bytes, such as 4096, 128K or 1M.
type byteSize int64

// UnmarshalText is called by kong.
func (s *byteSize) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSuffix(strings.ToUpper(string(text)), "B"), int64(1)
	for i, suffix := range []string{"K", "M", "G"} {
		if n, ok := strings.CutSuffix(strings.TrimSuffix(number, "I"), suffix); ok {
			number, unit = n, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a size", text)
	}
	*s = byteSize(n * unit)
	return nil
}

// isTerminal reports whether somebody may be watching w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && fdIsTerminal(f)
}
