//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"
	"syscall"
)

// statusSignals: SIGINFO, which a terminal sends at control-T.
var statusSignals = []os.Signal{syscall.SIGINFO}
