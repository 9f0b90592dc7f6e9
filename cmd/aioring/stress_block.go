package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// stressBlock is what every check is about: 512 bytes that say by themselves whose they
// are. No disk writes less at once, so a power cut leaves each of them whole.
const stressBlock = 512

// stamp is what a block says of itself.
type stamp struct {
	run     uint64 // which run wrote it
	target  uint32 // in which file
	block   uint64 // where in that
	version uint64 // and by which write of the run, from 1
}

// A block begins with a checksum of all that follows, a word that no other file has, and
// the stamp. The rest follows from these, so that every byte is known.
const (
	blockMagic  = 0x61696f72 // "aior"
	blockHeader = 40
)

var blockSums = crc32.MakeTable(crc32.Castagnoli)

// fill writes a block. len(p) is stressBlock.
func (s stamp) fill(p []byte) {
	binary.LittleEndian.PutUint32(p[4:], blockMagic)
	binary.LittleEndian.PutUint64(p[8:], s.run)
	binary.LittleEndian.PutUint64(p[16:], s.block)
	binary.LittleEndian.PutUint64(p[24:], s.version)
	binary.LittleEndian.PutUint64(p[32:], uint64(s.target))
	word := s.run ^ s.block<<24 ^ s.version<<1 ^ uint64(s.target)<<56 | 1
	for i := blockHeader; i < len(p); i += 8 {
		word = word*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(p[i:], word)
	}
	binary.LittleEndian.PutUint32(p, crc32.Checksum(p[4:], blockSums))
}

// Errors of a block that is none.
var (
	errBlockZero    = errors.New("it is all zeros")
	errBlockDamaged = errors.New("its checksum is wrong")
	errBlockForeign = errors.New("it was never written by aioring stress")
)

// readStamp is what a block says, if it is whole.
func readStamp(p []byte) (s stamp, err error) {
	if binary.LittleEndian.Uint32(p[4:]) != blockMagic {
		for _, b := range p {
			if b != 0 {
				return s, errBlockForeign
			}
		}
		return s, errBlockZero
	}
	if binary.LittleEndian.Uint32(p) != crc32.Checksum(p[4:], blockSums) {
		return s, errBlockDamaged
	}
	return stamp{
		run: binary.LittleEndian.Uint64(p[8:]), block: binary.LittleEndian.Uint64(p[16:]),
		version: binary.LittleEndian.Uint64(p[24:]), target: uint32(binary.LittleEndian.Uint64(p[32:])),
	}, nil
}

// check compares a block with what it has to be; version 0 was never written.
func (s stamp) check(p []byte) error {
	got, err := readStamp(p)
	switch {
	case s.version == 0 && err == errBlockZero:
		return nil
	case err != nil:
	case got.run != s.run:
		err = fmt.Errorf("it is of another run, %#x", got.run)
	case got.target != s.target || got.block != s.block:
		err = fmt.Errorf("it is block %d of file %d", got.block, got.target)
	case got.version != s.version:
		err = fmt.Errorf("it has version %d", got.version)
	default:
		return nil
	}
	return fmt.Errorf("file %d block %d, version %d: %w; it begins %x", s.target, s.block, s.version, err, p[:blockHeader])
}
