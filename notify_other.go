//go:build !unix

package aioring

// openEventfd and newEventfd have nothing to offer outside Unix.
func openEventfd(int) (eventfd, error) { return nil, ErrUnsupported }

func newEventfd() (eventfd, int, error) { return nil, -1, ErrUnsupported }
