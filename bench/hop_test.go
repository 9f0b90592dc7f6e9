package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/aioring/aioring/ring"
	"github.com/puzpuzpuz/xsync/v4"
)

// hopItem is 64 bytes.
type hopItem [8]uint64

const hopCapacity = 1024

// BenchmarkHop hands b.N items from the producers to one consumer: the time of an
// item is that of the whole way, from the producer's memory to the consumer's.
//
// Everyone waits in the way natural to the queue. A channel blocks, at both ends.
// xsync's refuses when it is full or empty, and has nothing for those who wait but to
// yield and try again. Ours refuses too, and has a [ring.Parker]: the consumer sleeps
// there when there is nothing, the producers in turn when there is no room.
// Ours also gives a consumer what is there in batches, and takes batches: of 1
// and of 16. A channel and xsync's queue have no call for a batch.
func BenchmarkHop(b *testing.B) {
	for _, way := range []struct {
		name string
		run  func(b *testing.B, producers int) (sum uint64)
	}{
		{"chan", hopChannel},
		{"xsync", hopXsync},
		{"mpsc-batch1", hopSingly},
		{"mpsc-batch16", hopInBatches},
	} {
		for _, producers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/producers=%d", way.name, producers), func(b *testing.B) {
				b.ReportAllocs()
				if got, want := way.run(b, producers), hopSum(b.N, producers); got != want {
					b.Fatalf("sum of what arrived %d, want %d", got, want)
				}
			})
		}
	}
}

// hopBurst is how many different items a producer has. They are made beforehand,
// and sent over and over: the hand-over alone is measured.
const hopBurst = 16

// hopItems are numbered from 1.
func hopItems() *[hopBurst]hopItem {
	var items [hopBurst]hopItem
	for i := range items {
		items[i][0] = uint64(i + 1)
	}
	return &items
}

// hopShare is how many of n items producer p of producers sends.
func hopShare(n, producers, p int) int {
	if p < n%producers {
		return n/producers + 1
	}
	return n / producers
}

// hopSum is the sum of the numbers of the n items that the producers send.
func hopSum(n, producers int) (sum uint64) {
	for p := range producers {
		share := uint64(hopShare(n, producers, p))
		rounds, rest := share/hopBurst, share%hopBurst
		sum += rounds*(hopBurst*(hopBurst+1)/2) + rest*(rest+1)/2
	}
	return sum
}

// hopRun runs produce once for each producer, who sends n items, and consume
// beside them.
func hopRun(b *testing.B, producers int, produce func(items *[hopBurst]hopItem, n int), consume func()) {
	var wg sync.WaitGroup
	b.ResetTimer()
	for p := range producers {
		wg.Go(func() { produce(hopItems(), hopShare(b.N, producers, p)) })
	}
	consume()
	wg.Wait()
	b.StopTimer()
}

func hopChannel(b *testing.B, producers int) (sum uint64) {
	ch := make(chan hopItem, hopCapacity)
	hopRun(b, producers, func(items *[hopBurst]hopItem, n int) {
		for i := range n {
			ch <- items[i%hopBurst]
		}
	}, func() {
		for range b.N {
			item := <-ch
			sum += item[0]
		}
	})
	return sum
}

func hopXsync(b *testing.B, producers int) (sum uint64) {
	q := xsync.NewMPMCQueue[hopItem](hopCapacity)
	hopRun(b, producers, func(items *[hopBurst]hopItem, n int) {
		for i := range n {
			for !q.TryEnqueue(items[i%hopBurst]) {
				runtime.Gosched()
			}
		}
	}, func() {
		for range b.N {
			item, ok := q.TryDequeue()
			for !ok {
				runtime.Gosched()
				item, ok = q.TryDequeue()
			}
			sum += item[0]
		}
	})
	return sum
}

// hopQueue is our queue with those who wait at it.
type hopQueue struct {
	*ring.MPSC[hopItem]
	some  ring.Parker // where the consumer waits for something to take
	room  ring.Parker // where producers wait for room, who has the turn
	turn  sync.Mutex
	taken int // by the consumer, since it last woke producers
}

func newHopQueue() *hopQueue { return &hopQueue{MPSC: ring.NewMPSC[hopItem](hopCapacity)} }

// awaitRoom waits until half of the queue is free: to sleep and wake for every few
// items would cost more than the items.
func (q *hopQueue) awaitRoom() {
	q.turn.Lock()
	q.room.Wait(func() bool { return q.Len() <= hopCapacity/2 })
	q.turn.Unlock()
}

// consume takes n items.
func (q *hopQueue) consume(n int) (sum uint64) {
	dst := make([]hopItem, 64)
	some := func() bool { return !q.Empty() }
	for n > 0 {
		took := q.PopBatch(dst)
		// Half of the queue was taken since, or all of it: there is room for a sleeper.
		if q.taken += took; took == 0 || q.taken >= hopCapacity/2 {
			q.taken = 0
			q.room.Wake()
		}
		if took == 0 {
			q.some.Wait(some)
		}
		for i := range dst[:took] {
			sum += dst[i][0]
		}
		n -= took
	}
	return sum
}

func hopSingly(b *testing.B, producers int) (sum uint64) {
	q := newHopQueue()
	hopRun(b, producers, func(items *[hopBurst]hopItem, n int) {
		for i := range n {
			for q.Push(items[i%hopBurst]) != ring.OK {
				q.awaitRoom()
			}
			q.some.Wake()
		}
	}, func() { sum = q.consume(b.N) })
	return sum
}

func hopInBatches(b *testing.B, producers int) (sum uint64) {
	q := newHopQueue()
	hopRun(b, producers, func(items *[hopBurst]hopItem, n int) {
		for n > 0 {
			batch := items[:min(hopBurst, n)]
			for q.PushN(batch) != ring.OK {
				q.awaitRoom()
			}
			q.some.Wake()
			n -= len(batch)
		}
	}, func() { sum = q.consume(b.N) })
	return sum
}
