//go:build unix

package aioring

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// descriptor is an eventfd by number.
type descriptor struct {
	write int
	owned []int // what close closes
}

// one is what is written: 1 as an eventfd reads it.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func (d *descriptor) signal() {
	for {
		// EAGAIN: it is readable as it is. Nothing else could be told to anybody.
		if _, err := unix.Write(d.write, one); err != unix.EINTR {
			return
		}
	}
}

func (d *descriptor) close() error {
	var errs []error
	for _, fd := range d.owned {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}
