//go:build unix

package worker

// list is a FIFO of calls, linked through them so that it allocates nothing and
// any one can be taken out.
type list struct {
	head, tail *Call
	n          int
}

func (l *list) push(c *Call) {
	c.prev, c.next = l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	l.n++
}

// pop takes out the oldest call; nil if there is none.
func (l *list) pop() *Call {
	c := l.head
	if c != nil {
		l.remove(c)
	}
	return c
}

// remove takes out a call that is in this list.
func (l *list) remove(c *Call) {
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}
