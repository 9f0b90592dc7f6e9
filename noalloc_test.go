//go:build unix && !race

package aioring_test

import (
	"testing"

	"github.com/aioring/aioring"
)

// In steady state no operation allocates, whatever way it goes.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 64)
		f := tempFile(t, 0)
		buf := make([]byte, 4096)
		if _, err := f.Write(buf); err != nil {
			t.Fatal(err)
		}
		sqes := make([]aioring.SQE, 64)
		for name, round := range map[string]func(){
			"submit": func() {
				for i := range 64 {
					switch sqe := r.GetSQE(); i % 3 {
					case 0:
						aioring.PrepRead(sqe, int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					case 1:
						aioring.PrepWrite(sqe, int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					}
				}
				if _, err := r.SubmitAndWait(64); err != nil {
					t.Fatal(err)
				}
				r.CQAdvance(64)
			},
			"push": func() {
				for i := range sqes {
					aioring.PrepRead(&sqes[i], int(f.Fd()), buf[i*64:][:64], int64(i)*64)
				}
				if err := r.Push(sqes...); err != nil {
					t.Fatal(err)
				}
				for range sqes {
					if _, err := r.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			},
			"do": func() {
				for i := range 64 {
					aioring.PrepWrite(&sqes[i], int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					if _, err := r.Do(t.Context(), sqes[i]); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			for range 20 {
				round()
			}
			// A few come from the runtime: goroutines started, a pool emptied by the
			// collector; on a slow machine more of them. One for each operation would
			// be 64.
			if n := testing.AllocsPerRun(50, round); n > 16 {
				t.Errorf("%s: %v allocations in 64 operations", name, n)
			}
		}
	})
}
