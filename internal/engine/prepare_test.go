package engine

import "testing"

// What is nobody's to set is refused, and stops a submission; a buffer of a group that
// there is not is missed when the operation runs, and stops none.
func TestFieldsThatMustBeClear(t *testing.T) {
	priority := func(s SQE) SQE { s.IOPrio = 5; return s }
	personality := func(s SQE) SQE { s.SetPersonality(7); return s }
	fsync := SQE{Opcode: OpFsync, UserData: 1}
	for name, s := range map[string]SQE{
		"NOP":               priority(nop(1, 0)),
		"FSYNC":             priority(fsync),
		"TIMEOUT":           priority(timeout(1, 0, 5, 0)),
		"ASYNC_CANCEL":      priority(cancel(1, 9, 0)),
		"NOP of somebody":   personality(nop(1, 0)),
		"FSYNC of somebody": personality(fsync),
		"READ of somebody":  personality(read(1, 0)),
	} {
		r := newRig(t)
		if n := r.submit(s, nop(2, 0)); n != 1 {
			t.Errorf("%s: %d were taken", name, n)
		}
		r.want("1:EINVAL")
	}
	r := newRig(t)
	if n := r.submit(read(1, FlagBufferSelect), nop(2, 0)); n != 2 {
		t.Errorf("a READ out of a group: %d were taken", n)
	}
	r.want("1:ENOBUFS", "2:0")
}
