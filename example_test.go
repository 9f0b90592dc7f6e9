//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"

	"github.com/aioring/aioring"
	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

// The way of those who come from liburing: fill entries, submit, wait, reap.
func Example() {
	f, err := os.CreateTemp("", "aioring")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()

	r, err := aioring.New(8)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	sqe := r.GetSQE()
	aioring.PrepWrite(sqe, int(f.Fd()), []byte("hello, ring"), 0)
	sqe.UserData = 42
	if _, err := r.SubmitAndWait(1); err != nil {
		log.Fatal(err)
	}
	cqe, err := r.PeekCQE()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cqe.UserData, cqe.Res)
	r.CQESeen(cqe)
	// Output: 42 11
}

// The way of Go programs: push from any goroutine, range over completions in any
// other.
func ExampleRing_Push() {
	f, err := os.CreateTemp("", "aioring")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	r, err := aioring.New(8)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	batch := make([]aioring.SQE, 3)
	for i := range batch {
		aioring.PrepWrite(&batch[i], int(f.Fd()), []byte("four"), int64(i)*4)
		batch[i].Keep = f
	}
	if err := r.Push(batch...); err != nil {
		log.Fatal(err)
	}
	if err := r.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	total := 0
	for cqe := range r.CQEs(context.Background()) {
		total += int(cqe.Res)
	}
	fmt.Println(total, "bytes")
	// Output: 12 bytes
}

func ExampleRing_Do() {
	f, err := os.Open(os.DevNull)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := aioring.New(8)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	var sqe aioring.SQE
	aioring.PrepRead(&sqe, int(f.Fd()), make([]byte, 16), 0)
	cqe, err := r.Do(context.Background(), sqe)
	fmt.Println(cqe.Res, err)
	// Output: 0 <nil>
}

// The failure of one operation says which it was, and unwraps to its errno.
func ExampleOpError() {
	r, err := aioring.New(8)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	var sqe aioring.SQE
	aioring.PrepWrite(&sqe, 1<<20, []byte("x"), 512)
	_, err = r.Do(context.Background(), sqe)
	fmt.Println(err)
	fmt.Println(errors.Is(err, syscall.EBADF))
	// Output:
	// write fd 1048576 at 512: bad file descriptor
	// true
}

// A test of one's own code against a kernel with no room: the ring absorbs it.
func ExampleWithAIO() {
	f, err := os.CreateTemp("", "aioring")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	kernel := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 1}})
	r, err := aioring.New(8, aioring.WithAIO(kernel))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	for i := range 4 {
		aioring.PrepWrite(r.GetSQE(), int(f.Fd()), []byte("data"), int64(i)*4)
	}
	if _, err := r.SubmitAndWait(4); err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.CQReady(), "done, never more at a time than", r.Stats().HighWater)
	// Output: 4 done, never more at a time than 1
}
