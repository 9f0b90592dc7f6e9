//go:build unix

package aioring_test

import (
	"context"
	"testing"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
)

// A Do that cannot be called off fetches its completion itself: over a model in steps
// no other goroutine makes one, and the model goes on only as long as something is
// under way.
func TestDoHarvestsForItself(t *testing.T) {
	k := sim.New(sim.Config{Stepped: true, Seed: 1, HostFiles: true})
	defer k.Shutdown()
	r, err := aioring.New(8, aioring.WithAIO(k))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := tempFile(t, 0)
	for i := range 100 {
		var s aioring.SQE
		aioring.PrepWrite(&s, int(f.Fd()), make([]byte, 10), int64(i)*10)
		if c, err := r.Do(context.Background(), s); err != nil || c.Res != 10 {
			t.Fatalf("write %d: %+v, %v", i, c, err)
		}
	}
}
