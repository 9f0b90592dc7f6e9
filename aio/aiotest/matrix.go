//go:build unix

package aiotest

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// FreeBSD's own matrix, tests/sys/aio/aio_test.c: every kind of descriptor with
// every way to learn of the end. The names are those of that file's tests. Its
// thread rows are a thread of the C library's, which has no kernel side.

// endpoints are a kind of descriptor: what is written to one end comes out of the
// other.
type endpoints struct {
	name   string
	length int
	unsafe bool // a daemon might hang on it
	open   func(r *rig) (reader, writer int)
}

var kinds = []endpoints{
	{"file", 16384, false, func(r *rig) (int, int) { fd := r.file(0); return fd, fd }},
	{"fifo", 256, true, (*rig).fifoEnds},
	{"unix_socketpair", 256, false, (*rig).sockets},
	{"tcp_socket", 256, false, (*rig).tcp},
	{"pty", 256, true, (*rig).pty},
	{"pipe", 256, true, (*rig).pipe},
	{"raw_disk", 16384, false, func(r *rig) (int, int) { fd := r.disk(); return fd, fd }},
}

// completions are the ways to learn that a job has finished. Each reaps it.
var completions = []struct {
	name string
	sig  func(r *rig) aio.Sigevent // nil for none
	wait func(r *rig, j *job, n int)
}{
	{"kq", func(r *rig) aio.Sigevent { return r.kevent(0, 7) }, func(r *rig, j *job, n int) {
		r.wantEvent(j, 0, 0, 7)
		r.reap(j, n, 0)
		r.quiet("after the reap")
	}},
	{"poll", nil, func(r *rig, j *job, n int) { r.reap(j, n, 0) }},
	{"signal", func(r *rig) aio.Sigevent {
		return aio.Sigevent{Notify: aio.NotifySignal, Kqueue: int32(unix.SIGUSR1), Value: 7}
	}, func(r *rig, j *job, n int) {
		r.wantSignal(unix.SIGUSR1)
		r.want("aio_error when the signal is there", r.k.Error(j.cb), 0)
		r.wantReturn(j, n, 0)
	}},
	{"suspend", nil, func(r *rig, j *job, n int) {
		r.want("aio_suspend", r.suspend(patience, j), 0)
		r.want("aio_error after aio_suspend", r.k.Error(j.cb), 0)
		r.wantReturn(j, n, 0)
	}},
	{"waitcomplete", nil, func(r *rig, j *job, n int) { r.wantComplete(patience, j, n, 0) }},
}

func matrixCases() []testCase {
	var cases []testCase
	for _, k := range kinds {
		for _, c := range completions {
			cases = append(cases, testCase{
				name:   "matrix/" + k.name + "_" + c.name,
				source: "aio_test.c, " + k.name + "_" + c.name,
				// A signal interrupts, and aio_waitcomplete takes, whatever the process has.
				alone: k.unsafe || c.name == "signal",
				run: func(r *rig) {
					if c.name == "signal" {
						r.catch(unix.SIGUSR1)
					}
					reader, writer := k.open(r)
					if k.unsafe {
						r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
					}
					data := make([]byte, k.length)
					for i := range data {
						data[i] = pattern(i)
					}
					out, in := r.write(writer, 0, string(data)), r.read(reader, 0, k.length)
					for _, j := range []*job{out, in} {
						if c.sig != nil {
							j.cb.Sigevent = c.sig(r)
						}
						r.start(j)
						c.wait(r, j, k.length)
					}
					r.wantPattern(in.buf, 0)
				},
			})
		}
	}
	for _, k := range kinds {
		if k.unsafe {
			continue // as in that file, which has vectors for these kinds alone
		}
		cases = append(cases, testCase{
			name:   "matrix/vectored_" + k.name + "_poll",
			source: "aio_test.c, vectored_" + k.name + "_poll",
			run: func(r *rig) {
				reader, writer := k.open(r)
				data := make([]byte, k.length)
				for i := range data {
					data[i] = pattern(i)
				}
				// Two parts, of unlike length, that have changed places.
				out := r.writev(writer, 0, string(data[:k.length/4]), string(data[k.length/4:]))
				in := r.readv(reader, 0, k.length/4, k.length*3/4)
				for _, j := range []*job{out, in} {
					j.iov[0], j.iov[1] = j.iov[1], j.iov[0]
					r.start(j)
					r.reap(j, k.length, 0)
				}
				r.wantPattern(in.buf, 0)
			},
		})
	}
	return cases
}

// fifoEnds are both ends of a named pipe.
func (r *rig) fifoEnds() (reader, writer int) {
	r.Helper()
	name := r.fifoName()
	reader = r.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	writer = r.open(name, unix.O_WRONLY|unix.O_NONBLOCK)
	for _, fd := range []int{reader, writer} {
		if err := unix.SetNonblock(fd, false); err != nil {
			r.Fatal(err)
		}
	}
	return reader, writer
}

// tcp are the ends of a connection over loopback.
func (r *rig) tcp() (a, b int) {
	r.Helper()
	listener, at := r.listen()
	a, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.closeLater(a)
	r.buffers(a)
	r.connect(a, at)
	b, _, err = unix.Accept(listener)
	if err != nil {
		r.Fatal(err)
	}
	r.closeLater(b)
	return a, b
}

// listen makes a listening socket on loopback.
func (r *rig) listen() (fd int, at unix.Sockaddr) {
	r.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	r.closeLater(fd)
	r.buffers(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		r.Skipf("no loopback here: %v", err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		r.Fatal(err)
	}
	if at, err = unix.Getsockname(fd); err != nil {
		r.Fatal(err)
	}
	return fd, at
}

// buffers gives a socket, and those that it accepts, buffers of a size that stays.
func (r *rig) buffers(fd int) {
	r.Helper()
	for _, option := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 64<<10); err != nil {
			r.Fatal(err)
		}
	}
}

// connect connects a blocking socket, whatever signals come.
func (r *rig) connect(fd int, to unix.Sockaddr) {
	r.Helper()
	err := unix.Connect(fd, to)
	if err == unix.EINTR {
		// It goes on by itself.
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		for err == unix.EINTR {
			_, err = unix.Poll(fds, int(patience/time.Millisecond))
		}
	}
	if err != nil {
		r.Fatalf("connect: %v", err)
	}
}

// disk opens the raw disk that the target has, for reading and writing. What it
// holds may be overwritten.
func (r *rig) disk() int {
	r.Helper()
	return r.openDisk(DiskDirect)
}

func (r *rig) openDisk(kind DiskKind) int {
	r.Helper()
	if r.target.Disk == nil {
		r.Skip("no raw disk here")
	}
	path := r.target.Disk(r.T, r.k, kind)
	if path == "" {
		r.Skip("no such raw disk here")
	}
	return r.open(path, unix.O_RDWR)
}

// catch has signals of jobs noticed.
func (r *rig) catch(signals ...unix.Signal) {
	r.Helper()
	if r.target.Signals == nil {
		r.Skip("signals cannot be received here")
	}
	r.signals = r.target.Signals(r.T, r.k, signals...)
}

// wantSignal waits for a signal that catch was told of.
func (r *rig) wantSignal(signal unix.Signal) {
	r.Helper()
	if got := r.nextSignal(); got != signal {
		r.Errorf("signal %d, want %d", got, signal)
	}
}

func (r *rig) nextSignal() unix.Signal {
	r.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case got := <-r.signals:
		return got
	case <-late.C:
		r.Fatalf("no signal after %v", patience)
		return 0
	}
}

// repeat is n bytes.
func repeat(s string, n int) string { return strings.Repeat(s, n/len(s)+1)[:n] }
