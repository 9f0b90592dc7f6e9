package aioring

import (
	"sync"

	"github.com/aioring/aioring/aio"
)

// nativeAIO is this system's AIO kernel: one for the process, because the kernel
// counts jobs for the process.
var nativeAIO = sync.OnceValues(func() (aio.Kernel, error) { return aio.NewFreeBSD() })
