//go:build unix && !linux && !freebsd

package aiotest

// pollReadEnd: poll(2) says nothing of the other side here.
const pollReadEnd = 0
