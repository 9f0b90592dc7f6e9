//go:build race

package bench

// raceDetector says whether the tests were built with it.
const raceDetector = true
