//go:build unix

package worker

import "syscall"

// line is the calls of one direction on one stream. The head is being made or
// waits for readiness; those behind wait for the head to be done. So two calls of
// one pool do not compete for what poll(2) promised to one, which on a descriptor in
// blocking mode would leave the loser in read(2) where nobody can cancel it; and a
// stream with a thousand readers has one entry in the poll.
type line struct {
	key    lineKey
	head   *Call
	behind list
	next   *line // in Pool.spare
}

// lineKey tells streams apart. A pipe or FIFO is known by its inode, whichever
// descriptor is used. Other descriptors are known by their number alone: terminals
// opened through one node (/dev/ptmx), and Linux's anonymous inodes, share an inode
// and are different streams.
type lineKey struct {
	dev, ino uint64
	fd       int // -1 if known by inode
	out      bool
}

// stream makes a call on a stream if it has something to do, else leaves it to wait
// and reports false, as perform does.
func (p *Pool) stream(c *Call) bool {
	d, errno := describe(c)
	lines := errno == 0 && !d.prompt
	if lines && !p.join(c, d.key) {
		return false
	}
	waits := lines && !d.ready(c)
	switch {
	case waits:
	case !p.commit(c, errno == 0 && !d.prompt && d.blocks()):
		c.settle(0, syscall.ECANCELED)
	case errno != 0:
		c.settle(0, errno)
	case d.prompt:
		Run(c)
	default:
		waits = !d.attempt(c)
	}
	if waits && !p.await(c) {
		return false
	}
	p.leave(c)
	return true
}

// commit begins to make a stream call, or to end it with an error: Cancel comes too
// late from here on. blocks says that the call may. false: it came before.
func (p *Pool) commit(c *Call, blocks bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.cancelled {
		return false
	}
	c.state, c.blocks = moving, blocks
	return true
}

// join gives a call its place in line, once. It reports whether that is the first;
// if not, the call is parked and no longer the caller's.
func (p *Pool) join(c *Call, key lineKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.line != nil {
		return true // it was behind, or waited, and is the head now
	}
	l := p.lines[key]
	if l == nil {
		l = p.openLine(key)
		l.head, c.line = c, l
		return true
	}
	if c.cancelled {
		c.fault = syscall.ECANCELED
		p.enqueue(c)
		return false
	}
	c.line, c.state = l, parked
	l.behind.push(c)
	p.waiting++
	return false
}

// leave takes a call that is over out of its line, if it has one.
func (p *Pool) leave(c *Call) {
	p.mu.Lock()
	p.depart(c)
	p.mu.Unlock()
}

// depart is leave with p.mu held. The next in line is queued in its place.
func (p *Pool) depart(c *Call) {
	l := c.line
	if l == nil {
		return
	}
	c.line = nil
	if l.head != c {
		return
	}
	if l.head = l.behind.pop(); l.head == nil {
		p.closeLine(l)
		return
	}
	p.waiting--
	p.enqueue(l.head)
}

func (p *Pool) openLine(key lineKey) *line {
	l := p.spare
	if l == nil {
		l = new(line)
	} else {
		p.spare = l.next
	}
	l.key, l.next = key, nil
	p.lines[key] = l
	return l
}

func (p *Pool) closeLine(l *line) {
	delete(p.lines, l.key)
	l.next, p.spare = p.spare, l
}
