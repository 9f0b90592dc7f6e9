// Package prometheus gives a ring's Stats to Prometheus.
//
//	registry.MustRegister(prometheus.NewCollector(r, nil))
//
// Collecting reads [aioring.Ring.Stats] once; nothing runs in between.
package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aioring/aioring"
)

// Collector collects the Stats of one ring. Make one with [NewCollector].
type Collector struct {
	stats    func() aioring.Stats
	counters []metric
	gauges   []metric
	sizes    []histogram
	times    []histogram
	errors   *prometheus.Desc
}

// metric is one number of a Stats.
type metric struct {
	desc  *prometheus.Desc
	value func(*aioring.Stats) float64
}

// histogram is one histogram of a Stats.
type histogram struct {
	desc  *prometheus.Desc
	value func(*aioring.Stats) *aioring.Histogram
}

// NewCollector makes a collector of a ring's Stats. Several rings in one registry need
// labels that tell them apart. The ring may be closed meanwhile; its last figures stay.
func NewCollector(r *aioring.Ring, labels prometheus.Labels) *Collector {
	return newCollector(r.Stats, labels)
}

func newCollector(stats func() aioring.Stats, labels prometheus.Labels) *Collector {
	desc := func(name, help string, vars ...string) *prometheus.Desc {
		return prometheus.NewDesc("aioring_"+name, help, vars, labels)
	}
	type number struct {
		name, help string
		value      func(*aioring.Stats) uint64
	}
	metrics := func(numbers []number) (all []metric) {
		for _, n := range numbers {
			all = append(all, metric{desc(n.name, n.help), func(s *aioring.Stats) float64 { return float64(n.value(s)) }})
		}
		return all
	}
	c := &Collector{stats: stats, errors: desc("errors_total", "Operations that failed, by errno.", "errno")}
	c.counters = metrics([]number{
		{"operations_submitted_total", "Operations accepted.", func(s *aioring.Stats) uint64 { return s.Submitted }},
		{"operations_completed_total", "Final CQEs delivered.", func(s *aioring.Stats) uint64 { return s.Completed }},
		{"lists_total", "lio_listio calls.", func(s *aioring.Stats) uint64 { return s.Lists }},
		{"jobs_listed_total", "Jobs taken through lists.", func(s *aioring.Stats) uint64 { return s.Listed }},
		{"jobs_single_total", "Jobs submitted by a call of their own.", func(s *aioring.Stats) uint64 { return s.Singles }},
		{"jobs_reaped_total", "Jobs reaped.", func(s *aioring.Stats) uint64 { return s.Reaped }},
		{"plain_calls_total", "Operations run as plain calls on workers.", func(s *aioring.Stats) uint64 { return s.Plain }},
		{"cached_reads_total", "Reads on threads that the page cache answered in the submission.", func(s *aioring.Stats) uint64 { return s.Cached }},
		{"direct_calls_total", "Operations that were alone, run as plain calls by their submitters.", func(s *aioring.Stats) uint64 { return s.Direct }},
		{"fallbacks_total", "Plain calls because AIO would not take the operation.", func(s *aioring.Stats) uint64 { return s.Fallbacks }},
		{"held_total", "Jobs that waited for room in the kernel.", func(s *aioring.Stats) uint64 { return s.Held }},
		{"again_total", "Jobs refused with EAGAIN.", func(s *aioring.Stats) uint64 { return s.Again }},
		{"lists_partial_total", "Lists taken in part.", func(s *aioring.Stats) uint64 { return s.Partial }},
		{"lists_too_long_total", "Lists refused for their length.", func(s *aioring.Stats) uint64 { return s.TooLong }},
		{"stale_total", "Events and CQEs of what was gone, dropped.", func(s *aioring.Stats) uint64 { return s.Stale }},
		{"merges_total", "Jobs that stood for several operations.", func(s *aioring.Stats) uint64 { return s.Merges }},
		{"members_total", "Operations in merged jobs.", func(s *aioring.Stats) uint64 { return s.Members }},
		{"splits_total", "Merged jobs whose result was shared out.", func(s *aioring.Stats) uint64 { return s.Splits }},
		{"bounces_total", "Merged jobs that went through a copy.", func(s *aioring.Stats) uint64 { return s.Bounces }},
		{"reissued_total", "Operations sent again because their merged job failed.", func(s *aioring.Stats) uint64 { return s.Reissued }},
		{"overlaps_total", "Operations held for an earlier one on the same bytes.", func(s *aioring.Stats) uint64 { return s.Overlaps }},
		{"syncs_shared_total", "FSYNCs that another's did for them.", func(s *aioring.Stats) uint64 { return s.Shared }},
		{"cuts_total", "Operations cut into pieces for their disk.", func(s *aioring.Stats) uint64 { return s.Cuts }},
		{"files_refusing_total", "Files that turned out not to do AIO.", func(s *aioring.Stats) uint64 { return s.Refusing }},
		{"enters_total", "io_uring_enter calls that submitted.", func(s *aioring.Stats) uint64 { return s.Enters }},
		{"lost_total", "Completions that the kernel had no memory for.", func(s *aioring.Stats) uint64 { return s.Lost }},
		{"polls_total", "Calls that looked for completions without waiting.", func(s *aioring.Stats) uint64 { return s.Polls }},
		{"sleeps_total", "Calls that waited for completions.", func(s *aioring.Stats) uint64 { return s.Sleeps }},
		{"wakes_total", "Sleepers woken by another goroutine.", func(s *aioring.Stats) uint64 { return s.Wakes }},
	})
	c.gauges = metrics([]number{
		{"operations_in_flight", "Operations accepted and not completed.", func(s *aioring.Stats) uint64 { return uint64(s.InFlight) }},
		{"operations_alive", "Operations from submission until their CQE is consumed.", func(s *aioring.Stats) uint64 { return uint64(s.Alive) }},
		{"bytes_held", "Bytes in the buffers of operations alive.", func(s *aioring.Stats) uint64 { return uint64(s.BytesHeld) }},
		{"jobs_high_water", "Most jobs in the kernel at a time, all rings of the process.", func(s *aioring.Stats) uint64 { return uint64(s.HighWater) }},
		{"jobs_limit", "Most jobs that the kernel allows the process.", func(s *aioring.Stats) uint64 { return uint64(s.Limit) }},
	})
	c.gauges = append(c.gauges, metric{
		desc("oldest_seconds", "Age of the operation longest in flight."),
		func(s *aioring.Stats) float64 { return s.Oldest.Seconds() },
	})
	c.sizes = []histogram{
		{desc("list_size", "Jobs in each list."), func(s *aioring.Stats) *aioring.Histogram { return &s.ListSizes }},
		{desc("reap_size", "Jobs reaped at a time."), func(s *aioring.Stats) *aioring.Histogram { return &s.ReapSizes }},
	}
	c.times = []histogram{
		{desc("queueing_seconds", "From acceptance until the kernel or a worker had the operation."), func(s *aioring.Stats) *aioring.Histogram { return &s.Queueing }},
		{desc("serving_seconds", "From there until it was reaped."), func(s *aioring.Stats) *aioring.Histogram { return &s.Serving }},
		{desc("delivering_seconds", "From there until its CQE was made."), func(s *aioring.Stats) *aioring.Histogram { return &s.Delivering }},
	}
	return c
}

// Describe is prometheus.Collector's.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.counters {
		ch <- m.desc
	}
	for _, m := range c.gauges {
		ch <- m.desc
	}
	for _, h := range c.sizes {
		ch <- h.desc
	}
	for _, h := range c.times {
		ch <- h.desc
	}
	ch <- c.errors
}

// Collect is prometheus.Collector's. Any goroutine may call it.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for _, m := range c.counters {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, m.value(&s))
	}
	for _, m := range c.gauges {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, m.value(&s))
	}
	for _, h := range c.sizes {
		ch <- h.metric(&s, 1)
	}
	for _, h := range c.times {
		ch <- h.metric(&s, 1e-9)
	}
	for errno, n := range s.Errors {
		ch <- prometheus.MustNewConstMetric(c.errors, prometheus.CounterValue, float64(n), errno)
	}
}

// metric makes a histogram whose buckets are the ring's, in a unit of so many of its.
func (h histogram) metric(s *aioring.Stats, unit float64) prometheus.Metric {
	v := h.value(s)
	buckets := make(map[float64]uint64, aioring.HistogramBuckets-1)
	n := uint64(0)
	for i := range aioring.HistogramBuckets - 1 { // the last has no bound
		n += v.Buckets[i]
		buckets[float64(v.Bound(i))*unit] = n
	}
	n += v.Buckets[aioring.HistogramBuckets-1]
	return prometheus.MustNewConstHistogram(h.desc, n, float64(v.Sum)*unit, buckets)
}
