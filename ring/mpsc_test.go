package ring

import (
	"runtime"
	"slices"
	"sync"
	"testing"
)

// A lost race is neither Full nor Closed.
func TestLostClaimIsRetry(t *testing.T) {
	for _, c := range []struct {
		name  string
		other func(q *MPSC[int]) // what happens between reading the tail and the claim
		want  Status             // of the claim
		then  Status             // of the next attempt
	}{
		{"nobody", func(q *MPSC[int]) {}, OK, OK},
		{"a push", func(q *MPSC[int]) { q.Push(1) }, Retry, OK},
		{"an empty push", func(q *MPSC[int]) { q.PushN(nil) }, OK, OK},
		{"a push that fills", func(q *MPSC[int]) { q.PushN(upTo(0, 4)) }, Retry, Full},
		{"a close", func(q *MPSC[int]) { q.Close() }, Retry, Closed},
		{"a whole lap", func(q *MPSC[int]) {
			q.PushN(upTo(0, 4))
			q.PopBatch(make([]int, 4))
			q.fits(q.tail.Load(), 4) // headSeen is now ahead of the tail read before
		}, Retry, OK},
	} {
		for _, s := range starts {
			t.Run(c.name+"/"+s.name, func(t *testing.T) {
				q := newMPSCAt[int](4, s.at)
				tail := q.tail.Load()
				c.other(q)
				got := q.claimAt(tail, 1)
				if got != c.want {
					t.Fatalf("claim: %v, want %v", got, c.want)
				}
				if got := q.TryPushN([]int{9}); got != c.then {
					t.Fatalf("next attempt: %v, want %v", got, c.then)
				}
			})
		}
	}
}

// With room for everything, contention alone is never reported as Full.
func TestContentionIsNeverFull(t *testing.T) {
	const producers, each = 4, 2000
	q := NewMPSC[int](producers * each)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := 0; i < each; {
				switch s := q.TryPushN([]int{p}); s {
				case OK:
					i++
				case Retry:
				default:
					t.Errorf("%v with %d of %d held", s, q.Len(), q.Cap())
					return
				}
			}
		})
	}
	within(t, wg.Wait)
	if q.Len() != producers*each {
		t.Errorf("Len %d", q.Len())
	}
}

// A producer preempted between claim and publication: the consumer is told
// there is nothing, what was claimed later waits its turn, and nothing is lost.
func TestUnpublishedClaimHoldsOrderButNotTheConsumer(t *testing.T) {
	for _, s := range starts {
		t.Run(s.name, func(t *testing.T) {
			q := newMPSCAt[int](8, s.at)
			dst := make([]int, 8)
			q.Push(0)
			tail := q.tail.Load()
			if s := q.claimAt(tail, 2); s != OK {
				t.Fatal(s)
			}
			q.PushN([]int{3, 4})

			if n := q.PopBatch(dst); n != 1 || dst[0] != 0 {
				t.Fatalf("took %v before the claim", dst[:n])
			}
			if n := q.PopBatch(dst); n != 0 || !q.Empty() || q.Len() != 4 {
				t.Fatalf("took %v; Empty %v, Len %d", dst[:n], q.Empty(), q.Len())
			}
			q.publish(tail, []int{1, 2})
			if n := q.PopBatch(dst); !slices.Equal(dst[:n], upTo(1, 4)) || !q.Empty() {
				t.Fatalf("took %v; Empty %v", dst[:n], q.Empty())
			}
		})
	}
}

// What an earlier lap left in the cells is never taken for a publication.
func TestStaleCellIsNotAnItem(t *testing.T) {
	for _, s := range starts {
		q := newMPSCAt[int](4, s.at)
		dst := make([]int, 4)
		for lap := range 8 {
			if !q.Empty() || q.PopBatch(dst) != 0 {
				t.Fatalf("%s: lap %d: an item out of nothing", s.name, lap)
			}
			q.PushN(upTo(0, 4))
			q.PopBatch(dst)
		}
	}
}

// Claimed before the close, published after it: delivered, and only then
// drained.
func TestCloseWaitsForClaimsAlreadyMade(t *testing.T) {
	q := NewMPSC[int](8)
	dst := make([]int, 8)
	tail := q.tail.Load()
	if s := q.claimAt(tail, 2); s != OK {
		t.Fatal(s)
	}
	q.Close()
	if q.PopBatch(dst) != 0 || q.Drained() || !q.Empty() || q.Len() != 2 {
		t.Fatalf("before publication: Drained %v, Empty %v, Len %d", q.Drained(), q.Empty(), q.Len())
	}
	q.publish(tail, []int{1, 2})
	if n := q.PopBatch(dst); !slices.Equal(dst[:n], []int{1, 2}) || !q.Drained() {
		t.Fatalf("after publication: took %v, Drained %v", dst[:n], q.Drained())
	}
}

func TestTakenCellIsZero(t *testing.T) {
	q := NewMPSC[*int](4)
	for lap := range 3 {
		q.PushN([]*int{new(int), new(int), new(int)})
		q.PopBatch(make([]*int, 2))
		q.PopBatch(make([]*int, 2))
		for i := range q.cells {
			if q.cells[i] != nil {
				t.Errorf("lap %d: cell %d keeps a taken item", lap, i)
			}
		}
	}
}

// A publication cut off before its last step shows nothing. The cut is a panic,
// at the cells or at the mark, which are put out of reach meanwhile.
func TestHalfPublishedBatchIsInvisible(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(q *MPSC[int])
	}{
		{"at the cells", func(q *MPSC[int]) { q.cells = nil }},
		{"at the mark", func(q *MPSC[int]) { q.marks = nil }},
	} {
		for _, s := range starts {
			t.Run(c.name+"/"+s.name, func(t *testing.T) {
				q := newMPSCAt[int](4, s.at)
				tail := q.tail.Load()
				if s := q.claimAt(tail, 3); s != OK {
					t.Fatal(s)
				}
				cells, marks := q.cells, q.marks
				func() {
					defer func() { _ = recover() }()
					c.cut(q)
					q.publish(tail, upTo(0, 3))
					t.Error("was not cut off")
				}()
				q.cells, q.marks = cells, marks
				dst := make([]int, 4)
				if n := q.PopBatch(dst); n != 0 || !q.Empty() {
					t.Fatalf("took %v of a batch half published", dst[:n])
				}
				q.publish(tail, upTo(0, 3))
				if n := q.PopBatch(dst); !slices.Equal(dst[:n], upTo(0, 3)) {
					t.Fatalf("took %v of the whole batch", dst[:n])
				}
			})
		}
	}
}

// What a PopBatch leaves of a batch is to be taken like any other, whatever
// marks earlier laps have left in the cells it begins at.
func TestRestOfABatchStaysPublished(t *testing.T) {
	for _, s := range starts {
		t.Run(s.name, func(t *testing.T) {
			q := newMPSCAt[int](8, s.at)
			dst := make([]int, 8)
			for round := range 64 { // batches of 1 to 8, all over the ring
				length := 1 + round%8
				behind := (8 - length) / 2
				for piece := 1; piece <= length; piece++ {
					if s := q.PushN(upTo(0, length)); s != OK {
						t.Fatal(s)
					}
					tail := q.tail.Load()
					if s := q.claimAt(tail, behind); s != OK { // never part of it
						t.Fatal(s)
					}
					for taken := 0; taken < length; {
						if q.Empty() {
							t.Fatalf("Empty with %d of %d taken", taken, length)
						}
						want := upTo(taken, min(piece, length-taken))
						if n := q.PopBatch(dst[:piece]); !slices.Equal(dst[:n], want) {
							t.Fatalf("took %v after %d of %d, want %v", dst[:n], taken, length, want)
						}
						taken += len(want)
					}
					if !q.Empty() || q.PopBatch(dst) != 0 {
						t.Fatalf("something behind a batch of %d", length)
					}
					q.publish(tail, upTo(0, behind))
					q.PopBatch(dst)
				}
			}
		})
	}
}

// headSeen goes back when a producer stores late what it read early. With the
// tail read before, too, the ring looks overfull and then the head beyond the
// tail: a lost race, not a full ring.
func TestOldHeadIsNotFull(t *testing.T) {
	for _, s := range starts {
		q := newMPSCAt[int](4, s.at)
		dst := make([]int, 4)
		q.PushN(upTo(0, 4))
		q.PopBatch(dst)
		old, tail := q.headSeen.Load(), q.tail.Load()
		q.PushN(upTo(0, 4))
		q.PopBatch(dst)
		q.headSeen.Store(old)
		if got := q.claimAt(tail, 1); got != Retry {
			t.Errorf("%s: old tail and old head: %v, want Retry", s.name, got)
		}
		q.headSeen.Store(old)
		if got := q.TryPushN(upTo(0, 4)); got != OK {
			t.Errorf("%s: old head: %v, want OK", s.name, got)
		}
	}
}

// The consumer sees a batch as a whole, never a beginning of it: with room for
// all there is, every PopBatch ends where a batch ends.
func TestBatchBecomesVisibleAsAWhole(t *testing.T) {
	const producers, length = 4, 64
	batches := 3000
	if testing.Short() {
		batches = 500
	}
	q := newMPSCAt[[2]int](1024, 1<<63-1000) // producer, index in the batch
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			batch := make([][2]int, length)
			for i := range batch {
				batch[i] = [2]int{p, i}
			}
			for range batches {
				for q.PushN(batch) != OK {
					runtime.Gosched()
				}
			}
		})
	}
	within(t, func() {
		dst := make([][2]int, q.Cap())
		left, idle := producers*batches*length, 0
		for left > 0 {
			n := q.PopBatch(dst)
			if n%length != 0 && !t.Failed() {
				t.Errorf("took %d items: a part of a batch of %d", n, length)
			}
			for i, v := range dst[:n] {
				if first := dst[i-i%length]; v != [2]int{first[0], i % length} && !t.Failed() {
					t.Errorf("item %d of a batch of producer %d is %v", i%length, first[0], v)
				}
			}
			left -= n
			if idle++; n > 0 {
				idle = 0
			} else if idle%256 == 0 { // mostly look, to catch a batch half published
				runtime.Gosched()
			}
		}
		wg.Wait()
	})
}
