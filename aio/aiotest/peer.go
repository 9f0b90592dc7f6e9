//go:build unix

package aiotest

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
)

// What other libraries test, in this suite's words.

var peerCases = []testCase{
	{name: "peer/tokio aio::fsync", source: "tokio tests/io_poll_aio.rs", run: func(r *rig) {
		j := r.notify(r.fsync(r.file(8)), aio.EvOneshot, 1)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 1)
		r.reap(j, 0, 0)
	}},
	{name: "peer/tokio aio::reuse", source: "tokio tests/io_poll_aio.rs", run: func(r *rig) {
		fd := r.file(8)
		j := r.fsync(fd)
		for udata := range uintptr(2) {
			j.cb.Prepare(j.op, fd, 0, nil, 0, r.kevent(aio.EvOneshot, udata))
			r.start(j)
			r.wantEvent(j, aio.EvOneshot, 0, udata)
			r.reap(j, 0, 0)
			r.quiet("after the reap")
		}
	}},
	{name: "peer/tokio lio::onewrite, mio lio smoke", source: "tokio tests/io_poll_aio.rs, mio tests/aio.rs", run: func(r *rig) {
		fd := r.file(0)
		j := r.write(fd, 0, "hello")
		array, errno := r.list(aio.ListNoWait, r.listSig(0xdeadbeef), j)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 0xdeadbeef)
		r.reap(j, 5, 0)
		r.wantContent(fd, 0, "hello")
	}},
	{name: "peer/tokio lio::reuse", source: "tokio tests/io_poll_aio.rs", run: func(r *rig) {
		fd := r.file(0)
		j := r.write(fd, 0, "hello")
		array := []*aio.ControlBlock{j.cb}
		for udata := range uintptr(2) {
			r.want("lio_listio", r.k.ListIO(aio.ListNoWait, array, r.listSig(udata)), 0)
			r.wantListEvent(array, udata)
			r.reap(j, 5, 0)
			r.quiet("after the reap")
		}
	}},
	{name: "peer/mio aio smoke", source: "mio tests/aio.rs", run: func(r *rig) {
		j := r.notify(r.read(r.file(8), 0, 4), 0, 10)
		r.start(j)
		r.wantEvent(j, 0, 0, 10)
		r.reap(j, 4, 0)
	}},
	{name: "peer/mio-aio test_aio_cancel: one event, whatever came of it", source: "mio-aio tests/test.rs", run: func(r *rig) {
		j := r.notify(r.write(r.file(0), 0, "hello"), aio.EvOneshot, 10)
		r.start(j)
		if _, errno := r.k.Cancel(int(j.cb.Fd), j.cb); errno != 0 {
			r.Errorf("aio_cancel: %s", errno.String())
		}
		if ev := r.event(); ev.Ident != j.ident() || ev.Udata != 10 {
			r.Errorf("event %+v", ev)
		}
		r.quiet("after its event")
		switch n, errno := r.k.Return(j.cb); {
		case n == 5 && errno == 0:
		case n == -1 && errno == aio.ECANCELED:
		default:
			r.Errorf("aio_return: %d, %s", n, errno.String())
		}
	}},
	{name: "peer/mio-aio write, read, writev and readv: one event, the count, the bytes", source: "mio-aio tests/test.rs, aio_*::ok", run: func(r *rig) {
		fd := r.file(0)
		in, inv := r.read(fd, 0, 16), r.readv(fd, 2, 3, 4)
		for _, c := range []struct {
			j *job
			n int
		}{{r.write(fd, 0, "hello"), 5}, {r.writev(fd, 5, ", ", "world"), 7}, {in, 12}, {inv, 7}} {
			r.notify(c.j, aio.EvOneshot, 10)
			r.start(c.j)
			r.wantEvent(c.j, aio.EvOneshot, 0, 10)
			r.quiet("after its event")
			r.reap(c.j, c.n, 0)
		}
		if string(in.buf[:12]) != "hello, world" || string(inv.buf) != "llo, wo" {
			r.Errorf("read %q and %q", in.buf, inv.buf)
		}
	}},
	{name: "peer/mio-aio test_lio_eio", source: "mio-aio before 0.8, tests/test.rs", run: func(r *rig) {
		good, bad := r.write(r.file(0), 0, "hello"), r.write(-1, 0, "hello")
		array, errno := r.list(aio.ListNoWait, r.listSig(10), good, bad)
		r.want("lio_listio", errno, aio.EIO)
		r.wantListEvent(array, 10)
		r.want("aio_error of the bad one", r.k.Error(bad.cb), aio.EBADF)
		r.reap(good, 5, 0)
	}},
	{name: "peer/mio-aio test_lio_read_and_write", source: "mio-aio before 0.8, tests/test.rs", run: func(r *rig) {
		fd, other := r.file(8), r.file(0)
		in, out := r.read(fd, 1, 4), r.write(other, 0, "hello")
		array, errno := r.list(aio.ListNoWait, r.listSig(10), in, out)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 10)
		r.reap(in, 4, 0)
		r.reap(out, 5, 0)
		r.wantPattern(in.buf, 1)
		r.wantContent(other, 0, "hello")
	}},
	{name: "peer/mio-aio test_lio_tworeads", source: "mio-aio before 0.8, tests/test.rs", run: func(r *rig) {
		fd := r.file(16)
		a, b := r.read(fd, 0, 4), r.read(fd, 4, 8)
		array, errno := r.list(aio.ListNoWait, r.listSig(10), a, b)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 10)
		r.reap(a, 4, 0)
		r.reap(b, 8, 0)
		r.wantPattern(a.buf, 0)
		r.wantPattern(b.buf, 4)
	}},
	{name: "peer/mio-aio test_lio_listio_incomplete, nix test_lio_listio_resubmit", source: "mio-aio before 0.8 and nix, tests", alone: true, run: func(r *rig) {
		const n = 10
		jobs := r.reads(n)
		rest := append([]*job(nil), jobs...)
		r.setLimits(func(l *aio.Limits) { l.MaxQueue = r.before + 4 })
		for round := 1; len(rest) > 0; round++ {
			array, errno := r.list(aio.ListNoWait, r.listSig(uintptr(round)), rest...)
			if want := aio.EAGAIN; len(rest) > 4 && errno != want {
				r.Fatalf("lio_listio: %s, want %s", errno.String(), want.String())
			}
			r.wantListEvent(array, uintptr(round))
			var again []*job
			for _, j := range rest {
				if j.cb.ErrorWord() == aio.EAGAIN {
					again = append(again, j)
					continue
				}
				r.reap(j, 1, 0)
			}
			if len(again) == len(rest) || round > n {
				r.Fatalf("round %d brings nothing forward", round)
			}
			rest = again
		}
	}},
	{name: "peer/tokio-file aio_write_eagain", source: "tokio-file tests/aio_write_eagain.rs", alone: true, run: func(r *rig) {
		limit := r.limits().MaxQueuePerProc
		fd := r.file(0)
		var accepted []*job
		refused := 0
		for i := range 2 * limit {
			j := r.write(fd, int64(i), "x")
			switch errno := r.submit(j); errno {
			case 0:
				accepted = append(accepted, j)
			case aio.EAGAIN:
				refused++
			default:
				r.Fatalf("aio_write: %s", errno.String())
			}
		}
		if len(accepted) < limit || refused <= 1 {
			r.Errorf("%d accepted, %d refused, the limit is %d", len(accepted), refused, limit)
		}
		r.reapAll(1, accepted...)
	}},
	{name: "peer/tokio-file dev::len, writev_at, readv_at", source: "tokio-file tests/basic.rs", run: func(r *rig) {
		fd := r.file(0)
		out := r.writev(fd, 1, "ab", "cdef", "g")
		r.start(out)
		r.reap(out, 7, 0)
		in := r.readv(fd, 1, 3, 1, 3)
		r.start(in)
		r.reap(in, 7, 0)
		if string(in.buf) != "abcdefg" {
			r.Errorf("read %q", in.buf)
		}
	}},
	{name: "peer/nix aio_cancel_all", source: "nix test/sys/test_aio.rs", run: func(r *rig) {
		j := r.write(r.file(0), 0, "CDEF")
		r.start(j)
		if got, errno := r.k.Cancel(int(j.cb.Fd), nil); errno != 0 || got < aio.Cancelled || got > aio.AllDone {
			r.Errorf("aio_cancel: %d, %s", got, errno.String())
		}
		r.wait(j)
		_, _ = r.k.Return(j.cb)
	}},
	{name: "peer/FreeBSD ev_oneshot", source: "FreeBSD tests/sys/aio/lio_kqueue_test.c, aio_kqueue_test.c", run: func(r *rig) {
		fd := r.file(64)
		var jobs []*job
		for i := range 16 {
			jobs = append(jobs, r.notify(r.read(fd, int64(i), 4), aio.EvOneshot, uintptr(i)))
		}
		r.start(jobs...)
		seen := map[uintptr]bool{}
		for range jobs {
			ev := r.event()
			if seen[ev.Udata] || ev.Udata >= uintptr(len(jobs)) || ev.Ident != jobs[ev.Udata].ident() {
				r.Fatalf("unexpected event %+v", ev)
			}
			seen[ev.Udata] = true
		}
		r.quiet("after one event for each")
		r.reapAll(4, jobs...)
	}},
	{name: "peer/FreeBSD aio_kqueue_test: many writes, some cancelled, an event for each", source: "FreeBSD tests/sys/aio/aio_kqueue_test.c", alone: true, run: func(r *rig) {
		const n, size = 128, 4096
		fd := r.file(0)
		for run := range 4 {
			var jobs []*job
			for i := range n {
				j := r.notify(r.write(fd, int64(i*run*size), repeat("k", size)), 0, uintptr(i))
				r.start(j)
				jobs = append(jobs, j)
			}
			left := n
			for i := 0; i < n; i += 9 {
				switch got, errno := r.k.Cancel(fd, jobs[i].cb); {
				case errno != 0:
					r.Fatalf("aio_cancel: %s", errno.String())
				case got == aio.Cancelled:
					r.wantReturn(jobs[i], -1, aio.ECANCELED)
					jobs[i] = nil
					left--
				}
			}
			for ; left > 0; left-- {
				ev := r.event()
				if ev.Udata >= n || jobs[ev.Udata] == nil || ev.Ident != jobs[ev.Udata].ident() {
					r.Fatalf("unexpected event %+v", ev)
				}
				r.wantReturn(jobs[ev.Udata], size, 0)
				jobs[ev.Udata] = nil
			}
			r.quiet("after the last reap")
		}
	}},
	{name: "peer/FreeBSD lio_kqueue_test: five lists, an event for each", source: "FreeBSD tests/sys/aio/lio_kqueue_test.c", alone: true, run: func(r *rig) {
		const lists, size = 5, 4096
		each := r.limits().MaxQueuePerProc / lists
		fd := r.file(0)
		for run := range 3 {
			var arrays [lists][]*aio.ControlBlock
			var members [lists][]*job
			for i := range lists {
				for k := range each {
					members[i] = append(members[i], r.write(fd, int64((i*each+k)*(run+1)*size), repeat("l", size)))
				}
				var errno aio.Errno
				arrays[i], errno = r.list(aio.ListNoWait, r.listSig(uintptr(i)), members[i]...)
				r.want("lio_listio", errno, 0)
			}
			for range lists {
				ev := r.event()
				if ev.Filter != aio.FilterLIO || ev.Udata >= lists || members[ev.Udata] == nil || ev.Ident != arrayIdent(arrays[ev.Udata]) {
					r.Fatalf("unexpected event %+v", ev)
				}
				for _, j := range members[ev.Udata] {
					r.wantReturn(j, size, 0)
				}
				members[ev.Udata] = nil
			}
			r.quiet("after the last reap")
		}
	}},
	{name: "peer/FreeBSD lio_listio_opcodes: the four of them in one list", source: "lio_test.c, lio_listio_opcodes", needs: vectoredLists, run: func(r *rig) {
		fd := r.file(0)
		if _, err := unix.Pwrite(fd, []byte("123456"), 0); err != nil {
			r.Fatal(err)
		}
		out, in, outv, inv := r.write(fd, 0, "a"), r.read(fd, 1, 1), r.writev(fd, 2, "d", "c"), r.readv(fd, 4, 1, 1)
		inv.iov[0], inv.iov[1] = inv.iov[1], inv.iov[0]
		jobs, errno := r.listWait(nil, func() []*job { return []*job{out, in, outv, inv} })
		r.want("lio_listio", errno, 0)
		for i, n := range []int{1, 1, 2, 2} {
			r.wantReturn(jobs[i], n, 0)
		}
		if string(in.buf)+string(inv.buf) != "265" {
			r.Errorf("read %q and %q", in.buf, inv.buf)
		}
		r.wantContent(fd, 0, "a2dc56")
	}},
	{name: "peer/FreeBSD aio_writev_dos_iov_len: longer than the memory there: EFAULT", source: "aio_test.c, aio_writev_dos_iov_len", run: func(r *rig) {
		r.notModelled("lengths beyond a buffer")
		j := r.writev(r.file(0), 0, "Hello, world!")
		// A page with none behind it.
		page := unix.Getpagesize()
		mem, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() { _ = unix.Munmap(mem) })
		if err := unix.Mprotect(mem[page:], unix.PROT_NONE); err != nil {
			r.Fatal(err)
		}
		j.iov[0] = aio.Iovec{Base: unsafe.Pointer(unsafe.SliceData(mem)), Len: 1 << 30}
		r.start(j)
		r.reap(j, -1, aio.EFAULT)
	}},
	{name: "peer/FreeBSD aio_writev_empty_file_signal: no iovecs, and a signal", source: "aio_test.c, aio_writev_empty_file_signal", alone: true, run: func(r *rig) {
		r.catch(first)
		j := r.writev(r.file(0), 0)
		j.cb.Sigevent = signalBy(first)
		r.start(j)
		r.wantSignal(first)
		r.reap(j, 0, 0)
	}},
	{name: "peer/FreeBSD vectored_big_iovcnt: enable_unsafe, more elements than a disk takes", source: "aio_test.c, vectored_big_iovcnt", alone: true, run: func(r *rig) {
		fd := r.disk()
		r.setLimits(func(l *aio.Limits) { l.EnableUnsafe = true })
		n := r.limits().MaxBuf + 1
		parts, lengths := make([]string, n), make([]int, n)
		for i := range parts {
			parts[i], lengths[i] = repeat(string(rune('a'+i)), sectorSize), sectorSize
		}
		out := r.writev(fd, 0, parts...)
		r.start(out)
		r.reap(out, n*sectorSize, 0)
		in := r.readv(fd, 0, lengths...)
		r.start(in)
		r.reap(in, n*sectorSize, 0)
		if string(in.buf) != string(out.buf) {
			r.Error("other bytes were read than written")
		}
	}},
	{name: "peer/mio-aio aio_fsync::ok", source: "mio-aio tests/test.rs", run: func(r *rig) {
		j := r.notify(r.fsync(r.file(12)), aio.EvOneshot, 0xdeadbeef)
		r.start(j)
		r.wantEvent(j, aio.EvOneshot, 0, 0xdeadbeef)
		r.quiet("after its event")
		r.reap(j, 0, 0)
	}},
	{name: "peer/mio-aio test_lio_oneread", source: "mio-aio before 0.8, tests/test.rs", run: func(r *rig) {
		j := r.read(r.file(12), 2, 4)
		array, errno := r.list(aio.ListNoWait, r.listSig(0xdeadbeef), j)
		r.want("lio_listio", errno, 0)
		r.wantListEvent(array, 0xdeadbeef)
		r.reap(j, 4, 0)
		r.wantPattern(j.buf, 2)
		r.quiet("after the reap")
	}},
	{name: "peer/tokio-file writev_at_eio: lists of which the last finds little room, resubmitted until all is written", source: "tokio-file before 0.9, tests/lio_listio_incomplete.rs", alone: true, run: func(r *rig) {
		// As large as may be, and not dividing the cap.
		limit := r.limits().MaxQueuePerProc
		each := limit - 1
		const lists = 2
		fd := r.file(0)
		type list struct {
			array []*aio.ControlBlock
			rest  []*job
		}
		var open [lists]list
		submit := func(i int) {
			l := &open[i]
			var errno aio.Errno
			l.array, errno = r.list(aio.ListNoWait, r.listSig(uintptr(i)), l.rest...)
			if errno != 0 && errno != aio.EAGAIN {
				r.Fatalf("lio_listio: %s", errno.String())
			}
		}
		total := 0
		for i := range open {
			for k := range each {
				open[i].rest = append(open[i].rest, r.write(fd, int64(i*each+k), "w"))
			}
			submit(i)
		}
		partly := false
		for rounds := 0; total < lists*each; rounds++ {
			if rounds > total+lists { // each brings one at least
				r.Fatalf("%d of %d written after %d events", total, lists*each, rounds)
			}
			ev := r.event()
			if ev.Filter != aio.FilterLIO || ev.Udata >= lists || ev.Ident != arrayIdent(open[ev.Udata].array) {
				r.Fatalf("unexpected event %+v", ev)
			}
			l := &open[ev.Udata]
			var again []*job
			for _, j := range l.rest {
				if j.cb.ErrorWord() == aio.EAGAIN {
					again = append(again, j)
					continue
				}
				r.wantReturn(j, 1, 0)
				total++
			}
			if l.rest = again; len(again) > 0 {
				partly = true
				submit(int(ev.Udata))
			}
		}
		if !partly {
			r.Error("no list was accepted in part")
		}
		r.wantContent(fd, 0, repeat("w", lists*each))
	}},
	{name: "peer/nix test_aio_suspend: until both have finished", source: "nix test/sys/test_aio.rs", run: func(r *rig) {
		fd := r.file(12)
		out, in := r.write(fd, 2, "CDEFG"), r.read(fd, 8, 4)
		r.start(out, in)
		for r.k.Error(out.cb) == aio.EINPROGRESS || r.k.Error(in.cb) == aio.EINPROGRESS {
			r.want("aio_suspend", r.suspend(patience, out, in), 0)
			r.pause(0) // one may have finished long ago
		}
		r.reap(out, 5, 0)
		r.reap(in, 4, 0)
		r.wantPattern(in.buf, 8)
	}},
	{name: "peer/nix test_lio_listio_nowait: no event, polled", source: "nix test/sys/test_aio.rs before 0.27", run: func(r *rig) {
		fd := r.file(12)
		out, in := r.write(fd, 2, "CDEF"), r.read(fd, 8, 4)
		_, errno := r.list(aio.ListNoWait, nil, out, in)
		r.want("lio_listio", errno, 0)
		r.reap(out, 4, 0)
		r.reap(in, 4, 0)
		r.wantPattern(in.buf, 8)
		r.wantContent(fd, 2, "CDEF")
		r.quiet("after a list without an event")
	}},
	{name: "peer/nix aio_read::cancel: one of the three answers", source: "nix test/sys/test_aio.rs", run: func(r *rig) {
		j := r.read(r.file(12), 2, 4)
		r.start(j)
		if got, errno := r.k.Cancel(int(j.cb.Fd), j.cb); errno != 0 || got < aio.Cancelled || got > aio.AllDone {
			r.Errorf("aio_cancel: %d, %s", got, errno.String())
		}
		r.wait(j)
		switch n, errno := r.k.Return(j.cb); {
		case n == 4 && errno == 0:
		case n == -1 && errno == aio.ECANCELED:
		default:
			r.Errorf("aio_return: %d, %s", n, errno.String())
		}
	}},
}
