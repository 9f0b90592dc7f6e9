package difftest

import "slices"

// Shrink makes a program small for which fails holds, as long as it does. What fails
// now and then may be asked several times.
func Shrink(p *Program, fails func(*Program) bool) *Program {
	for {
		smaller := shrinkOnce(p, fails)
		if smaller == nil {
			return p
		}
		p = smaller
	}
}

// shrinkOnce finds a smaller program, or nil.
func shrinkOnce(p *Program, fails func(*Program) bool) *Program {
	try := func(change func(q *Program)) *Program {
		q := *p
		q.Steps = slices.Clone(p.Steps)
		change(&q)
		if q.String() == p.String() {
			return nil
		}
		if _, err := Foresee(&q, Departures{}); err != nil || !fails(&q) {
			return nil
		}
		return &q
	}
	for n := len(p.Steps) / 2; n > 0; n /= 2 {
		for at := 0; at+n <= len(p.Steps); at++ {
			if q := try(func(q *Program) { q.Steps = slices.Delete(q.Steps, at, at+n) }); q != nil {
				return q
			}
		}
	}
	for i := range p.Steps {
		for name := range p.Steps[i].Op.words() {
			if q := try(func(q *Program) {
				for other, set := range q.Steps[i].Op.words() {
					if other == name {
						*set = false
					}
				}
			}); q != nil {
				return q
			}
		}
		if q := try(func(q *Program) {
			if s := &q.Steps[i]; s.Verb == Put && s.Op.Code != LinkTimeout {
				s.Op = Op{Data: s.Op.Data, Code: Nop, Link: s.Op.Link, Hard: s.Op.Hard, Drain: s.Op.Drain, Skip: s.Op.Skip}
			}
		}); q != nil {
			return q
		}
	}
	for _, change := range []func(q *Program){
		func(q *Program) { q.Worker = false },
		func(q *Program) { q.SubmitAll = false },
		func(q *Program) { q.CQ = 0 },
	} {
		if q := try(change); q != nil {
			return q
		}
	}
	return nil
}
