package engine

import (
	"syscall"
	"testing"
)

func TestSizes(t *testing.T) { // checks 1 to 4
	for _, c := range []struct {
		entries, cqEntries int
		flags              uint32
		sq, cq             int // 0: EINVAL
	}{
		{0, 0, 0, 0, 0}, {0, 0, SetupClamp, 0, 0}, {-1, 0, SetupClamp, 0, 0},
		{1, 0, 0, 1, 2}, {3, 0, 0, 4, 8}, {4, 0, 0, 4, 8}, {5, 7, 0, 8, 16},
		{32768, 0, 0, 32768, 65536}, {32769, 0, 0, 0, 0}, {32769, 0, SetupClamp, 32768, 65536},
		{4, 5, SetupCQSize, 4, 8}, {4, 0, SetupCQSize, 0, 0}, {4, 2, SetupCQSize, 0, 0},
		{4, 3, SetupCQSize, 4, 4}, {3, 4, SetupCQSize, 4, 4}, {4, 65537, SetupCQSize, 0, 0},
		{4, 65537, SetupCQSize | SetupClamp, 4, 65536}, {4, 65536, SetupCQSize, 4, 65536},
		{4, 0, SetupCQSize | SetupClamp, 0, 0},
	} {
		sq, cq, errno := Sizes(c.entries, c.cqEntries, c.flags)
		want := syscall.Errno(0)
		if c.sq == 0 {
			want = syscall.EINVAL
		}
		if sq != c.sq || cq != c.cq || errno != want {
			t.Errorf("%+v: %d, %d, %v", c, sq, cq, errno)
		}
	}
}

func TestSetupFlagsThatGoTogether(t *testing.T) { // check 5
	for flags, ok := range map[uint32]bool{
		0:                                   true,
		1 << 0:                              false, // IOPOLL
		1 << 30:                             false,
		SetupTaskrunFlag:                    false,
		SetupTaskrunFlag | SetupCoopTaskrun: true,
		SetupTaskrunFlag | SetupDeferTaskrun | SetupSingleIssuer: true,
		SetupDeferTaskrun:                                   false,
		SetupDeferTaskrun | SetupSingleIssuer:               true,
		SetupSQPoll:                                         true,
		SetupSQPoll | SetupCoopTaskrun:                      false,
		SetupSQPoll | SetupSingleIssuer:                     true,
		SetupSQPoll | SetupSingleIssuer | SetupDeferTaskrun: false,
		SetupRDisabled | SetupSubmitAll | SetupClamp | SetupCQSize | SetupNoSQArray: true,
	} {
		if got := CheckSetup(flags) == 0; got != ok {
			t.Errorf("%#x: %v", flags, got)
		}
	}
}
