package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDeviceInUse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// A disk with two partitions, one without, and one that is part of a volume.
	write("sys/8:0/sda1/partition", "1\n")
	write("sys/8:0/sda1/dev", "8:1\n")
	write("sys/8:0/sda2/partition", "2\n")
	write("sys/8:0/sda2/dev", "8:2\n")
	write("sys/8:0/queue/rotational", "0\n")
	write("sys/8:16/queue/rotational", "0\n")
	write("sys/8:32/holders/dm-0", "")
	mounts := write("mountinfo", "36 25 8:2 / /home rw,noatime shared:1 - ext4 /dev/sda2 rw\nshort\n37 25 0:5 / /proc rw - proc proc rw\n")
	swaps := write("swaps", "Filename Type Size Used Priority\n/no/such partition 1 0 -2\n")
	for number, want := range map[string]string{
		"8:0": "mounted on /home", "8:2": "mounted on /home", "8:1": "", "8:16": "", "8:32": "part of dm-0",
	} {
		got, err := usesOfBlock(number, filepath.Join(dir, "sys"), mounts, swaps)
		if got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", number, got, err, want)
		}
	}
}
