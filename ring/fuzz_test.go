package ring

import (
	"slices"
	"testing"
)

// The fuzzer's program is one byte per step: the high bits choose the call, the
// low bits its length. A slice is the model.
func FuzzMPSC(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, capacity uint8, start uint64, program []byte) {
		runProgram(t, newMPSCAt[int](int(capacity), start), program)
	})
}

// FuzzSPSC runs the same programs on the other ring.
func FuzzSPSC(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, capacity uint8, start uint64, program []byte) {
		runProgram(t, newSPSCAt[int](int(capacity), start), program)
	})
}

func addSeeds(f *testing.F) {
	f.Add(uint8(8), uint64(0), []byte{0x03, 0x48, 0x05, 0x44, 0x80, 0xc0})
	f.Add(uint8(2), uint64(1<<63-1), []byte{0x02, 0x80, 0x41, 0x80, 0x80, 0x42, 0xff, 0x01, 0x42})
	f.Add(uint8(4), ^uint64(0)-2, []byte{0x05, 0x04, 0x01, 0x42, 0x02, 0x44, 0x04, 0x44})
}

func runProgram(t *testing.T, q queue[int], program []byte) {
	var model []int
	closed, next := false, 0
	for pc, b := range program {
		n := int(b & 0x3f)
		switch b >> 6 {
		case 0: // PushN
			want := OK
			switch {
			case n > q.Cap():
				want = TooBig
			case closed:
				want = Closed
			case len(model)+n > q.Cap():
				want = Full
			}
			items := upTo(next, n)
			if got := q.PushN(items); got != want {
				t.Fatalf("step %d: PushN of %d with %d of %d held: %v, want %v", pc, n, len(model), q.Cap(), got, want)
			}
			if want == OK {
				model = append(model, items...)
				next += n
			}
			clear(items) // the ring has copied them
		case 1: // PopBatch
			dst := make([]int, n)
			got := dst[:q.PopBatch(dst)]
			want := model[:min(n, len(model))]
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: PopBatch(%d) = %v, want %v", pc, n, got, want)
			}
			model = model[len(want):]
		case 2: // Push
			want := OK
			switch {
			case closed:
				want = Closed
			case len(model) == q.Cap():
				want = Full
			}
			if got := q.Push(next); got != want {
				t.Fatalf("step %d: Push with %d of %d held: %v, want %v", pc, len(model), q.Cap(), got, want)
			}
			if want == OK {
				model = append(model, next)
				next++
			}
		case 3:
			if n == 0x3f { // seldom, or most programs would run on a closed ring
				q.Close()
				closed = true
			}
		}
		if q.Len() != len(model) || q.Empty() != (len(model) == 0) ||
			q.Closed() != closed || q.Drained() != (closed && len(model) == 0) {
			t.Fatalf("step %d: Len %d, Empty %v, Closed %v, Drained %v; model holds %d, closed %v",
				pc, q.Len(), q.Empty(), q.Closed(), q.Drained(), len(model), closed)
		}
	}
}
