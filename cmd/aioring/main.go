// Command aioring puts package aioring to work from the shell.
//
//	aioring cp --verify --sync SRC... DST
package main

import (
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
		Cp cpCommand `cmd:"" help:"Copy files and directory trees, as cp -Rp does, through the ring."`
	}
	parser := kong.Must(&commands, kong.Name("aioring"), kong.Writers(stdout, stderr),
		kong.Description("Asynchronous file I/O through a submission and completion ring."))
	if _, err := parser.Parse(args); err != nil {
		fmt.Fprintf(stderr, "aioring: %v; see aioring --help\n", err)
		return exitUsage
	}
	return commands.Cp.run(stdout, stderr)
}
