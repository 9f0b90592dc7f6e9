//go:build !unix

package aio

import "errors"

// Where there is no mmap there is no kernel that wants a slab.

func mapMemory(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapMemory([]byte) error { return errors.ErrUnsupported }
