//go:build unix && !freebsd

package aioring

import "github.com/aioring/aioring/aio"

// nativeAIO is FreeBSD's.
func nativeAIO() (aio.Kernel, error) { return nil, ErrUnsupported }
