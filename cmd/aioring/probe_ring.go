//go:build unix && !freebsd

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
)

// ringTrier tries through a ring: here it hides nothing.
type ringTrier struct{ ring *aioring.Ring }

// trialTimeout is for a file system that does not answer.
const trialTimeout = 10 * time.Second

func (t ringTrier) try(call aio.Call, fd int, buf []byte) (int, bool, error) {
	var sqe aioring.SQE
	switch call {
	case aio.CallRead:
		aioring.PrepRead(&sqe, fd, buf, 0)
	case aio.CallWrite:
		aioring.PrepWrite(&sqe, fd, buf, 0)
	case aio.CallFsync:
		aioring.PrepFsync(&sqe, fd, 0)
	default:
		return 0, false, fmt.Errorf("no operation for %s", call)
	}
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	cqe, err := t.ring.Do(ctx, sqe)
	if err != nil {
		return 0, false, err
	}
	if cqe.Res < 0 {
		return 0, true, syscall.Errno(-cqe.Res)
	}
	return int(cqe.Res), true, nil
}

func (t ringTrier) takes(stat aio.FileStat) (bool, string) {
	if stat.AIO() {
		return true, ""
	}
	if stat.Type == aio.TypeOther {
		return true, "not tried: what opening it does is for its driver to say"
	}
	return true, "not tried: a read could wait for somebody at the other end"
}

// probePaths tries every path through a ring of the kernel that New takes.
func probePaths(f *probeFacts, paths []string) {
	if len(paths) == 0 {
		return
	}
	ring, err := aioring.New(1)
	if err != nil {
		for _, path := range paths {
			f.Paths = append(f.Paths, pathFact{Path: path, Tried: []string{}, Error: err.Error()})
		}
		return
	}
	defer ring.Close()
	for _, path := range paths {
		f.Paths = append(f.Paths, probePath(ringTrier{ring}, path))
	}
}

// charDevicesAreDisks: here disks are block devices, and opening any other device
// may do more than open it.
const charDevicesAreDisks = false

// uname fills in what this system calls itself.
func uname(s *systemFacts) {
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		s.Release, s.Version = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])
	}
}
