//go:build unix && !linux && !freebsd

package aiotest

func (r *rig) pty() (controller, terminal int) {
	r.Skip("no way to a terminal is known on this system")
	return -1, -1
}
