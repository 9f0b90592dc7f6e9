//go:build unix && !linux

package worker

// readCached is Linux's: elsewhere no read can be told not to wait for the medium.
func readCached(int, []byte, [][]byte, int64) (int, bool) { return 0, false }

func endsBy(int, int64) bool { return false }

// Direct says here that no read is one for Cache.
func Direct(int) bool { return true }
