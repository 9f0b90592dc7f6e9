//go:build unix && !linux

package aioring

// openURing is Linux's.
func openURing(*Ring) (lower, error) { return nil, ErrUnsupported }
