package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is the bar on a terminal: bytes, rate and time left. It has no colour,
// with or without NO_COLOR. The report's lock guards it.
type progress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	shown int64 // bytes
	total int64 // bytes, 0 while unknown
}

const redrawEvery = 100 * time.Millisecond

func fdIsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// showProgress draws the bar until the function that it returns is called.
// Meanwhile it finds out how much there is to copy: the copy does not wait for
// that.
func (r *report) showProgress(ctx context.Context, out io.Writer, sources []string) (stop func()) {
	r.mu.Lock()
	r.bar = newProgress(out, -1)
	r.bar.draw(0, 0)
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		if total := regularBytes(ctx, sources); ctx.Err() == nil {
			r.total.Store(total)
		}
	}()
	over := make(chan struct{})
	go func() {
		defer close(over)
		redraw := time.NewTicker(redrawEvery)
		defer redraw.Stop()
		for {
			select {
			case <-redraw.C:
			case <-ctx.Done():
				return
			}
			r.mu.Lock()
			r.bar.draw(r.bytes.Load(), r.total.Load())
			r.mu.Unlock()
		}
	}()
	return func() {
		cancel()
		<-over
		r.mu.Lock()
		r.bar.draw(r.bytes.Load(), r.total.Load())
		r.bar = nil
		r.mu.Unlock()
		fmt.Fprintln(out)
	}
}

// newProgress is a bar for so many bytes; -1 when that is not known.
func newProgress(out io.Writer, total int64) *progress {
	return &progress{out: out, bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(redrawEvery/2),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetSpinnerChangeInterval(0), // else it draws by itself, beside the lock
	)}
}

// draw brings the bar up to date. Errors are a terminal's that went away.
func (p *progress) draw(bytes, total int64) {
	if total > 0 && p.total == 0 {
		p.clear()
		*p = *newProgress(p.out, total)
		p.total = total
	}
	if p.total > 0 {
		bytes = min(bytes, p.total) // a file may have grown since it was counted
	}
	_ = p.bar.Add64(bytes - p.shown)
	p.shown = bytes
}

// clear takes the bar off the line.
func (p *progress) clear() { _ = p.bar.Clear() }

// regularBytes is the size of all regular files in sources. What it cannot see it
// leaves out: to complain is the copier's.
func regularBytes(ctx context.Context, sources []string) (total int64) {
	for _, source := range sources {
		_ = filepath.WalkDir(source, func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				if info, err := entry.Info(); err == nil {
					total += info.Size()
				}
			}
			return ctx.Err()
		})
	}
	return total
}
