package aioring

// WithoutOpcodes makes the uring kernel one that lacks these opcodes: an older
// one.
func WithoutOpcodes(ops ...Opcode) Option {
	return func(o *options) error { o.lacks = ops; return nil }
}

// RingFd is the descriptor of a ring's io_uring.
func RingFd(r *Ring) int { return r.direct.(*uringLower).u.Fd() }
