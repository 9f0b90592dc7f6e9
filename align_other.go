//go:build !unix

package aioring

func align(int) (Alignment, error) { return Alignment{}, ErrUnsupported }

func mapArena(int) ([]byte, error) { return nil, ErrUnsupported }

func unmapArena([]byte) error { return ErrUnsupported }
