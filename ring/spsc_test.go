package ring

import "testing"

func TestSPSCTakenCellIsZero(t *testing.T) {
	q := NewSPSC[*int](4)
	for lap := range 3 {
		q.PushN([]*int{new(int), new(int), new(int)})
		q.PopBatch(make([]*int, 2))
		q.PopBatch(make([]*int, 2))
		for i, v := range q.cells {
			if v != nil {
				t.Errorf("lap %d: cell %d keeps a taken item", lap, i)
			}
		}
	}
}

// Close between a push's look at the tail and its publication: the push is
// refused, the consumer sees nothing of it, and the ring keeps nothing of it.
func TestSPSCCloseDuringPushRefusesIt(t *testing.T) {
	for _, s := range starts {
		for n := 0; n <= 4; n++ {
			q := newSPSCAt[*int](4, s.at)
			tail := q.tail.Load()
			q.Close()
			items := []*int{new(int), new(int), new(int), new(int)}[:n]
			if got := q.pushAt(tail, items); got != Closed {
				t.Errorf("%s: push of %d: %v", s.name, n, got)
			}
			if !q.Drained() || !q.Empty() || q.PopBatch(make([]*int, 4)) != 0 {
				t.Errorf("%s: a refused push of %d is visible", s.name, n)
			}
			for i, v := range q.cells {
				if v != nil {
					t.Errorf("%s: cell %d keeps a refused item", s.name, i)
				}
			}
		}
	}
}
