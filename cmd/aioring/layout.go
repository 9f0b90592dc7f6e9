//go:build unix

package main

// layout walks through the parts of a file that hold data and leaves out the
// holes.
type layout struct {
	fd      int
	size    int64
	off     int64 // the next byte to hand out
	end     int64 // of the data around off
	written int64 // one past the last byte handed out
}

// next is the next stretch of data, at most limit bytes; none at the end.
func (l *layout) next(limit int) (off int64, n int, err error) {
	if l.off == l.end {
		if l.off == l.size {
			return l.size, 0, nil
		}
		if l.off, l.end, err = dataFrom(l.fd, l.off, l.size); err != nil || l.off == l.end {
			l.off, l.end = l.size, l.size
			return l.size, 0, err
		}
	}
	off, n = l.off, int(min(int64(limit), l.end-l.off))
	l.off += int64(n)
	l.written = l.off
	return off, n, nil
}
