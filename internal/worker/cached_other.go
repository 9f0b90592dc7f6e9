//go:build unix && !linux

package worker

// pagesOf: elsewhere than on Linux no read can be told not to wait for the medium.
func pagesOf(int) Pages { return pagesMedium }

func readCached(int, []byte, [][]byte, int64, *Pages) (int, bool) { return 0, false }

func endsBy(int, int64) bool { return false }
