package aiotest

// pollReadEnd: poll(2) says by it that the other side has stopped sending.
// Source: FreeBSD sys/sys/poll.h.
const pollReadEnd = 0x4000
