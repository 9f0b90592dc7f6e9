package aiotest

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// pty opens a terminal and its controlling side, in raw mode.
func (r *rig) pty() (controller, terminal int) {
	r.Helper()
	controller = r.open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err := unix.IoctlSetPointerInt(controller, unix.TIOCSPTLCK, 0); err != nil {
		r.Fatal(err)
	}
	n, err := unix.IoctlGetInt(controller, unix.TIOCGPTN)
	if err != nil {
		r.Fatal(err)
	}
	terminal = r.open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY)
	mode, err := unix.IoctlGetTermios(terminal, unix.TCGETS)
	if err != nil {
		r.Fatal(err)
	}
	mode.Iflag, mode.Oflag = 0, 0
	mode.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(terminal, unix.TCSETS, mode); err != nil {
		r.Fatal(err)
	}
	return controller, terminal
}
