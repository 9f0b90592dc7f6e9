//go:build unix && race

package sim

const raceEnabled = true
