package aioring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String is a table for people. What is 0 is left out, but for the first lines.
func (s Stats) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("kernel\t%s", s.Kernel)
	if s.Forbidden != "" {
		row("\tno io_uring: %s", s.Forbidden)
	}
	row("operations\t%d\tcompleted\t%d\tin flight\t%d\talive\t%d", s.Submitted, s.Completed, s.InFlight, s.Alive)
	row("bytes held\t%d\toldest\t%v", s.BytesHeld, s.Oldest.Round(time.Microsecond))
	for _, line := range []struct {
		name  string
		cells []cell
	}{
		{"submitted", []cell{{"lists", s.Lists}, {"in lists", s.Listed}, {"alone", s.Singles}, {"plain calls", s.Plain}, {"from the cache", s.Cached}, {"by their submitters", s.Direct}, {"enters", s.Enters}}},
		{"merged", []cell{{"jobs", s.Merges}, {"of", s.Members}, {"split", s.Splits}, {"copied", s.Bounces}, {"cut", s.Cuts}, {"syncs shared", s.Shared}}},
		{"refused", []cell{{"again", s.Again}, {"partial", s.Partial}, {"too long", s.TooLong}, {"fallbacks", s.Fallbacks}, {"files", s.Refusing}}},
		{"waited", []cell{{"for room", s.Held}, {"for another", s.Overlaps}, {"reissued", s.Reissued}}},
		{"reaped", []cell{{"jobs", s.Reaped}, {"polls", s.Polls}, {"sleeps", s.Sleeps}, {"wakes", s.Wakes}, {"stale", s.Stale}, {"lost", s.Lost}}},
		{"kernel's jobs", []cell{{"at most", uint64(s.HighWater)}, {"limit", uint64(s.Limit)}}},
	} {
		written := false
		for _, c := range line.cells {
			if c.n == 0 {
				continue
			}
			if !written {
				fmt.Fprint(w, line.name)
				written = true
			}
			fmt.Fprintf(w, "\t%s\t%d", c.name, c.n)
		}
		if written {
			fmt.Fprintln(w)
		}
	}
	for _, h := range []struct {
		name string
		h    *Histogram
	}{{"list sizes", &s.ListSizes}, {"reap sizes", &s.ReapSizes}} {
		if h.h.Count() > 0 {
			row("%s\tmean\t%.1f\thalf up to\t%d\t99%% up to\t%d", h.name, h.h.Mean(), h.h.Quantile(0.5), h.h.Quantile(0.99))
		}
	}
	for _, h := range []struct {
		name string
		h    *Histogram
	}{{"queueing", &s.Queueing}, {"serving", &s.Serving}, {"delivering", &s.Delivering}} {
		if h.h.Count() > 0 {
			row("%s\tmean\t%v\thalf up to\t%v\t99%% up to\t%v", h.name, time.Duration(h.h.Mean()).Round(time.Microsecond/10),
				h.h.quantileTime(0.5), h.h.quantileTime(0.99))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Errors)) {
		row("%s\t%d", name, s.Errors[name])
	}
	if err := w.Flush(); err != nil {
		return err.Error() // a strings.Builder takes everything
	}
	return text.String()
}

// cell is a counter and its name in a table.
type cell struct {
	name string
	n    uint64
}
