package aio

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// In capability mode sysctls may not be read. What was known stays, and the error
// says so.
func TestLimitsInASandboxAreThoseKnownBefore(t *testing.T) {
	const child = "AIO_SANDBOX"
	if os.Getenv(child) == "" {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.v", "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			t.Fatalf("%v:\n%s", err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("%s", out)
		}
		return
	}
	k, err := NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	before, err := k.Limits()
	if err != nil || before.MaxQueuePerProc == 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	const sysCapEnter = 516
	if _, _, errno := unix.Syscall(sysCapEnter, 0, 0, 0); errno == unix.ENOSYS {
		t.Skip("this kernel has no capability mode")
	} else if errno != 0 {
		t.Fatal(errno)
	}
	after, err := k.Limits()
	if !errors.Is(err, EPERM) || !strings.Contains(err.Error(), "vfs.aio.max_aio_queue") {
		t.Errorf("the error is %v, want EPERM and the sysctl's name", err)
	}
	if after != before {
		t.Errorf("%+v, want %+v", after, before)
	}
	// And AIO works.
	kq, errno := k.Kqueue()
	if errno != 0 {
		t.Errorf("kqueue: %v", errno)
	}
	_ = k.CloseKqueue(kq)
}
