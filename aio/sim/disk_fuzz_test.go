//go:build unix

package sim

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
)

// FuzzDisk reads its input as calls on a disk with two directories, and compares with a
// model that knows only the programs' view and, of what was synced, the disk's: what
// programs see is the model's, losing everything leaves exactly what was synced, keeping
// everything what is seen, and any other image keeps what was synced and untouched since.
func FuzzDisk(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x10\x05\x03\x00\x05\x10\x20\x07"))
	f.Add(bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7, 0x11, 0x22, 0x83}, 12))
	f.Add([]byte{0x00, 0x08, 0x03, 0x05, 0x04, 0x01, 0x05, 0x02, 0x09, 0x05, 0x05})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 400 {
			return
		}
		m := newDiskModel(t)
		for len(program) > 0 {
			m.call(&program)
		}
		if got, want := tree(t, m.d, ""), show(m.seen); got != want {
			t.Fatalf("programs see\n%q, want\n%q", got, want)
		}
		if got, want := tree(t, m.d.CrashClone(CrashKeepAll), ""), show(m.seen); got != want {
			t.Fatalf("all kept\n%q, want\n%q", got, want)
		}
		for seed := range uint64(5) {
			image := m.d.CrashClone(seed)
			for name, data := range m.safe {
				if got, err := image.ReadFile(name); err != nil || !bytes.Equal(got, data) {
					t.Fatalf("seed %d: %s is %q, %v: synced and untouched it was %q\n%v", seed, name, got, err, data, image.Lost())
				}
			}
			must(t, image.Sync())
			if got, want := tree(t, image.CrashClone(CrashLoseAll), ""), tree(t, image, ""); got != want {
				t.Fatalf("an image is not durable:\n%q, want\n%q", got, want)
			}
		}
	})
}

// diskModel is what a disk has to show.
type diskModel struct {
	t    *testing.T
	d    *Disk
	seen map[string][]byte // as programs see it
	safe map[string][]byte // of these, what is synced with its name, and untouched since
}

func newDiskModel(t *testing.T) *diskModel {
	m := &diskModel{t: t, d: NewDisk(DiskConfig{SectorSize: 8}), seen: make(map[string][]byte), safe: make(map[string][]byte)}
	must(t, m.d.Mkdir("a"))
	must(t, m.d.Mkdir("b"))
	must(t, m.d.Sync())
	return m
}

func show(files map[string][]byte) string {
	var b strings.Builder
	for _, dir := range []string{"a", "b"} {
		fmt.Fprintf(&b, "%s/ ", dir)
		for i := range 4 {
			name := fmt.Sprint(dir, "/", i)
			if data, ok := files[name]; ok {
				fmt.Fprintf(&b, "%s=%s ", name, data)
			}
		}
	}
	return b.String()
}

func (m *diskModel) call(program *[]byte) {
	next := func() int {
		if len(*program) == 0 {
			return 0
		}
		b := (*program)[0]
		*program = (*program)[1:]
		return int(b)
	}
	name := func() string {
		b := next()
		return fmt.Sprint([]string{"a", "b"}[b&1], "/", b>>1&3)
	}
	switch next() & 7 {
	case 0, 1, 2: // write, perhaps create
		n := name()
		off, p := next()&63, bytes.Repeat([]byte{byte('a' + next()&15)}, 1+next()&31)
		f, err := m.d.OpenFile(n, os.O_RDWR|os.O_CREATE, 0o600)
		must(m.t, err)
		must(m.t, second(f.WriteAt(p, int64(off))))
		must(m.t, f.Close())
		data := m.seen[n]
		if end := off + len(p); end > len(data) {
			data = append(bytes.Clone(data), make([]byte, end-len(data))...)
		} else {
			data = bytes.Clone(data)
		}
		copy(data[off:], p)
		m.seen[n] = data
		delete(m.safe, n)
	case 3: // sync a file and all names of its directory
		n := name()
		if m.seen[n] == nil {
			return
		}
		f, err := m.d.OpenFile(n, os.O_RDWR, 0)
		must(m.t, err)
		must(m.t, f.Sync())
		must(m.t, f.Close())
		syncDir(m.t, m.d, n[:1])
		m.safe[n] = m.seen[n]
	case 4: // truncate
		n, size := name(), next()&63
		if m.seen[n] == nil {
			return
		}
		f, err := m.d.OpenFile(n, os.O_RDWR, 0)
		must(m.t, err)
		must(m.t, f.Truncate(int64(size)))
		must(m.t, f.Close())
		data := append(bytes.Clone(m.seen[n]), make([]byte, 64)...)
		m.seen[n] = data[:size]
		clear(data[min(size, len(data)):])
		delete(m.safe, n)
	case 5: // rename
		from, to := name(), name()
		err := m.d.Rename(from, to)
		if data, ok := m.seen[from]; ok != (err == nil) {
			m.t.Fatalf("rename %s to %s: %v, and there is one: %v", from, to, err, ok)
		} else if ok && from != to {
			delete(m.seen, from)
			m.seen[to] = data
			delete(m.safe, from)
			delete(m.safe, to)
		}
	case 6: // remove
		n := name()
		err := m.d.Remove(n)
		if _, ok := m.seen[n]; ok != (err == nil) {
			m.t.Fatalf("remove %s: %v, and there is one: %v", n, err, ok)
		}
		delete(m.seen, n)
		delete(m.safe, n)
	case 7:
		must(m.t, m.d.Sync())
		m.safe = maps.Clone(m.seen)
		if got, want := tree(m.t, m.d.CrashClone(CrashLoseAll), ""), show(m.seen); got != want {
			m.t.Fatalf("after a sync of everything\n%q, want\n%q", got, want)
		}
	}
}
