//go:build !freebsd && !linux && !windows && !solaris && !illumos && !darwin && !netbsd && !openbsd

package aio

// moreHostErrnos is empty: hosts that nobody has asked for make do with the
// names that all have.
var moreHostErrnos [0]errnoPair
