package aioring_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The library stands on the standard library, x/sys and btree. Who requires it
// gets nothing else, not even for its tests.
func TestModulesRequired(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command here to ask:", err)
	}
	cmd := exec.Command(goTool, "list", "-m", "-f", "{{.Path}}", "all")
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"github.com/aioring/aioring", "github.com/google/btree", "golang.org/x/sys"}
	if got := strings.Fields(string(out)); !slices.Equal(got, want) {
		t.Errorf("modules %v, want %v", got, want)
	}
}
