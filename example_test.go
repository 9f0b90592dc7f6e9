//go:build unix

package aioring_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

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

// One entry for operations that follow each other: submit, await, clear, submit the
// next. The wait ends with its context; the operation, and its buffer, are the ring's
// until it is ready.
func ExampleRing_NewEntry() {
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
	e, err := r.NewEntry()
	if err != nil {
		log.Fatal(err)
	}
	defer e.Release()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	off := int64(0)
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		aioring.PrepWrite(e.SQE(), int(f.Fd()), []byte(line), off)
		if err := e.Submit(ctx); err != nil {
			log.Fatal(err)
		}
		cqe, err := e.Ready(ctx)
		if err != nil {
			log.Fatal(err) // the wait ended, not the write
		}
		off += int64(cqe.Res)
		fmt.Println(cqe.Res, r.ClearReady(cqe.Event()), r.ClearReady(cqe.Event()))
	}
	// Output:
	// 4 true false
	// 4 true false
	// 6 true false
}

// A list is submitted as a whole and has one event, when the last of it has ended.
func ExamplePrepList() {
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
	e, err := r.NewEntry()
	if err != nil {
		log.Fatal(err)
	}
	defer e.Release()

	list := make([]aioring.SQE, 3)
	aioring.PrepWrite(&list[0], int(f.Fd()), []byte("head"), 0)
	aioring.PrepWrite(&list[1], int(f.Fd()), []byte("body and soul"), 4)
	aioring.PrepRead(&list[2], 1<<20, make([]byte, 8), 0) // no such file
	aioring.PrepList(e, list)
	if err := e.Submit(context.Background()); err != nil {
		log.Fatal(err)
	}
	cqe, err := e.Ready(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cqe.Res, "of", len(list))
	for i := range list {
		m, _ := e.Member(i)
		fmt.Println(m.Res >= 0, max(m.Res, 0))
	}
	// Output:
	// 3 of 3
	// true 4
	// true 13
	// false 0
}

// HandBack shows what the kernel did not accept: with room for two jobs, a list of
// five takes three rounds.
func ExampleHandBack() {
	f, err := os.CreateTemp("", "aioring")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	kernel := sim.New(sim.Config{Limits: aio.Limits{MaxQueuePerProc: 2}})
	r, err := aioring.New(8, aioring.WithAIO(kernel), aioring.WithMerge(0)) // merged they would be one job
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	e, err := r.NewEntry()
	if err != nil {
		log.Fatal(err)
	}
	defer e.Release()

	list := make([]aioring.SQE, 5)
	for i := range list {
		aioring.PrepWrite(&list[i], int(f.Fd()), []byte("data"), int64(i)*4)
	}
	aioring.PrepList(e, list, aioring.HandBack())
	for done := 0; done < len(list); {
		if err := e.Submit(context.Background()); err != nil {
			log.Fatal(err)
		}
		cqe, err := e.Ready(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		done = int(cqe.Res)
		fmt.Println(done, "of", len(list))
		r.ClearReady(cqe.Event())
	}
	// Output:
	// 2 of 5
	// 4 of 5
	// 5 of 5
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
