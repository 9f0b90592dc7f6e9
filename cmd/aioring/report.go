package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// report is where a copy stands and what it has to say. The copier counts; the
// progress bar and the status line read at any time.
type report struct {
	began                 time.Time
	bytes                 atomic.Int64 // of files copied, and of blocks of those under way
	files, dirs, symlinks atomic.Int64
	errors                atomic.Int64
	total                 atomic.Int64 // bytes to copy, once somebody has counted them
	current               atomic.Pointer[string]

	// mu keeps lines whole, and the bar off them.
	mu  sync.Mutex
	out io.Writer
	bar *progress // nil when none is shown
}

func newReport(out io.Writer) *report { return &report{began: time.Now(), out: out} }

// fail counts an error and prints its line.
func (r *report) fail(err error) {
	r.errors.Add(1)
	r.say("%v", err)
}

// status prints where the copy stands.
func (r *report) status() {
	elapsed := time.Since(r.began)
	bytes := r.bytes.Load()
	line := fmt.Sprintf("%d files, %s", r.files.Load(), humanBytes(bytes))
	if total := r.total.Load(); total > 0 {
		line += " of " + humanBytes(total)
	}
	line += fmt.Sprintf(" in %v, %s/s", elapsed.Round(100*time.Millisecond), humanBytes(int64(float64(bytes)/elapsed.Seconds())))
	if n := r.errors.Load(); n > 0 {
		line += fmt.Sprintf(", %d errors", n)
	}
	if path := r.current.Load(); path != nil {
		line += ", at " + *path
	}
	r.say("%s", line)
}

// say prints one line.
func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		r.bar.clear()
	}
	fmt.Fprintf(r.out, "aioring: "+format+"\n", args...)
}

// humanBytes is a number of bytes in the unit that suits it.
func humanBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < len(binaryPrefixes)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, binaryPrefixes[unit])
}

const binaryPrefixes = "KMGTPE"

// pathError is a failure about one path: one line that names it and, if the
// system had a say, the errno.
type pathError struct {
	path string
	what string // such as "cannot open"
	err  error  // nil when what says it all
}

func (e *pathError) Error() string {
	if e.err == nil {
		return e.path + ": " + e.what
	}
	var errno syscall.Errno
	if !errors.As(e.err, &errno) {
		return fmt.Sprintf("%s: %s: %v", e.path, e.what, e.err)
	}
	if name := errnoName(errno); name != "" {
		return fmt.Sprintf("%s: %s: %v (%s)", e.path, e.what, errno, name)
	}
	return fmt.Sprintf("%s: %s: %v", e.path, e.what, errno)
}

func (e *pathError) Unwrap() error { return e.err }
