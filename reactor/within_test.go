package reactor

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// patience is how long anything may take before the test is stuck.
const patience = 60 * time.Second

// within fails, with all stacks, a test that a lost wake-up has stopped.
func within(t testing.TB, f func()) {
	t.Helper()
	stuck := time.AfterFunc(patience, func() {
		buf := make([]byte, 1<<16)
		panic(fmt.Sprintf("%s: still asleep after %v\n%s", t.Name(), patience, buf[:runtime.Stack(buf, true)]))
	})
	defer stuck.Stop()
	f()
}
