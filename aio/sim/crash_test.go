//go:build unix

package sim

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// failure is a T that keeps what it is told.
type failure struct{ text string }

func (f *failure) Helper() {}
func (f *failure) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
}

// journal is a program that writes records and acknowledges each.
type journal struct {
	acknowledged int
	skip         string // what it forgets
}

func (j *journal) run(d *Disk) error {
	j.acknowledged = 0
	f, err := d.OpenFile("journal", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if j.skip != "directory" {
		dir, err := d.OpenFile("/", os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer dir.Close()
		if err := dir.Sync(); err != nil {
			return err
		}
	}
	for i := range 5 {
		if _, err := f.WriteAt([]byte{byte('0' + i)}, int64(i)); err != nil {
			return err
		}
		if j.skip != "sync" {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		j.acknowledged++
	}
	return nil
}

func (j *journal) check(d *Disk) error {
	data, err := d.ReadFile("journal")
	if err != nil && j.acknowledged > 0 {
		return err
	}
	if !strings.HasPrefix(string(data), "01234"[:j.acknowledged]) {
		return fmt.Errorf("%q, and %d records are acknowledged", data, j.acknowledged)
	}
	return nil
}

func TestEachCrashPassesWhatIsRight(t *testing.T) {
	j := new(journal)
	// Create, sync of the directory, five writes, five syncs: twelve and the end.
	if n := (Crashes{Seeds: 3}).Each(t, j.run, j.check); n != 13*3 {
		t.Errorf("%d images", n)
	}
	if n := (Crashes{Seeds: 1, Points: 4}).Each(t, j.run, j.check); n != 4 {
		t.Errorf("%d images of four points", n)
	}
	if n := (Crashes{Seeds: 1, Points: 100}).Each(t, j.run, j.check); n != 13 {
		t.Errorf("%d images of as many points as there are", n)
	}
}

func TestEachCrashFindsWhatIsForgotten(t *testing.T) {
	for skip, want := range map[string]string{
		"sync":      "power cut before write journal 1 1 (point 3, seed 0): \"\", and 1 records are acknowledged\n\tjournal: 0 bytes long, not 1\n\tjournal: sector 0 not written",
		"directory": "power cut before write journal 1 1 (point 3, seed 0): read journal: no such file or directory\n\tnot done: create journal",
	} {
		j := &journal{skip: skip}
		var f failure
		EachCrash(&f, j.run, j.check)
		if !strings.Contains(f.text, want) {
			t.Errorf("without %s: %s", skip, f.text)
		}
		var again failure
		OneCrash(&again, 3, 0, j.run, j.check)
		if again != f {
			t.Errorf("again it is %q", again)
		}
	}
}

func TestEachCrashWantsARunThatSucceeds(t *testing.T) {
	var f failure
	EachCrash(&f, func(*Disk) error { return errors.New("no") }, func(*Disk) error { return nil })
	if f.text != "sim: without a power cut: no" {
		t.Errorf("%q", f.text)
	}
}

// A power cut during recovery is one more run, on the disk that the first has left.
func TestEachCrashOnADiskThatIsThere(t *testing.T) {
	made := 0
	c := Crashes{Seeds: 2, Disk: func() *Disk {
		made++
		d := NewDisk(DiskConfig{})
		put(t, d, "f", "abc")
		must(t, d.Sync())
		return d
	}}
	n := c.Each(t, func(d *Disk) error { return d.Remove("f") }, func(d *Disk) error {
		if data, err := d.ReadFile("f"); err == nil && string(data) != "abc" {
			return fmt.Errorf("%q", data)
		}
		return nil
	})
	if made != 3 || n != 4 {
		t.Errorf("%d disks, %d images", made, n)
	}
}

// A checksum has to find what a medium does to it.
func TestDamageIsDoneToImagesOnly(t *testing.T) {
	j := new(journal)
	var f failure
	Crashes{Seeds: 40, Damage: Damage{Rotten: 0.5}}.Each(&f, j.run, j.check)
	if !strings.Contains(f.text, "rotten") {
		t.Errorf("%q", f.text)
	}
	Crashes{Seeds: 2, Damage: Damage{Rotten: 1}}.Each(t, j.run, j.check) // none and all
}
