package aio_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/aiotest"
)

// The kernel itself, judged by the suite that judges its model.
func TestConformance(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	aiotest.Run(t, target(k))
}

// The same with files on tmpfs, which has no disk below and other locks.
func TestConformanceTmpfs(t *testing.T) {
	k, err := aio.NewFreeBSD()
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/tmp"
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || unix.ByteSliceToString(fs.Fstypename[:]) != "tmpfs" {
		t.Skipf("%s is not tmpfs (%v)", dir, err)
	}
	t.Setenv("TMPDIR", dir)
	aiotest.Run(t, target(k))
}

func target(k *aio.FreeBSD) aiotest.Target {
	return aiotest.Target{
		New:       func(*testing.T) aio.Kernel { return k },
		Osreldate: k.Osreldate(),
		SetLimits: setLimits,
		Sysctl:    sysctl,
		Disk:      rawDisk,
		Signals:   signals,
	}
}

// rawDisk is the disk that AIORING_RAW_DISK names, or the second virtio disk if
// nobody has it mounted: then it cannot be opened for writing. Its contents are
// lost.
func rawDisk(t *testing.T, k aio.Kernel, kind aiotest.DiskKind) string {
	path := os.Getenv("AIORING_RAW_DISK")
	if path == "" {
		path = "/dev/vtbd1"
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no raw disk here: %v", err)
	}
	defer unix.Close(fd)
	if st, errno := k.Fstat(fd); errno != 0 || st.Type != aio.TypeDisk {
		t.Skipf("%s is no disk", path)
	}
	// Every disk of GEOM takes its buffers as they are, unless the kernel was told
	// otherwise when it booted. Source: FreeBSD sys/geom/geom_dev.c, g_dev_taste.
	unmapped, err := unix.SysctlUint32("vfs.unmapped_buf_allowed")
	if err != nil {
		t.Fatal(err)
	}
	if (unmapped == 0) != (kind == aiotest.DiskMapped) {
		t.Skip("the disk is of the other kind; vfs.unmapped_buf_allowed decides that at boot")
	}
	return path
}

// signals asks Go's runtime for the signals that the process gets.
func signals(t *testing.T, _ aio.Kernel, want ...unix.Signal) <-chan unix.Signal {
	got, caught, done := make(chan os.Signal, 16), make(chan unix.Signal, 16), make(chan struct{})
	for _, s := range want {
		signal.Notify(got, s)
	}
	t.Cleanup(func() { signal.Stop(got); close(done) })
	go func() {
		for {
			select {
			case s := <-got:
				caught <- s.(unix.Signal)
			case <-done:
				return
			}
		}
	}()
	return caught
}

func sysctl(_ aio.Kernel, name string) (int, error) {
	v, err := aio.ReadSysctl(name)
	return int(v), err
}

// setLimits writes the sysctls that differ, as root may.
func setLimits(k aio.Kernel, l aio.Limits) error {
	now, err := k.Limits()
	if err != nil {
		return err
	}
	unsafeNow, unsafeThen := 0, 0
	if now.EnableUnsafe {
		unsafeNow = 1
	}
	if l.EnableUnsafe {
		unsafeThen = 1
	}
	for _, s := range []struct {
		name      string
		now, then int
	}{
		{"vfs.aio.max_aio_queue", now.MaxQueue, l.MaxQueue},
		{"vfs.aio.max_aio_queue_per_proc", now.MaxQueuePerProc, l.MaxQueuePerProc},
		{"vfs.aio.max_aio_per_proc", now.MaxPerProc, l.MaxPerProc},
		{"vfs.aio.max_aio_procs", now.MaxProcs, l.MaxProcs},
		{"vfs.aio.max_buf_aio", now.MaxBuf, l.MaxBuf},
		{"vfs.aio.enable_unsafe", unsafeNow, unsafeThen},
	} {
		if s.now == s.then {
			continue
		}
		if err := setSysctl(s.name, int32(s.then)); err != nil {
			return err
		}
	}
	return nil
}

// setSysctl is __sysctlbyname(2), which x/sys/unix has for reading only.
func setSysctl(name string, value int32) error {
	const sysctlbyname = 570 // 12.2 and later
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(sysctlbyname, uintptr(unsafe.Pointer(p)), uintptr(len(name)), 0, 0,
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value))
	if errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}
