//go:build unix && !linux

package aioring

func alignDirect(int, *Alignment) {}
