//go:build unix && !linux

package aioring

// sameOpenFile is Linux's.
func sameOpenFile(int, int) (same, known bool) { return false, false }
