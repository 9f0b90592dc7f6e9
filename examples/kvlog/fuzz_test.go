//go:build unix

package kvlog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/aioring/aioring/aio/sim"
	"github.com/aioring/aioring/examples/kvlog"
)

// FuzzRecovery opens any bytes as a log: what is taken of them is a beginning, which
// stays as it is, and what is put then is there after the next recovery.
func FuzzRecovery(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	s, _ := openStore(f, path)
	for _, key := range []string{"a", "", "longer than the others"} {
		if err := s.Put(key, []byte("value of "+key)); err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Delete("a"); err != nil {
		f.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(log)
	f.Add(log[:len(log)-1])
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Add(append(bytes.Clone(log[:15]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0))
	f.Fuzz(func(t *testing.T, log []byte) {
		d := sim.NewDisk(sim.DiskConfig{})
		file, err := d.OpenFile("log", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(log, 0); err != nil {
			t.Fatal(err)
		}
		n := 0
		err = withStore(t, d, sim.Config{}, func(s *kvlog.Store) error {
			taken, err := d.ReadFile("log")
			if err != nil || !bytes.HasPrefix(log, taken) {
				t.Fatalf("of %x remains %x, %v", log, taken, err)
			}
			n = s.Len()
			switch _, err := s.Get("key"); err {
			case nil:
			case kvlog.ErrNotFound:
				n++
			default:
				return err
			}
			return s.Put("key", []byte("value"))
		})
		if err != nil {
			t.Fatal(err)
		}
		err = withStore(t, d.CrashClone(sim.CrashLoseAll), sim.Config{}, func(s *kvlog.Store) error {
			if value, err := s.Get("key"); string(value) != "value" || err != nil || s.Len() != n {
				t.Errorf("%q, %v, %d keys, want %d", value, err, s.Len(), n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
