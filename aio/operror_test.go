package aio_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/aioring/aioring/aio"
)

func TestOpErrorSaysWhatAndWhere(t *testing.T) {
	var cb aio.ControlBlock
	cb.Prepare(aio.OpRead, 7, 4096, nil, 0, aio.Sigevent{})
	if err := cb.Failed("aio_read", 0); err != nil {
		t.Errorf("no errno: %v", err)
	}
	err := cb.Failed("aio_read", aio.EACCES)
	if got, want := err.Error(), "aio_read fd 7 at 4096: permission denied"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var op *aio.OpError
	if !errors.As(err, &op) || op.Fd != 7 || op.Offset != 4096 || op.Op != "aio_read" {
		t.Errorf("%+v", op)
	}
	if !errors.Is(err, aio.EACCES) || !errors.Is(err, fs.ErrPermission) || errors.Is(err, aio.EBADF) {
		t.Error("it does not unwrap to its errno")
	}
}
