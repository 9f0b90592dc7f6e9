package bench

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aioring/aioring/ring"
	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// The proofs of the rings are here and not beside them, because of the modules
// they need.

// queue is what both rings promise.
type queue[T any] interface {
	Push(T) ring.Status
	PushN([]T) ring.Status
	PopBatch([]T) int
	Len() int
	Cap() int
	Empty() bool
	Close()
	Closed() bool
	Drained() bool
}

// TestLinearizable records what concurrent callers saw and has porcupine look for
// an order of the calls' steps, each within its call, in which a bounded FIFO
// would have answered the same.
//
// The order is of steps, for two calls do not take effect at one moment. A push
// first has room, which Full and Len tell, and is then there to take. A PopBatch
// first sees how many it will take, and then makes room. No step may give another
// answer than the model's: PopBatch takes everything that is there and for which
// it has room; Full, Empty, Len, Closed and Drained are true at some moment.
//
// A call of an entry does take effect at one moment. Its model is a register that
// counts events.
func TestLinearizable(t *testing.T) {
	histories := 10_000
	if testing.Short() || raceDetector { // which makes porcupine slow, too
		histories = 1_000
	}
	for _, c := range []struct {
		name   string
		model  porcupine.Model
		record func(seed uint64, seen map[string]int) []porcupine.Operation
	}{
		{"MPSC", fifoModel, func(seed uint64, seen map[string]int) []porcupine.Operation {
			return record(ring.NewMPSC[wide](fifoCap), 3, seed, seen)
		}},
		{"SPSC", fifoModel, func(seed uint64, seen map[string]int) []porcupine.Operation {
			return record(ring.NewSPSC[wide](fifoCap), 1, seed, seen)
		}},
		{"Entry", entryModel, recordEntry},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]int{}
			for i := range histories {
				seed := rand.Uint64()
				history := c.record(seed, seen)
				result, info := porcupine.CheckOperationsVerbose(c.model, history, time.Minute)
				if result == porcupine.Ok {
					continue
				}
				for _, op := range history {
					t.Logf("%d: [%d, %d] %+v", op.ClientId, op.Call, op.Return, op.Input)
				}
				path := filepath.Join(os.TempDir(), fmt.Sprintf("aioring-history-%x.html", seed))
				t.Fatalf("history %d: %v; drawn in %s (%v)", i, result, path, porcupine.VisualizePath(c.model, info, path))
			}
			t.Logf("%d histories: %v", histories, seen)
		})
	}
}

// fifoCap is the capacity of the rings, small so that they are often full.
const fifoCap = 4

// wide is an item that takes its time to copy. All its words are the same number;
// if they are not, somebody read what another was writing.
type wide [32]int

func wideOf(number int) (w wide) {
	for i := range w {
		w[i] = number
	}
	return w
}

func (w *wide) number() int {
	for _, word := range w {
		if word != w[0] {
			return -1
		}
	}
	return w[0]
}

// fifo is the model's state. It is comparable, as porcupine wants it.
type fifo struct {
	closed  bool
	looked  int // how many the PopBatch under way will take
	batches int
	queued  [fifoCap]batchLeft // the first of them; the rest is zero
}

// batchLeft is a batch, or its rest. Its items are first, first+1, and so on.
type batchLeft struct {
	first, length int
	published     bool
}

// fifoStep is one step of a call with what it answered.
type fifoStep struct {
	kind  string
	first int // of a push: its items are first, first+1, and so on
	n     int // items pushed or taken; what Len answered
	room  int // of a PopBatch
	taken [fifoCap]int
	said  ring.Status
	yes   bool
}

var fifoModel = porcupine.Model{
	Init: func() any { return fifo{} },
	Step: func(state, input, _ any) (bool, any) {
		f, step := state.(fifo), input.(fifoStep)
		ok := f.step(step)
		return ok, f
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
}

// step takes a step and reports whether a FIFO would have answered that.
func (f *fifo) step(s fifoStep) bool {
	switch s.kind {
	case "claim":
		if s.said != f.push(s.n) {
			return false
		}
		if s.said == ring.OK && s.n > 0 {
			f.queued[f.batches] = batchLeft{first: s.first, length: s.n}
			f.batches++
		}
		return true
	case "publish":
		i := slices.IndexFunc(f.queued[:f.batches], func(b batchLeft) bool { return b.first == s.first })
		if i < 0 {
			return false // not yet claimed
		}
		f.queued[i].published = true
		return true
	case "look":
		f.looked = s.n
		return s.n == min(s.room, f.published())
	case "take":
		if s.n != f.looked {
			return false // has not yet looked
		}
		f.looked = 0
		return f.take(s.taken[:s.n])
	case "Len":
		return s.n == f.len()
	case "Empty":
		return s.yes == (f.published() == 0)
	case "Close":
		f.closed = true
		return true
	case "Closed":
		return s.yes == f.closed
	case "Drained":
		return s.yes == (f.closed && f.len() == 0)
	}
	panic(s.kind)
}

// push is what a push of n items is to answer.
func (f *fifo) push(n int) ring.Status {
	switch {
	case n > fifoCap:
		return ring.TooBig
	case f.closed:
		return ring.Closed
	case f.len()+n > fifoCap:
		return ring.Full
	}
	return ring.OK
}

// take removes the items at the head if they are these.
func (f *fifo) take(items []int) bool {
	for _, item := range items {
		b := &f.queued[0]
		if b.first != item {
			return false
		}
		b.first++
		if b.length--; b.length == 0 {
			f.batches--
			copy(f.queued[:], f.queued[1:])
			f.queued[f.batches] = batchLeft{}
		}
	}
	return true
}

func (f *fifo) len() (n int) {
	for _, b := range f.queued[:f.batches] {
		n += b.length
	}
	return n
}

// published is how many items can be taken.
func (f *fifo) published() (n int) {
	for _, b := range f.queued[:f.batches] {
		if !b.published {
			break
		}
		n += b.length
	}
	return n
}

// record has producers, the consumer and somebody else call q at the same time,
// and returns the steps of their calls. It counts the answers in seen.
func record(q queue[wide], producers int, seed uint64, seen map[string]int) []porcupine.Operation {
	clients := producers + 2
	steps := make([][]porcupine.Operation, clients)
	began := time.Now()
	var here atomic.Int32
	var wg sync.WaitGroup
	for id := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(id)))
		call, calls := onlooker(q), 8
		switch {
		case id < producers:
			call = producer(q, (id+1)*1000)
		case id == producers:
			call, calls = consumer(q), 8*producers // or it would be full most of the time
		}
		wg.Go(func() {
			here.Add(1)
			// Begin together. Yielding seldom, so that more than one processor is
			// awake by then, and calls overlap.
			for i := 1; here.Load() < int32(clients); i++ {
				if i%(1<<14) == 0 {
					runtime.Gosched()
				}
			}
			for range calls {
				from := time.Since(began)
				did := call(rng)
				to := time.Since(began)
				for _, s := range did {
					steps[id] = append(steps[id], porcupine.Operation{
						ClientId: id, Input: s, Call: int64(from), Return: int64(to),
					})
				}
				if rng.IntN(4) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	history := slices.Concat(steps...)
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var latest porcupine.Operation
	for _, op := range history {
		if op.ClientId != latest.ClientId && op.Call < latest.Return {
			seen["overlapping"]++
		}
		if op.Return > latest.Return {
			latest = op
		}
		switch s := op.Input.(fifoStep); s.kind {
		case "claim":
			seen[s.said.String()]++
		case "take":
			seen["taken"] += s.n
		}
	}
	return history
}

// producer returns a call of a producer whose items begin at next.
func producer(q queue[wide], next int) func(rng *rand.Rand) []fifoStep {
	var buf [fifoCap + 1]wide
	return func(rng *rand.Rand) []fifoStep {
		s := fifoStep{kind: "claim", first: next, n: 1 + rng.IntN(3)}
		if rng.IntN(32) == 0 {
			s.n = rng.IntN(2) * (fifoCap + 1) // nothing, or too much
		}
		items := buf[:s.n]
		for i := range items {
			items[i] = wideOf(next + i)
		}
		next += s.n
		if s.n == 1 && rng.IntN(2) == 0 {
			s.said = q.Push(items[0])
		} else {
			s.said = q.PushN(items)
		}
		if s.said != ring.OK || s.n == 0 {
			return []fifoStep{s}
		}
		return []fifoStep{s, {kind: "publish", first: s.first}}
	}
}

// consumer returns a call of the consumer, who waits a moment for something to
// take in half of them: that catches what is published too early.
func consumer(q queue[wide]) func(rng *rand.Rand) []fifoStep {
	var dst [fifoCap]wide
	return func(rng *rand.Rand) []fifoStep {
		if rng.IntN(8) == 0 {
			return []fifoStep{{kind: "Empty", yes: q.Empty()}}
		}
		look := fifoStep{kind: "look", room: 1 + rng.IntN(fifoCap)}
		for i := rng.IntN(2) * 200; i > 0 && q.Empty(); i-- {
		}
		look.n = q.PopBatch(dst[:look.room])
		if look.n == 0 {
			return []fifoStep{look}
		}
		take := fifoStep{kind: "take", n: look.n}
		for i := range take.n {
			take.taken[i] = dst[i].number()
		}
		return []fifoStep{look, take}
	}
}

// onlooker returns a call that any goroutine may make.
func onlooker(q queue[wide]) func(rng *rand.Rand) []fifoStep {
	return func(rng *rand.Rand) []fifoStep {
		var s fifoStep
		switch rng.IntN(24) {
		case 0:
			q.Close()
			s = fifoStep{kind: "Close"}
		case 1, 2, 3:
			s = fifoStep{kind: "Closed", yes: q.Closed()}
		case 4, 5, 6:
			s = fifoStep{kind: "Drained", yes: q.Drained()}
		case 7, 8, 9, 10, 11, 12:
			s = fifoStep{kind: "Empty", yes: q.Empty()}
		default:
			s = fifoStep{kind: "Len", n: q.Len()}
		}
		return []fifoStep{s}
	}
}

// TestModel has rapid look for a sequence of calls after which a ring and a slice
// differ, and shorten it.
func TestModel(t *testing.T) {
	for name, make := range map[string]func(capacity int) queue[int]{
		"MPSC": func(c int) queue[int] { return ring.NewMPSC[int](c) },
		"SPSC": func(c int) queue[int] { return ring.NewSPSC[int](c) },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				q := make(rapid.IntRange(0, 20).Draw(t, "capacity"))
				t.Repeat(rapid.StateMachineActions(&sequential{q: q}))
			})
		})
	}
}

// sequential is a ring called by one goroutine, and its model.
type sequential struct {
	q      queue[int]
	model  []int
	next   int // the next item
	closed bool
}

// want is what a push of n items is to answer.
func (m *sequential) want(n int) ring.Status {
	switch {
	case n > m.q.Cap():
		return ring.TooBig
	case m.closed:
		return ring.Closed
	case len(m.model)+n > m.q.Cap():
		return ring.Full
	}
	return ring.OK
}

// PushN is an action.
func (m *sequential) PushN(t *rapid.T) {
	items := make([]int, rapid.IntRange(0, m.q.Cap()+1).Draw(t, "n"))
	for i := range items {
		items[i] = m.next
		m.next++
	}
	want := m.want(len(items))
	if got := m.q.PushN(items); got != want {
		t.Fatalf("%v, want %v", got, want)
	}
	if want == ring.OK {
		m.model = append(m.model, items...)
	}
	clear(items) // the ring has copied them
}

// Push is an action.
func (m *sequential) Push(t *rapid.T) {
	want := m.want(1)
	if got := m.q.Push(m.next); got != want {
		t.Fatalf("%v, want %v", got, want)
	}
	if want == ring.OK {
		m.model = append(m.model, m.next)
	}
	m.next++
}

// PopBatch is an action.
func (m *sequential) PopBatch(t *rapid.T) {
	dst := make([]int, rapid.IntRange(0, m.q.Cap()+1).Draw(t, "room"))
	got := dst[:m.q.PopBatch(dst)]
	want := m.model[:min(len(dst), len(m.model))]
	if !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	m.model = m.model[len(want):]
}

// Close is an action, a seldom one, or most calls would be of a closed ring.
func (m *sequential) Close(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "one in ten") == 0 {
		m.q.Close()
		m.closed = true
	}
}

// Check is what holds after every action.
func (m *sequential) Check(t *rapid.T) {
	held := len(m.model)
	if m.q.Len() != held || m.q.Empty() != (held == 0) ||
		m.q.Closed() != m.closed || m.q.Drained() != (m.closed && held == 0) {
		t.Fatalf("Len %d, Empty %v, Closed %v, Drained %v; the model holds %d, closed %v",
			m.q.Len(), m.q.Empty(), m.q.Closed(), m.q.Drained(), held, m.closed)
	}
}
