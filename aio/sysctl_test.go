package aio

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestLimitsAreWhatTheSysctlsSay(t *testing.T) {
	values := map[string]int64{
		"vfs.aio.max_aio_queue": 2, "vfs.aio.max_aio_queue_per_proc": 3, "vfs.aio.max_aio_per_proc": 4,
		"vfs.aio.max_aio_procs": 5, "vfs.aio.max_buf_aio": 6, "vfs.aio.num_queue_count": 7, "vfs.aio.enable_unsafe": 1,
	}
	read := func(name string) (int64, error) {
		v, ok := values[name]
		if !ok {
			return 0, &SysctlError{Name: name, Err: syscall.ENOENT}
		}
		return v, nil
	}
	l, err := limits(read)
	if want := (Limits{2, 3, 4, 5, 6, 7, true}); err != nil || l != want {
		t.Errorf("%+v, %v, want %+v", l, err, want)
	}

	// One that is missing is its default, and the error names it.
	delete(values, "vfs.aio.max_aio_procs")
	l, err = limits(read)
	if want := (Limits{2, 3, 4, 32, 6, 7, true}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	var failure *SysctlError
	if !errors.As(err, &failure) || failure.Name != "vfs.aio.max_aio_procs" || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
}

// In capability mode vfs.aio is hidden and p1003_1b is not.
func TestLimitPerProcessIsReadByItsOtherName(t *testing.T) {
	l, err := limits(func(name string) (int64, error) {
		if name == "p1003_1b.aio_listio_max" {
			return 2048, nil
		}
		return 0, &SysctlError{Name: name, Err: syscall.EPERM, CapabilityMode: true}
	})
	if want := (Limits{MaxQueue: 1024, MaxQueuePerProc: 2048, MaxPerProc: 32, MaxProcs: 32, MaxBuf: 16}); l != want {
		t.Errorf("%+v, want %+v", l, want)
	}
	for _, words := range []string{"vfs.aio.max_aio_queue:", "capability mode", "capsicum(4)"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: does not say %q", err, words)
		}
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
