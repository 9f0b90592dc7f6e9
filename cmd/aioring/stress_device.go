//go:build unix

package main

import (
	"fmt"
	"os"
)

// deviceInUse says where a disk, or a part of it, is mounted or used otherwise; "" is
// nowhere. Something that is no disk is an error.
func deviceInUse(path string) (where string, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Mode()&os.ModeDevice == 0 {
		return "", usageError{fmt.Errorf("--device %s: not a device", path)}
	}
	return usesOfDevice(path)
}
