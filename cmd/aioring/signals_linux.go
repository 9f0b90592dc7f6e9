package main

import (
	"os"
	"syscall"
)

// statusSignals: SIGUSR1, for want of SIGINFO. dd has it so, too.
var statusSignals = []os.Signal{syscall.SIGUSR1}
