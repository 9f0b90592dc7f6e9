package ring

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"
)

// queue is what both rings promise; the rules below are proved on both.
type queue[T any] interface {
	Push(T) Status
	PushN([]T) Status
	PopBatch([]T) int
	Len() int
	Cap() int
	Empty() bool
	Close()
	Closed() bool
	Drained() bool
}

// starts are first positions from which a few dozen pushes carry a counter, or
// the word it is kept in, over each of its limits.
var starts = []struct {
	name string
	at   uint64
}{
	{"zero", 0},
	{"word wraps 2^32", 1<<31 - 5},
	{"position wraps 2^32", 1<<32 - 5},
	{"word turns negative", 1<<62 - 5},
	{"word wraps 2^64", 1<<63 - 5},
	{"position wraps 2^64", math.MaxUint64 - 4},
}

// eachRing runs f on both rings at every start.
func eachRing[T any](t *testing.T, f func(t *testing.T, make func(capacity int) queue[T])) {
	for _, s := range starts {
		t.Run("MPSC/"+s.name, func(t *testing.T) {
			f(t, func(c int) queue[T] { return newMPSCAt[T](c, s.at) })
		})
		t.Run("SPSC/"+s.name, func(t *testing.T) {
			f(t, func(c int) queue[T] { return newSPSCAt[T](c, s.at) })
		})
	}
}

// patience is far beyond what any of these tests takes on a slow machine.
const patience = 45 * time.Second

// within fails the test, with all stacks, when f has not returned in time. A
// lost wake-up or a stuck ring is then a failure and not a hang.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		buf := make([]byte, 1<<16)
		t.Fatalf("not finished after %v\n%s", patience, buf[:runtime.Stack(buf, true)])
	}
}

// upTo returns from, from+1, ... n numbers.
func upTo(from, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = from + i
	}
	return s
}

func TestCapacityIsRoundedUpToPowerOfTwo(t *testing.T) {
	for _, c := range []struct{ ask, want int }{
		{math.MinInt, 2}, {-1, 2}, {0, 2}, {1, 2}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {1000, 1024}, {1024, 1024}, {1025, 2048},
		{1<<30 - 1, 1 << 30}, {1 << 30, 1 << 30}, {1<<30 + 1, 1 << 30}, {math.MaxInt, 1 << 30},
	} {
		if got := roundCapacity(c.ask); got != c.want {
			t.Errorf("roundCapacity(%d) = %d, want %d", c.ask, got, c.want)
		}
	}
	if got := NewMPSC[int](1000).Cap(); got != 1024 {
		t.Errorf("MPSC Cap = %d", got)
	}
	if got := NewSPSC[int](1000).Cap(); got != 1024 {
		t.Errorf("SPSC Cap = %d", got)
	}
}

func TestStatusNames(t *testing.T) {
	for s, want := range map[Status]string{
		OK: "OK", Full: "Full", Closed: "Closed", TooBig: "TooBig", Retry: "Retry", 9: "Status(9)",
	} {
		if s.String() != want {
			t.Errorf("%d: %q, want %q", uint8(s), s, want)
		}
	}
}

// Every length of batch at every offset in the ring, several laps, in order.
func TestOrderIsKeptAcrossWraps(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		q := ringOf(8)
		next, want := 0, 0
		dst := make([]int, 8)
		for round := range 100 {
			n := round % 9
			if s := q.PushN(upTo(next, n)); s != OK {
				t.Fatalf("round %d: PushN of %d into empty ring: %v", round, n, s)
			}
			next += n
			if got := q.Len(); got != n {
				t.Fatalf("round %d: Len %d, want %d", round, got, n)
			}
			for q.Len() > 0 {
				got := dst[:q.PopBatch(dst[:1+round%8])]
				if !slices.Equal(got, upTo(want, len(got))) || len(got) == 0 {
					t.Fatalf("round %d: got %v, want them from %d on", round, got, want)
				}
				want += len(got)
			}
		}
		if next != want {
			t.Fatalf("pushed %d, popped %d", next, want)
		}
	})
}

func TestPushIsAllOrNoneWhenFull(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		for held := 0; held <= 8; held++ {
			for n := 0; n <= 8; n++ {
				q := ringOf(8)
				if s := q.PushN(upTo(0, held)); s != OK {
					t.Fatal(s)
				}
				want, total := OK, held+n
				if total > 8 {
					want, total = Full, held
				}
				if s := q.PushN(upTo(held, n)); s != want {
					t.Fatalf("PushN of %d with %d of 8 held: %v, want %v", n, held, s, want)
				}
				if q.Len() != total {
					t.Fatalf("PushN of %d with %d of 8 held: Len %d, want %d", n, held, q.Len(), total)
				}
				dst := make([]int, 16)
				if got := dst[:q.PopBatch(dst)]; !slices.Equal(got, upTo(0, total)) {
					t.Fatalf("PushN of %d with %d of 8 held: popped %v", n, held, got)
				}
			}
		}
	})
}

func TestPushOfOneSaysFull(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		q := ringOf(4)
		dst := make([]int, 1)
		for i := range 50 {
			want := OK
			if i >= 4 {
				want = Full
			}
			if s := q.Push(i); s != want {
				t.Fatalf("push %d: %v, want %v", i, s, want)
			}
			if want == Full { // one taken makes room for exactly one
				q.PopBatch(dst)
				if s := q.Push(i); s != OK || dst[0] != i-4 {
					t.Fatalf("push %d after popping %d: %v", i, dst[0], s)
				}
			}
		}
	})
}

func TestBatchLongerThanRingIsTooBig(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		q := ringOf(8)
		for _, state := range []string{"empty", "full", "closed"} {
			if s := q.PushN(make([]int, 9)); s != TooBig {
				t.Errorf("%s ring: %v, want TooBig", state, s)
			}
			if state == "empty" {
				q.PushN(make([]int, 8))
			} else {
				q.Close()
			}
		}
	})
}

func TestEmptyBatchClaimsNothing(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		q := ringOf(2)
		q.PushN([]int{1, 2})
		if s := q.PushN(nil); s != OK || q.Len() != 2 {
			t.Errorf("on a full ring: %v, Len %d", s, q.Len())
		}
		if n := q.PopBatch(nil); n != 0 || q.Len() != 2 {
			t.Errorf("PopBatch(nil) = %d, Len %d", n, q.Len())
		}
		q.Close()
		if s := q.PushN(nil); s != Closed {
			t.Errorf("on a closed ring: %v", s)
		}
	})
}

func TestEmptyAndLenFollowTheItems(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		q := ringOf(4)
		dst := make([]int, 1)
		for lap := range 20 {
			for n := 0; n < 4; n++ {
				if q.Len() != n || q.Empty() != (n == 0) {
					t.Fatalf("lap %d: %d held: Len %d, Empty %v", lap, n, q.Len(), q.Empty())
				}
				q.Push(n)
			}
			for n := 4; n > 0; n-- {
				if q.Len() != n || q.Empty() {
					t.Fatalf("lap %d: %d held: Len %d, Empty %v", lap, n, q.Len(), q.Empty())
				}
				q.PopBatch(dst)
			}
		}
	})
}

func TestCloseRefusesPushesAndDeliversTheRest(t *testing.T) {
	eachRing(t, func(t *testing.T, ringOf func(int) queue[int]) {
		for held := 0; held <= 4; held++ {
			q := ringOf(4)
			q.PushN(upTo(0, held))
			if q.Closed() || q.Drained() {
				t.Fatal("closed before Close")
			}
			q.Close()
			q.Close()
			if s := q.Push(7); s != Closed {
				t.Errorf("%d held: Push after Close: %v", held, s)
			}
			if s := q.PushN([]int{7, 8}); s != Closed {
				t.Errorf("%d held: PushN after Close: %v", held, s)
			}
			if !q.Closed() || q.Len() != held || q.Empty() != (held == 0) {
				t.Errorf("%d held: Closed %v, Len %d, Empty %v", held, q.Closed(), q.Len(), q.Empty())
			}
			dst := make([]int, 1)
			for i := range held {
				if q.Drained() {
					t.Errorf("%d held: drained with %d taken", held, i)
				}
				if q.PopBatch(dst) != 1 || dst[0] != i {
					t.Errorf("%d held: item %d was %d", held, i, dst[0])
				}
			}
			if !q.Drained() || q.PopBatch(dst) != 0 {
				t.Errorf("%d held: not drained after the last", held)
			}
		}
	})
}

// A close among pushes: exactly what was accepted comes out.
func TestCloseRaceLosesAndInventsNothing(t *testing.T) {
	for _, c := range []struct {
		name      string
		producers int
		make      func() queue[int]
	}{
		{"MPSC", 3, func() queue[int] { return newMPSCAt[int](16, 1<<63-100) }},
		{"SPSC", 1, func() queue[int] { return newSPSCAt[int](16, 1<<63-100) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for round := range 300 {
				q := c.make()
				var accepted [3]int
				var wg sync.WaitGroup
				for p := range c.producers {
					wg.Go(func() {
						for {
							switch q.PushN([]int{p, p, p}[:1+accepted[p]%3]) {
							case OK:
								accepted[p] += 1 + accepted[p]%3
							case Full:
								runtime.Gosched()
							case Closed:
								return
							}
						}
					})
				}
				wg.Go(func() {
					for range round {
						runtime.Gosched()
					}
					q.Close()
				})
				var got [3]int
				within(t, func() {
					dst := make([]int, 5)
					for !q.Drained() {
						n := q.PopBatch(dst)
						for _, p := range dst[:n] {
							got[p]++
						}
						if n == 0 {
							runtime.Gosched()
						}
					}
					wg.Wait()
				})
				if got != accepted {
					t.Fatalf("round %d: accepted %v, delivered %v", round, accepted, got)
				}
			}
		})
	}
}

func TestTakenItemIsNotKeptAlive(t *testing.T) {
	for name, q := range map[string]queue[*[64]byte]{
		"MPSC": NewMPSC[*[64]byte](4), "SPSC": NewSPSC[*[64]byte](4),
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // laps, with batches that go round the end
				var seen []weak.Pointer[[64]byte]
				for range 3 {
					p := new([64]byte)
					seen = append(seen, weak.Make(p))
					q.Push(p)
				}
				runtime.GC()
				for i, w := range seen {
					if w.Value() == nil {
						t.Fatalf("item %d in the ring was collected", i)
					}
				}
				dst := make([]*[64]byte, 4)
				if n := q.PopBatch(dst); n != 3 {
					t.Fatal(n)
				}
				clear(dst)
				runtime.GC()
				for i, w := range seen {
					if w.Value() != nil {
						t.Errorf("item %d is still alive after it was taken", i)
					}
				}
				runtime.KeepAlive(q)
			}
		})
	}
}

func TestPushAndPopDoNotAllocate(t *testing.T) {
	type item struct {
		p *int
		_ [48]byte
	}
	for name, q := range map[string]queue[item]{"MPSC": NewMPSC[item](64), "SPSC": NewSPSC[item](64)} {
		batch, dst := make([]item, 16), make([]item, 64)
		x := new(int)
		if n := testing.AllocsPerRun(200, func() {
			q.Push(item{p: x})
			q.PushN(batch)
			q.Empty()
			q.Len()
			q.PopBatch(dst)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// order is one item of the stress: who pushed it, its number among that
// producer's, and its place in the batch. It is reached by a pointer, so that
// the collector has something to find and the race detector something to see.
type order struct {
	producer, number, index, length int
}

// checkOrders verifies what one consumer receives: no gap or repeat among one
// producer's items, and batches unbroken.
type checkOrders struct {
	next [8]int
	last order
}

func (c *checkOrders) take(o *order) error {
	if o == nil {
		return fmt.Errorf("nil item after %+v", c.last)
	}
	if o.number != c.next[o.producer] {
		return fmt.Errorf("producer %d: number %d, want %d", o.producer, o.number, c.next[o.producer])
	}
	if o.index != 0 && (c.last.producer != o.producer || c.last.index != o.index-1) ||
		o.index == 0 && c.last.index != c.last.length-1 {
		return fmt.Errorf("batch broken: %+v after %+v", *o, c.last)
	}
	c.next[o.producer]++
	c.last = *o
	return nil
}

// produce pushes total items of one producer in batches of 1 to 7.
func produce(q queue[*order], producer, total int, wake func()) {
	var buf [7]*order
	for number := 0; number < total; {
		n := min(1+(number*7+producer)%7, total-number)
		for i := range n {
			buf[i] = &order{producer, number + i, i, n}
		}
		push := func() Status { return q.PushN(buf[:n]) }
		if n == 1 {
			push = func() Status { return q.Push(buf[0]) }
		}
		for push() != OK {
			runtime.Gosched()
		}
		wake()
		number += n
	}
}

// Order, wholeness, waiting and the collector together, on 1, 2 and 4
// processors, over the wrap of the counters.
func TestStress(t *testing.T) {
	total := 40_000
	if testing.Short() {
		total = 5_000
	}
	for _, procs := range []int{1, 2, 4} {
		for _, c := range []struct {
			name      string
			producers int
			q         queue[*order]
		}{
			{"MPSC", 4, newMPSCAt[*order](32, 1<<63-1000)},
			{"SPSC", 1, newSPSCAt[*order](32, 1<<63-1000)},
		} {
			t.Run(fmt.Sprintf("%s/procs=%d", c.name, procs), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				stress(t, c.q, c.producers, total/c.producers)
			})
		}
	}
}

func stress(t *testing.T, q queue[*order], producers, each int) {
	stop := make(chan struct{})
	var gc sync.WaitGroup
	gc.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer gc.Wait()
	defer close(stop)

	p := &Parker{Spin: 4}
	var wg sync.WaitGroup
	for i := range producers {
		wg.Go(func() { produce(q, i, each, p.Wake) })
	}
	go func() {
		wg.Wait()
		q.Close()
		p.Wake()
	}()
	within(t, func() {
		check := checkOrders{last: order{length: 1}} // as if a batch had just ended
		dst := make([]*order, 11)
		for !q.Drained() {
			p.Wait(func() bool { return !q.Empty() || q.Drained() })
			n := q.PopBatch(dst)
			for _, o := range dst[:n] {
				if err := check.take(o); err != nil {
					t.Error(err)
					for !q.Drained() { // let the producers end
						q.PopBatch(dst)
						runtime.Gosched()
					}
					return
				}
			}
			if held := q.Len(); held < 0 || held > q.Cap() {
				t.Errorf("Len %d of %d", held, q.Cap())
			}
		}
		for i := range producers {
			if check.next[i] != each {
				t.Errorf("producer %d: %d of %d delivered", i, check.next[i], each)
			}
		}
	})
}

// Empty, Len, Closed and Drained are asked by goroutines that are neither
// producer nor consumer; here for the race detector and their bounds.
func TestAnyGoroutineMayLook(t *testing.T) {
	for name, q := range map[string]queue[*order]{"MPSC": NewMPSC[*order](8), "SPSC": NewSPSC[*order](8)} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			wg.Go(func() {
				produce(q, 0, 20_000, func() {})
				q.Close()
			})
			wg.Go(func() {
				for !q.Drained() {
					if n := q.Len(); n < 0 || n > q.Cap() {
						t.Errorf("Len %d", n)
					}
					if q.Drained() && !(q.Closed() && q.Empty() && q.Len() == 0) {
						t.Error("drained but not closed and empty")
					}
					runtime.Gosched()
				}
			})
			within(t, func() {
				dst := make([]*order, 8)
				for !q.Drained() {
					if q.PopBatch(dst) == 0 {
						runtime.Gosched()
					}
				}
				wg.Wait()
			})
		})
	}
}

// A ring that always holds one item or two is never called empty, nor said to hold
// more, whoever looks: the head may move between the reads of Empty and Len.
func TestEmptyAndLenAreTrueOfOneMoment(t *testing.T) {
	for name, q := range map[string]queue[int]{"MPSC": NewMPSC[int](2), "SPSC": NewSPSC[int](2)} {
		t.Run(name, func(t *testing.T) {
			q.Push(0)
			stop := make(chan struct{})
			var moves atomic.Int64
			var wg sync.WaitGroup
			wg.Go(func() { // producer and consumer in one: never below one item
				dst := make([]int, 1)
				for {
					select {
					case <-stop:
						return
					default:
					}
					q.Push(1)
					q.PopBatch(dst)
					moves.Add(1)
				}
			})
			// Both at work, side by side: so many looks, and so many moves meanwhile.
			for i := 0; i < 500_000 || moves.Load() < 500_000; i++ {
				if q.Empty() {
					t.Error("Empty said true")
					break
				}
				if n := q.Len(); n < 1 || n > 2 {
					t.Errorf("Len said %d", n)
					break
				}
			}
			close(stop)
			wg.Wait()
		})
	}
}
