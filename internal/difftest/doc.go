// Package difftest runs the same random programs of operations on several kernels
// and finds where they disagree.
//
// A [Program] is a few submissions, what the peers of its pipes do meanwhile, and
// where it waits. [Generate] makes one of a seed. [Foresee] runs it on the contract
// itself: a small interpreter of io_uring's rules that says what every operation ends
// with, what is in the files at the end, and which completion must come before which.
// What the contract leaves open (two writes to one place at a time, a cancellation
// that races what it cancels) is no program: Foresee refuses it, and Generate leaves
// it out. [Run] runs the program on a ring, [Compare] says where the ring did
// otherwise, [Shrink] makes the program small while it still does.
//
// So a difference between two kernels is a difference of one of them from the
// interpreter. Where Linux departs from its own manual and the other kernels follow
// the manual, the interpreter has a switch for it: see [Departures].
package difftest
