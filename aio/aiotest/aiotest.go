//go:build unix

package aiotest

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// Target is what the suite is run on.
type Target struct {
	// New gives the kernel for one case. A model makes a new process each time.
	New func(t *testing.T) aio.Kernel

	// Osreldate is the version whose rules hold: 1302001 for 13.2.
	Osreldate int

	// IsModel says that each New is a process of its own on a machine of its
	// own, so that no case needs a fresh process of the host.
	IsModel bool

	// Dir is where files are made; "" for a directory of each case's own.
	Dir string

	// SetLimits changes the sysctls that aio.Limits names. An error skips the
	// cases that need it.
	SetLimits func(k aio.Kernel, l aio.Limits) error

	// Sysctl reads a sysctl by its name. nil skips the cases about those that
	// aio.Limits has not.
	Sysctl func(k aio.Kernel, name string) (int, error)

	// Disk gives the path of a raw disk that may be overwritten, "" if there is none
	// of this kind. nil: there is none at all.
	Disk func(t *testing.T, k aio.Kernel, kind DiskKind) (path string)

	// Signals gives the signals with these numbers that jobs of the process send,
	// until the end of the case. nil skips the cases about them.
	Signals func(t *testing.T, k aio.Kernel, signals ...unix.Signal) <-chan unix.Signal

	// Stall keeps the next submission of cb queued, where it can be cancelled,
	// until release is called. nil: the suite uses reads of a socket that has
	// nothing to say.
	Stall func(k aio.Kernel, cb *aio.ControlBlock) (release func())

	// Progress lets what is under way go on, in a model that does nothing by
	// itself. The suite calls it where it waits without a system call. Then the
	// cases that need a second thread are left out. nil: nobody has to.
	Progress func(k aio.Kernel)

	// Now is the kernel's clock. nil: the host's.
	Now func(k aio.Kernel) time.Time
}

// DiskKind is a kind of raw disk.
type DiskKind int

const (
	DiskDirect DiskKind = iota // takes its buffers as they are
	DiskMapped                 // needs them mapped, so that they are counted
)

// testCase is one row of the table.
type testCase struct {
	name   string // group/what happens
	source string // where the rule comes from
	run    func(r *rig)
	alone  bool     // needs a process of its own, with all slots to itself
	needs  *feature // nil: every version has it
}

// table is every case, in the order in which they run.
func table() []testCase {
	return slices.Concat(
		submitCases(),
		wordCases,
		reapCases,
		waitCases,
		closeCases,
		listCases(),
		limitCases,
		sysctlCases,
		descriptorCases(),
		socketCases(),
		diskCases,
		transferCases,
		fsyncCases,
		keventCases,
		readinessCases,
		timerCases,
		peerCases,
		signalCases,
		matrixCases(),
	)
}

// Run runs every case as a subtest of t, one after the other. On a real kernel
// no other program should use AIO meanwhile: jobs are counted.
func Run(t *testing.T, target Target) {
	for _, c := range table() {
		t.Run(c.name, func(t *testing.T) {
			if c.alone && !target.IsModel && os.Getenv(aloneEnv) != t.Name() {
				runAlone(t)
				return
			}
			r := newRig(t, target)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the rule: %s", c.source)
				}
			})
			if c.needs != nil {
				r.need(c.needs)
			}
			c.run(r)
		})
	}
}

// feature is something that not every version has. It is looked for by trying,
// as programs must.
type feature struct {
	name  string
	since int // the first osreldate that must have it
	has   func(r *rig) bool
}

// need skips the case on a version that lacks the feature and is old enough to.
func (r *rig) need(f *feature) {
	r.Helper()
	switch {
	case f.has(r):
	case r.target.Osreldate >= f.since:
		r.Fatalf("%s are missing, and %d must have them", f.name, r.target.Osreldate)
	default:
		r.Skipf("%s came with %d, this is %d", f.name, f.since, r.target.Osreldate)
	}
}

// vectoredLists: Source: FreeBSD review D31627 (14.0).
var vectoredLists = &feature{"vectored list entries", 1400000, func(r *rig) bool {
	return r.tryInList(r.readv(r.file(8), 0, 4, 4))
}}

// listOffset: Source: aio_read(2), HISTORY (14.1).
var listOffset = &feature{"list entries at the file's own offset", 1401000, func(r *rig) bool {
	j := r.read(r.file(8), 0, 4)
	j.cb.Opcode |= opFoffset
	return r.tryInList(j)
}}

// tryInList submits a list of one and reports whether the entry was accepted.
func (r *rig) tryInList(j *job) bool {
	r.Helper()
	_, errno := r.list(aio.ListNoWait, nil, j)
	if errno == aio.EIO && j.cb.ErrorWord() == aio.EINVAL {
		return false
	}
	r.want("lio_listio of one entry", errno, 0)
	r.wait(j)
	_, _ = r.k.Return(j.cb)
	return true
}

// aloneEnv names the one case that a child process is for.
const aloneEnv = "AIOTEST_ALONE"

// runAlone runs this case in a child process.
func runAlone(t *testing.T) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Skip("this program does not know its own file:", err)
	}
	var pattern []string
	for _, part := range strings.Split(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	child := exec.CommandContext(ctx, program, "-test.v", "-test.run", strings.Join(pattern, "/"))
	child.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	child.WaitDelay = time.Second
	out, err := child.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v in a process of its own:\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()+" "):
		t.Skipf("in a process of its own:\n%s", out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Fatalf("the process of its own did not run the case:\n%s", out)
	}
}
