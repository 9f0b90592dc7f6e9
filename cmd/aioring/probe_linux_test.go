package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/internal/uring"
)

// underFilter in the environment makes the test binary the program, under a
// seccomp filter that answers io_uring_setup with this errno.
const underFilter = "AIORING_TEST_UNDER_FILTER"

func init() {
	errno, err := strconv.Atoi(os.Getenv(underFilter))
	if err != nil {
		return
	}
	// The filter is this thread's; exec keeps it and ends the others.
	runtime.LockOSThread()
	if err := forbidURing(uint32(errno)); err != nil {
		fmt.Println("seccomp:", err)
		os.Exit(3)
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, underFilter+"=") })
	fmt.Println("exec:", syscall.Exec("/proc/self/exe", os.Args, env))
	os.Exit(3)
}

// forbidURing installs the filter. Source: seccomp(2).
func forbidURing(errno uint32) error {
	const loadWord, jumpEqual, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	code := []unix.SockFilter{
		{Code: loadWord, K: 0}, // seccomp_data.nr
		{Code: jumpEqual, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	// The kernel copies both during the call.
	_, _, e := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program)))
	runtime.KeepAlive(code)
	if e != 0 {
		return e
	}
	return nil
}

func TestProbeUnderASeccompFilter(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		words string
	}{{syscall.EPERM, "a seccomp filter, as container runtimes install"}, {syscall.ENOSYS, "seccomp filter"}} {
		cmd := program(t, "probe", "--json", t.TempDir())
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", underFilter, int(c.errno)))
		out, err := cmd.Output()
		if err != nil { // threads serve it all the same
			t.Fatalf("%v: %s", err, out)
		}
		facts := probed(t, result{stdout: string(out)})
		u := facts["io_uring"].(map[string]any)
		if facts["kernel"] != "threads" || u["available"] != false || u["seccomp"] != 2.0 {
			t.Errorf("%v: kernel %v, %v", c.errno, facts["kernel"], u)
		}
		by, _ := u["forbidden_by"].(string)
		wantWords(t, by, c.words)
		wantWords(t, fmt.Sprint(facts["verdict"]), "served by threads", "io_uring is kept from this process by")
		wantWords(t, fmt.Sprint(u["error"]), "io_uring_setup: "+c.errno.Error())
	}
}

func TestProbeOfIOURingSaysWhatTheKernelSays(t *testing.T) {
	var params uring.Params
	ring, err := uring.Setup(1, &params)
	if err != nil {
		t.Skipf("no io_uring here: %v", err)
	}
	defer ring.Close()
	probe, err := ring.Probe()
	if err != nil {
		t.Fatal(err)
	}
	u := probeURing()
	if !u.Available || u.ForbiddenBy != "" || u.FeatureMask != params.Features || u.LastOpcode != probe.Last() {
		t.Errorf("%+v", u)
	}
	for op, name := range uringOpcodes {
		has := probe.Supports(uint8(op))
		if name == "" || slices.Contains(u.Opcodes, name) != has || slices.Contains(u.Missing, name) == has {
			t.Errorf("opcode %d, %q: %t", op, name, has)
		}
	}
	for bit, name := range map[uint32]string{
		uring.FeatSingleMmap: "single_mmap", uring.FeatNoDrop: "nodrop", uring.FeatFastPoll: "fast_poll", uring.FeatExtArg: "ext_arg",
		uring.FeatNativeWorkers: "native_workers", uring.FeatLinkedFile: "linked_file", uring.FeatNoIOWait: "no_iowait",
	} {
		if slices.Contains(u.Features, name) != (params.Features&bit != 0) {
			t.Errorf("feature %#x is not %q", bit, name)
		}
	}
	for op, name := range map[int]string{
		uring.OpNop: "nop", uring.OpRead: "read", uring.OpOpenat2: "openat2", uring.OpMsgRing: "msg_ring",
		uring.OpSendZC: "send_zc", uring.OpFtruncate: "ftruncate", uring.OpPipe: "pipe",
	} {
		if uringOpcodes[op] != name {
			t.Errorf("opcode %d is called %q, want %q", op, uringOpcodes[op], name)
		}
	}
}

func TestMountIsFoundByItsNumber(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw
23 22 0:21 / /mnt/my\040disk rw - tmpfs none\134x rw,size=1k
24 22 0:22 / /short rw
`
	if fs := mountOf(table, 22); fs == nil || *fs != (filesystemFact{Type: "ext4", Mounted: "/", From: "/dev/root"}) {
		t.Errorf("%+v", fs)
	}
	if fs := mountOf(table, 23); fs == nil || *fs != (filesystemFact{Type: "tmpfs", Mounted: "/mnt/my disk", From: `none\x`}) {
		t.Errorf("%+v", fs)
	}
	for _, id := range []uint64{24, 2, 0} {
		if fs := mountOf(table, id); fs != nil {
			t.Errorf("mount %d: %+v", id, fs)
		}
	}
}
