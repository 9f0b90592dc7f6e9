//go:build unix

package aiotest

import (
	"strings"
	"testing"
)

// Every case can be named on a command line, says what it is about, and where
// its rule comes from.
func TestCasesHaveNamesAndSources(t *testing.T) {
	const atLeast = 150
	seen := map[string]bool{}
	for _, c := range table() {
		group, rule, _ := strings.Cut(c.name, "/")
		switch {
		case group == "" || rule == "" || strings.Contains(rule, "/"):
			t.Errorf("%q: want group/rule", c.name)
		case seen[c.name]:
			t.Errorf("%q: there are two", c.name)
		case c.source == "" || c.run == nil:
			t.Errorf("%q: no source, or nothing to run", c.name)
		}
		seen[c.name] = true
	}
	if len(seen) < atLeast {
		t.Errorf("%d cases, want %d", len(seen), atLeast)
	}
	t.Logf("%d cases", len(seen))
}
