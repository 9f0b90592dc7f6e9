package engine

// Stage is how far an operation alive is, for those who watch.
type Stage uint8

const (
	StageTurn     Stage = iota // waits: in a chain, behind a drain, to be cancelled
	StageTimer                 // its timer runs
	StageReleased              // may run, and nobody has it yet
	StageRunning               // somebody has it
)

// EachAlive calls f for every operation without a final CQE. Owner only.
func (e *Engine) EachAlive(f func(*Op, Stage)) {
	for i := range e.made {
		op := e.Op(i)
		switch op.state {
		case waiting, seeking:
			f(op, StageTurn)
		case timing, repeating:
			f(op, StageTimer)
		case released:
			if op.marks&handed != 0 {
				f(op, StageRunning)
			} else {
				f(op, StageReleased)
			}
		}
	}
}
