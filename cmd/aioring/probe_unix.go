//go:build unix && !freebsd && !linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// probeSystem has little to ask: here a ring runs on threads.
func probeSystem(f *probeFacts, d demand, paths []string) {
	uname(&f.System)
	probePaths(f, paths)
	f.Verdict = judgeOther(d, f.Kernel, f.KernelError)
}

func alignmentOf(fd int, stat aio.FileStat) *alignmentFact {
	a := &alignmentFact{Memory: 1, Offset: 1, Length: 1, Words: "none needed"}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Blksize > 0 {
		a.Preferred = int(st.Blksize)
		a.Words += fmt.Sprintf("; transfers of whole blocks of %d bytes suit it best", a.Preferred)
	}
	return a
}
