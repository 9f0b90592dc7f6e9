//go:build unix

package sim

import (
	"io"
	"strconv"

	"github.com/aioring/aioring/aio"
)

// tracer writes a history down, one line for each system call and each thing that
// the kernel does by itself:
//
//	0.000120500 1 aio_write j7 fd=3 off=4096 n=512 = 0
//	0.000131000 1 finish j7 = 512
//
// The virtual time in seconds, the process, what happens, to whom, how it ends.
// Addresses do not appear: a job has its number in order of submission (jN), a list
// the number of its call (lN).
type tracer struct {
	w io.Writer
	b []byte
}

func (t *tracer) begin(s *System, k *Kernel, what string) *tracer {
	t.b = t.b[:0]
	if s.stepped != nil {
		ns := int64(s.stepped.now)
		t.b = strconv.AppendInt(t.b, ns/1e9, 10)
		t.b = append(t.b, '.')
		frac := strconv.AppendInt(nil, ns%1e9+1e9, 10)
		t.b = append(t.b, frac[1:]...)
		t.b = append(t.b, ' ')
	}
	if k != nil {
		t.b = strconv.AppendInt(t.b, int64(k.pid), 10)
	} else {
		t.b = append(t.b, '-')
	}
	t.b = append(t.b, ' ')
	t.b = append(t.b, what...)
	return t
}

func (t *tracer) num(name string, v int64) *tracer {
	t.b = append(t.b, ' ')
	t.b = append(t.b, name...)
	t.b = append(t.b, '=')
	t.b = strconv.AppendInt(t.b, v, 10)
	return t
}

func (t *tracer) word(w string) *tracer {
	t.b = append(t.b, ' ')
	t.b = append(t.b, w...)
	return t
}

// job names one, or with nil none.
func (t *tracer) job(j *job) *tracer {
	if j == nil {
		return t.word("-")
	}
	t.b = append(t.b, " j"...)
	t.b = strconv.AppendUint(t.b, j.seq, 10)
	return t
}

// whole names a job and what it is to do.
func (t *tracer) whole(j *job) *tracer {
	t.job(j).num("op", int64(j.op)).num("fd", int64(j.fd)).num("off", j.offset).num("n", int64(j.nbytes))
	if j.lio != nil {
		t.num("list", int64(j.lio.call)).num("entry", int64(j.entry))
	}
	return t
}

func (t *tracer) result(n int, errno aio.Errno) *tracer {
	t.b = append(t.b, " = "...)
	if errno != 0 {
		t.b = append(t.b, 'E')
		n = int(errno)
	}
	t.b = strconv.AppendInt(t.b, int64(n), 10)
	return t
}

// sum is the checksum of a job's buffers, for what was moved is part of a history.
func (t *tracer) sum(j *job) *tracer {
	t.b = append(t.b, " sum="...)
	t.b = strconv.AppendUint(t.b, uint64(j.crc()), 16)
	return t
}

func (t *tracer) limits(l *aio.Limits) *tracer {
	unsafe := int64(0)
	if l.EnableUnsafe {
		unsafe = 1
	}
	return t.num("queue", int64(l.MaxQueue)).num("perproc", int64(l.MaxQueuePerProc)).num("active", int64(l.MaxPerProc)).
		num("procs", int64(l.MaxProcs)).num("buf", int64(l.MaxBuf)).num("unsafe", unsafe)
}

// event is one that kevent delivers.
func (t *tracer) event(kn *knote, ev *aio.Kevent) *tracer {
	t.b = append(t.b, " ["...)
	switch {
	case kn.job != nil:
		t.b = append(t.b, 'j')
		t.b = strconv.AppendUint(t.b, kn.job.seq, 10)
	case kn.lio != nil:
		t.b = append(t.b, 'l')
		t.b = strconv.AppendUint(t.b, kn.lio.call, 10)
	default:
		t.b = strconv.AppendUint(t.b, uint64(ev.Ident), 10)
	}
	t.num("flags", int64(ev.Flags)).num("data", ev.Data).num("fflags", int64(ev.Fflags)).num("udata", int64(ev.Udata))
	t.b = append(t.b, ']')
	return t
}

func (t *tracer) end() {
	t.b = append(t.b, '\n')
	_, _ = t.w.Write(t.b) // a trace that cannot be written changes nothing for the process
}
