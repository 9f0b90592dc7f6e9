//go:build !unix

package main

import (
	"fmt"
	"io"
)

func (c *stressCommand) stress(_, stderr io.Writer) int {
	fmt.Fprintln(stderr, "aioring: stress: not on this system")
	return exitFailed
}

func (c *stressCommand) checkOnly(_, stderr io.Writer) int { return c.stress(nil, stderr) }
