//go:build unix

package sim

// This file has the two containers of the model. Both are intrusive: an object
// carries its own seats, so that in the steady state nothing is allocated and a
// removal needs no search.

// A seat is an object's place in a queue. Its owner sets v once.
type seat[T any] struct {
	prev, next *seat[T]
	in         *queue[T]
	v          *T
}

// A queue is a doubly linked list in order of arrival (sys/queue.h TAILQ).
type queue[T any] struct {
	head, tail *seat[T]
	n          int
}

func (q *queue[T]) push(s *seat[T]) {
	s.in, s.prev, s.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = s
	} else {
		q.head = s
	}
	q.tail = s
	q.n++
}

// pushFront puts back at the head what was taken from there.
func (q *queue[T]) pushFront(s *seat[T]) {
	s.in, s.prev, s.next = q, nil, q.head
	if q.head != nil {
		q.head.prev = s
	} else {
		q.tail = s
	}
	q.head = s
	q.n++
}

func (q *queue[T]) remove(s *seat[T]) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		q.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		q.tail = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
	q.n--
}

// A link is an object's place in a table. Its owner sets v once.
type link[T any] struct {
	next *link[T]
	key  uint64
	v    *T
}

// again is the next entry with the same key, or nil.
func (l *link[T]) again() *link[T] {
	key := l.key
	for l = l.next; l != nil && l.key != key; l = l.next {
	}
	return l
}

// A table is a hash table whose entries with equal keys keep their order of
// arrival. It grows to the most entries it has ever held and stays there; a Go
// map with steady inserts and deletes would allocate now and then.
type table[T any] struct {
	buckets []*link[T]
	n       int
}

func (t *table[T]) bucket(key uint64) **link[T] {
	h := key * 0x9e3779b97f4a7c15
	return &t.buckets[(h>>32)&uint64(len(t.buckets)-1)]
}

// first is the oldest entry with this key, or nil.
func (t *table[T]) first(key uint64) *link[T] {
	if t.n == 0 {
		return nil
	}
	l := *t.bucket(key)
	for l != nil && l.key != key {
		l = l.next
	}
	return l
}

func (t *table[T]) add(l *link[T], key uint64) {
	if t.n >= len(t.buckets) {
		t.grow()
	}
	l.key, l.next = key, nil
	p := t.bucket(key)
	for *p != nil {
		p = &(*p).next
	}
	*p = l
	t.n++
}

func (t *table[T]) remove(l *link[T]) {
	p := t.bucket(l.key)
	for *p != l {
		p = &(*p).next
	}
	*p, l.next = l.next, nil
	t.n--
}

func (t *table[T]) grow() {
	old := t.buckets
	t.buckets = make([]*link[T], max(64, 2*len(old)))
	t.n = 0
	for _, l := range old {
		for l != nil {
			next := l.next
			t.add(l, l.key)
			l = next
		}
	}
}
