package prometheus

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/aioring/aioring"
)

// A Stats with every number its own comes out as that, under its name.
func TestEveryFigureOfAStatsIsCollected(t *testing.T) {
	s := aioring.Stats{Kernel: "sim", Errors: map[string]uint64{"EIO": 1000}, Oldest: 1500 * time.Millisecond}
	v := reflect.ValueOf(&s).Elem()
	numbers := 0
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Uint64:
			f.SetUint(uint64(i + 1))
			numbers++
		case reflect.Int, reflect.Int64:
			if v.Type().Field(i).Name != "Oldest" {
				f.SetInt(int64(i + 1))
			}
			numbers++
		}
	}
	s.ListSizes.Sum, s.ListSizes.Buckets[7], s.ListSizes.Buckets[39] = 100, 2, 1
	s.Serving.Sum, s.Serving.Buckets[10] = 3e9, 3
	c := newCollector(func() aioring.Stats { return s }, prometheus.Labels{"ring": "a"})
	if n := len(c.counters) + len(c.gauges); n != numbers {
		t.Errorf("%d numbers are collected of %d", n, numbers)
	}
	seen := map[float64]bool{}
	for _, m := range append(c.counters, c.gauges...) {
		if x := m.value(&s); x == 0 || seen[x] {
			t.Errorf("%v: %v", m.desc, x)
		} else {
			seen[x] = true
		}
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	err := testutil.CollectAndCompare(c, strings.NewReader(`
# HELP aioring_errors_total Operations that failed, by errno.
# TYPE aioring_errors_total counter
aioring_errors_total{errno="EIO",ring="a"} 1000
# HELP aioring_oldest_seconds Age of the operation longest in flight.
# TYPE aioring_oldest_seconds gauge
aioring_oldest_seconds{ring="a"} 1.5
`), "aioring_errors_total", "aioring_oldest_seconds")
	if err != nil {
		t.Error(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "aioring_list_size":
			h := f.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != 3 || h.GetSampleSum() != 100 || h.GetBucket()[7].GetCumulativeCount() != 2 || h.GetBucket()[7].GetUpperBound() != 127 {
				t.Errorf("%v", h)
			}
		case "aioring_serving_seconds":
			if h := f.GetMetric()[0].GetHistogram(); h.GetSampleSum() < 2.9 || h.GetSampleSum() > 3.1 || h.GetSampleCount() != 3 {
				t.Errorf("%v", h)
			}
		}
	}
}

// Two rings are in one registry, told apart by a label, and what they did is seen.
func TestRingsAreCollected(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		r, err := aioring.New(8)
		if errors.Is(err, aioring.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		registry.MustRegister(NewCollector(r, prometheus.Labels{"ring": name}))
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var sqe aioring.SQE
		aioring.PrepWrite(&sqe, int(f.Fd()), []byte("data"), 0)
		if _, err := r.Do(t.Context(), sqe); err != nil {
			t.Fatal(err)
		}
	}
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP aioring_operations_completed_total Final CQEs delivered.
# TYPE aioring_operations_completed_total counter
aioring_operations_completed_total{ring="a"} 1
aioring_operations_completed_total{ring="b"} 1
`), "aioring_operations_completed_total")
	if err != nil {
		t.Error(err)
	}
}
