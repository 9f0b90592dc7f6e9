package batch

import (
	"bytes"
	"os"
	"testing"

	"github.com/aioring/aioring/aio"
)

// nativeMergeRig merges, on the real kernel.
func nativeMergeRig(t *testing.T) *rig {
	t.Helper()
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	return mergeRigOn(t, k, nil, 1<<16)
}

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
	if lists := k.Osreldate() >= 1400000; lists != (r.vectors == yes) || lists != (r.Stats().Singles == 3) {
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

func TestMergedJobsOnTheRealKernel(t *testing.T) {
	for _, op := range []Op{Read, Write, Readv, Writev} {
		for _, apart := range []bool{false, true} {
			r := nativeMergeRig(t)
			for range 3 {
				jobs, bufs := r.neighbours(op, 0, 64, apart)
				r.finish()
				r.wantBytes(jobs, bufs)
			}
			if s := r.Stats(); s.Merges != 3 || s.Members != 192 || s.Splits != 3 {
				t.Errorf("op %d: %+v", op, s)
			}
		}
	}
}

func TestMergedReadAcrossTheEndOnTheRealKernel(t *testing.T) {
	r := nativeMergeRig(t)
	jobs, _ := r.neighbours(Read, 8192-20, 5, true)
	r.finish()
	for i, want := range []int{8, 8, 4, 0, 0} {
		if jobs[i].N != want || jobs[i].Errno != 0 {
			t.Errorf("member %d: %d, %v", i, jobs[i].N, jobs[i].Errno)
		}
	}
}

func TestHundredThousandAppendsOnTheRealKernel(t *testing.T) { appends(t, nativeMergeRig(t)) }

func TestSharedSyncsOnTheRealKernel(t *testing.T) {
	r := nativeMergeRig(t)
	var jobs []*Job
	for range 64 {
		r.add(Write, int64(len(jobs))*8)
		jobs = append(jobs, r.add(Fsync, 0))
	}
	r.finish()
	for _, j := range jobs {
		if j.Errno != 0 {
			t.Error(j.Errno)
		}
	}
	if s := r.Stats(); s.Shared != 63 || s.Merges != 1 {
		t.Errorf("%+v", s)
	}
}

func TestProgramsComeToTheSameOnTheRealKernel(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		for _, merge := range []int{0, 300, 4096} {
			programOn(t, mergeRigOn(t, k, nil, max(merge, 1)), seed, merge)
		}
	}
}

// The disk is the one that AIORING_TEST_DISK names. What is on it is lost.
func testDisk(t *testing.T) *rig {
	t.Helper()
	name := os.Getenv("AIORING_TEST_DISK")
	if name == "" {
		t.Skip("AIORING_TEST_DISK names no disk that may be overwritten")
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := nativeMergeRig(t)
	r.fd = int(f.Fd())
	r.withFile()
	sector, block := (aio.HostFiles{}).Geometry(r.fd, r.stat.Type)
	r.geo = Geometry{Align: sector, Block: block}
	if r.stat.Type != aio.TypeDisk || sector < 512 {
		t.Fatalf("%s: %+v, sectors of %d", name, r.stat, sector)
	}
	return r
}

// A short read and a long one take nothing from those that AIO is for.
func TestRawDiskKeepsItsAIO(t *testing.T) {
	r := testDisk(t)
	odd := r.job(Read, 0)
	odd.Buf = make([]byte, 100)
	r.onRun = func(*Job) aio.Errno { return aio.EINVAL } // as read(2) has it
	r.addJob(odd)
	long := r.job(Write, 0)
	long.Buf = make([]byte, 4<<20)
	for i := range long.Buf {
		long.Buf[i] = byte(i / 512 * 7)
	}
	wrote := long.Buf
	r.addJob(long)
	r.finish()
	if long.N != 4<<20 || long.Errno != 0 || len(r.elsewhere) != 1 {
		t.Fatalf("4 MiB: %d, %v, %d elsewhere", long.N, long.Errno, len(r.elsewhere))
	}
	long = r.job(Read, 0)
	long.Buf = make([]byte, 4<<20)
	read := long.Buf
	r.addJob(long)
	r.finish()
	if !bytes.Equal(read, wrote) {
		t.Error("other bytes were read")
	}
	for _, apart := range []int{4096, 8192} {
		mem := make([]byte, 1000*apart)
		var jobs []*Job
		for i := range 1000 {
			j := r.job(Read, int64(i)*4096)
			j.Buf = mem[i*apart:][:4096]
			jobs = append(jobs, j)
			r.addJob(j)
		}
		r.finish()
		for i, j := range jobs {
			if j.N != 4096 || j.Errno != 0 || !bytes.Equal(mem[i*apart:][:4096], wrote[i*4096:][:4096]) {
				t.Fatalf("read %d: %d, %v", i, j.N, j.Errno)
			}
		}
	}
	if len(r.elsewhere) != 1 {
		t.Errorf("%d went elsewhere", len(r.elsewhere))
	}
	t.Logf("%+v", r.Stats())
}

// A vectored job of more buffers than the kernel takes for a disk.
func TestRawDiskTakesManyBuffers(t *testing.T) {
	r := testDisk(t)
	for _, n := range []int{1, 16, 17, 100} {
		for _, op := range []Op{Writev, Readv} {
			j := r.job(op, 4096)
			j.Bufs = nil
			for range n {
				j.Bufs = append(j.Bufs, make([]byte, 4096))
			}
			r.addJob(j)
			r.finish()
			if j.N != n*4096 || j.Errno != 0 {
				t.Errorf("op %d, %d buffers: %d, %v", op, n, j.N, j.Errno)
			}
		}
	}
	if len(r.elsewhere) != 0 {
		t.Errorf("%d went elsewhere", len(r.elsewhere))
	}
}
