// Package kvlog is a small key-value store on a ring: an append-only log, group commit
// and recovery. It is an example, to be read:
//
//	Put -> a batch of records -> write, linked fsync -> acknowledged
//	Open -> every record up to the first that is torn -> where the next one goes
//
// What is acknowledged survives a power cut. What is not may or may not be there.
package kvlog

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"
	"syscall"

	"github.com/aioring/aioring"
)

// File is what the store needs of its file besides the ring: an *os.File has it.
type File interface {
	Descriptor
	Truncate(size int64) error
}

// Descriptor is something open.
type Descriptor interface{ Fd() uintptr }

// Store is an open log. Any goroutine may call everything but Close.
type Store struct {
	ring *aioring.Ring
	file File

	mu     sync.Mutex
	index  map[string]place // where each key's value is
	filled *batch           // takes records
	end    int64            // where the next batch goes
	failed error            // once a batch has failed nothing is acknowledged any more

	committing sync.Mutex // one batch at a time is on its way
	entry      *aioring.Entry
}

// place is where a record is in the file.
type place struct {
	off    int64 // of the record
	key    int   // its lengths, in bytes
	length int
}

// batch is the records that one write and one fsync make durable.
type batch struct {
	buf     []byte
	records []record
	commit  sync.Once
	err     error
}

// record is a key and where its value is, in its batch; a negative length has deleted
// the key.
type record struct {
	key string
	at  place
}

// A record is a header of three 32-bit words, then the key, then the value. The first
// word is the CRC-32C of everything behind it, the others are the lengths. A header of
// zeros is none: its sum is wrong.
const (
	headerSize = 12
	deleted    = math.MaxUint32 // as the length of a value

	// MaxSize bounds keys and values, in bytes.
	MaxSize = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of the store.
var (
	ErrNotFound = errors.New("kvlog: no such key")
	ErrTooLarge = fmt.Errorf("kvlog: longer than %d bytes", MaxSize)
)

// Open recovers the log that is in a file and continues it. dir is the directory that
// has the file's name: it is synced, for a file that was just created is not safe by
// its own fsync alone. The ring, which others may use too, stays the caller's, as do
// the files.
func Open(ring *aioring.Ring, dir Descriptor, file File) (*Store, error) {
	entry, err := ring.NewEntry() // released with the store, by the collector
	if err != nil {
		return nil, err
	}
	s := &Store{ring: ring, file: file, index: make(map[string]place), filled: new(batch), entry: entry}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("kvlog: recovery: %w", err)
	}
	// Records behind a torn one may be whole. Left there, they would be found again as
	// soon as something new has filled the gap, and be taken for newer than it. No
	// sync yet: the first batch's makes this durable too, and before that there is
	// nothing to lose.
	if err := file.Truncate(s.end); err != nil {
		return nil, fmt.Errorf("kvlog: cutting off what is torn: %w", err)
	}
	if err := s.sync(dir); err != nil {
		return nil, fmt.Errorf("kvlog: the directory: %w", err)
	}
	return s, nil
}

// recover reads the log, up to its end or to the first record that is not as it was
// written: the power was cut before it was durable, so it was never acknowledged. An
// error of the read itself is another matter: what cannot be read may be good.
func (s *Store) recover() error {
	in := bufio.NewReaderSize(&reader{s: s}, 64<<10)
	header := make([]byte, headerSize)
	for {
		if _, err := io.ReadFull(in, header); err != nil {
			return unlessTorn(err)
		}
		keySize, size := binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
		length := int(size)
		if size == deleted {
			length, size = -1, 0
		}
		if keySize > MaxSize || size > MaxSize {
			return nil
		}
		body, err := io.ReadAll(io.LimitReader(in, int64(keySize)+int64(size)))
		switch {
		case err != nil:
			return err
		case len(body) < int(keySize+size), sum(header, body) != binary.LittleEndian.Uint32(header):
			return nil
		}
		s.note(record{string(body[:keySize]), place{s.end, int(keySize), length}})
		s.end += int64(headerSize + len(body))
	}
}

// unlessTorn is nil for an end in the midst of something.
func unlessTorn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func sum(header, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[4:], castagnoli), castagnoli, body)
}

// reader reads the file from its beginning.
type reader struct {
	s   *Store
	off int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.s.read(p, r.off)
	r.off += int64(n)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// read is one read through the ring; 0 is the end of the file.
func (s *Store) read(p []byte, off int64) (int, error) {
	var sqe aioring.SQE
	aioring.PrepRead(&sqe, int(s.file.Fd()), p, off)
	sqe.Keep = s.file
	cqe, err := s.ring.Do(context.Background(), sqe)
	return int(max(cqe.Res, 0)), err
}

// note brings the index up to date. s.mu is held, or nobody else has s.
func (s *Store) note(r record) {
	if r.at.length < 0 {
		delete(s.index, r.key)
	} else {
		s.index[r.key] = r.at
	}
}

// Put sets a key's value. When it returns nil, the value survives a power cut. The slice
// is the caller's again.
func (s *Store) Put(key string, value []byte) error {
	if len(key) > MaxSize || len(value) > MaxSize {
		return ErrTooLarge
	}
	return s.append(key, value, len(value))
}

// Delete takes a key away, if it is there.
func (s *Store) Delete(key string) error { return s.append(key, nil, -1) }

// append puts a record into the batch that is being filled. The first who waits for it
// commits it, the others wait for that one. While it waits for the batch before, more
// come in: that is all there is to group commit.
func (s *Store) append(key string, value []byte, length int) error {
	s.mu.Lock()
	b := s.filled
	b.records = append(b.records, record{key, place{int64(len(b.buf)), len(key), length}})
	header := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(header[4:], uint32(len(key)))
	binary.LittleEndian.PutUint32(header[8:], uint32(length)) // -1 is deleted
	start := len(b.buf)
	b.buf = append(append(append(b.buf, header...), key...), value...)
	binary.LittleEndian.PutUint32(b.buf[start:], sum(header, b.buf[start+headerSize:]))
	s.mu.Unlock()

	b.commit.Do(func() { b.err = s.commit(b) })
	return b.err
}

// commit makes a batch durable.
func (s *Store) commit(b *batch) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	s.mu.Lock()
	s.filled = new(batch) // b takes no more
	err := s.failed
	s.mu.Unlock()
	if err == nil {
		err = s.write(b.buf, s.end)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// After a failed fsync nobody knows what is on the disk, and the next one may
		// succeed without having written it. Only a recovery tells.
		s.failed = err
		return fmt.Errorf("kvlog: not committed: %w", err)
	}
	for _, r := range b.records {
		r.at.off += s.end
		s.note(r)
	}
	s.end += int64(len(b.buf))
	return nil
}

// write writes the bytes of a batch and makes them durable: one submission of two
// operations that are linked, so that the fsync starts when the write has written all.
// Of a write that is short the fsync ends with ECANCELED, and the rest has its turn.
func (s *Store) write(p []byte, off int64) error {
	ctx := context.Background()
	for {
		chain := make([]aioring.SQE, 2)
		aioring.PrepWrite(&chain[0], int(s.file.Fd()), p, off)
		chain[0].Flags = aioring.FlagIOLink
		aioring.PrepFsync(&chain[1], int(s.file.Fd()), 0)
		chain[0].Keep, chain[1].Keep = s.file, s.file // or its finalizer might close it
		aioring.PrepList(s.entry, chain)
		if err := s.entry.Submit(ctx); err != nil {
			return err
		}
		ready, err := s.entry.Ready(ctx)
		if err != nil {
			return err
		}
		wrote, _ := s.entry.Member(0)
		synced, _ := s.entry.Member(1)
		s.ring.ClearReady(ready.Event())
		switch {
		case wrote.Res < 0:
			return syscall.Errno(-wrote.Res)
		case wrote.Res == 0:
			return io.ErrShortWrite
		case int(wrote.Res) < len(p):
			p, off = p[wrote.Res:], off+int64(wrote.Res)
			continue
		case synced.Res < 0:
			return syscall.Errno(-synced.Res)
		}
		return nil
	}
}

func (s *Store) sync(f Descriptor) error {
	var sqe aioring.SQE
	aioring.PrepFsync(&sqe, int(f.Fd()), 0)
	sqe.Keep = f
	_, err := s.ring.Do(context.Background(), sqe)
	return err
}

// Get is a key's value, or ErrNotFound. What the disk has spoilt since is an error, and
// never a value.
func (s *Store) Get(key string) ([]byte, error) {
	s.mu.Lock()
	at, ok := s.index[key]
	s.mu.Unlock()
	if !ok {
		return nil, ErrNotFound
	}
	p := make([]byte, headerSize+at.key+at.length)
	for n := 0; n < len(p); {
		m, err := s.read(p[n:], at.off+int64(n))
		switch {
		case err != nil:
			return nil, err
		case m == 0:
			return nil, fmt.Errorf("kvlog: %q: %w", key, io.ErrUnexpectedEOF)
		}
		n += m
	}
	header, body := p[:headerSize], p[headerSize:]
	if sum(header, body) != binary.LittleEndian.Uint32(header) || string(body[:at.key]) != key {
		return nil, fmt.Errorf("kvlog: %q: the record at %d is damaged", key, at.off)
	}
	return body[at.key:], nil
}

// Len is how many keys there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}
