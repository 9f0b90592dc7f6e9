//go:build !unix

package main

import (
	"context"
	"syscall"

	"github.com/aioring/aioring"
)

// copyAll is never reached: there is no ring here to begin with.
func copyAll(context.Context, *aioring.Ring, *cpCommand, *report) error {
	return aioring.ErrUnsupported
}

// errnoName has no symbols to give.
func errnoName(syscall.Errno) string { return "" }
