//go:build unix

package batch

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// lists runs lists of n jobs of mixed kinds, with a lane of appended records beside
// them, and sees that each operation has one result, its own, that every byte is
// where it belongs and that the records are in order.
type lists struct {
	*rig
	log     *os.File
	logStat aio.FileStat
	records int
	rounds  int
}

func newLists(t *testing.T, cfg sim.Config, merge int) *lists {
	t.Helper()
	l := &lists{rig: mergeRig(t, cfg, max(merge, 1))}
	l.cfg.Merge = merge
	var err error
	if l.log, err = os.OpenFile(l.path+".log", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.log.Close() })
	var errno aio.Errno
	if l.logStat, errno = (aio.HostFiles{}).Fstat(int(l.log.Fd())); errno != 0 {
		t.Fatal(errno)
	}
	return l
}

// round runs one list of n jobs; those whose result is excused may fail with it.
func (l *lists) round(what string, n int, excused map[int64]aio.Errno) {
	l.t.Helper()
	l.rounds++
	want, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	jobs, bufs := make([]*Job, n), make([][]byte, n)
	for i := range n {
		off := int64(i) * 16
		if l.cfg.Merge > 0 {
			off = int64(i)*8 + int64(i/4)*8 // runs of four
		}
		j := l.job(Op(i%4), off)
		if l.cfg.Merge > 0 {
			j = l.job(Op(i/4%4), off)
		}
		buf := make([]byte, 8)
		if j.Op.writes() {
			copy(buf, fmt.Sprintf("%04d%03d!", l.rounds%10000, i))
		}
		if j.Bufs != nil {
			j.Bufs = [][]byte{buf[:3], buf[3:]}
		} else {
			j.Buf = buf
		}
		jobs[i], bufs[i] = j, buf
		l.addJob(j)
		if i%16 == 0 {
			l.record()
		}
	}
	l.finish()
	got, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	for i, j := range jobs {
		if errno := excused[j.Off]; errno != 0 && j.Errno == errno && j.N == 0 {
			continue
		}
		if j.N != 8 || j.Errno != 0 {
			l.t.Fatalf("%s: job %d, op %d: %d, %v", what, i, j.Op, j.N, j.Errno)
		}
		if j.Op.writes() {
			copy(want[j.Off:], bufs[i])
		} else if !bytes.Equal(bufs[i], want[j.Off:][:8]) {
			l.t.Fatalf("%s: job %d read %q, want %q", what, i, bufs[i], want[j.Off:][:8])
		}
	}
	if !bytes.Equal(got, want) {
		l.t.Fatalf("%s: another file", what)
	}
}

// recordOff is the offset that records carry, which means nothing.
const recordOff = 1 << 20

// record appends the next record to the log.
func (l *lists) record() {
	stat, fd := l.stat, l.fd
	l.stat, l.fd = l.logStat, int(l.log.Fd())
	j := l.job(Write, recordOff)
	j.Append, j.Buf = true, fmt.Appendf(nil, "record %d\n", l.records)
	l.addJob(j)
	l.records++
	l.stat, l.fd = stat, fd
}

// wantLog checks the order of the records.
func (l *lists) wantLog() {
	l.t.Helper()
	got, err := os.ReadFile(l.log.Name())
	if err != nil {
		l.t.Fatal(err)
	}
	var want []byte
	for i := range l.records {
		want = fmt.Appendf(want, "record %d\n", i)
	}
	if !bytes.Equal(got, want) {
		l.t.Fatalf("%d bytes of records, want %d, or not in order", len(got), len(want))
	}
}

// refusing are the errnos that a submission of one entry may have. Those that are not
// for want of room or of AIO are the operation's own result.
var refusing = []aio.Errno{aio.EAGAIN, aio.ENOMEM, aio.EOPNOTSUPP, aio.EBADF, aio.EINVAL, aio.EIO}

func own(errno aio.Errno) bool {
	return errno == aio.EBADF || errno == aio.EINVAL || errno == aio.EIO
}

// Every refusal, at every index of lists of up to 256, on kernels with and without
// vectors in lists, merged and not.
func TestEveryRefusalAtEveryIndexOfLists(t *testing.T) {
	lengths := []int{1, 2, 3, 4, 5, 17, 64, 256}
	if testing.Short() {
		lengths = []int{1, 2, 5, 17}
	}
	for _, merge := range []int{0, 1 << 16} {
		for i, errno := range refusing {
			t.Run(fmt.Sprint(merge, " ", errno), func(t *testing.T) {
				l := newLists(t, sim.Config{Profile: profiles[[]string{"13.2", "14.1", "15.0"}[i%3]]}, merge)
				for _, n := range lengths {
					for k := range n {
						f := refuse(map[int]aio.Errno{k: errno})
						l.model.ClearFaults()
						l.model.Inject(f.fault)
						if errno == aio.EOPNOTSUPP {
							l.forget()
						}
						l.round(fmt.Sprintf("%v at %d of %d", errno, k, n), n, f.refused)
						if merge == 0 && len(f.refused) == 0 {
							t.Fatalf("%v at %d of %d: nothing was refused", errno, k, n)
						}
					}
				}
				l.wantLog()
			})
		}
	}
}

// Two refusals of every pair of kinds, at indexes apart and next to each other, and
// all kinds together in one list.
func TestRefusalsTogether(t *testing.T) {
	for _, merge := range []int{0, 1 << 16} {
		l := newLists(t, sim.Config{}, merge)
		round := func(n int, errnos map[int]aio.Errno) {
			f := refuse(errnos)
			l.model.ClearFaults()
			l.model.Inject(f.fault)
			l.forget()
			l.round(fmt.Sprint(errnos, " of ", n), n, f.refused)
		}
		for _, n := range []int{2, 3, 16, 64} {
			for _, first := range refusing {
				for _, second := range refusing {
					for k := 0; k < n; k += 1 + n/8 {
						round(n, map[int]aio.Errno{k: first, (k + 1) % n: second})
						round(n, map[int]aio.Errno{k: first, n - 1 - k: second})
					}
				}
			}
		}
		for shift := range len(refusing) {
			all := map[int]aio.Errno{}
			for i := range 256 {
				all[i] = refusing[(i+shift)%len(refusing)]
			}
			round(256, all)
		}
		l.wantLog()
	}
}

// The limit shrinks while lists are on their way, to every length.
func TestListsAreRefusedWholeAtEveryLength(t *testing.T) {
	for _, merge := range []int{0, 1 << 16} {
		l := newLists(t, sim.Config{}, merge)
		for limit := 255; limit > 0; limit -= 1 + limit/16 {
			l.model.SetLimits(aio.Limits{MaxQueuePerProc: 256})
			if err := l.Budget().Reread(); err != nil {
				t.Fatal(err)
			}
			l.model.SetLimits(aio.Limits{MaxQueuePerProc: limit})
			l.round(fmt.Sprint("limit ", limit), 256, nil)
		}
		l.wantLog()
		if l.Stats().TooLong == 0 {
			t.Error("no list was refused")
		}
	}
}

// forget makes the batch ask anew whether files do AIO.
func (l *lists) forget() {
	for _, f := range l.files {
		f.refuses = false
	}
}

// nthEntry refuses, once each, the submissions of these numbers, counted from 0. The
// kernel's lock orders its calls.
type nthEntry struct {
	errnos  map[int]aio.Errno
	asked   int
	refused map[int64]aio.Errno // by offset
}

func refuse(errnos map[int]aio.Errno) *nthEntry {
	return &nthEntry{errnos: errnos, refused: map[int64]aio.Errno{}}
}

func (f *nthEntry) fault(op sim.Op) sim.Effect {
	if op.Point != sim.Submit {
		return sim.Effect{}
	}
	errno := f.errnos[f.asked]
	if own(errno) && op.Offset == recordOff {
		errno = aio.EAGAIN // all records are to come out
	}
	f.asked++
	if errno == 0 {
		return sim.Effect{}
	}
	f.refused[op.Offset] = errno
	return sim.Fail(errno)
}
