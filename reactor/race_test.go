//go:build race

package reactor

// raceDetector says whether the tests were built with it.
const raceDetector = true
