package main

import (
	"os"
	"os/signal"
	"syscall"
)

// watchSignals calls interrupt at the first signal that asks the program to end;
// the second one ends it at once. It calls status at every one that asks how
// things stand. The function returned stops the watch.
func watchSignals(interrupt func(syscall.Signal), status func()) (stop func()) {
	ends, asks := make(chan os.Signal, 1), make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup's wish, or the shell's for a job in the background
			signal.Notify(ends, s)
		}
	}
	if len(statusSignals) > 0 { // Notify without any means all
		signal.Notify(asks, statusSignals...)
	}
	over := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-ends:
				signal.Stop(ends)
				interrupt(s.(syscall.Signal))
			case <-asks:
				status()
			case <-over:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ends)
		signal.Stop(asks)
		close(over)
	}
}
