package aioring_test

import (
	"testing"

	"github.com/aioring/aioring/aio"
)

func TestQueueClosedFromOutsideOnTheRealKernel(t *testing.T) {
	queueClosedFromOutside(t, realKernel(t))
}

func TestQueueLostUnderASleeperOnTheRealKernel(t *testing.T) {
	queueLostUnderASleeper(t, realKernel(t))
}

func realKernel(t *testing.T) aio.Kernel {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
