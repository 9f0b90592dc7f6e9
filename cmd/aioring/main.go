// Command aioring puts package aioring to work from the shell.
//
//	aioring cp --verify --sync SRC... DST
//	aioring probe --depth 512 PATH...
//	aioring stress --kernel sim --duration 1m
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Exit codes. One that a signal ended is 128 and its number, as shells say it.
const (
	exitDone   = 0
	exitFailed = 1  // something asked for is not on disk
	exitUsage  = 64 // EX_USAGE, as cp's
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program: data goes to stdout, talk to stderr.
func run(args []string, stdout, stderr io.Writer) int {
	var commands struct {
		Cp     cpCommand     `cmd:"" help:"Copy files and directory trees, as cp -Rp does, through the ring."`
		Probe  probeCommand  `cmd:"" help:"Say what this system offers to a ring, and what would make it enough."`
		Stress stressCommand `cmd:"" help:"Run random operations in all ways at a time, with every byte checked."`
	}
	parser := kong.Must(&commands, kong.Name("aioring"), kong.Writers(stdout, stderr),
		kong.Description("Asynchronous file I/O through a submission and completion ring."))
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "aioring: %v; see aioring --help\n", err)
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context.Selected() != nil && parse.Context.Selected().Name == "probe" {
			return exitProbeUsage
		}
		return exitUsage
	}
	switch chosen.Selected().Name {
	case "probe":
		return commands.Probe.run(stdout, stderr)
	case "stress":
		return commands.Stress.run(stdout, stderr)
	}
	return commands.Cp.run(stdout, stderr)
}
