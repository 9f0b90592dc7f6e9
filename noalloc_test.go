//go:build unix && !race

package aioring_test

import (
	"testing"
	"time"

	"github.com/aioring/aioring"
)

// In steady state no operation allocates, whatever way it goes.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		r := v.open(t, 64)
		f := tempFile(t, 0)
		buf := make([]byte, 4096)
		if _, err := f.Write(buf); err != nil {
			t.Fatal(err)
		}
		sqes := make([]aioring.SQE, 64)
		entries := make([]*aioring.Entry, 8)
		for i := range entries {
			entries[i] = entry(t, r)
		}
		list := entry(t, r)
		aioring.PrepList(list, writes(int(f.Fd()), 16, 64, 0))
		wakers := make([]*aioring.Waker, len(entries))
		woken := make(chan int, len(entries))
		for i := range wakers {
			wakers[i] = aioring.NewWaker(func(error) { woken <- i })
		}
		for name, round := range map[string]func(){
			"submit": func() {
				for i := range 64 {
					switch sqe := r.GetSQE(); i % 3 {
					case 0:
						aioring.PrepRead(sqe, int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					case 1:
						aioring.PrepWrite(sqe, int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					}
				}
				if _, err := r.SubmitAndWait(64); err != nil {
					t.Fatal(err)
				}
				r.CQAdvance(64)
			},
			"rules": func() {
				for i := range 8 {
					write := func(flags uint8) {
						sqe := r.GetSQE()
						aioring.PrepWrite(sqe, int(f.Fd()), buf[i*64:][:64], int64(i)*64)
						sqe.Flags = flags
					}
					write(aioring.FlagIOLink)
					sqe := r.GetSQE()
					aioring.PrepLinkTimeout(sqe, time.Hour, 0)
					sqe.Flags = aioring.FlagIOLink
					write(0)
					sqe = r.GetSQE()
					aioring.PrepTimeout(sqe, time.Hour, 0, 0)
					sqe.UserData = uint64(100 + i)
					aioring.PrepTimeoutRemove(r.GetSQE(), uint64(100+i), 0)
					aioring.PrepNop(r.GetSQE())
					aioring.PrepCancel(r.GetSQE(), 99, 0)
					r.GetSQE().Flags = aioring.FlagIODrain
				}
				if _, err := r.SubmitAndWait(64); err != nil {
					t.Fatal(err)
				}
				r.CQAdvance(64)
			},
			"push": func() {
				for i := range sqes {
					aioring.PrepRead(&sqes[i], int(f.Fd()), buf[i*64:][:64], int64(i)*64)
				}
				if err := r.Push(sqes...); err != nil {
					t.Fatal(err)
				}
				for range sqes {
					if _, err := r.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			},
			"entry": func() {
				for range 8 {
					for i, e := range entries {
						aioring.PrepWrite(e.SQE(), int(f.Fd()), buf[i*64:][:64], int64(i)*64)
						if err := e.Submit(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					for _, e := range entries {
						cqe, err := e.Ready(t.Context())
						if err != nil || !r.ClearReady(cqe.Event()) {
							t.Fatal(err)
						}
					}
				}
			},
			"waker": func() {
				for range 8 {
					for i, e := range entries {
						if _, ok, err := e.PollReady(wakers[i]); ok || err != nil {
							t.Fatal(ok, err)
						}
						if err := e.Submit(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					for range entries {
						cqe, ok, err := entries[<-woken].PollReady(nil)
						if !ok || err != nil || !r.ClearReady(cqe.Event()) {
							t.Fatal(ok, err)
						}
					}
				}
			},
			"list": func() {
				for range 4 {
					if err := list.Submit(t.Context()); err != nil {
						t.Fatal(err)
					}
					cqe, err := list.Ready(t.Context())
					if err != nil || !r.ClearReady(cqe.Event()) {
						t.Fatal(err)
					}
				}
			},
			"do": func() {
				for i := range 64 {
					aioring.PrepWrite(&sqes[i], int(f.Fd()), buf[i*64:][:64], int64(i)*64)
					if _, err := r.Do(t.Context(), sqes[i]); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			for range 20 {
				round()
			}
			// A few come from the runtime: goroutines started, a pool emptied by the
			// collector; on a slow machine more of them. One for each operation would
			// be 64.
			if n := testing.AllocsPerRun(50, round); n > 16 {
				t.Errorf("%s: %v allocations in 64 operations", name, n)
			}
		}
	})
}
