//go:build unix && !darwin && !linux && !openbsd

package sim

// onceVector does element by element what x/sys/unix has no call for on this
// host. The vnode lock keeps other jobs out of a write meanwhile.
func (t *transfer) onceVector(v [][]byte) (int, error) {
	done := 0
	u := *t
	for _, p := range v {
		n, err := u.once(p)
		if err != nil {
			return done, err
		}
		done += n
		u.offset += int64(n)
		if n < len(p) {
			break
		}
	}
	return done, nil
}
