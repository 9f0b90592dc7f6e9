package aioring

import "golang.org/x/sys/unix"

// alignDirect asks what direct transfers want. Kernels before 6.1, and file systems
// that do not say, leave what is known.
func alignDirect(fd int, a *Alignment) {
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st) != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return
	}
	a.Buffer = max(a.Buffer, int(st.Dio_mem_align))
	a.Offset = max(a.Offset, int(st.Dio_offset_align))
	a.Length = max(a.Length, int(st.Dio_offset_align))
}
