//go:build unix && !linux && !freebsd

package main

import "errors"

const (
	directFlag      = 0
	exclusiveDevice = 0
)

// usesOfDevice does not know how to find out.
func usesOfDevice(string) (string, error) {
	return "", usageError{errors.New("--device: not on this system")}
}
