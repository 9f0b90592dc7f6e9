//go:build unix

package ringtest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/aioring/aioring"
)

// Factory makes the rings that are judged, as [aioring.New] does: with so many
// entries, and these options. It may add others, such as [aioring.WithKernel] or
// [aioring.WithAIO], but none that changes what Submit returns, as
// [aioring.WithWorker] does. Sizes and flags that a check asks for must reach New as
// they are: what is refused is judged too. The suite closes the rings.
type Factory func(entries int, opts ...aioring.Option) (*aioring.Ring, error)

// Option tells [Run] more about the rings.
type Option func(*target)

// target is what the suite is run on.
type target struct {
	open  Factory
	stall Stall
}

// Stall makes the next read of a regular file, of any of the factory's rings, stay in
// the kernel where nothing stops it. running returns when it is there; release lets
// it go on.
type Stall func() (running, release func())

// WithStall gives the suite a way to hold up a read. Without one, the check of an
// operation that cannot be stopped has only large writes, of which some are over
// before they are cancelled.
func WithStall(s Stall) Option { return func(t *target) { t.stall = s } }

// testCase is one row of the table.
type testCase struct {
	name    string // family.rule
	source  string // where the rule comes from
	entries int    // of the ring; 0 is for 16
	bare    bool   // makes its rings itself
	run     func(r *rig)
}

// table is every check, in the order in which they run.
func table() []testCase {
	return slices.Concat(
		setupCases,
		queueCases,
		submitCases,
		completeCases,
		overflowCases,
		notifyCases,
		linkCases,
		linkTimeoutCases,
		skipCases,
		drainCases,
		timeoutCases,
		cancelCases,
		closeCases,
	)
}

// guard ends the program, showing every goroutine, when a check hangs: a call that
// does not return cannot be called off. stop ends the guard.
func guard(name, source string) (stop func()) {
	timer := time.AfterFunc(4*patience, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s hangs; the rule: %s", name, source))
	})
	return func() { timer.Stop() }
}

// Run judges the rings that a factory makes: every check is a subtest of t, one after
// the other. A check that a ring cannot be asked to pass, because it lacks an
// operation, is skipped with the reason.
func Run(t *testing.T, open Factory, opts ...Option) {
	on := target{open: open}
	for _, set := range opts {
		set(&on)
	}
	for _, c := range table() {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the rule: %s", c.source)
				}
			})
			t.Cleanup(guard(t.Name(), c.source))
			r := newRig(t, on)
			if c.entries == 0 {
				c.entries = 16
			}
			if !c.bare {
				r.open(c.entries)
			}
			c.run(r)
		})
	}
}
