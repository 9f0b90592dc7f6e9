//go:build !unix

package aioring

import "fmt"

// openLower has nothing to offer outside Unix.
func openLower(r *Ring) (lower, error) {
	return nil, fmt.Errorf("aioring: kernel %q: %w", r.opts.kernel, ErrUnsupported)
}
