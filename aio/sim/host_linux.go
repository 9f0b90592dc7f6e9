package sim

import "golang.org/x/sys/unix"

// pathFlag marks a descriptor that only names a file.
const pathFlag = unix.O_PATH

func fdatasync(fd int) error { return unix.Fdatasync(fd) }
