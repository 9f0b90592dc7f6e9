//go:build unix

package aio_test

import (
	"os"
	"testing"
	"time"

	"github.com/aioring/aioring/aio"
)

func eachHostQueue(t *testing.T, test func(t *testing.T, h *aio.HostQueues, kq int)) {
	for name, h := range map[string]*aio.HostQueues{"native": {}, "poll": {Poll: true}} {
		t.Run(name, func(t *testing.T) {
			kq, errno := h.Kqueue()
			if errno != 0 {
				t.Fatal(errno)
			}
			test(t, h, kq)
			if errno := h.CloseKqueue(kq); errno != 0 {
				t.Error(errno)
			}
			if errno := h.CloseKqueue(kq); errno != aio.EBADF {
				t.Errorf("closed twice: %v", errno)
			}
		})
	}
}

func TestHostQueueRefusals(t *testing.T) {
	eachHostQueue(t, func(t *testing.T, h *aio.HostQueues, kq int) {
		for _, c := range []struct {
			name   string
			kq     int
			change aio.Kevent
			want   aio.Errno
		}{
			{"no queue", -1, aio.Kevent{}, aio.EBADF},
			{"another filter", kq, aio.Kevent{Filter: aio.FilterTimer, Flags: aio.EvAdd}, aio.EINVAL},
			{"not one-shot", kq, aio.Kevent{Filter: aio.FilterRead, Flags: aio.EvAdd}, aio.EINVAL},
			{"no descriptor", kq, aio.Kevent{Ident: 9999, Filter: aio.FilterRead, Flags: aio.EvAdd | aio.EvOneshot}, aio.EBADF},
			{"no number", kq, aio.Kevent{Ident: ^uintptr(0), Filter: aio.FilterRead, Flags: aio.EvAdd | aio.EvOneshot}, aio.EBADF},
			{"delete of nothing", kq, aio.Kevent{Ident: 0, Filter: aio.FilterRead, Flags: aio.EvDelete}, aio.ENOENT},
			{"delete far away", kq, aio.Kevent{Ident: 1 << 20, Filter: aio.FilterWrite, Flags: aio.EvDelete}, aio.ENOENT},
			{"trigger of nothing", kq, aio.Kevent{Filter: aio.FilterUser, Fflags: aio.NoteTrigger}, aio.ENOENT},
		} {
			if _, errno := h.Kevent(c.kq, []aio.Kevent{c.change}, nil, 0); errno != c.want {
				t.Errorf("%s: %v, want %v", c.name, errno, c.want)
			}
		}
	})
}

// With room for less than there is the rest comes later, and nothing twice.
func TestHostQueueKeepsWhatThereIsNoRoomFor(t *testing.T) {
	eachHostQueue(t, func(t *testing.T, h *aio.HostQueues, kq int) {
		const ident = 5
		user := aio.Kevent{Ident: ident, Filter: aio.FilterUser, Flags: aio.EvAdd | aio.EvClear, Udata: 9}
		change(t, h, kq, user)
		change(t, h, kq, aio.Kevent{Ident: ident, Filter: aio.FilterUser, Fflags: aio.NoteTrigger})
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		if _, err := w.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		for i, f := range []*os.File{file, w, r} {
			for _, filter := range []aio.Filter{aio.FilterRead, aio.FilterWrite} {
				if f == r && filter == aio.FilterWrite || f == w && filter == aio.FilterRead {
					continue
				}
				change(t, h, kq, aio.Kevent{
					Ident: f.Fd(), Filter: filter, Flags: aio.EvAdd | aio.EvOneshot, Udata: uintptr(i),
				})
			}
		}
		seen := map[aio.Kevent]bool{}
		for len(seen) < 5 { // the user's, two of the file, one of each end
			var events [1]aio.Kevent
			n, errno := h.Kevent(kq, nil, events[:], time.Minute)
			if n != 1 || errno != 0 || seen[events[0]] {
				t.Fatalf("%d, %v, %+v after %v", n, errno, events[0], seen)
			}
			seen[events[0]] = true
		}
		var events [8]aio.Kevent
		if n, errno := h.Kevent(kq, nil, events[:], 0); n != 0 || errno != 0 {
			t.Errorf("%d more, %v", n, errno)
		}
	})
}

func TestHostQueueTimeoutIsNeverEarly(t *testing.T) {
	eachHostQueue(t, func(t *testing.T, h *aio.HostQueues, kq int) {
		for _, d := range []time.Duration{1, 100 * time.Microsecond, 3*time.Millisecond + 1} {
			var events [1]aio.Kevent
			began := time.Now()
			n, errno := h.Kevent(kq, nil, events[:], d)
			if errno == aio.EINTR {
				continue
			}
			if took := time.Since(began); n != 0 || errno != 0 || took < d {
				t.Errorf("%v: %d, %v, %v", took, n, errno, d)
			}
		}
	})
}

func change(t *testing.T, h *aio.HostQueues, kq int, kev aio.Kevent) {
	t.Helper()
	if _, errno := h.Kevent(kq, []aio.Kevent{kev}, nil, 0); errno != 0 {
		t.Fatalf("%+v: %v", kev, errno)
	}
}
