//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import "os"

// statusSignals: none.
var statusSignals []os.Signal
