package aiotest

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// posix_openpt(2), and the question for a terminal's number.
// Source: FreeBSD sys/sys/syscall.h; sys/sys/ttycom.h, _IOR('t', 15, int).
const (
	sysPosixOpenpt = 504
	tiocgptn       = 0x4004740f
)

// pty opens a terminal and its controlling side, in raw mode.
func (r *rig) pty() (controller, terminal int) {
	r.Helper()
	fd, _, errno := unix.Syscall(sysPosixOpenpt, unix.O_RDWR|unix.O_NOCTTY, 0, 0)
	if errno != 0 {
		r.Skipf("no terminals here: %v", errno)
	}
	controller = int(fd)
	r.closeLater(controller)
	n, err := unix.IoctlGetInt(controller, tiocgptn)
	if err != nil {
		r.Fatal(err)
	}
	terminal = r.open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY)
	mode, err := unix.IoctlGetTermios(terminal, unix.TIOCGETA)
	if err != nil {
		r.Fatal(err)
	}
	mode.Iflag, mode.Oflag = 0, 0
	mode.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(terminal, unix.TIOCSETA, mode); err != nil {
		r.Fatal(err)
	}
	return controller, terminal
}
