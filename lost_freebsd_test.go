package aioring_test

import (
	"testing"

	"github.com/aioring/aioring/aio"
)

func TestQueueClosedFromOutsideOnTheRealKernel(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	queueClosedFromOutside(t, k)
}
