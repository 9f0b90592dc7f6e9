// Package ringtest is the conformance suite of a [aioring.Ring]: io_uring's rules of
// submission, completion, links, drains, timeouts and cancellation, as small named
// checks, to be run on every kernel that a ring can have and on whatever somebody
// sets up below one.
//
// [Run] judges rings that a [Factory] makes; [aioring.New] is such a factory:
//
//	func TestConformance(t *testing.T) { ringtest.Run(t, aioring.New) }
//
// Each check is a subtest, named family.rule, and says where its rule comes from.
// One that fails on a ring whose kernel is Linux's own io_uring is a mistake in the
// check, or a Linux that nobody has seen yet; one that fails on another ring is a
// mistake in what is below that ring.
//
// One file holds the checks of one or two families:
//
//	setup.go        sizes, flags, features, the probe
//	queue.go        the submission queue before it is submitted
//	submit.go       what Submit takes, refuses and counts; waits that submit
//	complete.go     peeking, waiting, reaping
//	overflow.go     a completion queue that is full
//	notify.go       descriptors and channels that tell of completions
//	link.go         chains
//	linktimeout.go  limits on the time of a chain's member
//	skip.go         completions left out
//	drain.go        barriers
//	timeout.go      timers
//	cancel.go       cancellation
//	close.go        the end of a ring, and of descriptors under a ring
//
// Checks wait for completions, with a limit, and compare times only so that a slow
// machine cannot fail them: nothing comes early, nothing stays away.
package ringtest
