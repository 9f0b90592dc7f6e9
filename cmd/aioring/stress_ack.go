//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ackLog is what a run was promised: a file beside the others, that lists what fsyncs
// have made durable. A record is written after its fsync has succeeded, so that the log
// never says more than is true; what a power cut takes of it is not checked.
type ackLog struct {
	mu     sync.Mutex
	file   *os.File
	synced time.Time
}

const ackName = "acknowledged"

// ackHeader is the log's first line.
type ackHeader struct {
	Run     uint64      `json:"run"`
	Targets []ackTarget `json:"targets"`
}

type ackTarget struct {
	Path   string `json:"path"`
	Blocks int    `json:"blocks"`
}

// A record is a checksum, the file's number, the first block, how many, and the version:
// three 64-bit words after two of 32. Version 0 promises nothing any more.
const ackRecord = 32

func newAckLog(dir string, run uint64, targets []*target) (*ackLog, error) {
	h := ackHeader{Run: run}
	for _, t := range targets {
		path, err := filepath.Abs(t.path)
		if err != nil {
			return nil, err
		}
		h.Targets = append(h.Targets, ackTarget{path, t.blocks})
	}
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ackName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	_, err = f.Write(append(line, '\n'))
	return &ackLog{file: f}, errors.Join(err, f.Sync(), d.Sync())
}

// add writes down what an fsync has made durable.
func (l *ackLog) add(t *target, durable []written) error {
	if len(durable) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var p []byte
	for _, w := range t.intact(durable) {
		p = append(p, encodeAck(t.id, w)...)
	}
	if _, err := l.file.Write(p); err != nil {
		return err
	}
	if time.Since(l.synced) < time.Second {
		return nil
	}
	l.synced = time.Now()
	return l.file.Sync()
}

// withdraw takes a promise back: a write that was cut off in the midst of a block has
// spoilt it, which t knows already.
func (l *ackLog) withdraw(t *target, first, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.file.Write(encodeAck(t.id, written{first, n, 0}))
	return err
}

func (l *ackLog) close() error { return errors.Join(l.file.Sync(), l.file.Close()) }

func encodeAck(target uint32, w written) []byte {
	p := make([]byte, ackRecord)
	binary.LittleEndian.PutUint32(p[4:], target)
	binary.LittleEndian.PutUint64(p[8:], uint64(w.first))
	binary.LittleEndian.PutUint64(p[16:], uint64(w.n))
	binary.LittleEndian.PutUint64(p[24:], w.version)
	binary.LittleEndian.PutUint32(p, crc32.Checksum(p[4:], blockSums))
	return p
}

// readAcks reads a log up to its end, or to the first record that is torn: the version
// that each block of each file has at least.
func readAcks(dir string) (h ackHeader, versions [][]uint64, err error) {
	f, err := os.Open(filepath.Join(dir, ackName))
	if err != nil {
		return h, nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return h, nil, fmt.Errorf("%s: no log of a run: %w", f.Name(), err)
	}
	for _, t := range h.Targets {
		if t.Blocks < 0 || t.Blocks > 1<<28 {
			return h, nil, fmt.Errorf("%s: a file of %d blocks", f.Name(), t.Blocks)
		}
		versions = append(versions, make([]uint64, t.Blocks))
	}
	p := make([]byte, ackRecord)
	for {
		if _, err := io.ReadFull(in, p); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return h, versions, nil
		} else if err != nil {
			return h, nil, err
		}
		t, first, n := binary.LittleEndian.Uint32(p[4:]), binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint64(p[16:])
		if binary.LittleEndian.Uint32(p) != crc32.Checksum(p[4:], blockSums) || int(t) >= len(versions) ||
			first > uint64(len(versions[t])) || n > uint64(len(versions[t]))-first {
			return h, versions, nil
		}
		for i := range n {
			v, now := &versions[t][first+i], binary.LittleEndian.Uint64(p[24:])
			if *v = max(*v, now); now == 0 {
				*v = 0
			}
		}
	}
}

// checkOnly compares what is there with what was promised.
func (c *stressCommand) checkOnly(stdout, stderr io.Writer) int {
	h, versions, err := readAcks(c.Dir)
	if err != nil {
		fmt.Fprintf(stderr, "aioring: stress: %v\n", err)
		return exitFailed
	}
	sum := stressSummary{Verdict: "ok"}
	promised, bad := 0, 0
	for i, t := range h.Targets {
		if len(h.Targets) == 1 && c.Device != "" {
			t.Path = c.Device // it may have another name by now
		}
		err := checkTarget(t, func(b int, p []byte) {
			sum.Checks++
			least := versions[i][b]
			if least > 0 {
				promised++
			}
			if err := checkBlock(stamp{h.Run, uint32(i), uint64(b), least}, p); err != nil {
				if bad++; bad <= 20 {
					fmt.Fprintf(stderr, "aioring: stress: %s block %d: %v\n", t.Path, b, err)
				}
				sum.Reason = err.Error()
			}
		})
		if err != nil {
			bad++
			sum.Reason = err.Error()
			fmt.Fprintf(stderr, "aioring: stress: %v\n", err)
		}
	}
	if bad > 0 {
		sum.Verdict = "failed"
	}
	out := fmt.Sprintf("%s: %d blocks checked, %d promised, %d wrong", sum.Verdict, sum.Checks, promised, bad)
	if c.JSON {
		line, err := json.Marshal(struct {
			Verdict  string `json:"verdict"`
			Reason   string `json:"reason,omitempty"`
			Checks   uint64 `json:"checks"`
			Promised int    `json:"promised"`
			Wrong    int    `json:"wrong"`
		}{sum.Verdict, sum.Reason, sum.Checks, promised, bad})
		if err != nil {
			panic(err) // numbers and strings
		}
		out = string(line)
	}
	if _, err := fmt.Fprintln(stdout, out); err != nil || bad > 0 {
		return exitFailed
	}
	return exitDone
}

// checkTarget reads a file.
func checkTarget(t ackTarget, each func(block int, p []byte)) error {
	f, err := os.Open(t.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	p := make([]byte, stressBlock)
	for b := range t.Blocks {
		if _, err := io.ReadFull(in, p); err != nil {
			return fmt.Errorf("%s: it ends before block %d of %d: %w", t.Path, b, t.Blocks, err)
		}
		each(b, p)
	}
	return nil
}

// checkBlock says what is wrong with a block that was promised a version, or a later
// one. A block that was promised nothing may have been cut off in the middle of its
// first write, or have anything that was there before, but never another's bytes.
func checkBlock(want stamp, p []byte) error {
	got, err := readStamp(p)
	switch {
	case err != nil && want.version == 0:
		return nil
	case err != nil:
		return err
	case got.run != want.run && want.version == 0:
		return nil
	case got.run != want.run:
		return fmt.Errorf("it is of another run, %#x", got.run)
	case got.target != want.target || got.block != want.block:
		return fmt.Errorf("it is block %d of file %d", got.block, got.target)
	case got.version < want.version:
		return fmt.Errorf("it has version %d, and %d was durable", got.version, want.version)
	}
	return nil
}
