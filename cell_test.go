package aioring_test

import (
	"math/bits"
	"reflect"
	"testing"

	"github.com/aioring/aioring"
)

// The cells of the shared submission ring are whole cache lines where pointers have 64
// bits, so goroutines that push one SQE each write lines of their own.
func TestSQEFillsCacheLines(t *testing.T) {
	if size := reflect.TypeFor[aioring.SQE]().Size(); bits.UintSize == 64 && size%64 != 0 {
		t.Errorf("an SQE has %d bytes", size)
	}
}
