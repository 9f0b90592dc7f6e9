//go:build unix

package bench

import (
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// instant is a kernel whose jobs are over at once and cost nothing: what is measured
// on it is the library's own price. Events come some at a time, as from a kernel whose
// daemons are at work.
type instant struct {
	*sim.Kernel

	mu   sync.Mutex
	done []*aio.ControlBlock
}

func (k *instant) ListIO(_ aio.ListMode, list []*aio.ControlBlock, _ *aio.Sigevent) aio.Errno {
	k.mu.Lock()
	k.done = append(k.done, list...)
	k.mu.Unlock()
	return 0
}

// Read is a job that is alone.
func (k *instant) Read(cb *aio.ControlBlock) aio.Errno {
	return k.ListIO(aio.ListNoWait, []*aio.ControlBlock{cb}, nil)
}

func (k *instant) Kevent(_ int, changes, events []aio.Kevent, _ time.Duration) (int, aio.Errno) {
	if len(changes) > 0 {
		return 0, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := min(len(events), len(k.done), 16)
	for i, cb := range k.done[len(k.done)-n:] {
		events[i] = aio.Kevent{Ident: uintptr(unsafe.Pointer(cb)), Filter: aio.FilterAIO, Udata: cb.Sigevent.Value}
	}
	k.done = k.done[:len(k.done)-n]
	return n, 0
}

func (k *instant) Return(cb *aio.ControlBlock) (int, aio.Errno) { return int(cb.Nbytes), 0 }

// BenchmarkOwn is the way of an operation without a kernel: random blocks, which
// merging looks at in vain, and neighbours, sixteen to a job.
func BenchmarkOwn(b *testing.B) {
	f := dataFile(b)
	mem := make([]byte, batch*blockSize)
	for name, opts := range map[string][]aioring.Option{
		"plain":   {aioring.WithMerge(0)},
		"untimed": {aioring.WithMerge(0), aioring.WithLatency(false)},
		"merging": nil,
	} {
		for _, where := range []struct {
			name string
			off  func(int) int64
		}{{"random", offset}, {"inorder", func(i int) int64 { return int64(i%(fileSize/blockSize)) * blockSize }}} {
			b.Run(name+"/"+where.name, func(b *testing.B) {
				r, err := aioring.New(batch, append([]aioring.Option{aioring.WithAIO(&instant{Kernel: sim.New(sim.Config{})})}, opts...)...)
				if err != nil {
					b.Fatal(err)
				}
				defer r.Close()
				p := porter{b, r, make([]*aioring.CQE, batch)}
				i := 0
				rounds(b, func(n int) {
					p.round(n, func(s *aioring.SQE) {
						aioring.PrepRead(s, int(f.Fd()), mem[i%batch*blockSize:][:blockSize], where.off(i))
						i++
					})
				})
			})
		}
	}
}
