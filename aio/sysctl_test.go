package aio

import (
	"errors"
	"strings"
	"testing"
)

func TestSysctlErrorSaysWhatHidesTheNumber(t *testing.T) {
	hidden := error(&SysctlError{Name: "vfs.aio.max_aio_queue", Err: EPERM, CapabilityMode: true})
	for _, words := range []string{"vfs.aio.max_aio_queue:", "capability mode", "capsicum(4)"} {
		if !strings.Contains(hidden.Error(), words) {
			t.Errorf("%v: does not say %q", hidden, words)
		}
	}
	missing := error(&SysctlError{Name: "vfs.aio.none", Err: ENOENT})
	if strings.Contains(missing.Error(), "capability") || !errors.Is(missing, ENOENT) || !errors.Is(hidden, EPERM) {
		t.Errorf("%v, %v", missing, hidden)
	}
}

func TestSysctlsAreNamedOnceAndSayWhatTheyLimit(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Sysctls() {
		if seen[s.Name] || s.Meaning == "" {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
	}
	Sysctls()[0].Name = "mine"
	if Sysctls()[0].Name == "mine" {
		t.Error("the table is handed out, not a copy")
	}
}
