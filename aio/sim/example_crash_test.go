//go:build unix

package sim_test

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio/sim"
)

// printer stands in for the *testing.T of a test.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// A program writes a record and says that it is safe. It has forgotten the fsync.
func ExampleEachCrash() {
	safe := false
	run := func(d *sim.Disk) error {
		safe = false
		f, err := d.OpenFile("log", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := d.Sync(); err != nil { // the name is safe
			return err
		}
		if _, err := f.WriteAt([]byte("record"), 0); err != nil {
			return err
		}
		safe = true // f.Sync() is missing
		return nil
	}
	check := func(d *sim.Disk) error {
		data, err := d.ReadFile("log")
		if safe && string(data) != "record" {
			return fmt.Errorf("the log has %q (%v)", data, err)
		}
		return nil
	}
	sim.EachCrash(printer{}, run, check)
	// Output:
	// sim: power cut at the end (point 3, seed 0): the log has "" (<nil>)
	// 	log: 0 bytes long, not 6
	// 	log: sector 0 not written
}

// A program replaces its configuration by a rename, as it should, and has forgotten
// that the new name is the directory's.
func ExampleEachCrash_rename() {
	saved := false
	run := func(d *sim.Disk) error {
		saved = false
		f, err := d.OpenFile("config.new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("new"), 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := d.Rename("config.new", "config"); err != nil {
			return err
		}
		saved = true // the sync of the directory is missing
		return nil
	}
	check := func(d *sim.Disk) error {
		if data, err := d.ReadFile("config"); saved && string(data) != "new" {
			return fmt.Errorf("the configuration is %q (%v)", data, err)
		}
		return nil
	}
	disk := func() *sim.Disk { // with the old one
		d := sim.NewDisk(sim.DiskConfig{})
		f, err := d.OpenFile("config", os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteAt([]byte("old"), 0)
		}
		if err := errors.Join(err, d.Sync(), f.Close()); err != nil {
			panic(err)
		}
		return d
	}
	sim.Crashes{Disk: disk}.Each(printer{}, run, check)
	// Output:
	// sim: power cut at the end (point 4, seed 0): the configuration is "old" (<nil>)
	// 	not done: create config.new
	// 	not done: rename config.new to config
}

// A program submits a write and fills the buffer with the next record before the first
// is written. The operation reads the buffer when it is carried out, not when it is
// submitted: here, by the seed, too late for the first record. The kernel's model
// has seen it.
func ExampleDisk_ring() {
	disk := sim.NewDisk(sim.DiskConfig{})
	kernel := sim.New(sim.Config{Volume: disk, Stepped: true, Seed: 1})
	ring, err := aioring.New(8, aioring.WithAIO(kernel))
	if err != nil {
		panic(err)
	}
	defer ring.Close()
	fd, errno := kernel.Open("log", os.O_RDWR|os.O_CREATE)
	if errno != 0 {
		panic(errno)
	}

	buf := make([]byte, 8)
	for i, record := range []string{"first...", "second.."} {
		copy(buf, record) // too early: the ring has it still
		aioring.PrepWrite(ring.GetSQE(), fd, buf, int64(i)*8)
		if _, err := ring.Submit(); err != nil {
			panic(err)
		}
	}
	if _, err := ring.SubmitAndWait(2); err != nil {
		panic(err)
	}
	data, err := disk.ReadFile("log")
	fmt.Printf("%s %v\n", data, err)
	for _, m := range kernel.Misuse() {
		call, what, _ := strings.Cut(m.String(), ": ")
		fmt.Println(call)
		fmt.Println(what)
	}
	// Output:
	// second..second.. <nil>
	// aio_write #1 (job 1, fd 4, offset 0, 8 bytes)
	// its buffer was changed after the submission and before the transfer
}
