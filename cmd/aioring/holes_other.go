//go:build unix && !(darwin || dragonfly || freebsd || linux)

package main

// dataFrom finds no holes: nobody here tells where they are.
func dataFrom(_ int, off, size int64) (start, end int64, err error) { return off, size, nil }
