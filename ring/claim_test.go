package ring

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// Items written in place come out in place, in the order of the claims, whatever
// the sizes of the batches and of the bites taken, and mixed with PushN and
// PopBatch.
func TestClaimAndFront(t *testing.T) {
	for _, s := range starts {
		t.Run(s.name, func(t *testing.T) {
			q := newMPSCAt[int](16, s.at)
			rng := rand.New(rand.NewPCG(1, 2))
			in, out := 0, 0
			check := func(items []int) {
				for _, got := range items {
					if got != out {
						t.Fatalf("%d, want %d", got, out)
					}
					out++
				}
			}
			for range 20_000 {
				n := 1 + rng.IntN(16)
				switch room := 16 - (in - out); rng.IntN(4) {
				case 0:
					c, status := q.Claim(n)
					if want := map[bool]Status{true: OK, false: Full}[n <= room]; status != want {
						t.Fatalf("%d with room for %d: %v", n, room, status)
					}
					if status != OK {
						break
					}
					if front := q.Front(16); len(front) > in-out {
						t.Fatalf("%d of %d", len(front), in-out)
					}
					for _, cells := range [][]int{c.Low, c.High} {
						for i := range cells {
							cells[i] = in
							in++
						}
					}
					c.Publish()
				case 1:
					if items := upTo(in, n); q.PushN(items) == OK {
						in += n
					}
				case 2:
					front := q.Front(n)
					if len(front) == 0 && in != out {
						t.Fatalf("nothing of %d", in-out)
					}
					k := rng.IntN(len(front) + 1)
					check(front[:k])
					q.Advance(k)
				case 3:
					dst := make([]int, n)
					check(dst[:q.PopBatch(dst)])
				}
			}
			if q.Len() != in-out {
				t.Errorf("%d, want %d", q.Len(), in-out)
			}
		})
	}
}

func TestClaimRefused(t *testing.T) {
	q := NewMPSC[int](4)
	if _, s := q.Claim(5); s != TooBig {
		t.Error(s)
	}
	for _, n := range []int{0, -1} {
		c, s := q.Claim(n)
		if c.Publish(); s != OK || q.Len() != 0 || len(q.Front(4)) != 0 {
			t.Errorf("%d: %v, %d", n, s, q.Len())
		}
	}
	c, s := q.Claim(3)
	if s != OK {
		t.Fatal(s)
	}
	if _, s := q.Claim(2); s != Full {
		t.Error(s)
	}
	q.Close()
	if _, s := q.Claim(1); s != Closed {
		t.Error(s)
	}
	if q.Drained() || len(q.Front(4)) != 0 {
		t.Error("what is claimed is not published, and not drained")
	}
	c.Publish()
	if n := len(q.Front(4)); n != 3 {
		t.Error(n)
	}
	q.Advance(-1)
	q.Advance(4)
	if !q.Drained() {
		t.Error("all was taken")
	}
}

// Many producers write in place: each batch stays in one piece and is whole.
func TestClaimedBatchesStayWhole(t *testing.T) {
	const producers, each = 4, 2000
	q := NewMPSC[[2]int](64)
	var group sync.WaitGroup
	for p := range producers {
		group.Go(func() {
			for i := 0; i < each; {
				n := 1 + i%7
				c, s := q.Claim(n)
				if s != OK {
					runtime.Gosched()
					continue
				}
				for k := range c.Low {
					c.Low[k] = [2]int{p, i*10 + k}
				}
				for k := range c.High {
					c.High[k] = [2]int{p, i*10 + len(c.Low) + k}
				}
				c.Publish()
				i++
			}
		})
	}
	var next [producers]int
	var left, owner int
	for done := 0; done < producers*each; {
		front := q.Front(11)
		for _, item := range front {
			p, i, k := item[0], item[1]/10, item[1]%10
			if left > 0 && p != owner || i != next[p] || left > 0 && k != 1+i%7-left || left == 0 && k != 0 {
				t.Fatalf("%v with %d of a batch of %d left, want %d", item, left, owner, next[p])
			}
			if left == 0 {
				left, owner = 1+i%7, p
			}
			if left--; left == 0 {
				next[p]++
				done++
			}
		}
		q.Advance(len(front))
		if len(front) == 0 {
			runtime.Gosched()
		}
	}
	group.Wait()
}

// Advance takes what Front returned and no more, though the batch goes on.
func TestAdvanceTakesOnlyWhatFrontReturned(t *testing.T) {
	q := NewMPSC[int](8)
	q.PushN(upTo(1, 5))
	if front := q.Front(-1); len(front) != 0 {
		t.Errorf("Front(-1) = %v", front)
	}
	q.Advance(5)
	if front := q.Front(2); len(front) != 2 || q.Len() != 5 {
		t.Fatalf("Front(2) = %v of %d", front, q.Len())
	}
	q.Advance(5)
	dst := make([]int, 8)
	if n := q.PopBatch(dst); n != 3 || dst[0] != 3 {
		t.Errorf("the rest: %v", dst[:n])
	}
}
