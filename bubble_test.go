//go:build unix

package aioring_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aioring/aioring"
)

// A ring may live in a bubble of testing/synctest: who waits at it is durably blocked
// there, and rings outside never meet what it leaves behind.
func TestRingInABubble(t *testing.T) {
	inside := func(t *testing.T, kernel string) {
		r, err := aioring.New(8, aioring.WithKernel(kernel))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Do(t.Context(), aioring.SQE{}); err != nil {
			t.Error(err)
		}
		e, err := r.NewEntry()
		if err != nil {
			t.Fatal(err)
		}
		// Nothing comes: the bubble's clock goes on, so everybody is seen to be blocked.
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		over := make(chan error, 1)
		go func() {
			_, err := e.Ready(ctx)
			over <- err
		}()
		if _, err := r.Wait(ctx); err != context.DeadlineExceeded || time.Since(began) != time.Hour {
			t.Errorf("Wait: %v after %v", err, time.Since(began))
		}
		if err := <-over; err != context.DeadlineExceeded {
			t.Errorf("Ready: %v", err)
		}
		if err := r.Push(aioring.SQE{UserData: 1}); err != nil {
			t.Fatal(err)
		}
		if cqe, err := r.WaitCQE(); err != nil || cqe.UserData != 1 {
			t.Errorf("%+v, %v", cqe, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, kernel := range []string{aioring.KernelSim, aioring.KernelThreads} {
		t.Run(kernel, func(t *testing.T) {
			for range 20 {
				synctest.Test(t, func(t *testing.T) { inside(t, kernel) })
				r := variant{kernel: kernel}.open(t, 8)
				if _, err := r.Do(context.Background(), aioring.SQE{}); err != nil {
					t.Error(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				r.Wait(ctx)
				cancel()
			}
		})
	}
}
