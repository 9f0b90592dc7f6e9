package aio

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The end of a process that has jobs, and its exec. What waits is cancelled, what a
// daemon has in hand is waited for, and nobody is told of either.
// Source: FreeBSD sys/kern/vfs_aio.c, aio_proc_rundown.

// exitEnv and execEnv make the test binary the process that ends.
const (
	exitEnv = "AIO_TEST_EXITS"
	execEnv = "AIO_TEST_EXECS"
	nextEnv = "AIO_TEST_EXECED"
)

func TestExitWaitsForWhatADaemonHas(t *testing.T) {
	const size = 1 << 20
	if os.Getenv(exitEnv) != "" {
		r := newRig(t, 2)
		a, _ := r.sockets()
		r.want("aio_read", r.Read(r.prepare(OpRead, a, 0, make([]byte, 1))), 0)
		r.want("aio_write", r.Write(r.prepare(OpWrite, 3, 0, make([]byte, size))), 0)
		os.Exit(0)
	}
	const name = "vfs.aio.enable_unsafe"
	if err := setSysctlInt(name, 1); err != nil {
		t.Skipf("pipes are not for AIO here: %v", err)
	}
	defer func() {
		if err := setSysctlInt(name, 0); err != nil {
			t.Error(err)
		}
	}()
	k := newRig(t, 1)
	before := k.limits().QueueCount
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := inOwnProcess(t, exitEnv)
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	buf := make([]byte, 64<<10)
	got, err := reader.Read(buf[:1]) // a daemon has the write
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Errorf("the process has ended with a write under way: %v", err)
	case <-time.After(time.Second):
	}
	for {
		n, err := reader.Read(buf)
		got += n
		if err != nil {
			break
		}
	}
	if got != size {
		t.Errorf("%d bytes were written, want %d", got, size)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the process has not ended though its write has")
	}
	if now := k.limits().QueueCount; now != before {
		t.Errorf("%d jobs are in the system after the end, %d were before", now, before)
	}
}

func TestExecEndsWhatWaits(t *testing.T) {
	switch {
	case os.Getenv(nextEnv) != "":
		// The process after its exec. Its queue was closed, and it has no jobs.
		r := newRig(t, 1)
		if cb, n, errno := r.WaitComplete(0); cb != nil || errno != EAGAIN {
			t.Errorf("aio_waitcomplete after exec: %p, %d, %v", cb, n, errno)
		}
		fmt.Println("left:", r.limits().QueueCount)
		return
	case os.Getenv(execEnv) != "":
		r := newRig(t, 1)
		a, _ := r.sockets()
		r.want("aio_read", r.Read(r.prepare(OpRead, a, 0, make([]byte, 1))), 0)
		fmt.Println("waiting:", r.limits().QueueCount)
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(syscall.Exec(program, os.Args, append(os.Environ(), nextEnv+"=1")))
	}
	r := newRig(t, 1)
	before := r.limits().QueueCount
	out, err := inOwnProcess(t, execEnv).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var waiting, left int
	for _, line := range strings.Split(string(out), "\n") {
		_, _ = fmt.Sscanf(line, "waiting: %d", &waiting)
		_, _ = fmt.Sscanf(line, "left: %d", &left)
	}
	if waiting != before+1 || left != before {
		t.Errorf("%d jobs before, %d with the one that waits, %d after the exec\n%s", before, waiting, left, out)
	}
}
