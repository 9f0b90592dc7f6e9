package aiotest

import "golang.org/x/sys/unix"

// pollReadEnd: poll(2) says by it that the other side has stopped sending.
const pollReadEnd = unix.POLLRDHUP
