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

// diskRig has a file of a MiB and a half that passes for a disk, whose driver takes
// at most maxIO bytes and maxBufs buffers at a time, all of them multiples of 512.
func diskRig(t *testing.T, maxIO uintptr, maxBufs uintptr, faults ...sim.Fault) *rig {
	t.Helper()
	r := mergeRig(t, sim.Config{Faults: append(faults, func(o sim.Op) sim.Effect {
		if o.Point != sim.Submit {
			return sim.Effect{}
		}
		vector := o.Opcode == aio.OpReadv || o.Opcode == aio.OpWritev
		if vector && o.Bytes > maxBufs || !vector && (o.Bytes > maxIO || o.Bytes%512 != 0) {
			return sim.Fail(aio.EOPNOTSUPP)
		}
		return sim.Effect{}
	})}, 1<<16)
	r.asDisk()
	r.geo.Align = 512
	data := make([]byte, 3<<19)
	for i := range data {
		data[i] = byte(i / 512 * 31)
	}
	if err := os.WriteFile(r.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// A job longer than the disk takes goes in pieces, whether that is known before or
// learned from a refusal; what comes later is asked for in the size that was taken.
func TestLongJobsOnADiskGoInPieces(t *testing.T) {
	for _, maxIO := range []uintptr{minPiece, 1 << 18, maxPiece} {
		for _, op := range []Op{Read, Write, Readv, Writev} {
			t.Run(fmt.Sprint(maxIO, " op ", op), func(t *testing.T) {
				r := diskRig(t, maxIO, maxPieceBufs)
				const n = 5 << 18
				buf := make([]byte, n)
				for i := range buf {
					buf[i] = byte(i / 512 * 7)
				}
				wrote := bytes.Clone(buf)
				j := r.job(op, 512)
				j.Buf, j.Bufs = nil, nil
				if op.vector() {
					for at := 0; at < n; at += n / 20 {
						j.Bufs = append(j.Bufs, buf[at:at+n/20])
					}
				} else {
					j.Buf = buf
				}
				r.addJob(j)
				r.finish()
				data, err := os.ReadFile(r.path)
				if err != nil {
					t.Fatal(err)
				}
				if j.N != n || j.Errno != 0 || !bytes.Equal(data[512:512+n], buf) || op.writes() && !bytes.Equal(wrote, buf) {
					t.Errorf("%d, %v", j.N, j.Errno)
				}
				s := r.Stats()
				if s.Pieces < uint64(n/int(maxIO)) || len(r.elsewhere) > 0 {
					t.Errorf("%d elsewhere, %+v", len(r.elsewhere), s)
				}
				for range 10 {
					k := r.job(Read, 1024)
					k.Buf = make([]byte, n)
					r.addJob(k)
					r.finish()
					if k.N != n || k.Errno != 0 {
						t.Errorf("later: %d, %v", k.N, k.Errno)
					}
				}
				if again := r.Stats().Partial - s.Partial; len(r.elsewhere) > 0 || again > 4 { // 1 MiB halved
					t.Errorf("%d went elsewhere, %d lists were refused later: it did not learn", len(r.elsewhere), again)
				}
			})
		}
	}
}

// What a disk cannot move at all is a plain call; its neighbours stay.
func TestWhatADiskCannotMoveGoesElsewhereAlone(t *testing.T) {
	r := diskRig(t, maxPiece, maxPieceBufs)
	odd := r.job(Read, 0)
	odd.Buf = make([]byte, 100)
	r.addJob(odd)
	empty := r.job(Read, 0)
	empty.Buf = nil
	r.addJob(empty)
	ragged := r.job(Readv, 0)
	ragged.Bufs = [][]byte{make([]byte, 500), make([]byte, 524)}
	for range maxPieceBufs {
		ragged.Bufs = append(ragged.Bufs, make([]byte, 512))
	}
	r.addJob(ragged)
	var jobs []*Job
	for i := range 1000 {
		j := r.job(Read, int64(i)*512)
		j.Buf = make([]byte, 512)
		jobs = append(jobs, j)
		r.addJob(j)
	}
	r.finish()
	if len(r.elsewhere) != 3 || r.elsewhere[0].File != nil {
		t.Errorf("%d went elsewhere", len(r.elsewhere))
	}
	for _, j := range jobs {
		if j.N != 512 || j.Errno != 0 {
			t.Errorf("%d, %v", j.N, j.Errno)
		}
	}
	if odd.N != 100 || empty.N != 0 || ragged.N != 1024+512*maxPieceBufs {
		t.Errorf("%d, %d, %d", odd.N, empty.N, ragged.N)
	}
}

// The quota refuses all but a few pieces at a time, and any of them.
func TestPiecesAreRefusedAtEveryIndex(t *testing.T) {
	const n = 1 << 20
	for _, errno := range []aio.Errno{aio.EAGAIN, aio.ENOMEM, aio.EIO, aio.EOPNOTSUPP} {
		for k := range n / minPiece {
			r := diskRig(t, maxPiece, maxPieceBufs, sim.If(sim.And(sim.At(sim.Submit), sim.Offset(int64(k)*minPiece, int64(k)*minPiece+1), sim.First(1)), sim.Fail(errno)))
			j := r.job(Read, 0)
			j.File.maxIO = minPiece
			j.Buf = make([]byte, n)
			r.addJob(j)
			r.finish()
			want, wantErrno := n, aio.Errno(0)
			if errno == aio.EIO {
				if want = k * minPiece; k == 0 {
					wantErrno = errno
				}
			}
			if j.N != want || j.Errno != wantErrno {
				t.Errorf("%v at %d: %d, %v", errno, k, j.N, j.Errno)
			}
			// The first goes alone: after EAGAIN nothing of ours would make room.
			whole := errno == aio.ENOMEM || errno == aio.EOPNOTSUPP || errno == aio.EAGAIN && k == 0
			if len(r.elsewhere) == 1 != whole {
				t.Errorf("%v at %d: %d elsewhere", errno, k, len(r.elsewhere))
			}
		}
	}
}

// The count is that of the pieces up to the first that is short or failed, in
// whatever order they end.
func TestPiecesUpToTheFirstThatIsNotFullCount(t *testing.T) {
	for k := range 16 {
		for _, effect := range []sim.Effect{sim.Short(100), sim.Short(0), sim.Fail(aio.EIO)} {
			r := diskRig(t, maxPiece, maxPieceBufs, sim.If(sim.And(sim.At(sim.Start), sim.Offset(int64(k)*minPiece, int64(k)*minPiece+1)), effect))
			j := r.job(Write, 0)
			j.File.maxIO = minPiece
			j.Buf = make([]byte, 1<<20)
			r.addJob(j)
			r.finish()
			want := k*minPiece + int(effect.Limit)
			if j.N != want || (j.Errno != 0) != (want == 0 && effect.Errno != 0) {
				t.Errorf("piece %d, %+v: %d, %v", k, effect, j.N, j.Errno)
			}
		}
	}
}

func TestJobInPiecesIsNotCancelled(t *testing.T) {
	r := diskRig(t, maxPiece, maxPieceBufs)
	r.model.Hold()
	j := r.job(Read, 0)
	j.Buf = make([]byte, maxPiece+512)
	r.addJob(j)
	r.Flush()
	if got := r.Cancel(j); got != aio.NotCancelled {
		t.Errorf("%v", got)
	}
	r.model.Release()
}

// A file that does no AIO is asked once.
func TestFileThatDoesNoAIOIsRemembered(t *testing.T) {
	asked := 0
	r := mergeRig(t, sim.Config{Faults: []sim.Fault{func(o sim.Op) sim.Effect {
		if o.Point != sim.Submit {
			return sim.Effect{}
		}
		asked++
		return sim.Fail(aio.EOPNOTSUPP)
	}}}, 1<<16)
	told := 0
	r.cfg.Refuses = func(fd int, stat aio.FileStat) {
		if told++; fd != r.fd || stat != r.stat {
			t.Errorf("%d, %+v", fd, stat)
		}
	}
	jobs, bufs := r.neighbours(Read, 0, 64, true)
	r.Flush()
	r.settle()
	before := asked
	for range 5 {
		more, mem := r.neighbours(Read, 0, 64, true)
		jobs, bufs = append(jobs, more...), append(bufs, mem...)
		r.add(Fsync, 0)
		r.finish()
	}
	r.wantBytes(jobs, bufs)
	if asked != before || told != 1 || r.Stats().Refusing != 1 {
		t.Errorf("asked %d times, then %d; told %d times", before, asked, told)
	}
}
