package reactor

import (
	"testing"

	"github.com/aioring/aioring/aio"
)

func init() {
	kernels["freebsd"] = func(t testing.TB) aio.Kernel {
		k, err := aio.NewFreeBSD()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}
