//go:build unix

package ringtest

import (
	"strings"
	"testing"
)

// Every check can be named on a command line, says what it is about, and where its
// rule comes from.
func TestChecksHaveNamesAndSources(t *testing.T) {
	const want = 100
	seen := map[string]bool{}
	for _, c := range table() {
		family, rule, _ := strings.Cut(c.name, ".")
		switch {
		case family == "" || rule == "" || strings.Contains(c.name, "/"):
			t.Errorf("%q: want family.rule", c.name)
		case seen[c.name]:
			t.Errorf("%q: there are two", c.name)
		case c.source == "" || c.run == nil:
			t.Errorf("%q: no source, or nothing to run", c.name)
		}
		seen[c.name] = true
	}
	if len(seen) != want {
		t.Errorf("%d checks, want %d", len(seen), want)
	}
}
