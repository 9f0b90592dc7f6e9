package aioring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring"
)

// one submits an operation and returns its result.
func one(t *testing.T, r *aioring.Ring, prep func(s *aioring.SQE)) int32 {
	t.Helper()
	prep(r.GetSQE())
	submit(t, r, 1)
	return reap(t, r).Res
}

// A file's life, each step by its operation.
func TestFileOperations(t *testing.T) {
	r := uring(t, 8)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	dirfd := int(d.Fd())
	want := func(what string, got, want int32) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	want("mkdirat", one(t, r, func(s *aioring.SQE) { aioring.PrepMkdirat(s, dirfd, "sub", 0o700) }), 0)
	fd := int(one(t, r, func(s *aioring.SQE) {
		aioring.PrepOpenat(s, dirfd, "a", unix.O_CREAT|unix.O_RDWR, 0o600)
	}))
	if fd < 0 {
		t.Fatal("openat: ", fd)
	}
	want("fallocate", one(t, r, func(s *aioring.SQE) { aioring.PrepFallocate(s, fd, 0, 0, 8192) }), 0)
	want("ftruncate", one(t, r, func(s *aioring.SQE) { aioring.PrepFtruncate(s, fd, 5000) }), 0)
	if i, err := os.Stat(at("a")); err != nil || i.Size() != 5000 {
		t.Error(i, err)
	}
	want("fadvise", one(t, r, func(s *aioring.SQE) { aioring.PrepFadvise(s, fd, 0, 4096, unix.FADV_WILLNEED) }), 0)
	want("sync_file_range", one(t, r, func(s *aioring.SQE) { aioring.PrepSyncFileRange(s, fd, 0, 0, 2) }), 0)
	memory, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	want("madvise", one(t, r, func(s *aioring.SQE) { aioring.PrepMadvise(s, memory, unix.MADV_WILLNEED) }), 0)
	want("madvise of a part", one(t, r, func(s *aioring.SQE) { aioring.PrepMadvise(s, memory[1:], unix.MADV_DONTNEED) }), -int32(syscall.EINVAL))
	into := make([]byte, 256)
	want("statx", one(t, r, func(s *aioring.SQE) { aioring.PrepStatx(s, dirfd, "a", 0, unix.STATX_SIZE, into) }), 0)
	if n := binary.NativeEndian.Uint64(into[40:]); n != 5000 {
		t.Errorf("statx: %d bytes", n)
	}
	want("statx into too little", one(t, r, func(s *aioring.SQE) { aioring.PrepStatx(s, dirfd, "a", 0, unix.STATX_SIZE, into[:255]) }), -int32(syscall.EINVAL))
	value := []byte("value")
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepFsetxattr(s, fd, "user.a", value, 0) }); res != -int32(syscall.EOPNOTSUPP) {
		want("fsetxattr", res, 0)
		want("setxattr", one(t, r, func(s *aioring.SQE) { aioring.PrepSetxattr(s, at("a"), "user.b", value, 0) }), 0)
		got := make([]byte, 10)
		want("fgetxattr", one(t, r, func(s *aioring.SQE) { aioring.PrepFgetxattr(s, fd, "user.b", got) }), 5)
		want("getxattr", one(t, r, func(s *aioring.SQE) { aioring.PrepGetxattr(s, at("a"), "user.a", got) }), 5)
		if !bytes.HasPrefix(got, value) {
			t.Errorf("%q", got)
		}
	}
	want("close", one(t, r, func(s *aioring.SQE) { aioring.PrepClose(s, fd) }), 0)
	want("close again", one(t, r, func(s *aioring.SQE) { aioring.PrepClose(s, fd) }), -int32(syscall.EBADF))
	want("renameat", one(t, r, func(s *aioring.SQE) { aioring.PrepRenameat(s, dirfd, "a", dirfd, "sub/b", 0) }), 0)
	want("linkat", one(t, r, func(s *aioring.SQE) { aioring.PrepLinkat(s, dirfd, "sub/b", dirfd, "c", 0) }), 0)
	want("symlinkat", one(t, r, func(s *aioring.SQE) { aioring.PrepSymlinkat(s, "c", dirfd, "d") }), 0)
	how := make([]byte, 24) // struct open_how: flags, mode, resolve
	fd = int(one(t, r, func(s *aioring.SQE) { aioring.PrepOpenat2(s, dirfd, "d", how) }))
	if fd < 0 {
		t.Fatal("openat2: ", fd)
	}
	want("close", one(t, r, func(s *aioring.SQE) { aioring.PrepClose(s, fd) }), 0)
	for _, name := range []string{"c", "d", "sub/b"} {
		want("unlinkat", one(t, r, func(s *aioring.SQE) { aioring.PrepUnlinkat(s, dirfd, name, 0) }), 0)
	}
	want("unlinkat of a directory", one(t, r, func(s *aioring.SQE) { aioring.PrepUnlinkat(s, dirfd, "sub", unix.AT_REMOVEDIR) }), 0)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	for _, prep := range []func(s *aioring.SQE){ // a path has its end
		func(s *aioring.SQE) { aioring.PrepUnlinkat(s, dirfd, "x", 0); s.Buf = s.Buf[:1] },
		func(s *aioring.SQE) { aioring.PrepRenameat(s, dirfd, "x", dirfd, "y", 0); s.Bufs[0] = s.Bufs[0][:1] },
	} {
		want("no NUL", one(t, r, prep), -int32(syscall.EINVAL))
	}
}

// A connection's life, each step by its operation.
func TestSocketOperations(t *testing.T) {
	r := uring(t, 8)
	check := func(what string, res int32) int {
		t.Helper()
		if res < 0 {
			t.Fatalf("%s: %d", what, res)
		}
		return int(res)
	}
	addr := make([]byte, 16) // struct sockaddr_in of 127.0.0.1, any port
	binary.NativeEndian.PutUint16(addr, unix.AF_INET)
	copy(addr[4:], net.IPv4(127, 0, 0, 1).To4())
	socket := func(s *aioring.SQE) { aioring.PrepSocket(s, unix.AF_INET, unix.SOCK_STREAM, 0, 0) }
	server := check("socket", one(t, r, socket))
	defer unix.Close(server)
	if p := r.Probe(); p.Supported(aioring.OpBind) { // Linux 6.11
		check("bind", one(t, r, func(s *aioring.SQE) { aioring.PrepBind(s, server, addr) }))
		check("listen", one(t, r, func(s *aioring.SQE) { aioring.PrepListen(s, server, 5) }))
	} else if err := unix.Listen(server, 5); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(server)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(addr[2:], uint16(name.(*unix.SockaddrInet4).Port))
	client := check("socket", one(t, r, socket))
	defer unix.Close(client)
	aioring.PrepAccept(r.GetSQE(), server, 0)
	s := r.GetSQE()
	aioring.PrepConnect(s, client, addr)
	s.UserData = 1
	submit(t, r, 2)
	var peer int
	for range 2 {
		if c := reap(t, r); c.UserData == 0 {
			peer = check("accept", c.Res)
		} else {
			check("connect", c.Res)
		}
	}
	defer unix.Close(peer)
	buf, bufs := make([]byte, 16), [][]byte{make([]byte, 2), make([]byte, 16)}
	for _, step := range []struct {
		name       string
		send, recv func(s *aioring.SQE)
		n          int
	}{
		{"send", func(s *aioring.SQE) { aioring.PrepSend(s, client, []byte("hello"), 0) }, func(s *aioring.SQE) { aioring.PrepRecv(s, peer, buf, 0) }, 5},
		{"sendmsg", func(s *aioring.SQE) { aioring.PrepSendmsg(s, client, [][]byte{[]byte("hel"), []byte("lo")}, nil, 0) }, func(s *aioring.SQE) { aioring.PrepRecvmsg(s, peer, bufs, nil, 0) }, 5},
	} {
		if n := check(step.name, one(t, r, step.send)); n != step.n {
			t.Errorf("%s: %d", step.name, n)
		}
		if n := check("receiving", one(t, r, step.recv)); n != step.n {
			t.Errorf("receiving of %s: %d", step.name, n)
		}
	}
	if !bytes.HasPrefix(buf, []byte("hello")) || string(bufs[0])+string(bufs[1][:3]) != "hello" {
		t.Errorf("%q %q", buf, bufs)
	}
	// Without a copy: a result, and then that the buffer is free.
	aioring.PrepSendZC(r.GetSQE(), client, []byte("hello"), 0)
	submit(t, r, 1)
	if c := reap(t, r); c.Res != 5 || c.Flags&aioring.CQEMore == 0 {
		t.Errorf("send_zc: %+v", c)
	}
	one(t, r, func(s *aioring.SQE) { aioring.PrepRecv(s, peer, buf, 0) })
	option := make([]byte, 4)
	if r.Probe().Supported(aioring.OpUringCmd) {
		if n := one(t, r, func(s *aioring.SQE) { aioring.PrepGetsockopt(s, client, unix.SOL_SOCKET, unix.SO_TYPE, option) }); n == 4 {
			if binary.NativeEndian.Uint32(option) != unix.SOCK_STREAM {
				t.Errorf("getsockopt: %v", option)
			}
		}
	}
	check("shutdown", one(t, r, func(s *aioring.SQE) { aioring.PrepShutdown(s, client, unix.SHUT_WR) }))
	for c := (aioring.CQE{Res: -1}); c.Res != 0 || c.Flags != 0; { // the buffer's, perhaps, and the end's
		aioring.PrepRecv(r.GetSQE(), peer, buf, 0)
		submit(t, r, 1)
		c = reap(t, r)
	}
	for r.Stats().Alive > 0 {
		reap(t, r)
	}
}

// Readiness, pipes and what else has no file or socket of its own.
func TestOtherOperations(t *testing.T) {
	r := uring(t, 8)
	fds := make([]byte, 8)
	if !r.Probe().Supported(aioring.OpPipe) {
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			t.Fatal(err)
		}
		binary.NativeEndian.PutUint32(fds, uint32(p[0]))
		binary.NativeEndian.PutUint32(fds[4:], uint32(p[1]))
	} else if res := one(t, r, func(s *aioring.SQE) { aioring.PrepPipe(s, fds, 0) }); res != 0 {
		t.Fatal("pipe: ", res)
	}
	rd, wr := int(binary.NativeEndian.Uint32(fds)), int(binary.NativeEndian.Uint32(fds[4:]))
	defer unix.Close(rd)
	defer unix.Close(wr)
	poll := r.GetSQE()
	aioring.PrepPollAdd(poll, rd, unix.POLLIN)
	poll.UserData = 7
	submit(t, r, 1)
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepPollRemove(s, 8) }); res != -int32(syscall.ENOENT) {
		t.Errorf("poll_remove of nothing: %d", res)
	}
	remove := r.GetSQE()
	aioring.PrepPollRemove(remove, 7)
	remove.UserData = 9
	submit(t, r, 1)
	for range 2 {
		if c := reap(t, r); c.UserData == 9 && c.Res != 0 || c.UserData == 7 && c.Res != -int32(syscall.ECANCELED) {
			t.Errorf("poll_remove: %+v", c)
		}
	}
	aioring.PrepPollAdd(r.GetSQE(), rd, unix.POLLIN)
	submit(t, r, 1)
	if _, err := unix.Write(wr, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if c := reap(t, r); c.Res&unix.POLLIN == 0 {
		t.Errorf("poll_add: %+v", c)
	}
	var out [2]int
	if err := unix.Pipe(out[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(out[0])
	defer unix.Close(out[1])
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepTee(s, rd, out[1], 10, 0) }); res != 1 {
		t.Errorf("tee: %d", res)
	}
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepSplice(s, rd, -1, out[1], -1, 10, 0) }); res != 1 {
		t.Errorf("splice: %d", res)
	}
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	event := make([]byte, 12)
	binary.NativeEndian.PutUint32(event, unix.EPOLLIN)
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepEpollCtl(s, ep, out[0], unix.EPOLL_CTL_ADD, event) }); res != 0 {
		t.Errorf("epoll_ctl: %d", res)
	}
	if r.Probe().Supported(aioring.OpEpollWait) {
		if res := one(t, r, func(s *aioring.SQE) { aioring.PrepEpollWait(s, ep, make([]byte, 24)) }); res != 1 {
			t.Errorf("epoll_wait: %d", res)
		}
	}
	futex := make([]byte, 4)
	if r.Probe().Supported(aioring.OpFutexWait) {
		if res := one(t, r, func(s *aioring.SQE) { aioring.PrepFutexWait(s, futex, 1, 2) }); res != -int32(syscall.EAGAIN) {
			t.Errorf("futex_wait: %d", res)
		}
		if res := one(t, r, func(s *aioring.SQE) { aioring.PrepFutexWake(s, futex, 1, 2) }); res != 0 {
			t.Errorf("futex_wake: %d", res)
		}
	}
	// Buffers given to the kernel, of which a read takes one.
	memory := make([]byte, 64)
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepProvideBuffers(s, memory, 16, 3, 0) }); res != 0 {
		t.Fatalf("provide_buffers: %d", res)
	}
	s := r.GetSQE()
	aioring.PrepRead(s, out[0], nil, 0)
	s.Flags, s.Len = aioring.FlagBufferSelect, 16
	s.SetBufIndex(3)
	submit(t, r, 1)
	if c := reap(t, r); c.Res != 2 || c.Flags&1 == 0 || !bytes.HasPrefix(memory[16*(c.Flags>>16):], []byte("xx")) {
		t.Errorf("a read into a buffer of a group: %+v, %q", c, memory)
	}
	if res := one(t, r, func(s *aioring.SQE) { aioring.PrepRemoveBuffers(s, 10, 3) }); res != 3 {
		t.Errorf("remove_buffers: %d", res)
	}
	for name, prep := range map[string]func(s *aioring.SQE){ // there is no table
		"read_fixed":    func(s *aioring.SQE) { aioring.PrepReadFixed(s, rd, memory, 0, 0) },
		"readv_fixed":   func(s *aioring.SQE) { aioring.PrepReadvFixed(s, rd, [][]byte{memory}, 0, 0) },
		"write_fixed":   func(s *aioring.SQE) { aioring.PrepWriteFixed(s, wr, memory, 0, 0) },
		"writev_fixed":  func(s *aioring.SQE) { aioring.PrepWritevFixed(s, wr, [][]byte{memory}, 0, 0) },
		"files_update":  func(s *aioring.SQE) { aioring.PrepFilesUpdate(s, make([]byte, 4), 0) },
		"install":       func(s *aioring.SQE) { aioring.PrepFixedFdInstall(s, 0, 0) },
		"msg_ring":      func(s *aioring.SQE) { aioring.PrepMsgRing(s, rd, 1, 2, 0) },
		"waitid":        func(s *aioring.SQE) { aioring.PrepWaitid(s, 1, 1, nil, 4) },
		"futex_waitv":   func(s *aioring.SQE) { aioring.PrepFutexWaitv(s, make([]byte, 24)) },
		"recv_zc":       func(s *aioring.SQE) { aioring.PrepRecvZC(s, rd, 1, 0) },
		"sendmsg_zc":    func(s *aioring.SQE) { aioring.PrepSendmsgZC(s, rd, [][]byte{memory}, nil, 0) },
		"setsockopt":    func(s *aioring.SQE) { aioring.PrepSetsockopt(s, rd, 1, 1, memory[:4]) },
		"multishot":     func(s *aioring.SQE) { aioring.PrepReadMultishot(s, rd, 0, 9) },
		"recvmultishot": func(s *aioring.SQE) { aioring.PrepRecvMultishot(s, rd, 0, 9) },
		"accepts":       func(s *aioring.SQE) { aioring.PrepMultishotAccept(s, rd, 0) },
	} {
		if res := one(t, r, prep); res >= 0 {
			t.Errorf("%s: %d", name, res)
		}
		for r.Stats().Alive > 0 {
			reap(t, r) // that the buffer is free
		}
	}
}

// What another ring sends names no operation here, whatever it says.
func TestForgedCompletionsAreNobodys(t *testing.T) {
	r := uring(t, 8)
	fd := aioring.RingFd(r)
	for _, data := range []uint64{0, 5, 1 << 20, 1<<32 - 1, 1 << 61, 1 << 62, 1 << 63, ^uint64(0)} {
		// Its own result, and before it the forged one.
		if res := one(t, r, func(s *aioring.SQE) { aioring.PrepMsgRing(s, fd, 1, data, 0) }); res != 0 {
			t.Errorf("%#x: %d", data, res)
		}
	}
	if s := r.Stats(); s.InFlight != 0 || s.Stale == 0 {
		t.Errorf("%+v", s)
	}
}

// Do gives the bytes of a send without a copy, not what comes after them.
func TestDoOfTwoCompletions(t *testing.T) {
	r := uring(t, 8)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s aioring.SQE
	aioring.PrepSendZC(&s, int(f.Fd()), []byte("hello"), 0)
	if cqe, err := r.Do(context.Background(), s); err != nil || cqe.Res != 5 {
		t.Errorf("%+v, %v", cqe, err)
	}
}
