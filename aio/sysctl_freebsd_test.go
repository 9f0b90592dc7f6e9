package aio_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// inCapabilityMode in the environment makes the test binary enter capability mode
// and say what it can read there.
const inCapabilityMode = "AIORING_TEST_IN_CAPABILITY_MODE"

func TestMain(m *testing.M) {
	if os.Getenv(inCapabilityMode) != "" {
		os.Exit(capabilityMode())
	}
	os.Exit(m.Run())
}

func TestEverySysctlOfTheTableIsThere(t *testing.T) {
	for _, s := range aio.Sysctls() {
		if _, err := aio.ReadSysctl(s.Name); err != nil {
			t.Error(err)
		}
	}
	_, err := aio.ReadSysctl("vfs.aio.no_such_thing")
	var failure *aio.SysctlError
	if !errors.As(err, &failure) || failure.CapabilityMode || !errors.Is(err, aio.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
	if v, err := aio.ReadSysctl("kern.version"); err == nil {
		t.Errorf("a string is read as the integer %d", v)
	}
	if v, err := aio.ReadSysctl("kern.maxphys"); err != nil || v < 64<<10 {
		t.Errorf("a long: %d, %v", v, err)
	}
}

func TestFeaturesOfThisKernel(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	f, err := aio.LearnFeatures(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kern.osreldate %d: %+v", k.Osreldate(), f)
	if newer := k.Osreldate() >= 1400000; f.VectoredLists != newer {
		t.Errorf("vectored lists: %t", f.VectoredLists)
	}
	if newer := k.Osreldate() >= 1401000; f.ListFoffset != newer {
		t.Errorf("LIO_FOFFSET in lists: %t", f.ListFoffset)
	}
}

// In capability mode the limits cannot be read; the error says so, and what comes
// with it can be worked with.
func TestLimitsInCapabilityMode(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = k.Limits(); err != nil || aio.CapabilityMode() {
		t.Fatalf("outside: %v, capability mode %t", err, aio.CapabilityMode())
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), inCapabilityMode+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"capability mode true",
		"limits known before true",
		"aio: sysctl vfs.aio.max_aio_queue: ",
		"the process is in capability mode (capsicum(4))",
		"EPERM true",
		"features <nil>",
	} {
		if !strings.Contains(string(out), words) {
			t.Errorf("nothing says %q", words)
		}
	}
}

func capabilityMode() int {
	k, err := aio.NewFreeBSD()
	if err != nil {
		fmt.Println("NewFreeBSD:", err)
		return 1
	}
	before, err := k.Limits()
	if err != nil {
		fmt.Println("Limits:", err)
		return 1
	}
	if err := unix.CapEnter(); err != nil {
		fmt.Println("cap_enter:", err)
		return 1
	}
	fmt.Println("capability mode", aio.CapabilityMode())
	l, err := k.Limits()
	fmt.Printf("limits known before %t\n%v\nEPERM %t\n", l == before, err, errors.Is(err, aio.EPERM))
	_, err = aio.LearnFeatures(k)
	fmt.Println("features", err)
	return 0
}
