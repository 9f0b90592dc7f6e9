package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// inCapabilityMode in the environment makes the test binary the program, after
// cap_enter(2).
const inCapabilityMode = "AIORING_TEST_IN_CAPABILITY_MODE"

func init() {
	if os.Getenv(inCapabilityMode) == "" {
		return
	}
	if err := unix.CapEnter(); err != nil {
		fmt.Println("cap_enter:", err)
		os.Exit(3)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// jail makes a jail with the root as its root, and returns its number. Values are
// strings, ints, or nil for a flag. Source: jail_set(2).
func jail(t *testing.T, params map[string]any) int {
	t.Helper()
	const create = 0x01
	message := make([]byte, 256)
	var iov []unix.Iovec
	bytes := func(b []byte) {
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		iov = append(iov, v)
	}
	add := func(name string, value []byte) {
		bytes(append([]byte(name), 0))
		bytes(value)
	}
	add("path", []byte("/\x00"))
	add("persist", nil)
	add("errmsg", message)
	for name, value := range params {
		switch v := value.(type) {
		case string:
			add(name, append([]byte(v), 0))
		case int:
			n := int32(v)
			add(name, unsafe.Slice((*byte)(unsafe.Pointer(&n)), 4))
		case nil:
			add(name, nil)
		}
	}
	// The kernel reads all of it, and writes the message, during the call.
	jid, _, errno := unix.Syscall(unix.SYS_JAIL_SET, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)), create)
	switch {
	case errno == unix.EPERM:
		t.Skip("only root, outside a jail or in one that may have children, makes jails")
	case errno != 0:
		t.Fatalf("jail_set of %v: %v: %s", params, errno, unix.ByteSliceToString(message))
	}
	t.Cleanup(func() {
		if _, _, errno := unix.Syscall(unix.SYS_JAIL_REMOVE, jid, 0, 0); errno != 0 {
			t.Errorf("jail_remove: %v", errno)
		}
	})
	return int(jid)
}

// inJail runs the program in a jail; 0 is none.
func inJail(t *testing.T, jid int, args ...string) result {
	t.Helper()
	cmd := program(t, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Jail: jid}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestProbeOnFreeBSD(t *testing.T) {
	dir := t.TempDir()
	r := inJail(t, 0, "probe", "--depth", "512", "--processes", "4", dir, "/dev")
	t.Logf("\n%s", r.stdout)
	limits, err := mustKernel(t).Limits()
	if err != nil {
		t.Fatal(err)
	}
	served := limits.MaxQueuePerProc >= 512 && limits.MaxQueue-limits.QueueCount >= 2048
	if (r.code == exitDone) != served || r.stderr != "" {
		t.Errorf("exit code %d, stderr %q with %+v", r.code, r.stderr, limits)
	}
	wantWords(t, r.stdout, "a ring runs on  freebsd", "vfs.aio.max_aio_queue_per_proc  "+fmt.Sprint(limits.MaxQueuePerProc),
		"write of 512 bytes, fsync, read of 512 bytes", "devfs on /dev", "512 jobs in flight in each of 4 processes")
	if !served {
		wantWords(t, r.stdout, "vfs.aio.max_aio_queue_per_proc=512\n", fmt.Sprintf("vfs.aio.max_aio_queue=%d\n", 2048+limits.QueueCount), "of kernel memory")
	}
}

func mustKernel(t *testing.T) *aio.FreeBSD {
	t.Helper()
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// In a jail the lines are for somebody else.
func TestProbeInAJail(t *testing.T) {
	jid := jail(t, map[string]any{"host.hostname": "probed"})
	r := inJail(t, jid, "probe", "--depth", "512", "--processes", "4", t.TempDir())
	t.Logf("\n%s", r.stdout)
	wantWords(t, r.stdout, "jail            yes", "vnet            no", "or whatever the jail's creator made of it",
		"shared with all jails and the host", "# for the host's /etc/sysctl.conf: what serves it", "vfs.aio.max_aio_queue_per_proc=512")
	if r.code != exitFailed || strings.Contains(r.stdout, "# for /etc/sysctl.conf") {
		t.Errorf("exit code %d", r.code)
	}
	r = inJail(t, jid, "probe", "--json")
	t.Logf("\n%s", r.stdout)
	facts := probed(t, r)
	system, v := facts["system"].(map[string]any), facts["verdict"].(map[string]any)
	if system["jail"] != true || v["file"] != "the host's /etc/sysctl.conf" || v["served"] != true {
		t.Errorf("%v, %v", system, v)
	}
}

func TestProbeInAJailWithItsOwnNetwork(t *testing.T) {
	if _, err := aio.ReadSysctl("kern.features.vimage"); err != nil {
		t.Skip("this kernel has no VIMAGE")
	}
	const jailSysNew = 1
	facts := probed(t, inJail(t, jail(t, map[string]any{"vnet": jailSysNew}), "probe", "--json"))
	if system := facts["system"].(map[string]any); system["jail"] != true || system["vnet"] != true {
		t.Errorf("%v", system)
	}
}

// A jail inside a jail is one too.
func TestProbeInAJailThatMayHaveChildren(t *testing.T) {
	facts := probed(t, inJail(t, jail(t, map[string]any{"children.max": 3}), "probe", "--json"))
	if system := facts["system"].(map[string]any); system["jail"] != true {
		t.Errorf("%v", system)
	}
}

// The release that a jail shows is its creator's choice, and nothing depends on it.
func TestMadeUpReleaseChangesNothing(t *testing.T) {
	// Gauges move by themselves.
	steady := func(facts map[string]any) []any {
		limits := facts["limits"].([]any)
		for _, l := range limits {
			if m := l.(map[string]any); strings.Contains(m["name"].(string), ".num_") {
				m["value"] = nil
			}
		}
		return []any{facts["features"], limits, facts["kernel"], facts["system"].(map[string]any)["version"]}
	}
	host := probed(t, inJail(t, 0, "probe", "--json"))
	for osreldate, release := range map[int]string{1200000: "12.0-FAKE", 9900000: "99.0-FAKE", 1: "0.0-FAKE"} {
		jid := jail(t, map[string]any{"osreldate": osreldate, "osrelease": release})
		faked := probed(t, inJail(t, jid, "probe", "--json"))
		system := faked["system"].(map[string]any)
		if system["osreldate"] != float64(osreldate) || system["release"] != release {
			t.Errorf("the jail shows %v", system)
		}
		if a, b := steady(host), steady(faked); !reflect.DeepEqual(a, b) {
			t.Errorf("osreldate %d changes\n%v\nto\n%v", osreldate, a, b)
		}
	}
}

func TestProbeInCapabilityMode(t *testing.T) {
	dir := t.TempDir()
	cmd := program(t, "probe", "--json", dir)
	cmd.Env = append(cmd.Env, inCapabilityMode+"=1")
	out, _ := cmd.Output()
	r := result{cmd.ProcessState.ExitCode(), string(out), ""}
	if r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	facts := probed(t, r)
	if facts["system"].(map[string]any)["capability_mode"] != true || facts["kernel"] != "freebsd" {
		t.Errorf("%v", facts["system"])
	}
	v := facts["verdict"].(map[string]any)
	if v["known"] != false || v["served"] != false {
		t.Errorf("%v", v)
	}
	wantWords(t, fmt.Sprint(v["words"]), "the limits cannot be read", "sysctl vfs.aio.max_aio_queue", "capability mode (capsicum(4))")
	each(t, facts, "limits", func(x any) {
		l := x.(map[string]any)
		name := l["name"].(string)
		if hidden := strings.HasPrefix(name, "vfs.aio."); hidden != (l["value"] == nil) && !strings.HasPrefix(name, "kern.") {
			t.Errorf("%v", l)
		}
	})
	each(t, facts, "features", func(x any) {
		if f := x.(map[string]any); f["has"] == nil {
			t.Errorf("%v", f)
		}
	})
	p := onlyPath(t, r)
	if p.accepted || p.err != unix.ECAPMODE.Error() {
		t.Errorf("%+v", p)
	}

	text := program(t, "probe")
	text.Env = append(text.Env, inCapabilityMode+"=1")
	words, _ := text.Output()
	t.Logf("\n%s", words)
	wantWords(t, string(words), "capability mode", "limits and paths are hidden", "read it before cap_enter(2)")
}

func TestProbeOfADiskReadsASector(t *testing.T) {
	disk := "/dev/vtbd2"
	if _, err := os.Stat(disk); err != nil {
		t.Skipf("no disk that is known to be there: %v", err)
	}
	p := onlyPath(t, command("probe", "--json", disk))
	if !p.accepted || p.kind != "disk" || strings.Join(p.tried, " ") != "read of 512 bytes" {
		t.Errorf("%+v", p)
	}
}

// It is warned of, and streams are not tried even then.
func TestEnableUnsafeIsWarnedOf(t *testing.T) {
	const name = "vfs.aio.enable_unsafe"
	if err := setSysctl(name, 1); errors.Is(err, unix.EPERM) {
		t.Skip("only root sets sysctls")
	} else if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := setSysctl(name, 0); err != nil {
			t.Error(err)
		}
	}()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := command("probe", fifo)
	if r.code != exitFailed || strings.Contains(r.stdout, "enable_unsafe=1\n") {
		t.Errorf("exit code %d", r.code)
	}
	wantWords(t, r.stdout, "warnings\n  vfs.aio.enable_unsafe is 1", "set it to 0", "not given to AIO")
}

// setSysctl is __sysctlbyname(2), which x/sys/unix has for reading only.
func setSysctl(name string, value int32) error {
	const sysctlbyname = 570
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(sysctlbyname, uintptr(unsafe.Pointer(p)), uintptr(len(name)), 0, 0,
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
	if errno != 0 {
		return errno
	}
	return nil
}
