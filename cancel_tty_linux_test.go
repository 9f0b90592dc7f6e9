package aioring

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A write to a terminal in blocking mode may block though poll(2) said that there was
// room. Who cancels it hears that it cannot be stopped, and other cancellations go on.
func TestCancelGoesOnPastABlockedTerminal(t *testing.T) {
	m, s := openPty(t)
	if err := unix.SetNonblock(s, true); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1024); ; {
		if _, err := unix.Write(s, b); err != nil {
			break
		}
	}
	_ = unix.SetNonblock(s, false)
	_ = unix.SetNonblock(m, true)
	drain := func() { _, _ = unix.Read(m, make([]byte, 4096)) }
	out := []unix.PollFd{{Fd: int32(s), Events: unix.POLLOUT}}
	for i := 0; ; i++ {
		if n, _ := unix.Poll(out, 10); n > 0 {
			break
		}
		if i == 500 {
			t.Skip("the terminal never has a little room")
		}
		_, _ = unix.Read(m, make([]byte, 64))
	}
	r, err := New(8, WithKernel(KernelThreads))
	if err != nil {
		t.Fatal(err)
	}
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	put := func(data uint64, prep func(*SQE)) {
		sqe := r.GetSQE()
		prep(sqe)
		sqe.UserData = data
	}
	put(1, func(q *SQE) { PrepWrite(q, s, make([]byte, 64000), CurrentPosition) })
	put(2, func(q *SQE) { PrepRead(q, p[0], make([]byte, 4), CurrentPosition) })
	if _, err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // it blocks by now, or not yet: the rest must hold in both cases
	put(3, func(q *SQE) { PrepCancel(q, 1, 0) })
	put(4, func(q *SQE) { PrepCancel(q, 2, 0) })
	if _, err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]int32{}
	for got[2] == 0 {
		c, err := r.WaitCQETimeout(10 * time.Second)
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got[c.UserData] = c.Res
		r.CQESeen(c)
	}
	if got[2] != -int32(unix.ECANCELED) || got[4] != 0 {
		t.Errorf("%v", got)
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	for {
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
			for _, fd := range []int{m, s, p[0], p[1]} {
				_ = unix.Close(fd)
			}
			return
		case <-time.After(time.Millisecond):
			drain()
		}
	}
}

// openPty opens a terminal: its master, and itself, raw.
func openPty(t *testing.T) (m, s int) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tio, err := unix.IoctlGetTermios(s, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tio.Oflag &^= unix.OPOST
	tio.Lflag &^= unix.ICANON | unix.ECHO
	if err := unix.IoctlSetTermios(s, unix.TCSETS, tio); err != nil {
		t.Fatal(err)
	}
	return m, s
}
