//go:build unix

package aiotest

import (
	"golang.org/x/sys/unix"
	"time"

	"github.com/aioring/aioring/aio"
)

// Jobs on sockets, of the local kind and over TCP.

const (
	soaio       = "FreeBSD sys/kern/sys_socket.c, soaio_process_job"
	soaioCancel = "FreeBSD sys/kern/sys_socket.c, soo_aio_cancel"
	soaioQueue  = "FreeBSD sys/kern/sys_socket.c, soo_aio_queue"
)

// socketRule is a case that holds for every stream socket. a and b are the ends.
type socketRule struct {
	name, source string
	run          func(r *rig, a, b int)
}

func socketCases() []testCase {
	var cases []testCase
	for _, family := range []struct {
		name string
		open func(r *rig) (a, b int)
	}{{"local", (*rig).sockets}, {"TCP", (*rig).tcp}} {
		for _, rule := range socketRules {
			cases = append(cases, testCase{name: "socket/" + family.name + ": " + rule.name, source: rule.source, run: func(r *rig) {
				a, b := family.open(r)
				rule.run(r, a, b)
			}})
		}
	}
	return append(cases, socketOthers...)
}

// send writes to a socket by an ordinary call.
func (r *rig) send(fd int, data string) {
	r.Helper()
	for p := []byte(data); len(p) > 0; {
		n, err := unix.Write(fd, p)
		if err != nil && err != unix.EINTR {
			r.Fatalf("write: %v", err)
		}
		p = p[max(n, 0):]
	}
}

// untilReadable lets jobs go on that the bytes come from, where they need that.
func (r *rig) untilReadable(fd int) {
	r.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); r.target.Progress != nil; r.pause(0) {
		if n, _ := unix.Poll(fds, 0); n > 0 {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("nothing to read after %v", patience)
		}
	}
}

// receive reads n bytes from a socket by ordinary calls.
func (r *rig) receive(fd, n int) []byte {
	r.Helper()
	buf := make([]byte, n)
	for got := 0; got < n; {
		r.untilReadable(fd)
		m, err := unix.Read(fd, buf[got:])
		if err == unix.EINTR {
			continue
		}
		if m <= 0 {
			r.Fatalf("read: %d, %v, after %d of %d bytes", m, err, got, n)
		}
		got += m
	}
	return buf
}

// fill writes to a socket until it takes no more, and says how much that was. What
// is under way on TCP makes room once more when it has arrived, so there a socket is
// full when it has stayed so for a while.
func (r *rig) fill(fd int) int {
	r.Helper()
	total := r.fillOnce(fd)
	if at, err := unix.Getsockname(fd); err != nil {
		return total // no socket
	} else if _, tcp := at.(*unix.SockaddrInet4); !tcp {
		return total
	}
	const settled = 50 // milliseconds
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if _, err := unix.Poll(fds, settled); err == unix.EINTR {
			continue
		}
		// Asked for again even if poll knows of no room: it wants more than a byte.
		n := r.fillOnce(fd)
		if n == 0 {
			return total
		}
		total += n
	}
}

func (r *rig) fillOnce(fd int) int {
	r.Helper()
	r.nonblocking(fd, true)
	defer r.nonblocking(fd, false)
	total := 0
	buf := make([]byte, 4096)
	for len(buf) > 0 {
		switch n, err := unix.Write(fd, buf); err {
		case nil:
			total += n
		case unix.EINTR:
		case unix.EAGAIN:
			buf = buf[:len(buf)/2]
		default:
			r.Fatalf("write: %v", err)
		}
	}
	return total
}

func (r *rig) nonblocking(fd int, on bool) {
	r.Helper()
	if err := unix.SetNonblock(fd, on); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) shut(fd, how int) {
	r.Helper()
	if err := unix.Shutdown(fd, how); err != nil {
		r.Fatal(err)
	}
}

// noSignal keeps SIGPIPE away, where a socket has that option.
func (r *rig) noSignal(fd int) {
	r.Helper()
	const noSigpipe = 0x0800 // SO_NOSIGPIPE, of FreeBSD
	if !r.target.IsModel {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, noSigpipe, 1); err != nil {
			r.Fatal(err)
		}
	}
}

// deaf reports whether jobs on a socket do not hear of its peer's SHUT_WR.
func (r *rig) deaf(fd int) bool {
	r.Helper()
	at, err := unix.Getsockname(fd)
	if err != nil {
		r.Fatal(err)
	}
	_, local := at.(*unix.SockaddrUnix)
	return local && r.target.Osreldate >= 1500000
}

// roundTrip is a job that comes and goes, so that others had their turn.
func (r *rig) roundTrip() {
	r.Helper()
	a, b := r.sockets()
	j := r.read(a, 0, 1)
	r.start(j)
	r.send(b, "x")
	r.reap(j, 1, 0)
}

// much is more than a socket takes at once.
const much = 8 << 20

// moved waits until a large write on a has moved some bytes and not all: b reads
// one, and the socket is full again or will be.
func (r *rig) moved(j *job, b int) {
	r.Helper()
	r.receive(b, 1)
	r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
}

var socketRules = []socketRule{
	{"a read ends with what is there", soaio, func(r *rig, a, b int) {
		in := r.notify(r.read(a, 0, 64), aio.EvOneshot, 1)
		r.start(in)
		out := r.write(b, 0, "hello")
		r.start(out)
		r.wantEvent(in, aio.EvOneshot, 0, 1)
		r.reap(in, 5, 0)
		r.reap(out, 5, 0)
		if string(in.buf[:5]) != "hello" {
			r.Errorf("read %q", in.buf[:5])
		}
	}},
	{"a read of less than is there leaves the rest", soaio, func(r *rig, a, b int) {
		r.send(b, "hello")
		first, second := r.read(a, 0, 2), r.read(a, 0, 64)
		r.start(first)
		r.reap(first, 2, 0)
		r.start(second)
		r.reap(second, 3, 0)
		if string(first.buf) != "he" || string(second.buf[:3]) != "llo" {
			r.Errorf("read %q and %q", first.buf, second.buf[:3])
		}
	}},
	{"one byte ends one of two reads", "aio_test.c, aio_socket_two_reads", func(r *rig, a, b int) {
		first, second := r.read(a, 0, 8), r.read(a, 0, 8)
		r.start(first, second)
		r.send(b, "1")
		r.reap(first, 1, 0)
		r.want("aio_error of the second", r.k.Error(second.cb), aio.EINPROGRESS)
		r.wantCancel(a, second.cb, aio.Cancelled)
		r.wantReturn(second, -1, aio.ECANCELED)
	}},
	{"reads end in order", soaioQueue, func(r *rig, a, b int) {
		jobs := []*job{r.read(a, 0, 1), r.read(a, 0, 2), r.read(a, 0, 3)}
		r.start(jobs...)
		r.send(b, "abbccc")
		for i, want := range []string{"a", "bb", "ccc"} {
			r.reap(jobs[i], len(want), 0)
			if string(jobs[i].buf) != want {
				r.Errorf("read %d has %q, want %q", i, jobs[i].buf, want)
			}
		}
	}},
	{"writes go out in order", soaioQueue, func(r *rig, a, b int) {
		jobs := []*job{r.write(a, 0, "abc"), r.write(a, 0, "def"), r.writev(a, 0, "g", "", "hi")}
		r.start(jobs...)
		r.reapAll(3, jobs...)
		if got := r.receive(b, 9); string(got) != "abcdefghi" {
			r.Errorf("%q came out", got)
		}
	}},
	{"readv fills its buffers in order", soaio, func(r *rig, a, b int) {
		r.send(b, "abcdef")
		j := r.readv(a, 0, 1, 0, 3, 8)
		r.start(j)
		r.reap(j, 6, 0)
		if string(j.buf[:6]) != "abcdef" {
			r.Errorf("read %q", j.buf[:6])
		}
	}},
	{"the offset does not matter", soaio, func(r *rig, a, b int) {
		in, out := r.read(a, 1<<40, 8), r.write(b, 99, "x")
		r.start(in, out)
		r.reap(in, 1, 0)
		r.reap(out, 1, 0)
	}},
	{"a read with a write on the same descriptor", soaioQueue, func(r *rig, a, b int) {
		in, out := r.read(a, 0, 8), r.write(a, 0, "there")
		r.start(in, out)
		r.reap(out, 5, 0)
		r.want("aio_error of the read", r.k.Error(in.cb), aio.EINPROGRESS)
		r.send(b, "back")
		r.reap(in, 4, 0)
		r.receive(b, 5)
	}},
	{"a double of the descriptor has the same queue", soaioQueue, func(r *rig, a, b int) {
		double, errno := r.k.Dup(a)
		r.want("dup", errno, 0)
		r.closeLater(double)
		first, second := r.read(a, 0, 1), r.read(double, 0, 1)
		r.start(first, second)
		r.send(b, "12")
		r.reapAll(1, first, second)
		if first.buf[0] != '1' || second.buf[0] != '2' {
			r.Errorf("read %q and %q", first.buf, second.buf)
		}
	}},

	{"the peer closes: 0 bytes", soaio, func(r *rig, a, b int) {
		j := r.read(a, 0, 8)
		r.start(j)
		r.want("close of the peer", r.k.Close(b), 0)
		r.reap(j, 0, 0)
	}},
	{"the peer stops sending: what is there, then 0 bytes", soaio, func(r *rig, a, b int) {
		r.send(b, "last")
		r.shut(b, unix.SHUT_WR)
		first, second := r.read(a, 0, 8), r.read(a, 0, 8)
		r.start(first)
		r.reap(first, 4, 0)
		r.start(second)
		r.reap(second, 0, 0)
	}},
	{"the peer stops sending: all waiting reads end, and on 15 of a local socket when one more comes", soaio + "; uipc_usrreq.c, uipc_cantrcvmore", func(r *rig, a, b int) {
		jobs := []*job{r.read(a, 0, 8), r.read(a, 0, 8), r.read(a, 0, 8)}
		r.start(jobs...)
		r.shut(b, unix.SHUT_WR)
		if r.deaf(a) {
			r.roundTrip()
			for _, j := range jobs {
				r.want("aio_error of a read that has not heard of it", r.k.Error(j.cb), aio.EINPROGRESS)
			}
			r.wantCancel(a, jobs[0].cb, aio.Cancelled)
			r.wantReturn(jobs[0], -1, aio.ECANCELED)
			r.roundTrip()
			r.want("aio_error of the next", r.k.Error(jobs[1].cb), aio.EINPROGRESS)
			jobs[0] = r.read(a, 0, 8)
			r.start(jobs[0])
		}
		r.reapAll(0, jobs...)
	}},
	{"the peer stops sending and closes: all waiting reads end", soaio, func(r *rig, a, b int) {
		jobs := []*job{r.read(a, 0, 8), r.read(a, 0, 8), r.read(a, 0, 8)}
		r.start(jobs...)
		r.shut(b, unix.SHUT_WR)
		r.want("close of the peer", r.k.Close(b), 0)
		r.reapAll(0, jobs...)
	}},
	{"bytes, and the peer stops sending: the reads in order, and those beyond end", soaio, func(r *rig, a, b int) {
		r.send(b, "last")
		r.shut(b, unix.SHUT_WR)
		jobs := []*job{r.read(a, 0, 3), r.read(a, 0, 8), r.read(a, 0, 8)}
		r.start(jobs...)
		r.reap(jobs[0], 3, 0)
		r.reap(jobs[1], 1, 0)
		r.reap(jobs[2], 0, 0)
	}},
	{"shut down for writing: EPIPE", "aio_test.c, aio_socket_shutdown", func(r *rig, a, b int) {
		r.noSignal(a)
		r.shut(a, unix.SHUT_WR)
		j := r.write(a, 0, "x")
		r.start(j)
		r.reap(j, -1, aio.EPIPE)
	}},

	{"a read with nothing there waits on a non-blocking socket too", soaio, func(r *rig, a, b int) {
		r.nonblocking(a, true)
		j := r.read(a, 0, 8)
		r.start(j)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		r.send(b, "now")
		r.reap(j, 3, 0)
	}},
	{"a write that finds no room waits on a non-blocking socket too", soaio, func(r *rig, a, b int) {
		n := r.fill(a)
		r.nonblocking(a, true)
		j := r.write(a, 0, "x")
		r.start(j)
		r.want("aio_error", r.k.Error(j.cb), aio.EINPROGRESS)
		r.receive(b, n)
		r.reap(j, 1, 0)
		r.receive(b, 1)
	}},
	{"non-blocking: a write ends with what there is room for", "aio_test.c, aio_socket_blocking_short_write; " + soaio, func(r *rig, a, b int) {
		r.nonblocking(a, true)
		j := r.write(a, 0, repeat("0123456789", much))
		r.start(j)
		r.wait(j)
		n, errno := r.k.Return(j.cb)
		if errno != 0 || n <= 0 || n >= much {
			r.Fatalf("aio_return: %d, %s, want a short count", n, errno.String())
		}
		if got := r.receive(b, n); string(got) != repeat("0123456789", n) {
			r.Error("other bytes came out than went in")
		}
	}},
	{"blocking: a write takes all", "aio_test.c, aio_socket_blocking_short_write", func(r *rig, a, b int) {
		j := r.notify(r.write(a, 0, repeat("0123456789", much)), aio.EvOneshot, 1)
		r.start(j)
		if got := r.receive(b, much); string(got) != string(j.buf) {
			r.Error("other bytes came out than went in")
		}
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reap(j, much, 0)
	}},
	{"blocking: a writev takes all", "aio_test.c, aio_socket_blocking_short_write_vectored", func(r *rig, a, b int) {
		j := r.writev(a, 0, repeat("a", much/2), repeat("bc", much/4), "", repeat("def", much/4))
		r.start(j)
		if got := r.receive(b, much); string(got) != string(j.buf) {
			r.Error("other bytes came out than went in")
		}
		r.reap(j, much, 0)
	}},

	{"a waiting read is cancelled", soaioCancel, func(r *rig, a, b int) {
		j := r.notify(r.read(a, 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.wantCancel(a, j.cb, aio.Cancelled)
		r.wantEvent(j, aio.EvOneshot, aio.ECANCELED, 1)
		r.reap(j, -1, aio.ECANCELED)
		r.send(b, "later")
		next := r.read(a, 0, 8)
		r.start(next)
		r.reap(next, 5, 0)
	}},
	{"a write that waits for room is cancelled", soaioCancel, func(r *rig, a, b int) {
		r.fill(a)
		j := r.write(a, 0, "x")
		r.start(j)
		r.wantCancel(a, j.cb, aio.Cancelled)
		r.wantReturn(j, -1, aio.ECANCELED)
	}},
	{"a write cancelled half way ends short", "aio_test.c, aio_socket_short_write_cancel", func(r *rig, a, b int) {
		j := r.notify(r.write(a, 0, repeat("0123456789", much)), aio.EvOneshot, 1)
		r.start(j)
		r.moved(j, b)
		r.wantCancel(a, j.cb, aio.NotCancelled)
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		n, errno := r.k.Return(j.cb)
		if errno != 0 || n <= 0 || n >= much {
			r.Fatalf("aio_return: %d, %s, want a short count", n, errno.String())
		}
		if got := r.receive(b, n-1); string(got) != repeat("0123456789", n)[1:] {
			r.Error("other bytes came out than went in")
		}
	}},
	{"a job behind one that is cancelled goes on", soaioCancel, func(r *rig, a, b int) {
		first, second := r.read(a, 0, 8), r.read(a, 0, 8)
		r.start(first, second)
		r.wantCancel(a, first.cb, aio.Cancelled)
		r.wantReturn(first, -1, aio.ECANCELED)
		r.send(b, "on")
		r.reap(second, 2, 0)
	}},
	{"all of a socket are cancelled, reads and writes", soaioCancel, func(r *rig, a, b int) {
		r.fill(a)
		jobs := []*job{r.read(a, 0, 8), r.write(a, 0, "x"), r.read(a, 0, 8), r.write(a, 0, "y")}
		r.start(jobs...)
		r.wantCancel(a, nil, aio.Cancelled)
		for _, j := range jobs {
			r.wantReturn(j, -1, aio.ECANCELED)
		}
		r.wantCancel(a, nil, aio.AllDone)
	}},
	{"a descriptor closed under a read: it ends when bytes come", soaio, func(r *rig, a, b int) {
		j := r.notify(r.read(a, 0, 8), aio.EvOneshot, 1)
		r.start(j)
		r.want("close", r.k.Close(a), 0)
		r.send(b, "still")
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reap(j, 5, 0)
	}},
	{"a read into nowhere: EFAULT as the result", soaio, func(r *rig, a, b int) {
		r.send(b, "lost")
		j := badBuffer(r.read(a, 0, 4))
		r.start(j)
		r.reap(j, -1, aio.EFAULT)
	}},
	{"a write from nowhere: EFAULT as the result", soaio, func(r *rig, a, b int) {
		j := badBuffer(r.write(a, 0, "lost"))
		r.start(j)
		r.reap(j, -1, aio.EFAULT)
	}},
	{"a list of reads and writes", listEvent, func(r *rig, a, b int) {
		in, out, refused := r.read(a, 0, 8), r.write(b, 0, "both"), r.write(b, -1, "x")
		array, errno := r.list(aio.ListNoWait, r.listSig(3), in, out, refused)
		r.want("lio_listio", errno, aio.EIO)
		r.wantWords("refused", refused, -1, aio.EINVAL)
		r.wantListEvent(array, 3)
		r.reap(in, 4, 0)
		r.reap(out, 4, 0)
	}},
	{"many jobs both ways", soaio, func(r *rig, a, b int) {
		const n = 24
		var in, out []*job
		for i := range n {
			in = append(in, r.read(a, 0, 5))
			out = append(out, r.write(b, 0, "job"+string([]byte{'a' + byte(i/10), '0' + byte(i%10)})))
		}
		r.start(in...)
		r.start(out...)
		r.reapAll(5, out...)
		r.reapAll(5, in...)
		for i := range n {
			if string(in[i].buf) != string(out[i].buf) {
				r.Errorf("read %d has %q, want %q", i, in[i].buf, out[i].buf)
			}
		}
	}},
}

var socketOthers = []testCase{
	{name: "socket/shut down for reading: 0 bytes", source: "aio_test.c, aio_socket_shutdown", run: func(r *rig) {
		if r.target.Osreldate < 1400000 && !r.target.IsModel {
			// sorflush clears the queue of jobs, and the next job is put into it.
			r.Skip("this panics a 13.2 kernel")
		}
		a, b := r.sockets()
		if !r.target.IsModel {
			// Linux, on which the model may run, gives what was there first.
			r.send(b, "lost")
		}
		r.shut(a, unix.SHUT_RD)
		j := r.read(a, 0, 8)
		r.start(j)
		r.reap(j, 0, 0)
	}},
	{name: "socket/that listens: EINVAL", source: "aio_test.c, aio_socket_listen_fail", run: func(r *rig) {
		if r.target.Osreldate < 1500000 && !r.target.IsModel {
			r.Skip("an older kernel takes the job, and its memory is garbage from then on")
		}
		fd, _ := r.listen()
		r.refused(r.read(fd, 0, 8), aio.EINVAL)
		r.refused(r.write(fd, 0, "x"), aio.EINVAL)
	}},
	{name: "socket/with a job does not begin to listen", source: "aio_test.c, aio_socket_listen_pending", run: func(r *rig) {
		r.notModelled("listen(2) and its refusals")
		if r.target.Osreldate < 1500000 {
			r.Skip("an older kernel lets it, and its memory is garbage from then on")
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			r.Fatal(err)
		}
		r.closeLater(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			r.Fatal(err)
		}
		j := r.read(fd, 0, 8)
		r.start(j)
		if err := unix.Listen(fd, 1); err != unix.EINVAL {
			r.Errorf("listen: %v, want EINVAL", err)
		}
		r.wantCancel(fd, j.cb, aio.Cancelled)
		r.wantReturn(j, -1, aio.ECANCELED)
		if err := unix.Listen(fd, 1); err != nil {
			r.Errorf("listen after the job: %v", err)
		}
	}},
	{name: "socket/TCP under load: many connections, many jobs both ways", source: soaio, run: func(r *rig) {
		const pairs, jobs, size = 8, 12, 20000
		type side struct {
			in, out []*job
		}
		var all []side
		for range pairs {
			a, b := r.tcp()
			for _, ends := range [][2]int{{a, b}, {b, a}} {
				var s side
				for i := range jobs {
					s.out = append(s.out, r.write(ends[0], 0, repeat(string([]byte{'a' + byte(i)}), size)))
				}
				// As many bytes as are written, in pieces of another size: what a read
				// gets may be less, so there are more of them than needed.
				for range 4 {
					s.in = append(s.in, r.read(ends[1], 0, size/2))
				}
				all = append(all, s)
				r.start(s.in...)
				r.start(s.out...)
			}
		}
		for _, s := range all {
			want := ""
			for _, j := range s.out {
				want += string(j.buf)
			}
			got, next := 0, 0
			for got < len(want) {
				j := s.in[next%len(s.in)]
				r.wait(j)
				n, errno := r.k.Return(j.cb)
				if n <= 0 || errno != 0 {
					r.Fatalf("aio_return: %d, %s", n, errno.String())
				}
				if string(j.buf[:n]) != want[got:got+n] {
					r.Fatalf("other bytes came out than went in, at %d", got)
				}
				got += n
				next++
				r.start(j)
			}
			r.reapAll(size, s.out...)
			for _, j := range s.in {
				r.wantCancel(int(j.cb.Fd), j.cb, aio.Cancelled)
				r.wantReturn(j, -1, aio.ECANCELED)
			}
		}
	}},
	{name: "socket/a datagram for each read", source: soaio, run: func(r *rig) {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			r.Fatal(err)
		}
		r.closeLater(p[:]...)
		first, second := r.read(p[0], 0, 64), r.read(p[0], 0, 2)
		r.start(first, second)
		for _, data := range []string{"one", "three"} {
			if err := unix.Send(p[1], []byte(data), 0); err != nil {
				r.Fatal(err)
			}
		}
		r.reap(first, 3, 0)
		r.reap(second, 2, 0) // the rest of the datagram is lost
	}},
}
