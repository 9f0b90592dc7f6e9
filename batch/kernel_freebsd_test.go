package batch

import (
	"testing"

	"github.com/aioring/aioring/aio"
)

// These meet the real kernel, whose sysctls are as they are.
func nativeRig(t *testing.T) *rig {
	t.Helper()
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	return rigOn(t, k, nil)
}

// Osreldate is what the kernel says, in a guest.
func TestVectoredJobsOnTheRealKernel(t *testing.T) {
	r := nativeRig(t)
	vectored(t, r)
	k := r.cfg.Kernel.(*aio.FreeBSD)
	if lists := k.Osreldate() >= 1400000; lists != (r.vectors == yes) || lists != (r.Stats().Singles == 0) {
		t.Errorf("kernel %d: vectors %d, %+v", k.Osreldate(), r.vectors, r.Stats())
	}
}

func TestManyMoreJobsThanTheRealKernelTakes(t *testing.T) {
	r := nativeRig(t)
	n := 4 * r.Budget().Limit()
	var jobs []*Job
	bufs := map[*Job][]byte{}
	for i := range n {
		j := r.add(Read, int64(i%1024)*8)
		jobs, bufs[j] = append(jobs, j), j.Buf
	}
	bad := r.job(Read, 0)
	bad.Fd = 1 << 20
	r.addJob(bad)
	sync := r.add(Fsync, 0)
	r.Flush()
	if r.Waiting() == 0 {
		t.Errorf("none of %d waits, limit %d", n, r.Budget().Limit())
	}
	r.finish()
	for _, j := range jobs {
		wantRead(t, j, bufs[j])
	}
	if bad.Errno != aio.EBADF || sync.Errno != 0 {
		t.Errorf("bad descriptor: %v, sync: %v", bad.Errno, sync.Errno)
	}
	t.Logf("%+v, high water %d", r.Stats(), r.Budget().HighWater())
}

// A pipe goes elsewhere, the file's jobs of the same list do not.
func TestRealKernelRefusesAmidAList(t *testing.T) {
	r := nativeRig(t)
	kq := r.re.Kqueue() // a descriptor that AIO is not for, and that is there
	for range 50 {
		for i := range 32 {
			j := r.job(Read, int64(i)*8)
			if i%5 == 3 {
				j.Fd = kq
			}
			r.addJob(j)
		}
		r.finish()
	}
	if len(r.elsewhere) == 0 {
		// Whether a kqueue is refused as EBADF or EOPNOTSUPP is the kernel's affair.
		refused := 0
		for j := range r.ended {
			if j.Errno != 0 {
				refused++
			}
		}
		if refused != 50*6 {
			t.Errorf("%d refused", refused)
		}
	}
}
