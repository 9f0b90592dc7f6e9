package aioring

// WithoutOpcodes makes the uring kernel one that lacks these opcodes: an older
// one.
func WithoutOpcodes(ops ...Opcode) Option {
	return func(o *options) error { o.lacks = ops; return nil }
}
